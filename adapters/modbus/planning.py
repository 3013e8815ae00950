"""What a configuration asks of its bus: requests, registers, time. Pure: no device, no clock.

The time of one read on a serial line, in characters of ``1 + bytesize + parity + stopbits`` bits (11 for
8E1 and 8N2, 10 for 8N1):

    request 8 | 3.5 | turnaround of the device | answer 5 + data | 3.5, or request_delay if that is longer

In ASCII a byte is two characters, and a frame has three more. Without a serial line in the URL the bus is
unknown: then the time is an estimate, a round trip a read (and the serial time at ``baudrate``, if given:
of a bus behind a gateway, counted with 11 bits a character).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from adapters.modbus.layout import Layout
from adapters.modbus.planner import Limits, Read, Span, plan
from adapters.modbus.profile import resolve
from adapters.modbus.url import Frames, parse_url

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from adapters.modbus.config import ModbusConfig
    from adapters.modbus.learn import Learned
    from adapters.modbus.url import Endpoint

TURNAROUND_S = 0.005
"""What a device takes to begin its answer, if nothing else is said."""
ROUND_TRIP_S = 0.005
"""What a request through a network takes, likewise."""
_BITS = 11  # of a character by the standard: with parity, or a second stop bit instead
_REQUEST = 6  # bytes: unit, function, address, count
_ANSWER = 3  # bytes before the data: unit, function, byte count


class PlannedRead(msgspec.Struct, frozen=True, kw_only=True):
    """One request of a cycle."""

    table: str
    start: int
    count: int
    """Addresses asked for: registers, or bits."""
    needed: int
    """Of these, addresses that some point lies on."""
    points: int
    every_s: float
    time_s: float
    """On the bus, pauses included."""


class DevicePlan(msgspec.Struct, frozen=True, kw_only=True):
    """The requests of one device."""

    device: str
    unit: int
    reads: tuple[PlannedRead, ...]
    registers: int
    """Registers read when each request is sent once."""
    registers_needed: int
    bits: int
    """Coils and discrete inputs, likewise."""
    bits_needed: int
    time_s: float
    """On the bus when each request is sent once."""
    load: float
    """Part of the bus's time that the device takes at the periods asked for; 1 is all of it."""


class BusPlan(msgspec.Struct, frozen=True, kw_only=True):
    """The requests of one endpoint."""

    url: str
    estimated: bool
    """Whether the times are estimates, because the bus is unknown."""
    devices: tuple[DevicePlan, ...]
    requests: int
    time_s: float
    """When each request is sent once."""
    load: float
    """At the periods asked for; above 1 they cannot be held."""
    shortest_period_s: float
    """The shortest period at which all points can be read, if it is the same for all."""

    @property
    def holds(self) -> bool:
        """Whether the periods asked for can be held."""
        return self.load <= 1


class Bus(msgspec.Struct, frozen=True, kw_only=True):
    """How long things take on the way to the devices."""

    turnaround_s: float = TURNAROUND_S
    round_trip_s: float = ROUND_TRIP_S
    baudrate: int = 0
    """Of a serial bus behind a network; 0 if there is none, or it is not known."""


def plan_of(config: ModbusConfig, bus: Bus | None = None, known: Mapping[int, Learned] | None = None) -> BusPlan:
    """The requests that the adapter would send, device by device, and their time on the bus.

    Args:
        config: the adapter's options.
        bus: what the URL does not say.
        known: what was learned of units, by unit id: holes and shorter reads.

    Raises:
        FieldError: a profile cannot be found.
    """
    endpoint, bus = parse_url(config.url), bus or Bus()
    devices = tuple(_device(config, name, endpoint, bus, known or {}) for name in config.devices)
    time_s = sum(one.time_s for one in devices)
    return BusPlan(
        url=config.url,
        estimated=not endpoint.device,
        devices=devices,
        requests=sum(len(one.reads) for one in devices),
        time_s=time_s,
        load=sum(one.load for one in devices),
        shortest_period_s=time_s / config.pipeline,
    )


def _device(config: ModbusConfig, name: str, endpoint: Endpoint, bus: Bus, known: Mapping[int, Learned]) -> DevicePlan:
    options, resolved = config.devices[name], resolve(config, name)
    limits = Limits(resolved.max_registers, resolved.max_gap)
    learned = known.get(options.unit)
    by_period: dict[float, list[Span]] = {}
    for point in resolved.points.values():
        by_period.setdefault(float(point.every or options.every), []).append(Layout.of(point).span)
    reads: list[PlannedRead] = []
    for every_s, spans in sorted(by_period.items()):
        dead = learned.dead(spans) if learned else set()
        alive = [span for i, span in enumerate(spans) if i not in dead]
        for read in plan(alive, learned.limits(limits) if learned else limits):
            time_s = read_time_s(read, endpoint, bus, config.request_delay)
            reads.append(_planned(read, alive, every_s, time_s))
    registers = [read for read in reads if read.table in {"holding", "input"}]
    return DevicePlan(
        device=name,
        unit=options.unit,
        reads=tuple(reads),
        registers=sum(read.count for read in registers),
        registers_needed=sum(read.needed for read in registers),
        bits=sum(read.count for read in reads) - sum(read.count for read in registers),
        bits_needed=sum(read.needed for read in reads) - sum(read.needed for read in registers),
        time_s=sum(read.time_s for read in reads),
        load=sum(read.time_s / read.every_s for read in reads) / config.pipeline,
    )


def _planned(read: Read, spans: Sequence[Span], every_s: float, time_s: float) -> PlannedRead:
    on = {address for i in read.members for address in range(spans[i].address, spans[i].end)}
    return PlannedRead(
        table=read.table.value,
        start=read.address,
        count=read.count,
        needed=len(on),
        points=len(read.members),
        every_s=every_s,
        time_s=time_s,
    )


def read_time_s(read: Read, endpoint: Endpoint, bus: Bus, pause_s: float = 0.0) -> float:
    """Time that one read takes on the bus, from its request to the next one, in seconds."""
    data = (read.count + 7) // 8 if read.table.is_bits else 2 * read.count
    if endpoint.device:
        return _serial_s(data, endpoint, endpoint.character_s, max(endpoint.silence_s, pause_s), bus)
    network_s = bus.round_trip_s + pause_s
    if not bus.baudrate:
        return network_s
    character_s = _BITS / bus.baudrate
    return network_s + _serial_s(data, endpoint, character_s, 3.5 * character_s, bus)


def _serial_s(data: int, endpoint: Endpoint, character_s: float, pause_s: float, bus: Bus) -> float:
    request, answer = _REQUEST + 2, _ANSWER + data + 2  # a CRC of two bytes
    if endpoint.frames is Frames.ASCII:
        request, answer = (2 * (size - 1) + 3 for size in (request, answer))  # an LRC of one, ":" and CR LF
    silence_s = max(3.5 * character_s, 0.00175)
    return (request + answer) * character_s + silence_s + bus.turnaround_s + max(pause_s, silence_s)
