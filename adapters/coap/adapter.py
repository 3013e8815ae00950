"""The CoAP adapter: the devices that are asked, one server, one task that hands frames over."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any, Final

from aiocoap import Context as CoapContext
from aiocoap import error

from adapters.base import Adapter, AdapterConfig, Context
from adapters.coap.asking.builder import Builder
from adapters.coap.asking.client import Device
from adapters.coap.asking.exchange import Endpoint
from adapters.coap.asking.fleet import Fleet
from adapters.coap.asking.turns import Turns
from adapters.coap.config import CoapConfig
from adapters.coap.directory.registrations import Registrations
from adapters.coap.lwm2m.registry import Registry as Lwm2mRegistry
from adapters.coap.options.device import DeviceOptions
from adapters.coap.options.serve import ServeOptions
from adapters.coap.outbox import Outbox
from adapters.coap.points import PointTable
from adapters.coap.security.keys import Security
from adapters.coap.serving.server import ServerSite, listen
from gateway.errors import LinkError

FIXED: Final = tuple(field for field in CoapConfig.__struct_fields__ if field != "devices")
"""Options that cannot change while the adapter runs."""


class CoapAdapter(Adapter):
    """See :class:`adapters.coap.config.CoapConfig`."""

    def __init__(self, config: CoapConfig) -> None:
        self.config = config
        self.port: int | None = None
        """The UDP port that the server has, once it listens."""
        self.secure_port: int | None = None
        """The same for DTLS."""
        self._server: CoapContext | None = None
        self._site: ServerSite | None = None
        self._fleet: Fleet | None = None
        self._lwm2m: Lwm2mRegistry | None = None
        self._security: Security | None = None

    async def run(self, ctx: Context) -> None:
        """Observe, poll and serve until cancelled.

        Raises:
            LinkError: the address to listen on cannot be used.
        """
        table, outbox = PointTable(ctx), Outbox(ctx)
        if self.config.serve is not None and self.config.serve.lwm2m is not None:
            self._lwm2m = Lwm2mRegistry(self.config.serve.lwm2m, ctx, table, outbox, self._named)
        async with AsyncExitStack() as stack:
            security = self._security = await Security.open(self.config.security, ctx, stack)
            if self.config.serve is not None:
                await self._serve(self.config.serve, ctx, table, security, stack)
            builder = Builder(ctx, table, outbox, security, stack, loggername(ctx))
            listening = f"listening on UDP port {self.port}" if self.port is not None else ""
            ctx.link("", up=True, detail=listening)
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(outbox.run(), name=f"coap {ctx.name} outbox")
                    await self._ask(ctx, group, builder)
            except ExceptionGroup as failed:
                raise failed.exceptions[0] from failed  # callers expect LinkError, not a group of it
            finally:
                self._fleet = self._site = self._server = self._lwm2m = None

    async def _ask(self, ctx: Context, group: asyncio.TaskGroup, builder: Builder) -> None:
        """Ask the devices that are configured, and those that register themselves."""
        registrations = self._site.registrations if self._site is not None else None

        async def make(name: str, options: DeviceOptions) -> Device:
            own = name in self.config.devices or registrations is None
            return await builder.device(name, options, None if own else self._server)

        self._fleet = Fleet(ctx, group, make)
        await self._fleet.settle(self._wanted())
        if self._site is not None:
            group.create_task(self._site.run(), name=f"coap {ctx.name} offers")
        if self._lwm2m is not None:
            group.create_task(self._lwm2m.run(), name=f"coap {ctx.name} lwm2m")
        if registrations is not None:
            group.create_task(registrations.run(), name=f"coap {ctx.name} directory")
            group.create_task(self._follow(registrations), name=f"coap {ctx.name} registrations")

    async def _follow(self, registrations: Registrations) -> None:
        while True:
            await registrations.changed.wait()
            registrations.changed.clear()
            if self._fleet is not None:
                await self._fleet.settle(self._wanted())

    def _wanted(self) -> dict[str, DeviceOptions]:
        registrations = self._site.registrations if self._site is not None else None
        return (registrations.devices if registrations is not None else {}) | self.config.devices

    def _named(self) -> Sequence[str]:
        """Device names that registrations cannot have."""
        return self.config.devices_named()

    async def reconfigure(self, config: AdapterConfig) -> bool:
        """Other devices are asked without giving up the server and those that stay; all else wants a new start."""
        if self._fleet is None or not isinstance(config, CoapConfig):
            return False
        if any(getattr(config, field) != getattr(self.config, field) for field in FIXED):
            return False
        self.config = config
        await self._fleet.settle(self._wanted())
        if self._security is not None:
            await self._security.keep(self._wanted())
        return True

    async def _serve(
        self, options: ServeOptions, ctx: Context, table: PointTable, security: Security, stack: AsyncExitStack
    ) -> None:
        site = ServerSite(options, ctx, table, fetch=_links_at, taken=self._named, registrar=self._lwm2m)
        stack.callback(site.close)
        try:
            served = security.serving(options, site)
            server, self.port = await listen(served, options.listen, ctx.stats, loggername(ctx))
        except (OSError, error.Error) as cause:
            raise LinkError(f"cannot listen on {options.listen}: {cause}") from cause
        stack.push_async_callback(server.shutdown)
        try:
            self.secure_port = await security.listen(options, server)
        except OSError as cause:
            raise LinkError(f"cannot listen on {options.secure_listen}: {cause}") from cause
        site.attach(server)
        self._server, self._site = server, site


async def _links_at(context: CoapContext, base: str) -> bytes:
    """What an endpoint offers, asked through the server's port.

    Raises:
        ExchangeError: no usable answer.
    """
    options = DeviceOptions(url=base, poll={"links": "/.well-known/core"})
    answer: Any = await Endpoint(context, options, Turns()).get("/.well-known/core")
    return bytes(answer.payload)


def loggername(ctx: Context) -> str:
    """Of aiocoap's contexts."""
    return f"{ctx.log.logger.name}.aiocoap"
