"""Whether what a device shows through a profile can be true: limits, sums of phases, U x I x PF = P. Pure.

The registers of one device are not read at one moment, and its own rounding adds up. Relations are therefore
ok within 5 % (of the apparent power, where powers are compared), suspicious within 25 %, and failed beyond.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from adapters.modbus.tools.roles import Quantity, Role, role_of
from gateway.point import Kind
from gateway.quality import INVALID, VALIDITY, Reason

if TYPE_CHECKING:
    from adapters.modbus.config import ModbusPoint

GOOD_WITHIN = 0.05
BAD_BEYOND = 0.25
_SMALL = 20.0  # W, VA or var: below, a meter's own steps are larger than the tolerance


class Verdict(enum.StrEnum):
    """What a check says."""

    OK = "ok"
    SUSPICIOUS = "suspicious"
    FAILED = "failed"


@dataclass(frozen=True)
class Check:
    """The result of one check."""

    name: str
    verdict: Verdict
    why: str = ""


@dataclass(frozen=True)
class Shown:
    """One sample of a point; ``text`` where the point is a state."""

    value: float
    quality: int = 0
    reason: Reason = Reason.NONE
    text: str = ""


def check_points(points: Mapping[str, ModbusPoint], shown: Mapping[str, Sequence[Shown]]) -> list[Check]:
    """Each point by itself; ``shown`` has its samples, the oldest first."""
    return [_check_point(name, point, shown.get(name, ())) for name, point in points.items()]


def _check_point(name: str, point: ModbusPoint, samples: Sequence[Shown]) -> Check:
    if not samples:
        return Check(name, Verdict.FAILED, "no sample in time")
    last = samples[-1]
    if last.quality & VALIDITY == INVALID or math.isnan(last.value):
        absent = last.reason is Reason.NOT_IMPLEMENTED
        return Check(name, Verdict.SUSPICIOUS if absent else Verdict.FAILED, _refusal(last.reason))
    return _check_value(name, point, samples)


def _check_value(name: str, point: ModbusPoint, samples: Sequence[Shown]) -> Check:
    last = samples[-1]
    if point.is_state:
        return _check_state(name, point, last)
    if point.limits is not None and not point.limits[0] <= last.value <= point.limits[1]:
        low, high = point.limits
        return Check(name, Verdict.FAILED, f"{last.value:g} is not within {low:g} to {high:g} {point.unit}".rstrip())
    if point.kind is Kind.COUNTER:
        return _check_counter(name, [one.value for one in samples if one.quality & VALIDITY != INVALID])
    return _check_gauge(role_of(name, point), last.value)


def _refusal(reason: Reason) -> str:
    if reason is Reason.NOT_IMPLEMENTED:
        return "the device says that it does not have this"
    if reason is Reason.ILLEGAL_DATA_ADDRESS:
        return "the device refuses the address (exception 2)"
    return reason.text if reason is not Reason.NONE else "no value"


def _check_state(name: str, point: ModbusPoint, last: Shown) -> Check:
    if point.texts and last.text not in point.texts:
        return Check(name, Verdict.SUSPICIOUS, f"{last.text or last.value} is none of the states of the profile")
    return Check(name, Verdict.OK)


def _check_counter(name: str, values: Sequence[float]) -> Check:
    if values[-1] < values[0]:
        return Check(name, Verdict.FAILED, f"a counter that fell from {values[0]:g} to {values[-1]:g}")
    if values[-1] < 0:
        return Check(name, Verdict.FAILED, f"a counter below zero: {values[-1]:g}")
    return Check(name, Verdict.OK)


def _check_gauge(role: Role, value: float) -> Check:
    value *= role.factor
    if not role.plain:
        return Check(role.name, Verdict.OK)
    if role.quantity is Quantity.FREQUENCY:
        near = min(abs(value - 50), abs(value - 60))
        why = f"{value:g} Hz is not near 50 or 60"
        return _judged(role.name, near, 1.0, 10.0, why)
    if role.quantity is Quantity.FACTOR and abs(value) > 1.001:
        return Check(role.name, Verdict.FAILED, f"a power factor of {value:g}")
    if role.quantity in {Quantity.VOLTAGE, Quantity.LINE_VOLTAGE} and not 80 <= value <= 1000:
        why = "no voltage" if value == 0 else f"{value:g} V is no voltage of a low-voltage grid"
        return Check(role.name, Verdict.SUSPICIOUS, why)
    return Check(role.name, Verdict.OK)


def _judged(name: str, error: float, good: float, bad: float, why: str) -> Check:
    if error <= good:
        return Check(name, Verdict.OK)
    return Check(name, Verdict.SUSPICIOUS if error <= bad else Verdict.FAILED, why)


def check_relations(points: Mapping[str, ModbusPoint], values: Mapping[str, float]) -> list[Check]:
    """What must hold between points; ``values`` are those that are good, in their points' units."""
    table: dict[tuple[Quantity, int], tuple[str, float]] = {}
    for name, value in values.items():
        role = role_of(name, points[name])
        if role.plain and role.quantity is not Quantity.OTHER:
            table.setdefault((role.quantity, role.phase), (name, value * role.factor))
    return [*_sums(table), *_products(table), *_triangles(table), *_line_voltages(table), *_directions(table)]


Table = Mapping[tuple[Quantity, int], tuple[str, float]]


def _phases(table: Table, quantity: Quantity) -> list[float]:
    """The values of all three phases, or none."""
    found = [table[quantity, phase][1] for phase in (1, 2, 3) if (quantity, phase) in table]
    return found if len(found) == 3 else []


def _sums(table: Table) -> Iterator[Check]:
    for quantity in (Quantity.POWER, Quantity.REACTIVE, Quantity.APPARENT, Quantity.ENERGY):
        parts = _phases(table, quantity)
        if not parts or (quantity, 0) not in table:
            continue
        name, total = table[quantity, 0]
        size = max(abs(total), math.fsum(map(abs, parts)), _SMALL)
        summed = math.fsum(parts)
        error = abs(summed - total) / size
        if quantity is Quantity.APPARENT:
            error = min(error, BAD_BEYOND)  # an arithmetic or a vector sum: meters differ
        why = f"the phases sum to {math.fsum(parts):.5g}, the total says {total:.5g}"
        yield _judged(
            f"sum of {quantity}: {name}", error, GOOD_WITHIN, BAD_BEYOND, why + _power_of_ten(math.fsum(parts), total)
        )


def _products(table: Table) -> Iterator[Check]:
    """U x I x PF = P, for each phase, and for a meter of one."""
    single = not any((Quantity.VOLTAGE, phase) in table for phase in (1, 2, 3))
    for phase in (0,) if single else (1, 2, 3):
        parts = [table.get((quantity, phase)) for quantity in (Quantity.VOLTAGE, Quantity.CURRENT, Quantity.POWER)]
        factor = table.get((Quantity.FACTOR, phase))
        if None in parts or factor is None:
            continue
        (_, voltage), (_, current), (name, power) = (part for part in parts if part is not None)
        product, real = abs(voltage * current * factor[1]), abs(power)
        error = abs(product - real) / max(product, real, abs(voltage * current), _SMALL)
        why = f"U x I x PF is {product:.5g}, P says {real:.5g}" + _power_of_ten(product, real)
        yield _judged(f"U x I x PF = P: {name}", error, GOOD_WITHIN, BAD_BEYOND, why)


def _triangles(table: Table) -> Iterator[Check]:
    """P^2 + Q^2 = S^2."""
    for phase in (0, 1, 2, 3):
        found = [table.get((quantity, phase)) for quantity in (Quantity.POWER, Quantity.REACTIVE, Quantity.APPARENT)]
        if None in found:
            continue
        (_, real), (_, reactive), (name, apparent) = (one for one in found if one is not None)
        computed = math.hypot(real, reactive)
        error = abs(computed - abs(apparent)) / max(computed, abs(apparent), _SMALL)
        why = f"sqrt(P^2 + Q^2) is {computed:.5g}, S says {apparent:.5g}" + _power_of_ten(computed, apparent)
        # harmonics are part of S, not of Q: far off is odd, not wrong
        yield _judged(f"P^2 + Q^2 = S^2: {name}", min(error, BAD_BEYOND), 2 * GOOD_WITHIN, BAD_BEYOND, why)


def _line_voltages(table: Table) -> Iterator[Check]:
    parts = _phases(table, Quantity.VOLTAGE)
    line = table.get((Quantity.LINE_VOLTAGE, 0))
    if parts and line is not None and min(parts) > 80:
        expected = math.sqrt(3) * math.fsum(parts) / 3
        error = abs(line[1] - expected) / expected
        why = f"between phases {line[1]:.4g} V, expected {expected:.4g} V"
        yield _judged(f"line voltage: {line[0]}", error, 2 * GOOD_WITHIN, 2 * BAD_BEYOND, why)


def _directions(table: Table) -> Iterator[Check]:
    """One phase against the two others: often a current transformer the wrong way round."""
    powers = _phases(table, Quantity.POWER)
    if powers and min(map(abs, powers)) > _SMALL:
        negative = [phase for phase, power in enumerate(powers, 1) if power < 0]
        odd = negative if len(negative) == 1 else [phase for phase in (1, 2, 3) if phase not in negative]
        same = len(negative) in {0, 3}
        why = "" if same else f"phase {odd[0]} flows against the others: is its current transformer reversed?"
        yield Check("direction of phases", Verdict.OK if same else Verdict.SUSPICIOUS, why)


def _power_of_ten(one: float, other: float) -> str:
    """A hint where two values differ by a factor of ten, a hundred or a thousand."""
    if not one or not other:
        return ""
    exponent = round(math.log10(abs(other / one)))
    if exponent and abs(abs(other / one) / 10.0**exponent - 1) < GOOD_WITHIN:
        return f" ({10 ** abs(exponent)} times {'more' if exponent > 0 else 'less'}: a matter of scale or unit)"
    return ""
