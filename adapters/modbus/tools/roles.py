"""What the points of a profile mean, from their units and names: ``power_l1`` in kW is an active power. Pure."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from adapters.modbus.config import ModbusPoint


class Quantity(enum.StrEnum):
    """A quantity of a grid."""

    VOLTAGE = "voltage"
    LINE_VOLTAGE = "line voltage"
    CURRENT = "current"
    POWER = "power"
    APPARENT = "apparent power"
    REACTIVE = "reactive power"
    FACTOR = "power factor"
    FREQUENCY = "frequency"
    ENERGY = "energy"
    APPARENT_ENERGY = "apparent energy"
    REACTIVE_ENERGY = "reactive energy"
    ANGLE = "angle"
    PERCENT = "percent"
    TEMPERATURE = "temperature"
    OTHER = "other"


_UNITS = {
    "V": (Quantity.VOLTAGE, 1.0),
    "A": (Quantity.CURRENT, 1.0),
    "W": (Quantity.POWER, 1.0),
    "V.A": (Quantity.APPARENT, 1.0),
    "V.A{reactive}": (Quantity.REACTIVE, 1.0),
    "var": (Quantity.REACTIVE, 1.0),
    "W.h": (Quantity.ENERGY, 1.0),
    "V.A.h": (Quantity.APPARENT_ENERGY, 1.0),
    "V.A.h{reactive}": (Quantity.REACTIVE_ENERGY, 1.0),
    "Hz": (Quantity.FREQUENCY, 1.0),
    "%": (Quantity.PERCENT, 1.0),
    "deg": (Quantity.ANGLE, 1.0),
    "Cel": (Quantity.TEMPERATURE, 1.0),
}
_PREFIXES = {"m": 1e-3, "k": 1e3, "M": 1e6}
_SPECIAL = re.compile(
    r"(?:demand|max(?:imum)?|min(?:imum)?|thd|dc|pv|mppt|string|batter(?:y|ies)|rated|rating|nominal|limit|set|"
    r"setpoint|target|average|avg|today|daily|day|month|monthly|year|tariff|t|available|capability|capacity|"
    r"reserve|charged?|discharged?|export(?:ed)?|import(?:ed)?|net|neutral|n|sum|mean|backup|fundamental|"
    r"harmonics?|unbalance|offset|threshold|grid|load|meter|stack|bus|cell|module)\d*"
)
"""Words in a name that make it something else than the momentary value of the whole connection."""
_PHASE = re.compile(r"(?:_|^)(?:l|phase_?|p)([123])(?:_|$)|_([abc])(?:_|$)")
_LINE = re.compile(r"l[123]_?l[123]|_ll(?:_|$)|_(?:ab|bc|ca)(?:_|$)|line_to_line|line_voltage")


@dataclass(frozen=True)
class Role:
    """What one point is: its quantity, its phase (0: all together) and its unit as a factor to V, A, W ...

    ``plain``: the momentary value of the whole connection, not a maximum, a demand or one side of a counter.
    """

    quantity: Quantity
    phase: int
    factor: float
    plain: bool
    name: str


def role_of(name: str, point: ModbusPoint) -> Role:
    """The role of a point, by its unit first and its name second."""
    quantity, factor = _quantity(point.unit)
    if point.is_state:
        quantity = Quantity.OTHER
    elif point.unit in {"", "1"} and re.search(r"power_factor|cos_?phi|(?:^|_)pf(?:_|$)", name):
        quantity = Quantity.FACTOR
    elif quantity is Quantity.VOLTAGE and _LINE.search(name):
        quantity = Quantity.LINE_VOLTAGE
    found = _PHASE.search(name)
    phase = 0
    if found and quantity is not Quantity.LINE_VOLTAGE:
        phase = int(found[1]) if found[1] else "abc".index(found[2]) + 1
    plain = not any(_SPECIAL.fullmatch(word) for word in re.split(r"[_.\-]", name))
    return Role(quantity, phase, factor, plain, name)


def _quantity(unit: str) -> tuple[Quantity, float]:
    if unit in _UNITS:
        return _UNITS[unit]
    if unit[:1] in _PREFIXES and unit[1:] in _UNITS:
        quantity, factor = _UNITS[unit[1:]]
        return quantity, factor * _PREFIXES[unit[0]]
    return Quantity.OTHER, 1.0
