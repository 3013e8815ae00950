"""Error bounds: what operators that trade error for bytes promise, in one form for all of them. A leaf.

A bound is absolute, in the unit of the point, or a percentage: of the range that the point's ``limits`` span, or
where it has none (or by option) of the value itself. It is written in YAML as ``epsilon: 0.2`` or ``epsilon: 0.5%``.
"""

from __future__ import annotations

import math
import re
from typing import Any

import msgspec

from gateway.errors import FieldError

_TEXT = re.compile(r"\s*(\d+(?:\.\d*)?(?:[eE][-+]?\d+)?)\s*(%?)\s*\Z")


class Bound(msgspec.Struct, frozen=True, kw_only=True):
    """Exactly one of both is given."""

    absolute: float | None = None
    """Largest deviation, in the point's unit."""
    percent: float | None = None
    """Largest deviation in percent."""

    @classmethod
    def parse(cls, value: float | str) -> Bound:
        """``0.2`` or ``"0.5%"``.

        Raises:
            ValueError: it is none, or negative, or not finite.
        """
        if isinstance(value, str):
            match = _TEXT.match(value)
            if match is None:
                raise ValueError(f"{value!r} is not a bound; write 0.2 (in the point's unit) or 0.5% (of its range)")
            number = float(match[1])
            return cls(percent=number) if match[2] else cls(absolute=number)
        if not 0 <= value < math.inf:
            raise ValueError("a bound is a finite number, 0 or more")
        return cls(absolute=float(value))

    def as_dict(self) -> dict[str, Any]:
        """``{"absolute": 0.2}`` or ``{"percent": 0.5}``."""
        return {"absolute": self.absolute} if self.percent is None else {"percent": self.percent}

    def __str__(self) -> str:
        return f"{self.absolute:g}" if self.percent is None else f"{self.percent:g}%"


def bound_of(absolute: float | None, percent: float | None, epsilon: float | str | None) -> Bound:
    """The bound that options give in one of three ways.

    Raises:
        FieldError: not exactly one is given, or it is no bound.
    """
    given = {"absolute": absolute, "percent": percent, "epsilon": epsilon}
    if sum(value is not None for value in given.values()) != 1:
        raise FieldError((), "needs exactly one of absolute, percent and epsilon (0.2 or 0.5%)")
    for name, number in (("absolute", absolute), ("percent", percent)):
        if number is not None and not 0 <= number < math.inf:
            raise FieldError(name, "must be a finite number, 0 or more")
    if epsilon is None:
        return Bound(absolute=absolute, percent=percent)
    try:
        return Bound.parse(epsilon)
    except ValueError as error:
        raise FieldError("epsilon", str(error)) from None
