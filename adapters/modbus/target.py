"""Points that may be written: what is sent for a value, and whether what is read is what was sent. Pure.

An *image* is the bytes of the read that fetches a point: of its value and, if it is scaled by the device, of
the factors. What a write sends is cut out of the image that it wants to see.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from adapters.modbus.encode import UnfitError, encode, mask_of
from adapters.modbus.factor import Factors
from adapters.modbus.layout import Decoder, Layout
from adapters.modbus.pdu import Request, read_request
from adapters.modbus.planner import Read

if TYPE_CHECKING:
    from collections.abc import Sequence

    from adapters.modbus.config import ModbusPoint
    from adapters.modbus.group import Device
    from adapters.modbus.write_options import Write

_SLACK = 1 + 1e-6  # of a tolerance: decimal steps are not exact in binary


@dataclass(frozen=True)
class Target:
    """A point that may be written."""

    name: str
    device: Device
    layout: Layout
    options: Write
    limits: tuple[float, float] | None
    turn: asyncio.Lock
    """Shared by all points that share a register: one write at a time, from sending to reading back."""

    @classmethod
    def of(cls, name: str, device: Device, point: ModbusPoint, options: Write) -> Target:
        """The target that a point's options make."""
        return cls(name, device, Layout.of(point), options, point.limits, asyncio.Lock())

    @property
    def request(self) -> Request:
        """The read that fetches an image."""
        span = self.layout.span
        return read_request(self.device.unit, span.table, span.address, span.width)

    @cached_property
    def _own(self) -> slice:
        """Where the value's bytes are in an image."""
        if self.layout.table.is_bits:
            return slice(0, 1)
        start = 2 * (self.layout.address - self.layout.span.address)
        return slice(start, start + 2 * self.layout.width)

    def image(self, value: float | str, before: bytes = b"") -> bytes:
        """The image that shows ``value``; ``before`` is one read from the device, if that has factors.

        Raises:
            UnfitError: the value does not fit the point's type or limits, or a factor is not there.
        """
        if self.limits is not None and isinstance(value, (int, float)):
            low, high = self.limits
            if not low <= value <= high:
                raise UnfitError("out-of-range", f"{self.name}: {value} is not within {low:g} to {high:g}")
        layout = self.layout
        if not layout.factors:
            return encode(layout, value)
        scaling = Factors(layout.factors, layout.span.address).decode(np.frombuffer(before, np.uint8))
        if scaling.broken.any():
            raise UnfitError("no-factor", f"{self.name}: the device states no scale factor now")
        scale = layout.scale * float(np.prod(scaling.times) / np.prod(scaling.over))
        out = bytearray(before)
        out[self._own] = encode(replace(layout, scale=scale, factors=()), value)
        return bytes(out)

    def value(self, image: bytes) -> float | str:
        """The value that an image shows; NaN if it is none."""
        texts: list[str] = []

        def state(_: int, text: str) -> float:
            texts.append(text)
            return 0.0

        value, quality = np.empty(1), np.zeros(1, np.uint16)
        span = self.layout.span
        Decoder([self.layout], Read(*span, (0,))).decode(image, value, quality, state)
        return texts[0] if texts else float(value[0])

    def agrees(self, sent: bytes, seen: bytes) -> bool:
        """Whether an image that was read shows what was sent, within the tolerance."""
        own, mask = self._own, mask_of(self.layout)
        same = all(not (a ^ b) & m for a, b, m in zip(sent[own], seen[own], mask, strict=True))
        if same and not self.layout.factors:
            return True
        wanted, got = self.value(sent), self.value(seen)
        if isinstance(wanted, str) or isinstance(got, str):
            return wanted == got
        return abs(got - wanted) <= self.options.tolerance * _SLACK

    def part(self, image: bytes) -> Part:
        """What is to be written, so that the device shows ``image``."""
        return Part.of(self.layout, image[self._own])


@dataclass(frozen=True)
class Part:
    """The registers that a write touches, with their new bits and which bits those are."""

    address: int
    data: bytes
    mask: bytes

    @classmethod
    def of(cls, layout: Layout, data: bytes) -> Part:
        """The part that a value with these bytes changes."""
        mask = mask_of(layout)
        touched = [i // 2 for i, byte in enumerate(mask) if byte]
        where = slice(2 * min(touched), 2 * max(touched) + 2)
        return cls(layout.address + min(touched), data[where], mask[where])

    @property
    def count(self) -> int:
        """Registers."""
        return len(self.data) // 2

    @property
    def whole(self) -> bool:
        """Whether nothing of the registers has to be kept."""
        return not self.mask.strip(b"\xff")

    @property
    def function(self) -> int:
        """The function that ``auto`` stands for."""
        if self.count > 1:
            return 16
        return 6 if self.whole else 22

    def into(self, old: bytes) -> Part:
        """Whole registers: those bits that are not this part's stay as they were in ``old``."""
        data = bytes(was & ~m & 0xFF | new for was, new, m in zip(old, self.data, self.mask, strict=True))
        return replace(self, data=data, mask=b"\xff" * len(data))


def sharing_turns(targets: Sequence[Target]) -> list[Target]:
    """The targets, those that share a register of a unit also sharing their turn."""

    def place(target: Target) -> tuple[int, str, int]:
        return target.device.unit, target.layout.table, target.layout.address

    found: list[Target] = []
    end: tuple[int, str, int] | None = None
    for target in sorted(targets, key=place):
        unit, table, address = place(target)
        shares = end is not None and end[:2] == (unit, table) and address < end[2]
        last = address + target.layout.width
        end = (unit, table, max(last, end[2]) if end and shares else last)
        found.append(replace(target, turn=found[-1].turn) if shares else target)
    return found
