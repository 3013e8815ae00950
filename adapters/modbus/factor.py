"""Scale factors that stand in the device, decoded from the same answer as the values they scale. Pure.

A power of ten below one divides, because 2301 / 10 is 230.1 and 2301 x 0.1 is not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from adapters.modbus.place import DTYPES
from adapters.modbus.scaling import Rule

if TYPE_CHECKING:
    import numpy.typing as npt

    from adapters.modbus.layout import Layout
    from gateway.frame import Mask, Values

LARGEST_POWER = 10
"""SunSpec's factors lie between -10 and 10."""
_POWERS: Values = 10.0 ** np.arange(LARGEST_POWER + 1, dtype=np.float64)
_SMALLEST = 5e-324


@dataclass(frozen=True)
class Factor:
    """Where a factor lies and what it does."""

    layout: Layout
    rule: Rule

    @property
    def valid(self) -> tuple[float, float]:
        """The least and the greatest raw value that is a factor."""
        if self.rule is Rule.POWER:
            return -LARGEST_POWER, LARGEST_POWER
        dtype = np.dtype(DTYPES[self.layout.type])
        return _SMALLEST, np.inf if dtype.kind == "f" else float(np.iinfo(dtype).max) - 1


class Scaling(NamedTuple):
    """The factors of one answer, each [factors]: a value times ``times``, divided by ``over``."""

    times: Values
    over: Values
    broken: Mask


class Factors:
    """The factors of one planned read, each decoded once per answer.

    Args:
        factors: each once.
        start: the address that the read starts at.
    """

    def __init__(self, factors: Sequence[Factor], start: int) -> None:
        self._number = len(factors)
        self._powers = np.array([one.rule is Rule.POWER for one in factors])
        self._least, self._most = np.array([one.valid for one in factors]).T
        by_type: dict[str, list[int]] = {}
        for i, one in enumerate(factors):
            by_type.setdefault(DTYPES[one.layout.type], []).append(i)
        self._groups = []
        for dtype, which in by_type.items():
            index = [byte for i in which for byte in factors[i].layout.byte_indices(start)]
            self._groups.append((np.dtype(dtype), np.array(which), np.array(index)))

    def decode(self, raw: npt.NDArray[np.uint8]) -> Scaling:
        """The factors in an answer's bytes."""
        numbers = np.empty(self._number)
        for dtype, which, index in self._groups:
            numbers[which] = raw.take(index).view(dtype)
        broken = ~((numbers >= self._least) & (numbers <= self._most))
        exponents = np.where(self._powers & ~broken, numbers, 0.0).astype(np.intp)
        times: Values = np.where(self._powers, _POWERS[np.maximum(exponents, 0)], numbers)
        return Scaling(times, _POWERS[np.maximum(-exponents, 0)], broken)
