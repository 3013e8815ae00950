"""What a person is told of an alert: a template with what is known filled in. Pure."""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np

from gateway import quality as q
from gateway.frame import Frame
from gateway.point import Point
from pipelines.operators.judge.alert_told import LEVELS, PREFIX, VALUE

_FIELD: Final = re.compile(r"\{(\w+)\}")
_BLANKS: Final = re.compile(r"  +")


class Names(Protocol):
    """What is asked of the directory."""

    def point(self, point_id: int, /) -> Point:
        """What is known of a point."""

    def find(self, name: str, /) -> int | None:
        """The id of a name, or None."""

    def states(self, point_id: int, /) -> list[str] | None:
        """The texts of a state point by number, or None if it has none."""


@dataclass(frozen=True, slots=True)
class Change:
    """One alert was raised, cleared, or became one of another severity."""

    rule: str
    point: str
    """The point that is watched."""
    raised: bool
    severity: str
    """That of the rule, also of one that is cleared."""
    time_ns: int
    value: float | str | None
    """What was seen: a number, the text of a state, or None if there was no value."""
    unit: str
    reason: str
    """Why there was no value."""
    template: str

    @property
    def state(self) -> str:
        """``raised`` or ``cleared``."""
        return "raised" if self.raised else "cleared"

    def text(self, gateway: str) -> str:
        """What a person is told."""
        return fill(self.template, self.fields(gateway))

    def fields(self, gateway: str) -> dict[str, str]:
        """What a template may name."""
        return {
            "gateway": gateway,
            "rule": self.rule,
            "point": self.point,
            "severity": self.severity,
            "state": self.state,
            "unit": "" if self.value is None else self.unit,
            "value": shown(self.value, self.reason),
            "time": str(np.datetime64(self.time_ns // 1_000_000, "ms")) + "Z",
        }

    def as_dict(self, gateway: str) -> dict[str, Any]:
        """For who looks: plain JSON types."""
        return {
            "rule": self.rule,
            "point": self.point,
            "severity": self.severity,
            "state": self.state,
            "time_ms": self.time_ns // 1_000_000,
            "value": self.value,
            "unit": self.unit,
            "text": self.text(gateway),
        }


def shown(value: float | str | None, reason: str = "") -> str:
    """A value for people."""
    if value is None:
        return f"without a value ({reason})" if reason else "without a value"
    return value if isinstance(value, str) else f"{value:.6g}"


def fill(template: str, fields: Mapping[str, str]) -> str:
    """The template with its fields; one that is unknown stays as it is. What is filled in is not looked at again."""
    filled = _FIELD.sub(lambda match: fields.get(match[1], match[0]), template)
    return _BLANKS.sub(" ", filled).strip()


def changes_in(frame: Frame, names: Names) -> list[Change]:
    """What samples of alerts say, in their order; other samples are left out."""
    seen: dict[tuple[str, int], deque[int]] = {}
    told: list[tuple[int, Point]] = []
    for at, point_id in enumerate(frame.point.tolist()):
        point = names.point(point_id)
        if point.name.startswith(PREFIX) and "rule" in point.labels:
            told.append((at, point))
        elif point.name.startswith(PREFIX) and point.name.endswith(VALUE):
            seen.setdefault((point.name, int(frame.time[at])), deque()).append(at)
    changes: list[Change] = []
    for at, point in told:
        beside = seen.get((point.name + VALUE, int(frame.time[at])))  # several at one time stand in one order
        changes.append(_change(frame, at, point, beside.popleft() if beside else None, names))
    return changes


def _change(frame: Frame, at: int, alert: Point, beside: int | None, names: Names) -> Change:
    labels = alert.labels
    level = int(frame.value[at]) if 0 <= frame.value[at] < len(LEVELS) else 0
    value, unit, reason = (None, "", "") if beside is None else _seen(frame, beside, names)
    return Change(
        rule=labels["rule"],
        point=labels.get("point", ""),
        raised=level > 0,
        severity=LEVELS[level] if level else labels.get("severity", "warning"),
        time_ns=int(frame.time[at]),
        value=value,
        unit=unit,
        reason=reason,
        template=labels.get("text", ""),
    )


def _seen(frame: Frame, at: int, names: Names) -> tuple[float | str | None, str, str]:
    """The value, its unit, and why there is none."""
    point_id, value = int(frame.point[at]), float(frame.value[at])
    if not math.isfinite(value):
        code = int(q.reason_codes(frame.value[at : at + 1])[0])
        return None, "", q.reason_text(code) if code else ""
    texts = names.states(point_id)
    if texts and value.is_integer() and 0 <= value < len(texts):
        return texts[int(value)], "", ""
    return value, names.point(point_id).unit, ""
