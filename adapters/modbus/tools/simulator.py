"""``onpath modbus simulate``: a server that plays a profile, on any transport, and does wrong what it is told to.

Where it listens is in :mod:`adapters.modbus.tools.serving`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from adapters.modbus.config import MAX_REGISTERS, SUNSPEC, ModbusConfig, ModbusDevice
from adapters.modbus.place import Table, parse_at
from adapters.modbus.profile import resolve
from adapters.modbus.sunspec import BASES, Chain, Model
from adapters.modbus.sunspec_points import definition, map_of
from adapters.modbus.tools.device import PlayedDevice
from adapters.modbus.tools.far import FRAMINGS, Asked, FarFraming
from adapters.modbus.tools.faults import Fault, Faults
from adapters.modbus.tools.image import Image
from adapters.modbus.tools.session import UsageError
from adapters.modbus.url import Frames
from gateway.errors import FieldError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from adapters.modbus.config import ModbusPoint

STEP_S = 0.2
"""How often the values move."""
_NOISE = bytes([0xFF, 0x00, 0x55, 0xAA])


@dataclass(frozen=True)
class Played:
    """What a simulator plays: points, the gaps that a read may bridge, and registers that are no point's."""

    points: Mapping[str, ModbusPoint]
    max_gap: int = 0
    fixed: Mapping[int, int] = field(default_factory=dict)


def played(profile: str, folder: str, params: Mapping[str, float]) -> Played:
    """What a profile says.

    Raises:
        UsageError: there is no such profile.
    """
    if profile == SUNSPEC:
        return sunspec_played()
    try:
        device = ModbusDevice(profile=profile, params=dict(params))
        config = ModbusConfig(url="tcp://127.0.0.1:502", profiles=folder, devices={"device": device})
    except FieldError as error:
        raise UsageError(str(error)) from None
    found = resolve(config, "device")
    return Played(found.points, found.max_gap)


def sunspec_played() -> Played:
    """A three-phase inverter that says by itself what it has: the marker, and the models 1 and 103."""
    at, models = BASES[0] + 2, []
    fixed = {BASES[0]: 0x5375, BASES[0] + 1: 0x6E53}  # "SunS"
    for ident in (1, 103):
        known = definition(ident)
        size = known.group.size if known else None
        assert size is not None, "both models have a fixed length"
        fixed |= dict.fromkeys(range(at + 2, at + size), 0x8000)  # not implemented, where no point says otherwise
        fixed |= {at: ident, at + 1: size - 2}
        models.append(Model(ident, at, size - 2))
        at += size
    fixed |= {at: 0xFFFF, at + 1: 0}
    return Played(map_of(Chain(BASES[0], tuple(models)), MAX_REGISTERS).points, 0, fixed)


@dataclass
class Counted:
    """What a simulator did."""

    requests: int = 0
    faults: dict[str, int] = field(default_factory=dict)


class Simulator:
    """Some units that play one profile, each with values of its own.

    Args:
        what: what they play.
        title: what the devices say that they are.
        units: the units that answer; on TCP a request to another gets exception 0x0B, on a bus silence.
        faults: what goes wrong, and how often.
        seed: of values and faults.
    """

    def __init__(self, what: Played, title: str, units: Sequence[int], faults: Sequence[Fault], seed: int) -> None:
        self.counted = Counted()
        self._faults = Faults(faults, seed)
        self._images = {unit: Image(what.points, seed + unit, what.max_gap, what.fixed) for unit in units}
        identity = {0: "onpath", 1: title, 2: "1", 4: "simulated device"}
        writable: dict[Table, set[int]] = {table: set() for table in Table}
        for point in what.points.values():
            if point.writing is not None:
                table, address = parse_at(point.at)
                writable[table].update(range(address, address + point.width))
        self._devices = {unit: PlayedDevice(self._images[unit], identity, writable) for unit in units}

    async def move(self) -> None:
        """Let the values move, until cancelled."""
        loop = asyncio.get_running_loop()
        last = loop.time()
        while True:
            await asyncio.sleep(STEP_S)
            now = loop.time()
            for image in self._images.values():
                image.step(now - last)
            last = now

    def answer(self, asked: Asked, *, bus: bool) -> tuple[bytes | None, Fault | None]:
        """The answer's PDU, or None for silence, and what is to go wrong with it."""
        self.counted.requests += 1
        if bus and asked.unit == 0:  # a broadcast: all do it, nobody answers
            for listening in self._devices.values():
                listening.answer(asked.pdu)
            return None, None
        device = self._devices.get(asked.unit)
        if device is None:
            return (None, None) if bus else (bytes([asked.pdu[0] | 0x80, 0x0B]), None)
        fault = self._faults.next()
        if fault is None:
            return device.answer(asked.pdu), None
        self.counted.faults[fault.kind] = self.counted.faults.get(fault.kind, 0) + 1
        if fault.kind == "exception":
            return bytes([asked.pdu[0] | 0x80, int(fault.argument)]), None
        if fault.kind == "timeout":
            return None, None
        return device.answer(asked.pdu), fault


Gone = Callable[["Connection"], None]


class Mouth:
    """Sends the answers of one connection, with their faults."""

    def __init__(
        self, simulator: Simulator, framing: FarFraming, *, bus: bool, send: Callable[[bytes], None],
        close: Callable[[], None],
    ) -> None:  # fmt: skip
        self._simulator, self._framing, self._bus = simulator, framing, bus
        self._send, self._close = send, close

    def hear(self, data: bytes) -> None:
        """Answer what is asked in ``data``."""
        for asked in self._framing.take(data):
            pdu, fault = self._simulator.answer(asked, bus=self._bus)
            if pdu is None:
                continue
            if fault is None:
                self._send(self._framing.frame(asked, pdu))
            else:
                self._spoil(asked, pdu, fault)

    def _spoil(self, asked: Asked, pdu: bytes, fault: Fault) -> None:
        frame = self._framing.frame
        match fault.kind:
            case "late":
                asyncio.get_running_loop().call_later(fault.argument, self._send, frame(asked, pdu))
            case "wrong-unit":
                self._send(frame(asked, pdu, unit=asked.unit + 1 & 0xFF))
            case "wrong-count":
                self._send(frame(asked, pdu[:1] + bytes([pdu[1] + 2 & 0xFF]) + pdu[2:] + b"\0\0"))
            case "wrong-transaction":
                self._send(frame(asked, pdu, spoiled=True))
            case "half":
                whole = frame(asked, pdu)
                self._send(whole[: len(whole) // 2])
            case "noise":
                self._send(_NOISE * 4)
            case _:
                self._close()


class Connection(asyncio.Protocol):
    """One connection to the simulator, or its serial line."""

    def __init__(self, simulator: Simulator, framing: FarFraming, *, bus: bool, gone: Gone | None = None) -> None:
        self._simulator, self._framing, self._bus, self._gone = simulator, framing, bus, gone
        self._mouth: Mouth
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the transport."""
        self._transport = transport  # type: ignore[assignment]  # the serial one is an asyncio.Transport too
        self._mouth = Mouth(self._simulator, self._framing, bus=self._bus, send=self._send, close=self.close)

    def data_received(self, data: bytes) -> None:
        """Called by the transport."""
        self._mouth.hear(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the transport."""
        del exc
        self._transport = None
        if self._gone is not None:
            self._gone(self)

    def _send(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def close(self) -> None:
        """End it now."""
        if self._transport is not None:
            self._transport.abort()


class Datagrams(asyncio.DatagramProtocol):
    """The simulator over UDP: a datagram, a request."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator
        self._transport: asyncio.DatagramTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the transport."""
        self._transport = transport  # type: ignore[assignment]  # asyncio gives a datagram transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Called by the transport."""

        def send(answer: bytes) -> None:
            if not self._transport.is_closing():
                self._transport.sendto(answer, addr)

        Mouth(self._simulator, FRAMINGS[Frames.MBAP](), bus=False, send=send, close=_nothing).hear(data)


def _nothing() -> None:
    """Close a datagram's connection: there is none."""
