"""What registers may mean: every way to read them, and how much each looks like a value of a grid. Pure.

A float that decodes to 230.4 by the wrong order of words is a rare accident (of all 32-bit patterns one in a
hundred lies between 100 and 480), a 16-bit integer that scales to 230.4 is not. A candidate's score is therefore

    score = worth of the type x fit of the value + neighbours that fit as well + growth of a counter

between 0 and 100, and the reasons say where it comes from. It ranks; it proves nothing.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from adapters.modbus.layout import Layout
from adapters.modbus.place import Order, Table, ValueType
from adapters.modbus.tools.reading import shortest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_CODES = {
    ValueType.INT16: "h", ValueType.UINT16: "H", ValueType.INT32: "i", ValueType.UINT32: "I",
    ValueType.INT64: "q", ValueType.UINT64: "Q", ValueType.FLOAT32: "f", ValueType.FLOAT64: "d",
}  # fmt: skip
_WORTH = {
    ValueType.FLOAT64: 75.0, ValueType.FLOAT32: 70.0, ValueType.INT32: 40.0, ValueType.UINT32: 41.0,
    ValueType.INT64: 36.0, ValueType.UINT64: 37.0, ValueType.INT16: 38.0, ValueType.UINT16: 39.0,
}  # fmt: skip
_SCALES = (1.0, 0.1, 0.01, 0.001)
_COST = {1.0: 0.0, 0.1: 1.0, 0.01: 3.0, 0.001: 6.0}
_LEAST = 10.0


@dataclass(frozen=True)
class Form:
    """One way to read registers."""

    type: ValueType
    order: Order
    scale: float = 1.0

    @property
    def width(self) -> int:
        """Registers that a value takes."""
        return max(1, self.type.size // 2)

    @property
    def is_float(self) -> bool:
        """Whether it is a floating-point number."""
        return self.type in {ValueType.FLOAT32, ValueType.FLOAT64}


@dataclass(frozen=True)
class Guess:
    """A place read in one way, and how plausible that looks."""

    score: float
    table: Table
    address: int
    form: Form
    value: float
    meaning: str
    """``voltage``, ``frequency`` ... as far as can be told."""
    why: tuple[str, ...]

    @property
    def at(self) -> str:
        """As the YAML writes it."""
        return f"{self.table}:{self.address}"


@dataclass(frozen=True)
class Seen:
    """The registers of one table at two times; the second may be empty."""

    table: Table
    first: Mapping[int, int]
    second: Mapping[int, int] = field(default_factory=dict)


def rank(seen: list[Seen], address: int, expect: float | None = None) -> list[Guess]:
    """All ways to read what lies at ``address``, one before or one behind it, the most plausible first.

    Args:
        seen: what was read of each table.
        address: where the value is said to be.
        expect: what the device's own display shows, if somebody looked.
    """
    guesses = [guess for one in seen for guess in _of_table(one, address, expect)]
    best: dict[tuple[Table, int, float], Guess] = {}
    for guess in sorted(guesses, key=lambda guess: -guess.score):
        best.setdefault((guess.table, guess.address, guess.value), guess)
    return [guess for guess in best.values() if guess.score >= _LEAST]


def _of_table(seen: Seen, address: int, expect: float | None) -> Iterator[Guess]:
    for at in (address, address - 1, address + 1):
        for form in _FORMS:
            raw = number(seen.first, at, form)
            if raw is not None:
                yield _judge(seen, at, form, raw, expect, at - address)


def _forms() -> Iterator[Form]:
    for type_ in _CODES:
        is_float = type_ in {ValueType.FLOAT32, ValueType.FLOAT64}
        for order in Order:
            if type_.size > 2 or not order.swaps_words:
                yield from (Form(type_, order, scale) for scale in ((1.0,) if is_float else _SCALES))


_FORMS = tuple(_forms())


def number(registers: Mapping[int, int], at: int, form: Form) -> float | None:
    """The raw value at a place, or None if its registers were not read, or it is not a number."""
    places = range(at, at + form.width)
    if any(place not in registers for place in places):
        return None
    data = b"".join(registers[place].to_bytes(2, "big") for place in places)
    layout = Layout(Table.HOLDING, at, form.width, form.type, form.order)
    plain = bytes(data[i] for i in layout.byte_indices(at))
    (value,) = struct.unpack(f">{_CODES[form.type]}", plain)
    return float(value) if math.isfinite(value) else None


def _judge(seen: Seen, at: int, form: Form, raw: float, expect: float | None, offset: int) -> Guess:
    value = raw * form.scale
    meaning, fit, reason = _meaning(value)
    why = [reason] if reason else []
    if meaning in _VAGUE and not form.is_float:
        fit *= 0.6  # with some scale nearly any integer is one of these
    score = (_WORTH[form.type] - _COST[form.scale]) * fit
    if meaning in _QUANTITIES:
        score += _neighbours(seen, at, form, meaning, why)
    if meaning in {"count", "power"}:
        score += _growth(seen, at, form, why)
    score *= _RARITY[form.order]
    if expect is not None:
        score = _expected(value, expect, score, why)
    if offset:
        score *= 0.95 if offset < 0 else 0.85  # printed maps often count from one, rarely from minus one
        why.append("the address given is one too high" if offset < 0 else "the address given is one too low")
    return Guess(round(min(score, 100.0), 1), seen.table, at, form, shortest(form.type, value), meaning, tuple(why))


_QUANTITIES = {"frequency", "voltage", "power factor", "current", "power"}
_VAGUE = {"current", "power"}
_RARITY = {Order.ABCD: 1.0, Order.CDAB: 0.9, Order.BADC: 0.8, Order.DCBA: 0.8}
_NOMINAL = {230.0: 8, 400.0: 8, 120.0: 8, 240.0: 3, 208.0: 3, 277.0: 3, 480.0: 3}
"""Voltages of grids, and how many percent beside one still count as it."""


def _meaning(value: float) -> tuple[str, float, str]:
    """What a number of a grid is, how well it fits (0 to 1), and that in words."""
    near = next((nominal for nominal, percent in _NOMINAL.items() if abs(value / nominal - 1) <= percent / 100), None)
    if abs(value - 50) <= 1 or abs(value - 60) <= 1:
        return "frequency", 1.0, f"{value:.2f} is near 50 or 60 Hz"
    if near is not None:
        return "voltage", 1.0, f"{value:.1f} is within {_NOMINAL[near]} % of {near:.0f} V"
    if 100 <= value <= 480:
        return "voltage", 0.8, f"{value:.1f} lies within 100 to 480 V"
    if value.is_integer():
        return ("count", 0.3, "") if 1 <= value <= 1e9 else ("", 0.0, "")
    return _fraction(value)


def _fraction(value: float) -> tuple[str, float, str]:
    size = abs(value)
    if 0.4 <= size <= 1:
        return "power factor", 0.8, f"{value:.3f} could be a power factor"
    if 0.01 <= size <= 100:
        return "current", 0.6, f"{value:.3f} could be a current"
    if size <= 1e7 and size > 100:
        return "power", 0.5, f"{value:.1f} could be a power or an energy"
    return "", 0.0, ""


def _neighbours(seen: Seen, at: int, form: Form, meaning: str, why: list[str]) -> float:
    """Two more values of the same form and meaning behind this one: three phases."""
    behind = [number(seen.first, at + i * form.width, form) for i in (1, 2)]
    alike = [raw for raw in behind if raw is not None and _meaning(raw * form.scale)[0] == meaning]
    if not alike:
        return 0.0
    why.append("the next two values look alike" if len(alike) > 1 else "one of the next values looks alike")
    return 10.0 * len(alike)


def _growth(seen: Seen, at: int, form: Form, why: list[str]) -> float:
    """A counter: a little more at the second look."""
    before, after = number(seen.first, at, form), number(seen.second, at, form)
    if before is None or after is None or not 0 < after - before <= max(0.01 * before, 1.0):
        return 0.0
    why.append(f"grew by {(after - before) * form.scale:.4g} between two reads, as a counter does")
    return 25.0


def _expected(value: float, expect: float, score: float, why: list[str]) -> float:
    error = abs(value - expect) / max(abs(expect), 1e-9)
    if error > 0.05:  # the display and the register may be a moment apart, not more
        return score * 0.2
    why.insert(0, f"within {100 * error:.2g} % of the {expect:g} that was expected")
    return score * 0.4 + 60.0 * (1 - error)
