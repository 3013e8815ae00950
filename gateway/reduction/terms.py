"""What the workers of a job agree on, and numbers as scaled integers. Light: a worker imports it.

A value x travels as the integer nearest to x * 2**scale, so that sums are exact and any order of adding gives the same
bits. That no sum can overflow is shown before the first one: ``scale + magnitude + log2(workers)`` bits fit.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from gateway.errors import OnpathError

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]

WIRE: Final = np.dtype("<i8")
MOST_BITS: Final = 62
"""Of a sum, without its sign."""
MOST_WORKERS: Final = 4096
_NAME: Final = re.compile(r"[A-Za-z0-9_.\-]{1,64}")


class ReductionError(OnpathError):
    """A job cannot be what it is asked to be, or cannot go on."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What all workers of a job say alike when they join."""

    name: str
    workers: int
    length: int
    """Numbers of a vector."""
    slot: int = 8192
    """Numbers that travel in one message."""
    scale: int = 30
    """Bits behind the binary point."""
    magnitude: int = 20
    """Bits before it: no worker's number reaches 2**magnitude."""
    parameters: bool = False
    """The root keeps weights and applies the sums to them."""
    rate: float = 0.0
    """Of a sum, what is taken from the weights."""
    digest: int = 0
    """CRC-32 of the weights that each worker begins with."""
    packed: bool = True
    """Sums travel in as few bits as they need; else in 64 a number."""

    def check(self) -> None:
        """Complain about what cannot work.

        Raises:
            ReductionError: with the reason.
        """
        if not _NAME.fullmatch(self.name):
            raise ReductionError(f"job {self.name!r}: a name is 1 to 64 letters, digits, _ . and -")
        if not 1 <= self.workers <= MOST_WORKERS:
            raise ReductionError(f"job {self.name}: {self.workers} workers; between 1 and {MOST_WORKERS} are possible")
        if self.length < 1 or self.slot < 1:
            raise ReductionError(f"job {self.name}: a vector and its slots hold at least one number")
        if not (-MOST_BITS <= self.scale <= MOST_BITS and -MOST_BITS <= self.magnitude <= MOST_BITS):
            raise ReductionError(f"job {self.name}: scale and magnitude are between -{MOST_BITS} and {MOST_BITS}")
        if not math.isfinite(self.rate):
            raise ReductionError(f"job {self.name}: a rate of {self.rate}")
        if self.bits > MOST_BITS:
            raise ReductionError(
                f"job {self.name}: scale {self.scale} + magnitude {self.magnitude} + log2 of {self.workers} workers "
                f"= {self.bits} bits, and a sum has {MOST_BITS}: lower the scale or the magnitude"
            )

    @property
    def bits(self) -> int:
        """What a sum of all may need."""
        return self.scale + self.magnitude + (self.workers - 1).bit_length()

    @property
    def packed_results(self) -> bool:
        """Whether results are: weights are floats, of whose bits nearly all differ."""
        return self.packed and not self.parameters

    @property
    def everyone(self) -> int:
        """The bitmap of all workers."""
        return (1 << self.workers) - 1

    @property
    def slots(self) -> int:
        """How many messages a vector takes."""
        return -(-self.length // self.slot)

    def span(self, slot: int) -> slice:
        """Where a slot lies in the vector."""
        return slice(slot * self.slot, min((slot + 1) * self.slot, self.length))

    def size(self, slot: int) -> int:
        """Numbers of a slot; the last may be shorter."""
        span = self.span(slot)
        return int(span.stop - span.start)

    def most(self, workers: int) -> int:
        """No sum of so many workers is above this, or below its negative."""
        return int(workers * 2.0 ** (self.scale + self.magnitude))

    def scaled(self, vector: Any) -> Integers:
        """A vector as scaled integers.

        Raises:
            ReductionError: it has another length, or a number that is too large or none at all.
        """
        real = np.asarray(vector, dtype=np.float64).ravel()
        if len(real) != self.length:
            raise ReductionError(f"job {self.name}: {len(real)} numbers; the job's vectors have {self.length}")
        inside = np.abs(real) < 2.0**self.magnitude
        if not inside.all():
            at = int(np.argmin(inside))
            raise ReductionError(
                f"job {self.name}: number {at} is {real[at]}, not below 2**{self.magnitude}: raise the magnitude, "
                "or scale the vector down"
            )
        return np.rint(real * 2.0**self.scale).astype(WIRE)

    def real(self, integers: Integers) -> Floats:
        """A sum of scaled integers as numbers."""
        return integers.astype(np.float64) * 2.0**-self.scale  # the bits of ldexp, in a tenth of its time

    def applied(self, weights: Floats, total: Integers) -> Floats:
        """The weights that follow. Each step rounds once, as IEEE 754 says: the same bits on every machine."""
        return weights - self.rate * self.real(total)
