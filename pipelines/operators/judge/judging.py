"""What operators that judge samples share: which samples have a value, and what becomes of the suspects.

A verdict never makes a quality better: suspects become at least questionable, with the flag of IEC 61850-7-3 that
fits, and keep their value. Under ``drop`` they go instead and are counted. Nothing else is ever left out.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from gateway import quality as q
from gateway.errors import FieldError
from gateway.frame import EMPTY, Frame
from gateway.point import Kind
from pipelines.bounds import Bound
from pipelines.operators.facts import Facts
from pipelines.operators.judge.limits import Action

if TYPE_CHECKING:
    from gateway.frame import Ids, Index, Mask, Times, Values
    from gateway.point import Point
    from gateway.units import Duration
    from pipelines.base import Counts, Points, State

Amount = float | str
"""A number in the point's unit (``5``) or a percentage (``"2%"``) of the range of its limits, else of the value."""

_SECOND_NS: Final = 1e9


def usable(frame: Frame) -> Mask | None:
    """Where a sample has a finite value that is not invalid, [n]; None if all have."""
    fine = np.isfinite(frame.value)
    if frame.quality.any():
        fine &= ~q.is_invalid(frame.quality)
    return None if fine.all() else fine


def judged(frame: Frame, suspects: Mask | Index, flags: int, action: Action, counts: Counts, reason: str) -> Frame:
    """The frame with its suspects marked questionable with ``flags``, or without them."""
    if action is Action.DROP:
        stays = np.ones(len(frame), np.bool_)
        stays[suspects] = False
        left = int(np.count_nonzero(stays))
        counts.drop(reason, len(frame) - left)
        return frame.take(stays) if left else EMPTY
    words = frame.quality.copy()
    words[suspects] = q.worse(words[suspects], q.QUESTIONABLE, flags)
    return frame.replace(quality=words)


def seconds(later: Times, earlier: Times) -> Values:
    """How long ``later`` is behind ``earlier``, in s, [n]; exact in ns also where int64 would overflow."""
    span: Values = (later.view(np.uint64) - earlier.view(np.uint64)).astype(np.float64) / _SECOND_NS
    return span


def longer(later: Times, earlier: Times, span_ns: int) -> Mask:
    """Where ``later`` lies more than ``span_ns`` behind ``earlier`` (never before it), [n]."""
    mask: Mask = (later.view(np.uint64) - earlier.view(np.uint64)) > np.uint64(span_ns)
    return mask


class Amounts:
    """An :data:`Amount` for each point; infinite for states, whose numbers are only names."""

    def __init__(self, points: Points, amount: Amount | None) -> None:
        self._bound = Bound(absolute=math.inf) if amount is None else Bound.parse(amount)
        self._facts = Facts(points, 2, self._of)

    def _of(self, point: Point) -> tuple[float, float]:
        if point.kind is Kind.STATE:
            return math.inf, 0.0
        if self._bound.percent is None:
            return self._bound.absolute or 0.0, 0.0
        share = self._bound.percent / 100
        span = math.inf if point.limits is None else point.limits[1] - point.limits[0]
        return (share * span, 0.0) if math.isfinite(span) else (0.0, share)

    def of(self, ids: Ids, beside: Values) -> Values:
        """The amount in the point's unit, [n]; ``beside`` are the values that a percentage may be of."""
        fixed = self._facts.column(0, ids)
        if self._bound.percent is None:
            return fixed
        amount: Values = fixed + self._facts.column(1, ids) * np.abs(beside)
        return amount


def check_amount(field: str, amount: Amount | None) -> None:
    """Refuse what is no :data:`Amount`.

    Raises:
        FieldError: it is none.
    """
    if amount is not None:
        try:
            Bound.parse(amount)
        except ValueError as error:
            raise FieldError(field, str(error)) from None


def check_span(field: str, span: Duration, *, zero: bool = False) -> None:
    """Refuse a time that is 0 (unless it may be) or longer than a year, which would overflow.

    Raises:
        FieldError: it is.
    """
    if not (0 if zero else 1) <= span.ns <= 366 * 86_400 * 10**9:
        raise FieldError(field, f"must be {'0' if zero else 'longer than 0'} and at most a year")


def frame_state(frame: Frame) -> dict[str, Any]:
    """A frame as part of a snapshot."""
    return {"point": frame.point, "time": frame.time, "value": frame.value, "quality": frame.quality}


def frame_of(state: State) -> Frame:
    """The inverse of :func:`frame_state`."""
    return Frame(state["point"], state["time"], state["value"], state["quality"])
