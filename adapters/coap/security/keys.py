"""The keys of a running adapter: contexts to ask devices with, and the gate before all that is served."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from contextlib import AsyncExitStack
from typing import Any

from aiocoap import Context as CoapContext

from adapters.base import Context
from adapters.coap.messages import attach
from adapters.coap.options.credentials import Keys, PskOptions, secret_bytes
from adapters.coap.options.device import DeviceOptions
from adapters.coap.options.serve import ServeOptions, listen_address
from adapters.coap.security.gate import Gate
from adapters.coap.security.oscore import OscoreKey
from adapters.coap.security.oscore_client import oscore_context
from adapters.coap.security.oscore_server import OscoreSite
from gateway.errors import LinkError


class Security:
    """Made by :meth:`open`; what it opens is closed by the stack."""

    def __init__(self, keys: Keys, ctx: Context) -> None:
        self._keys = keys
        self._ctx = ctx
        self._contexts: dict[str, Any] = {}
        """Of devices that have keys, by name."""
        self._oscore: dict[str, OscoreKey] = {}

    @classmethod
    async def open(cls, keys: Keys, ctx: Context, stack: AsyncExitStack) -> Security:
        """Take up the sequence numbers of all OSCORE keys.

        Raises:
            LinkError: those of one cannot be read or written.
        """
        self = cls(keys, ctx)
        stack.push_async_callback(self._close)
        for name, options in keys.items():
            if options.oscore is not None:
                key = OscoreKey(name, options.oscore)
                try:
                    await key.open(ctx.folder, ctx.now_ns())
                except OSError as cause:
                    raise LinkError(f"the sequence numbers of the key {name} cannot be kept: {cause}") from cause
                self._oscore[name] = key
        return self

    async def _close(self) -> None:
        for name in list(self._contexts):
            await self.drop(name)
        for key in self._oscore.values():
            try:
                await key.close()
            except OSError as cause:  # what is on disk is still safe, only wasteful
                self._ctx.log.warning("the sequence numbers of the key %s could not be written: %s", key.name, cause)

    async def asking(self, name: str, options: DeviceOptions, plain: CoapContext) -> Any:
        """The context for a device: ``plain`` if it has no key, else one that has no way out but under the key.

        One that was made for it before is shut down.
        """
        await self.drop(name)
        if not options.security:
            return plain
        psk = self._keys[options.security].psk
        if psk is None:
            context = oscore_context(plain, self._oscore[options.security], self._refused(name))
        else:
            context = await self._dtls(name, options, psk, plain)
        self._contexts[name] = context
        return context

    async def _dtls(self, name: str, options: DeviceOptions, psk: PskOptions, plain: CoapContext) -> Any:
        from adapters.coap.security.dtls_client import dtls_context

        def refused(reason: str, why: str) -> None:
            self._ctx.reject(reason, name, b"", why)

        key, timeout_s = options.security, float(options.timeout)
        return await dtls_context(key, psk, plain, url=options.url, timeout_s=timeout_s, refused=refused)

    async def keep(self, names: Container[str]) -> None:
        """No other devices are asked any more."""
        for name in [name for name in self._contexts if name not in names]:
            await self.drop(name)

    async def drop(self, name: str) -> None:
        """The device is not asked any more."""
        context = self._contexts.pop(name, None)
        if context is not None:
            await context.shutdown()

    def serving(self, options: ServeOptions, site: Any) -> Any:
        """The site as requests see it: signed ones are opened, and each finds only the paths that it may."""
        gate = Gate(options, self._keys, site, self._ctx)
        used = {name for name in served_keys(options) if name in self._oscore}
        keys: Mapping[str, OscoreKey] = {name: self._oscore[name] for name in sorted(used)}
        return OscoreSite(gate, keys, self._refused("")) if keys else gate

    async def listen(self, options: ServeOptions, context: CoapContext) -> int | None:
        """Let a server's context be reached by DTLS too; the port, or None if that is not wanted.

        Raises:
            OSError: the address cannot be used.
        """
        if not options.secure_listen:
            return None
        from adapters.coap.security.dtls import Psk, ServerKeys
        from adapters.coap.security.dtls_server import DtlsServer

        keys = {}
        for name in sorted(served_keys(options)):
            psk = self._keys[name].psk
            if psk is not None:
                keys[name] = Psk(psk.identity.encode(), secret_bytes(psk.key))
        ports: list[int] = []

        async def interface(manager: Any) -> DtlsServer:
            server = DtlsServer(manager, ServerKeys(keys), self._ctx.reject)
            ports.append(await server.listen(*listen_address(options.secure_listen, "secure_listen")))
            return server

        await attach(context, interface)
        return ports[0]

    def _refused(self, device: str) -> Callable[[str, Any, str], None]:
        def refused(reason: str, message: Any, detail: str) -> None:
            self._ctx.reject(reason, device or f"from {message.remote.hostinfo}", bytes(message.payload), detail)

        return refused


def served_keys(options: ServeOptions) -> set[str]:
    """All keys that the server takes."""
    return {*options.security, *(name for served in options.resources.values() for name in served.security)}
