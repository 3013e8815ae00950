"""The Modbus adapter: points, the connection, commands. Polling is in :mod:`adapters.modbus.poller`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from adapters.base import Adapter
from adapters.modbus.breaker import Breaker
from adapters.modbus.group import Device, Group
from adapters.modbus.layout import Layout, encode
from adapters.modbus.line import Line, connect
from adapters.modbus.pdu import write_request
from adapters.modbus.place import ValueType
from adapters.modbus.planner import Limits
from adapters.modbus.poller import Poller, link_down
from adapters.modbus.profile import resolve
from adapters.modbus.url import parse_url
from gateway.errors import LinkError, PayloadError
from gateway.point import Kind, Point

if TYPE_CHECKING:
    from adapters.base import Context
    from adapters.modbus.config import ModbusConfig, ModbusPoint


class ModbusAdapter(Adapter):
    """All devices behind one endpoint, through one connection and one queue."""

    def __init__(self, config: ModbusConfig) -> None:
        self._config = config
        self._endpoint = parse_url(config.url)
        self._groups: list[Group] = []
        self._writable: dict[str, tuple[int, ModbusPoint]] = {}
        self._line: Line | None = None
        self._said_down = False

    async def run(self, ctx: Context) -> None:
        """See the base class. What was learned of the devices stays from one connection to the next."""
        if not self._groups:
            self._groups = self._build(ctx)
        config = self._config
        try:
            line = await connect(self._endpoint, timeout_s=config.timeout, pause_s=config.request_delay)
            try:
                await line.rest(config.connect_delay)
                self._line, self._said_down = line, False
                ctx.link("", up=True)
                await Poller(ctx, self._groups).run(line)
            finally:
                self._line = None
                line.close()
        except TimeoutError:
            await self._say_down(ctx)
            raise LinkError(f"{config.url}: no connection in time") from None
        except (LinkError, OSError):
            await self._say_down(ctx)
            raise

    async def _say_down(self, ctx: Context) -> None:
        """One bad sample for every point when the link goes, not one more for each attempt."""
        if self._said_down:
            return
        self._said_down = True
        for group in self._groups:
            if group.device.up is not False:
                group.device.up = False
                ctx.link(group.device.name, up=False, detail="link-down")
        await ctx.emit(link_down(self._groups, ctx.now_ns()))

    def _build(self, ctx: Context) -> list[Group]:
        groups: list[Group] = []
        breakers: dict[int, Breaker] = {}
        for name, options in self._config.devices.items():
            breaker = breakers.setdefault(options.unit, Breaker(self._config.timeout))
            groups += self._groups_of(ctx, Device(name, options.unit, breaker))
        return groups

    def _groups_of(self, ctx: Context, device: Device) -> list[Group]:
        """The device's groups, one a period, the fastest first."""
        resolved = resolve(self._config, device.name)
        limits = Limits(resolved.max_registers, resolved.max_gap)
        by_period: dict[float, list[tuple[int, Layout]]] = {}
        for key, options in resolved.points.items():
            name = f"{device.name}/{key}"
            point = Point.of(name, options)
            if options.type is ValueType.STRING:
                point = msgspec.structs.replace(point, kind=Kind.STATE)
            if options.writable:
                self._writable[name] = device.unit, options
            period = options.every or self._config.devices[device.name].every
            by_period.setdefault(float(period), []).append((ctx.points.add(point), Layout.of(options)))
        groups = []
        for period_s, members in sorted(by_period.items()):
            ids, layouts = zip(*members, strict=True)
            groups.append(Group(device, period_s, layouts, ids, limits))
            groups[-1].leads = len(groups) == 1
        return groups

    async def write(self, point: str, value: float) -> None:
        """Write a coil or register once (functions 5, 6, 16); the device's echo is compared.

        Raises:
            PayloadError: the point is not marked ``writable``, the value does not fit, or the device
                refuses it or does not answer (then nobody knows whether it was written).
            LinkError: there is no connection.
        """
        if point not in self._writable:
            raise PayloadError("not-writable", point)
        unit, options = self._writable[point]
        layout = Layout.of(options)
        try:
            data = encode(layout, value)
        except ValueError as error:
            raise PayloadError("does-not-fit", str(error)) from None
        if self._line is None:
            raise LinkError(f"{self._config.url}: not connected")
        await self._line.exchange(write_request(unit, layout.table, layout.address, data))
