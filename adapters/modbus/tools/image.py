"""The registers of a device that plays a profile: what each point shows, encoded as the profile says. No I/O."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

from adapters.modbus.encode import UnfitError, encode, mask_of
from adapters.modbus.layout import Layout
from adapters.modbus.place import Table, ValueType, parse_at
from adapters.modbus.scaling import Rule
from adapters.modbus.tools.plant import Plant
from adapters.modbus.tools.roles import Role, role_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from adapters.modbus.config import ModbusPoint
    from adapters.modbus.scaling import ScaleFrom

_POWER = -1
"""The exponent that every scale factor of a played device shows: tenths."""


class Image:
    """What a played device holds. Addresses that no point names are not there, but for short gaps.

    Args:
        points: the device's, by name.
        seed: of what the plant leaves to chance.
        max_gap: registers between two points that a read may bridge; they are 0.
        fixed: holding registers that are no point's.
    """

    def __init__(
        self,
        points: Mapping[str, ModbusPoint],
        seed: int,
        max_gap: int = 0,
        fixed: Mapping[int, int] | None = None,
    ) -> None:
        self._roles = {name: role_of(name, point) for name, point in points.items()}
        phases = 3 if any(role.phase > 1 for role in self._roles.values()) else 1
        self._plant = Plant(phases, seed)
        self._parts = [(point, self._roles[name], Layout.of(point)) for name, point in points.items()]
        self.tables: dict[Table, dict[int, int]] = {table: {} for table in Table}
        """Address to register (or bit), by table."""
        self.tables[Table.HOLDING].update(fixed or {})
        self._pinned: set[tuple[Table, int]] = set()
        for point in points.values():
            self._factors(point)
        self.step(0.0)
        for held in self.tables.values():
            for before, behind in pairwise(sorted(held)):
                if behind - before - 1 <= max_gap:
                    held.update(dict.fromkeys(range(before + 1, behind), 0))

    def step(self, seconds: float) -> None:
        """Let time pass, and show what is now."""
        self._plant.step(seconds)
        for point, role, layout in self._parts:
            self._put(layout, _encoded(layout, self._shown(point, role)))

    def pin(self, table: Table, address: int, values: Sequence[int]) -> None:
        """Somebody has written: show that from now on."""
        for at, value in enumerate(values, address):
            self.tables[table][at] = value
            self._pinned.add((table, at))

    def _shown(self, point: ModbusPoint, role: Role) -> float | str:
        """What goes into the registers before the point's own scale: of what the device scales, more."""
        if point.type is ValueType.STRING:
            return role.name.upper()[: 2 * point.width]
        value = self._plant.show(role, point)
        for factor in point.scale_from:
            value /= 10.0**_POWER if factor.rule is Rule.POWER else 1.0
        return value

    def _factors(self, point: ModbusPoint) -> None:
        for factor in point.scale_from:
            table, address = parse_at(factor.at)
            layout = Layout(table, address, factor.type.size // 2, factor.type, factor.order)
            self._put(layout, encode(layout, _POWER if _is_power(factor) else 1))

    def _put(self, layout: Layout, data: bytes) -> None:
        held = self.tables[layout.table]
        if any((layout.table, layout.address + i) in self._pinned for i in range(layout.width)):
            return
        if layout.table.is_bits:
            held[layout.address] = data[0]
            return
        mask = mask_of(layout)
        for i in range(layout.width):
            kept = 0xFFFF ^ int.from_bytes(mask[2 * i : 2 * i + 2], "big")
            new = int.from_bytes(data[2 * i : 2 * i + 2], "big")
            held[layout.address + i] = held.get(layout.address + i, 0) & kept | new


def _is_power(factor: ScaleFrom) -> bool:
    return factor.rule is Rule.POWER


def _encoded(layout: Layout, value: float | str) -> bytes:
    """The value, or the nearest that the registers can hold."""
    for shown in _nearest(layout, value):
        try:
            return encode(layout, shown)
        except UnfitError:
            continue
    return bytes(2 * layout.width)


def _nearest(layout: Layout, value: float | str) -> Iterator[float | str]:
    yield value
    if isinstance(value, str):
        return
    if layout.type is ValueType.BOOL:
        yield float(value > 0.5)
        return
    bits = layout.bits or 8 * layout.type.size - (not layout.type.is_unsigned)
    wrapped = math.fmod(abs(value - layout.offset) / abs(layout.scale), 2.0 ** (bits - 1))
    yield wrapped * layout.scale + layout.offset  # a counter that is larger than its registers has wrapped
    yield layout.offset
