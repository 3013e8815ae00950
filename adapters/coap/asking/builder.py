"""Makes the devices that are asked: their contexts (sockets), keys and turns, shared where they can be."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any

from aiocoap import Context as CoapContext

from adapters.base import Context
from adapters.coap.asking.client import Device
from adapters.coap.asking.exchange import Endpoint
from adapters.coap.asking.turns import Turns
from adapters.coap.options.device import DeviceOptions, scheme_of
from adapters.coap.outbox import Outbox
from adapters.coap.points import PointTable
from adapters.coap.security.keys import Security
from adapters.coap.transport import client_context


class Builder:
    """Devices of one adapter; what it opens is closed by the stack."""

    def __init__(
        self,
        ctx: Context,
        table: PointTable,
        outbox: Outbox,
        security: Security,
        stack: AsyncExitStack,
        loggername: str,
    ) -> None:
        self._ctx = ctx
        self._table = table
        self._outbox = outbox
        self._security = security
        self._stack = stack
        self._loggername = loggername
        self._turns = Turns()
        self._contexts: dict[tuple[str, int], Any] = {}

    async def device(self, name: str, options: DeviceOptions, through: CoapContext | None = None) -> Device:
        """A device, not started.

        Args:
            name: its name.
            options: what is asked.
            through: a context to ask through, such as the server's; left out, one of our own.

        Raises:
            OSError: there is no IPv6 in the kernel.
        """
        self._table.forget(name)
        plain = through if through is not None else await self._context(name, options)
        endpoint = Endpoint(await self._security.asking(name, options, plain), options, self._turns)
        return Device(name, options, endpoint, self._ctx, self._table, self._outbox)

    async def _context(self, name: str, options: DeviceOptions) -> Any:
        """One for all devices over UDP, and one for those over TCP with the same largest body."""
        scheme = scheme_of(options.url)
        key = scheme, 0 if scheme == "coap" else int(options.max_payload)
        if key not in self._contexts:
            context = await client_context({name: options}, self._ctx.reject, self._loggername)
            self._stack.push_async_callback(context.shutdown)
            self._contexts[key] = context
        return self._contexts[key]
