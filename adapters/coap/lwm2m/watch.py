"""One object instance (or a single resource) of a client: whether it is observed, and what its values become."""

from __future__ import annotations

import enum
import math
from collections.abc import Sequence
from typing import Final, NamedTuple

from adapters.coap.asking.client import Backoff
from adapters.coap.lwm2m import objects
from adapters.coap.lwm2m.contents import Item, Path, path_text
from adapters.coap.lwm2m.peer import Report
from adapters.payloads.values import Value
from gateway import quality as q
from gateway.point import PointOptions
from gateway.quality import Reason

_CLOCK_SET_S: Final = 946_684_800.0
"""2000-01-01: a device whose clock says less has not set it."""
_LAST_S: Final = 2.0**63 / 1e9
_CELSIUS: Final = {"C", "°C", "celsius", "Celsius", "degC"}
_INDICATED: Final = {1: q.INVALID, 2: q.QUESTIONABLE, 3: q.QUESTIONABLE}
"""Validity by Measurement Quality Indicator."""


class Mode(enum.Enum):
    """How its values come."""

    NEW = "new"
    """Not asked yet, or lost."""
    OBSERVED = "observed"
    POLLED = "polled"
    REFUSED = "refused"
    """The client does not give it, or each of its resources is watched alone."""


class Sample(NamedTuple):
    """One value as a point takes it."""

    name: str
    """Within the device."""
    options: PointOptions
    value: Value | Reason
    unit: str
    time_ns: int | None
    flags: int
    """What its quality has besides."""


class Watch:
    """What is known of one path of a client; no I/O but the observation's."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.text = path_text(path)
        self.mode = Mode.NEW
        self.report: Report | None = None
        self.due_s = 0.0
        """When to ask next, in the loop's time."""
        self.heard_s = 0.0
        self.backoff = Backoff()
        self.attributes: bool | None = None
        """Whether the client took pmin and pmax; None before it was asked."""
        self.points: dict[str, PointOptions] = {}
        """Those seen so far: what a failure concerns."""
        self._unit = ""
        self._table = objects.resources_of(path[0])

    def drop(self) -> None:
        """Lose the observation, if there is one."""
        if self.report is not None:
            self.report.cancel()
            self.report = None
        if self.mode is not Mode.REFUSED:
            self.mode = Mode.NEW

    def samples(self, items: Sequence[Item]) -> list[Sample]:
        """The points' values among those of a payload, with the unit, time and quality told beside them."""
        beside = {item.resource: item.value for item in items if item.resource in _BESIDE}
        self._unit = _unit(beside.get(objects.UNITS)) or self._unit
        time_ns, flags = _time(beside), _INDICATED.get(_whole(beside.get(objects.INDICATOR)), 0)
        found = []
        for item in items:
            known = self._table[item.resource]
            if not known.name:
                continue
            name = point_name(known.name, item.instance, item.nth)
            options = self.points.setdefault(name, PointOptions(kind=known.kind))
            unit = self._unit if self._unit and objects.UNITS in self._table else item.unit
            at = item.time_ns if item.time_ns is not None else time_ns
            found.append(Sample(name, options, item.value, unit, at, flags))
        return found


_BESIDE: Final = {objects.UNITS, objects.TIMESTAMP, objects.FRACTION, objects.INDICATOR}


def point_name(base: str, instance: int, nth: int | None) -> str:
    """``temperature`` of instance 0, ``temperature.1`` of 1; ``supply_voltage-1`` is a second value of a resource."""
    return base + (f".{instance}" if instance else "") + (f"-{nth}" if nth else "")


def identity(items: Sequence[Item]) -> dict[str, str]:
    """Who a device is, out of the values of object 3, for ``status``."""
    texts = ((objects.IDENTITY.get(item.resource), item.value) for item in items)
    return {key: value[:64] for key, value in texts if key is not None and isinstance(value, str)}


def _unit(told: Value | Reason | None) -> str:
    """What a device calls its unit, if that can be one."""
    if not isinstance(told, str) or not told.isprintable() or len(told) > 32:
        return ""
    return "Cel" if told in _CELSIUS else told


def _whole(told: Value | Reason | None) -> int:
    """A small number, or -1."""
    return int(told) if isinstance(told, (int, float)) and not isinstance(told, Reason) and 0 <= told < 256 else -1


def _time(beside: dict[int, Value | Reason]) -> int | None:
    """When the device says it measured, UTC ns; None if it does not say or has not set its clock."""
    told = beside.get(objects.TIMESTAMP)
    if isinstance(told, (str, Reason)) or told is None or not _CLOCK_SET_S <= told < _LAST_S - 1:
        return None
    fraction = beside.get(objects.FRACTION, 0.0)
    usable = isinstance(fraction, float) and math.isfinite(fraction) and 0 <= fraction < 1
    return int(told) * 1_000_000_000 + (round(fraction * 1e9) if usable else 0)  # type: ignore[operator]
