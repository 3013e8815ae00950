"""The CoAP adapter: one client context for all devices, one server, one task that hands frames over."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from aiocoap import error

from adapters.base import Adapter, Context
from adapters.coap.client import Device
from adapters.coap.config import CoapConfig
from adapters.coap.outbox import Outbox
from adapters.coap.points import PointTable
from adapters.coap.serve_options import ServeOptions
from adapters.coap.server import PushSite, listen
from adapters.coap.transport import client_context
from gateway.errors import LinkError

STAGGER_S = 0.005
"""Between the first questions to two devices, so that a start is no burst."""
STAGGER_MAX_S = 1.0


class CoapAdapter(Adapter):
    """See :class:`adapters.coap.config.CoapConfig`."""

    def __init__(self, config: CoapConfig) -> None:
        self.config = config
        self.port: int | None = None
        """The UDP port that the server has, once it listens."""

    async def run(self, ctx: Context) -> None:
        """Observe, poll and serve until cancelled.

        Raises:
            LinkError: the address to listen on cannot be used.
        """
        table, outbox = PointTable(ctx), Outbox(ctx)
        loggername = f"{ctx.log.logger.name}.aiocoap"
        async with AsyncExitStack() as stack:
            if self.config.serve is not None:
                await self._serve(self.config.serve, ctx, table, loggername, stack)
            devices = await self._devices(ctx, table, outbox, loggername, stack)
            listening = f"listening on UDP port {self.port}" if self.port is not None else ""
            ctx.link("", up=True, detail=listening)
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(outbox.run(), name=f"coap {ctx.name} outbox")
                    for at, device in enumerate(devices):
                        device.start(group, min(at * STAGGER_S, STAGGER_MAX_S))
            except ExceptionGroup as failed:
                raise failed.exceptions[0] from failed  # callers expect LinkError, not a group of it

    async def _devices(
        self, ctx: Context, table: PointTable, outbox: Outbox, loggername: str, stack: AsyncExitStack
    ) -> list[Device]:
        """The devices, with the one context that they share."""
        if not self.config.devices:
            return []
        client = await client_context(ctx.stats, loggername)
        stack.push_async_callback(client.shutdown)
        return [Device(name, options, client, ctx, table, outbox) for name, options in self.config.devices.items()]

    async def _serve(
        self, options: ServeOptions, ctx: Context, table: PointTable, loggername: str, stack: AsyncExitStack
    ) -> None:
        try:
            server, self.port = await listen(PushSite(options, ctx, table), options.listen, ctx.stats, loggername)
        except (OSError, error.Error) as cause:
            raise LinkError(f"cannot listen on {options.listen}: {cause}") from cause
        stack.push_async_callback(server.shutdown)
