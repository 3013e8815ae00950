"""The Modbus adapter: points, the connection, commands. Polling is in :mod:`adapters.modbus.poller`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec

from adapters.base import Adapter
from adapters.modbus.breaker import Breaker
from adapters.modbus.config import SUNSPEC
from adapters.modbus.group import Device, Group
from adapters.modbus.layout import Layout
from adapters.modbus.learn import Learned, fingerprint
from adapters.modbus.line import CONNECT_S, Line, connect
from adapters.modbus.place import Table
from adapters.modbus.planner import Limits
from adapters.modbus.poller import Poller, link_down
from adapters.modbus.profile import resolve
from adapters.modbus.queue import Queue
from adapters.modbus.secure import Certificates
from adapters.modbus.seeker import Seeker, Sought
from adapters.modbus.target import Target
from adapters.modbus.url import Carrier, parse_url
from adapters.modbus.writing import Writer
from gateway.errors import LinkError
from gateway.point import Kind, Point

if TYPE_CHECKING:
    from adapters.base import Context, Written
    from adapters.modbus.config import ModbusConfig


class ModbusAdapter(Adapter):
    """All devices behind one endpoint, through one connection and one queue."""

    def __init__(self, config: ModbusConfig) -> None:
        self._config = config
        self._endpoint = parse_url(config.url)
        self._groups: list[Group] = []
        self._devices: dict[str, Device] = {}
        self._sought: dict[str, Sought] = {}
        self._targets: list[Target] = []
        self._writer: Writer | None = None
        self._said_down = False

    async def run(self, ctx: Context) -> None:
        """See the base class. What was learned of the devices stays from one connection to the next."""
        if self._writer is None:
            self._groups = self._build(ctx)
            self._writer = Writer(self._targets)
        try:
            if self._endpoint.carrier is Carrier.LISTEN:
                await self._answer(ctx)
            else:
                await self._serve(ctx, await self._connect())
        except TimeoutError:
            await self._say_down(ctx)
            raise LinkError(f"{self._config.url}: no connection in time") from None
        except (LinkError, OSError):
            await self._say_down(ctx)
            raise

    async def _connect(self) -> Line:
        config = self._config
        files: Certificates | None = None
        if self._endpoint.carrier is Carrier.TLS:
            files = Certificates(config.ca, config.cert, config.key, config.server_name)
        return await connect(
            self._endpoint,
            timeout_s=config.timeout,
            pause_s=config.request_delay,
            depth=config.pipeline,
            certificates=files,
        )

    async def _serve(self, ctx: Context, line: Line) -> None:
        """Poll through ``line`` until it goes."""
        config = self._config
        try:
            await line.rest(config.connect_delay)
            self._said_down = False
            queue = Queue(line, config.pipeline)
            self._commands().attach(ctx, queue)
            ctx.link("", up=True, detail=line.detail)
            self._expect(ctx)
            await self._poll_and_explore(ctx, queue)
        finally:
            self._commands().detach()
            line.close()

    def _expect(self, ctx: Context) -> None:
        """Each device is heard once a period of its fastest group."""
        for group in reversed(self._groups):  # the fastest of a device stands first
            ctx.expect(group.device.name, group.period_s)

    async def _poll_and_explore(self, ctx: Context, queue: Queue) -> None:
        """Poll, and look for units that are not configured, if that is wanted."""
        if not self._config.discover:
            await self._poll(ctx, queue)
            return
        from adapters.modbus.explorer import explore

        configured = {options.unit for options in self._config.devices.values()}
        tasks = [asyncio.create_task(explore(ctx, self._config, queue, configured), name=f"{ctx.name}: exploring")]
        if configured:
            tasks.append(asyncio.create_task(self._poll(ctx, queue), name=f"{ctx.name}: polling"))
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()  # both end only by an error
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _poll(self, ctx: Context, queue: Queue) -> None:
        """Poll; begin anew with more each time that a SunSpec device has said what it has."""
        timeout_s = self._config.timeout
        if not self._sought:
            await Poller(ctx, self._groups, timeout_s).run(queue)
        seeker = Seeker(ctx, queue, timeout_s, self._sought.values())
        while True:
            polling = Poller(ctx, self._groups, timeout_s).run(queue) if self._groups else None
            device = self._devices[(await seeker.beside(polling)).name]
            device.learned.forget(Table.HOLDING)
            others = [group for group in self._groups if group.device is not device]
            self._groups = others + self._groups_of(ctx, device)

    async def _answer(self, ctx: Context) -> None:
        """Serve the modem each time that it dials in; meanwhile nothing is retried, but waited."""
        from adapters.modbus.listen import Seat

        def refused(reason: str, who: str) -> None:
            ctx.stats.reasons[reason] += 1
            times = ctx.stats.reasons[reason]
            if times & (times - 1) == 0:  # the 1st, 2nd, 4th, 8th ...
                ctx.log.warning("%s: refused %s: %s (%d so far)", self._config.url, who, reason, times)

        config, register = self._config, self._config.register
        assert register is not None
        async with Seat(
            self._endpoint, register, timeout_s=config.timeout, pause_s=config.request_delay, refused=refused
        ) as seat:
            why = "no modem has dialled in"
            while True:
                if not await seat.called(CONNECT_S):
                    ctx.link("", up=False, detail=why)
                    await self._say_down(ctx)
                try:
                    await self._serve(ctx, await seat.next())
                except LinkError as error:
                    why = str(error)
                    ctx.link("", up=False, detail=why)
                    await self._say_down(ctx)

    async def _say_down(self, ctx: Context) -> None:
        """One bad sample for every point when the link goes, not one more for each attempt."""
        if self._said_down:
            return
        self._said_down = True
        for group in self._groups:
            if group.device.up is not False:
                group.device.up = False
                ctx.link(group.device.name, up=False, detail="link-down")
        if self._groups:
            await ctx.emit(link_down(self._groups, ctx.now_ns()))

    def _build(self, ctx: Context) -> list[Group]:
        groups: list[Group] = []
        units = {options.unit for options in self._config.devices.values()}
        breakers = {unit: Breaker(self._config.timeout) for unit in units}
        learned = {unit: self._learned(ctx, unit) for unit in units}
        for name, options in self._config.devices.items():
            unit, retries = options.unit, options.retries
            device = Device(name, unit, breakers[unit], retries=retries, learned=learned[unit])
            self._devices[name] = device
            resolved = resolve(self._config, name)
            if options.profile == SUNSPEC:
                self._sought[name] = Sought(name, options, self._config.url, resolved.max_registers)
                self._sought[name].recall(ctx)
            self._targets += [
                Target.of(f"{name}/{key}", device, point, point.writing)
                for key, point in resolved.points.items()
                if point.writing is not None
            ]
            groups += self._groups_of(ctx, device)
        return groups

    def _learned(self, ctx: Context, unit: int) -> Learned:
        """What an earlier run has found out about a unit, if it is configured as it was then."""
        names = [name for name, options in self._config.devices.items() if options.unit == unit]
        resolved = [resolve(self._config, name) for name in names]
        limits = [Limits(one.max_registers, one.max_gap) for one in resolved]
        spans = [Layout.of(point).span for one in resolved for point in one.points.values()]
        return Learned(unit, fingerprint(self._config.url, limits, spans), ctx.recall, ctx.remember)

    def _groups_of(self, ctx: Context, device: Device) -> list[Group]:
        """The device's groups, one a period, the fastest first."""
        resolved = resolve(self._config, device.name)
        limits = Limits(resolved.max_registers, resolved.max_gap)
        by_period: dict[float, list[tuple[int, Layout]]] = {}
        found = self._sought[device.name].points if device.name in self._sought else {}
        for key, options in {**found, **resolved.points}.items():
            point = Point.of(f"{device.name}/{key}", options)
            if options.is_state:
                point = msgspec.structs.replace(point, kind=Kind.STATE)
            period = options.every or self._config.devices[device.name].every
            by_period.setdefault(float(period), []).append((ctx.points.add(point), Layout.of(options)))
        groups = []
        for period_s, members in sorted(by_period.items()):
            ids, layouts = zip(*members, strict=True)
            groups.append(Group(device, period_s, layouts, ids, limits))
            groups[-1].leads = len(groups) == 1
        return groups

    def plan(self) -> list[dict[str, Any]]:
        """See the base class: the reads as they are planned now, around what devices have refused."""
        rows: dict[str, dict[str, Any]] = {}
        for group in self._groups:
            device = group.device
            row = rows.setdefault(
                device.name, {"device": device.name, "unit": device.unit, "requests": [], "refused": []}
            )
            row["requests"] += group.told()
            row["refused"] += group.plan.ids[group.plan.dead].tolist()
        return list(rows.values())

    async def write(self, point: str, value: float | str) -> Written:
        """Write a point once, as its ``write`` options say, and read it back; see the base class.

        Raises:
            PayloadError: the point is not writable, the value does not fit its type or limits, or a
                register of which only a part is written cannot be read first. Nothing was sent.
            LinkError: there is no connection.
        """
        return await self._commands().write(point, value)

    async def check(self, point: str) -> Written:
        """See the base class."""
        return await self._commands().check(point)

    def _commands(self) -> Writer:
        if self._writer is None:
            raise LinkError(f"{self._config.url}: not connected")
        return self._writer
