"""A small installation that a simulated device measures: voltages, currents and counters that move. No clock.

Each quantity wanders around its middle and returns to it (an Ornstein-Uhlenbeck process), so that it never
leaves what is plausible, and all that depends on another is computed from it: P = U x I x PF, energy is the
integral of power. The same seed and the same steps give the same values.
"""

from __future__ import annotations

import math
import random
import zlib
from typing import TYPE_CHECKING

from adapters.modbus.tools.roles import Quantity, Role

if TYPE_CHECKING:
    from adapters.modbus.config import ModbusPoint

_FASTEST = 0.2  # of the way back to the middle, at most, in one step


class Wander:
    """One wandering number."""

    def __init__(self, chance: random.Random, middle: float, spread: float, relax_s: float) -> None:
        self.value = middle + chance.gauss(0, spread)
        self._chance, self._middle, self._spread, self._relax_s = chance, middle, spread, relax_s

    def step(self, seconds: float) -> None:
        """Move on."""
        back = min(seconds / self._relax_s, _FASTEST)
        noise = self._spread * math.sqrt(2 * back) * self._chance.gauss(0, 1)
        limit = 3 * self._spread
        moved = self.value + back * (self._middle - self.value) + noise
        self.value = min(max(moved, self._middle - limit), self._middle + limit)


class Plant:
    """An installation of one or three phases.

    Args:
        phases: 1 or 3.
        seed: of all that is left to chance.
    """

    def __init__(self, phases: int, seed: int) -> None:
        chance = random.Random(seed)  # noqa: S311  # noise that must be the same again, not a secret
        self.phases = phases
        self._voltage = [Wander(chance, 230.0, 1.5, 60.0) for _ in range(phases)]
        self._current = [Wander(chance, chance.uniform(5, 20), 1.2, 20.0) for _ in range(phases)]
        self._factor = [Wander(chance, 0.95, 0.008, 30.0) for _ in range(phases)]
        self._frequency = Wander(chance, 50.0, 0.015, 10.0)
        self._temperature = Wander(chance, 35.0, 1.0, 120.0)
        self._percent = Wander(chance, 55.0, 2.0, 300.0)
        self._energy = {quantity: [chance.uniform(1e6, 2e6)] * phases for quantity in _INTEGRALS}

    def step(self, seconds: float) -> None:
        """Let time pass."""
        for wander in (*self._voltage, *self._current, *self._factor, self._frequency, self._temperature):
            wander.step(seconds)
        self._percent.step(seconds)
        for quantity, source in _INTEGRALS.items():
            powers = [self._of_phase(source, i) for i in range(self.phases)]
            counts = self._energy[quantity]
            self._energy[quantity] = [wh + w * seconds / 3600 for wh, w in zip(counts, powers, strict=True)]

    def _of_phase(self, quantity: Quantity, i: int) -> float:
        voltage, current, factor = self._voltage[i].value, self._current[i].value, self._factor[i].value
        apparent = voltage * current
        return {
            Quantity.VOLTAGE: voltage,
            Quantity.LINE_VOLTAGE: voltage * math.sqrt(3),
            Quantity.CURRENT: current,
            Quantity.FACTOR: factor,
            Quantity.APPARENT: apparent,
            Quantity.POWER: apparent * factor,
            Quantity.REACTIVE: apparent * math.sqrt(1 - factor**2),
            Quantity.ANGLE: math.degrees(math.acos(factor)),
        }[quantity]

    def show(self, role: Role, point: ModbusPoint) -> float:
        """What the device shows of a point, in the point's unit."""
        value = self._base(role, point) / role.factor
        if point.limits is not None:
            value = min(max(value, point.limits[0]), point.limits[1])
        return value

    def _base(self, role: Role, point: ModbusPoint) -> float:
        quantity = role.quantity
        if quantity in _INTEGRALS:
            return self._counted(role)
        if quantity in _OF_ALL:
            return self._of_all(role, point)
        if role.phase:
            return self._of_phase(quantity, (role.phase - 1) % self.phases)
        return self._together(quantity, role)

    def _of_all(self, role: Role, point: ModbusPoint) -> float:
        """What has no phases."""
        if role.quantity is Quantity.OTHER:
            return _anything(point)
        if role.quantity is Quantity.PERCENT:
            return 2.5 if "thd" in role.name else self._percent.value
        return (self._frequency if role.quantity is Quantity.FREQUENCY else self._temperature).value

    def _together(self, quantity: Quantity, role: Role) -> float:
        parts = [self._of_phase(quantity, i) for i in range(self.phases)]
        if quantity in {Quantity.POWER, Quantity.REACTIVE, Quantity.APPARENT} or "sum" in role.name:
            return math.fsum(parts)
        if quantity is Quantity.FACTOR:
            power = math.fsum(self._of_phase(Quantity.POWER, i) for i in range(self.phases))
            return power / math.fsum(self._of_phase(Quantity.APPARENT, i) for i in range(self.phases))
        return math.fsum(parts) / self.phases

    def _counted(self, role: Role) -> float:
        """A counter in W.h, VA.h or var.h. Nothing is exported: such counters stand still."""
        counts = self._energy[role.quantity]
        if "export" in role.name:
            return 1000.0 * (zlib.crc32(role.name.encode()) % 100)
        return counts[(role.phase - 1) % self.phases] if role.phase else math.fsum(counts)


_INTEGRALS = {
    Quantity.ENERGY: Quantity.POWER,
    Quantity.APPARENT_ENERGY: Quantity.APPARENT,
    Quantity.REACTIVE_ENERGY: Quantity.REACTIVE,
}
_OF_ALL = {Quantity.FREQUENCY, Quantity.TEMPERATURE, Quantity.PERCENT, Quantity.OTHER}


def _anything(point: ModbusPoint) -> float:
    """A steady number for what the plant knows nothing of: a state's first number, a limit's middle, or one."""
    if point.texts:
        return float(next(iter(point.texts.values())))
    if point.limits is not None:
        return (point.limits[0] + point.limits[1]) / 2
    return 1.0
