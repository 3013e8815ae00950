"""Arithmetic on pairs of float64 whose sum is the number: about 32 decimal digits, elementwise on columns.

Error-free transformations after T. J. Dekker, "A Floating-Point Technique for Extending the Available Precision",
Numerische Mathematik 18, 1971, and D. E. Knuth. An overflow gives infinities or NaNs, never an error; call these under
``np.errstate(over="ignore", invalid="ignore")``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from gateway.frame import Values

Pair = tuple["Values", "Values"]
"""High and low part; the low part is at most half an ulp of the high one."""

_SPLIT: Final = 134_217_729.0
"""2**27 + 1."""


def two_sum(a: Values, b: Values) -> Pair:
    """``a + b`` without an error, [n]."""
    total = a + b
    rest = total - a
    return total, (a - (total - rest)) + (b - rest)


def _split(a: Values) -> Pair:
    wide = _SPLIT * a
    high = wide - (wide - a)
    return high, a - high


def two_product(a: Values, b: Values) -> Pair:
    """``a * b`` without an error where nothing over- or underflows, [n]; else the low part is 0."""
    product = a * b
    (a_high, a_low), (b_high, b_low) = _split(a), _split(b)
    rest = a_low * b_low - (((product - a_high * b_high) - a_low * b_high) - a_high * b_low)
    return product, np.where(np.isfinite(rest), rest, 0.0)


def add(x: Pair, y: Pair) -> Pair:
    """``x + y``, [n]; an infinity stays one."""
    high, low = two_sum(x[0], y[0])
    low = low + (x[1] + y[1])
    return _normal(high, low)


def multiply(x: Pair, y: Pair) -> Pair:
    """``x * y``, [n]."""
    high, low = two_product(x[0], y[0])
    low = low + (x[0] * y[1] + x[1] * y[0])
    return _normal(high, low)


def divide(x: Pair, divisor: Values) -> Pair:
    """``x / divisor``, [n]."""
    first = x[0] / divisor
    back = two_product(first, divisor)
    rest = add(x, (-back[0], -back[1]))
    return _normal(first, rest[0] / divisor)


def _normal(high: Values, low: Values) -> Pair:
    total = high + low
    rest = low - (total - high)
    sound = np.isfinite(high) & np.isfinite(total)
    return np.where(sound, total, high), np.where(sound, rest, 0.0)
