"""Units of power and energy: how they convert, and texts such as ``60kW``. Pure.

Units are read as UCUM has them (:mod:`pipelines.operators.shape.ucum`). What UCUM lacks or writes otherwise and
everybody uses is understood too: ``var`` and ``VA`` count like W, and ``kWh`` is ``kW.h``.
"""

from __future__ import annotations

import math
import re
from functools import lru_cache
from typing import Final

from pipelines.operators.shape.ucum import UnitError, parse

_TEXT: Final = re.compile(r"\s*(\d+(?:\.\d*)?(?:[eE][-+]?\d+)?)\s*([A-Za-z.]+)\s*\Z")
_SPELLED: Final = re.compile(r"([mkMG]?)(?:var|VAr|VA|V\.A|W)(\.?h)?")


def watts(unit: str) -> float | None:
    """How many W, VA or var the unit is; None if it is no unit of power."""
    return _in(unit, "W")


def watt_hours(unit: str) -> float | None:
    """How many Wh, VAh or varh the unit is; None if it is no unit of energy."""
    return _in(unit, "W.h")


@lru_cache(maxsize=1024)
def _in(unit: str, base: str) -> float | None:
    match = _SPELLED.fullmatch(unit)
    text = f"{match[1]}W{'.h' if match[2] else ''}" if match else unit
    try:
        ours, theirs = parse(text), parse(base)
    except UnitError:
        return None
    if ours.dimension != theirs.dimension or ours.size <= 0:
        return None
    try:
        factor = float(ours.size / theirs.size)
    except OverflowError:
        return None
    return factor if factor > 0 else None


def power_of(text: str) -> float:
    """``60kW``, ``630 kVA``, ``100kvar`` in W, VA or var.

    Raises:
        ValueError: it is no positive power.
    """
    match = _TEXT.match(text)
    factor = watts(match[2]) if match else None
    if match is None or factor is None:
        raise ValueError(f"{text!r} is not a power; write a number and a unit, such as 60kW, 630kVA or 100kvar")
    power = float(match[1]) * factor
    if not 0 < power < math.inf:
        raise ValueError("must be greater than 0")
    return power
