"""What is known of a point besides its samples. A leaf."""

from __future__ import annotations

import enum
import re
from functools import lru_cache
from typing import Annotated

import msgspec

from gateway.errors import FieldError

OWN = "onpath/"
"""Points whose names begin so are the gateway's own metrics."""


ALERT = "alert."
"""Pipelines whose names begin so are those of alerts."""


class Kind(enum.StrEnum):
    """How a point's value behaves."""

    GAUGE = "gauge"
    COUNTER = "counter"
    STATE = "state"


class Merge(enum.StrEnum):
    """How two values of one point for the same time combine."""

    LAST = "last"
    ADD = "add"
    MIN = "min"
    MAX = "max"


Name = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_.\-]+$", max_length=128)]
"""The name of an adapter, device, pipeline or uplink; one segment of a point's name."""


class PointOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What users may say of a point in YAML, whatever its protocol."""

    unit: str = ""
    """UCUM unit, such as ``V`` or ``kW.h``."""
    kind: Kind = Kind.GAUGE
    """How the value behaves: ``gauge``, ``counter`` (only grows) or ``state`` (one of a few)."""
    limits: tuple[float, float] | None = None
    """Lowest and highest plausible value; also the range that percent deadbands refer to."""
    resolution: Annotated[float, msgspec.Meta(gt=0)] | None = None
    """The smallest step of the value; makes sums exact integers."""
    merge: Merge = Merge.LAST
    """How two values for the same time combine: ``last``, ``add``, ``min`` or ``max``."""
    labels: dict[str, str] = {}
    """Facts for grouping and selecting, such as ``{phase: L1, feeder: north}``."""

    def __post_init__(self) -> None:
        if self.limits is not None and self.limits[0] >= self.limits[1]:
            raise FieldError("limits", "the first limit must be below the second")


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """One addressable signal, as the directory keeps it."""

    name: str
    unit: str = ""
    kind: Kind = Kind.GAUGE
    limits: tuple[float, float] | None = None
    resolution: float | None = None
    merge: Merge = Merge.LAST
    labels: dict[str, str] = {}

    @classmethod
    def of(cls, name: str, options: PointOptions) -> Point:
        """The point ``name`` with what the user said of it."""
        return cls(
            name=name,
            unit=options.unit,
            kind=options.kind,
            limits=options.limits,
            resolution=options.resolution,
            merge=options.merge,
            labels=options.labels,
        )


@lru_cache(maxsize=1024)
def compile_glob(pattern: str) -> re.Pattern[str]:
    """A glob over point names: ``*`` within one segment, ``**`` over any number, ``?`` one character.

    ``**/x`` also matches ``x`` and ``m1/**`` also matches ``m1``. ``*`` and ``?`` never match a ``#``, so
    that ``*/power`` does not take a window's ``m1/power#mean``; ``**`` takes everything but the gateway's own metrics,
    which are there for globs that begin with ``onpath/`` only, as hidden files are in a shell.
    """
    while "**/**" in pattern:
        pattern = pattern.replace("**/**", "**")
    out, at = ("" if pattern.startswith(OWN) else f"(?!{OWN})"), 0
    while at < len(pattern):
        if pattern.startswith("**/", at):
            out, at = out + "(?:.*/)?", at + 3
        elif pattern.startswith("/**", at) and at + 3 == len(pattern):
            out, at = out + "(?:/.*)?", at + 3
        elif pattern.startswith("**", at):
            out, at = out + ".*", at + 2
        elif pattern[at] == "*":
            out, at = out + "[^/#]*", at + 1
        elif pattern[at] == "?":
            out, at = out + "[^/#]", at + 1
        else:
            out, at = out + re.escape(pattern[at]), at + 1
    return re.compile(out + r"\Z", re.DOTALL)
