"""Options of ``payload: sparkplug``, and what they ask of their subscription. Light: no protocol library."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Final

import msgspec

from gateway.errors import FieldError
from gateway.units import Duration

if TYPE_CHECKING:
    from adapters.mqtt.subscribe import Subscribe

NAMESPACE: Final = "spBv1.0"
"""First level of each topic (Sparkplug 3.0, 4.1)."""
PARTS: Final = ("group", "edge", "device")
_PART = re.compile(r"\{([^{}]*)\}")
_LITERAL = re.compile(r"[A-Za-z0-9_.\-]*\Z")
_USED: Final = frozenset({"topic", "payload", "qos", "retained", "labels", "sparkplug", "share"})
_WHY: Final = {
    "device": "Sparkplug devices are named by sparkplug: {device: ...}",
    "time": "Sparkplug metrics carry their time; leave this out",
    "points": "the births name the points; leave this out and rename in a pipeline",
}
_RESERVED = frozenset("+/#\0")


class SparkplugOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the gateway is a Sparkplug host application."""

    host: str = ""
    """The gateway's id as a primary host: ``spBv1.0/STATE/<host>`` says whether it is online, and edge nodes that
    wait for this host begin to speak. Unique among all hosts. The connection then begins with a clean session.
    Left out: the gateway listens and says nothing of itself."""
    reorder: Duration = Duration(5)
    """How long a message that came too early waits for those before it; looked at once a second. Then what is
    missing is lost, and the edge node is asked to be born again. 0: nothing waits."""
    rebirth: bool = True
    """Ask an edge node for its births when they are not known or messages of it are missing. Needs the right to
    publish ``spBv1.0/+/NCMD/+``. Off: such a node stays unknown until it speaks of itself."""
    rebirth_interval: Duration = Duration(30)
    """An edge node is asked at most once in so long."""
    device: str = "{group}-{edge}-{device}"
    """Name of a device, from the ids in the topic. The edge node's own metrics have the name without ``{device}``
    and the sign before it. Characters other than letters, digits and ``. _ -`` become ``_``."""
    max_metrics: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 5000
    """Metrics of one edge node with all its devices; more are counted as ``too-many-metrics`` and left out."""

    def __post_init__(self) -> None:
        if _RESERVED & set(self.host) or self.host != self.host.strip():
            raise FieldError("host", "a host id is one level of a topic: no + / # and no space around it")
        if self.rebirth_interval < 1:
            raise FieldError("rebirth_interval", "at least 1s: a birth is the largest message that a node sends")
        self._check_device()

    def _check_device(self) -> None:
        for name in _PART.findall(self.device):
            if name not in PARTS:
                raise FieldError("device", f"{{{name}}}: there are {{group}}, {{edge}} and {{device}}")
        if not _LITERAL.match(_PART.sub("", self.device)):
            raise FieldError("device", "a name has letters, digits, and . _ - only")
        if "{device}" not in self.device:
            raise FieldError("device", "needs {device}, or all devices of an edge node would have one name")


def check_subscription(options: Subscribe) -> None:
    """Refuse what a subscription with ``payload: sparkplug`` has no use for.

    Raises:
        FieldError: naming the key.
    """
    if options.topic.split("/", 1)[0] != NAMESPACE:
        raise FieldError("topic", f"Sparkplug topics begin with {NAMESPACE}/, such as {NAMESPACE}/Plant1/#")
    if options.share:
        raise FieldError("share", "a shared subscription gives a part of the messages; Sparkplug needs them all")
    for label, text in options.labels.items():
        if "{" in text or text.startswith("prop:"):
            raise FieldError(("labels", label), "a plain text; the labels group and edge come by themselves")
    for field in msgspec.structs.fields(options):
        if field.name not in _USED and getattr(options, field.name) != _default(field):
            raise FieldError(field.name, _WHY.get(field.name, "goes with other payloads than sparkplug"))


def _default(field: msgspec.structs.FieldInfo) -> object:
    made: object = field.default if field.default is not msgspec.NODEFAULT else None
    return field.default_factory() if callable(field.default_factory) else made
