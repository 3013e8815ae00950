"""How far a bound may be moved, as users write it: ``10x``, ``5%`` or ``0.5``. A leaf."""

from __future__ import annotations

import math
import re

import msgspec

from pipelines.bounds import Bound

_FACTOR = re.compile(r"\s*(\d+(?:\.\d*)?)\s*x\s*\Z")


class Limit(msgspec.Struct, frozen=True, kw_only=True):
    """Exactly one of both is given."""

    factor: float | None = None
    """So many times the configured bound."""
    bound: Bound | None = None
    """This bound."""

    @classmethod
    def parse(cls, value: float | str) -> Limit:
        """``"10x"``, ``"5%"`` or ``0.5``.

        Raises:
            ValueError: it is none, or 0.
        """
        match = _FACTOR.match(value) if isinstance(value, str) else None
        if match is not None:
            if not 0 < (factor := float(match[1])) < math.inf:
                raise ValueError(f"{value!r}: the factor must be above 0")
            return cls(factor=factor)
        try:
            bound = Bound.parse(value)
        except ValueError:
            text = f"{value!r} is no limit of a bound; write 10x (of the configured one), 5% or 0.5 (in its unit)"
            raise ValueError(text) from None
        if not (bound.absolute or bound.percent):
            raise ValueError(f"{value!r}: a limit of a bound must be above 0")
        return cls(bound=bound)

    def of(self, base: Bound) -> float | None:
        """This limit by the configured bound; None if one is in percent and the other is not."""
        if self.factor is not None:
            return self.factor
        assert self.bound is not None
        if base.percent is None:
            return None if self.bound.absolute is None else self.bound.absolute / (base.absolute or math.nan)
        return None if self.bound.percent is None else self.bound.percent / base.percent

    def bound_of(self, base: Bound) -> Bound:
        """This limit as a bound of the kind of the configured one."""
        if self.bound is not None:
            return self.bound
        return times(base, self.factor or 1.0)


def width(bound: Bound) -> float:
    """The number of a bound, in its own kind."""
    return (bound.absolute or 0.0) if bound.percent is None else bound.percent


def times(base: Bound, factor: float) -> Bound:
    """A bound so many times as wide."""
    if base.percent is None:
        return Bound(absolute=(base.absolute or 0.0) * factor)
    return Bound(percent=base.percent * factor)


def ratio(bound: Bound, base: Bound) -> float | None:
    """How many times as wide a bound is as the configured one; None if they cannot be compared."""
    return Limit(bound=bound).of(base)
