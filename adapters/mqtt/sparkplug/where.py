"""Topics of Sparkplug B, and names of ours made from its ids and metric names. Pure text.

Topics (Sparkplug 3.0, 4.1)::

    spBv1.0/GROUP/NBIRTH|NDEATH|NDATA|NCMD/EDGE
    spBv1.0/GROUP/DBIRTH|DDEATH|DDATA|DCMD/EDGE/DEVICE
    spBv1.0/STATE/HOST
"""

from __future__ import annotations

import enum
import re
from functools import lru_cache
from typing import Final, NamedTuple

from adapters.mqtt.sparkplug.options import NAMESPACE
from gateway.errors import PayloadError

MAX_NAME: Final = 128
MAX_PATH: Final = 256
"""Characters of a device's name, and of what comes behind it in a point's name."""
_FOREIGN = re.compile(r"[^A-Za-z0-9_.\-]", re.ASCII)
_DEVICE = re.compile(r"[._\-]?\{device\}")
_PART = re.compile(r"\{([^{}]*)\}")
_CONTROL: Final = ("Node Control/", "Device Control/")
"""Commands, which say nothing of the world."""
BDSEQ: Final = "bdSeq"


class Verb(enum.StrEnum):
    """Kinds of messages."""

    NBIRTH = "NBIRTH"
    NDEATH = "NDEATH"
    NDATA = "NDATA"
    NCMD = "NCMD"
    DBIRTH = "DBIRTH"
    DDEATH = "DDEATH"
    DDATA = "DDATA"
    DCMD = "DCMD"
    STATE = "STATE"


class Where(NamedTuple):
    """Where a message belongs."""

    verb: Verb
    group: str = ""
    edge: str = ""
    device: str = ""
    host: str = ""

    @property
    def node(self) -> tuple[str, str]:
        """The edge node: group and id."""
        return self.group, self.edge


def parse_topic(topic: str) -> Where:
    """What a topic says.

    Raises:
        PayloadError: ``bad-topic``: it is none of Sparkplug B.
    """
    namespace, *levels = topic.split("/")
    if namespace == NAMESPACE and len(levels) == 2 and levels[0] == "STATE" and levels[1]:
        return Where(Verb.STATE, host=levels[1])
    verb = levels[1] if len(levels) > 2 else ""
    fits = verb in Verb.__members__ and len(levels) == (4 if verb.startswith("D") else 3)
    if namespace != NAMESPACE or not fits or not all(levels):
        raise PayloadError("bad-topic", topic[:80])
    return Where(Verb(verb), levels[0], levels[2], *levels[3:])


def device_name(template: str, where: Where) -> str:
    """Our name of the device, or of the edge node itself if ``where`` names no device.

    Raises:
        PayloadError: ``bad-name``: it is longer than a name may be.
    """
    if not where.device:
        template = _DEVICE.sub("", template).strip("._-") or "{edge}"
    parts = {"group": where.group, "edge": where.edge, "device": where.device}
    name = _PART.sub(lambda found: _FOREIGN.sub("_", parts[found[1]]), template)
    if len(name) > MAX_NAME:
        raise PayloadError("bad-name", f"{name[:80]}... is longer than {MAX_NAME} characters")
    return name


@lru_cache(maxsize=16_384)
def metric_path(name: str) -> str | None:
    """The part of a point's name behind the device; None for what is no measurement.

    ``/`` stays and parts it; other foreign characters become ``_``, as does an empty level.

    Raises:
        PayloadError: ``bad-name``: it is empty or too long.
    """
    if name == BDSEQ or name.startswith(_CONTROL):
        return None
    if not name or len(name) > MAX_PATH:
        raise PayloadError("bad-name", f"a metric's name has {len(name)} characters; 1 to {MAX_PATH} are taken")
    return "/".join(_FOREIGN.sub("_", level) or "_" for level in name.split("/"))
