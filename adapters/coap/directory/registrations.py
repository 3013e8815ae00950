"""The resource directory on the wire (RFC 9176), and the devices that its rules make of registrations.

Registrations are remembered one by one (``directory/0``, ``directory/1`` ...), so that they outlive a restart
of the gateway and one that is renewed costs one small entry.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine
from typing import Any, Final

from aiocoap import Context as CoapContext
from aiocoap import Message
from aiocoap.numbers import codes

from adapters.base import Context
from adapters.coap.asking.exchange import ExchangeError
from adapters.coap.directory.links import Link, parse_links
from adapters.coap.directory.lookup import look_up
from adapters.coap.directory.registry import Directory, Registration, dump
from adapters.coap.directory.rules import adopt, finding
from adapters.coap.options.device import DeviceOptions
from adapters.coap.options.directory import DirectoryOptions
from adapters.coap.serving.refusal import RefusedError
from gateway.errors import FieldError, PayloadError

CHECK_S: Final = 1.0
"""How often to look whose lifetime is over."""
MAX_CALLS: Final = 16
"""Simple registrations whose links are being fetched at one time."""

_RD: Final = ("rd",)
_SIMPLE: Final = (".well-known", "rd")
_LOOKUP: Final = "rd-lookup"
_CODES: Final = {
    "foreign-base": codes.FORBIDDEN,
    "not-registered": codes.NOT_FOUND,
    "too-many-endpoints": codes.SERVICE_UNAVAILABLE,
    "too-many-links": codes.REQUEST_ENTITY_TOO_LARGE,
}

Fetch = Callable[[CoapContext, str], Coroutine[Any, Any, bytes]]
"""From the server's context and a URI base to the body of ``/.well-known/core`` there; ExchangeError."""


class Registrations:
    """The directory of one server."""

    def __init__(
        self, options: DirectoryOptions, ctx: Context, fetch: Fetch, taken: Callable[[], Collection[str]]
    ) -> None:
        self._options = options
        self._ctx = ctx
        self._fetch = fetch
        self._taken = taken
        self._directory = Directory(options)
        self._context: CoapContext | None = None
        self._group: asyncio.TaskGroup | None = None
        self._calls = 0
        self.devices: dict[str, DeviceOptions] = {}
        """The devices that registrations have become, by name."""
        self._names: dict[str, str] = {}
        """Location to the name of its device."""
        self.changed = asyncio.Event()
        """Set when :attr:`devices` has changed."""

    def attach(self, context: CoapContext) -> None:
        """The server listens. Takes over what was registered before a restart."""
        self._context = context
        kept = (self._ctx.recall(f"directory/{slot}") for slot in range(self._options.max_endpoints))
        self._directory.restore((raw for raw in kept if raw), self._ctx.now_ns())
        for one in self._directory:
            self._follow(one)

    async def run(self) -> None:
        """End registrations whose lifetime is over, for ever."""
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                while True:
                    await asyncio.sleep(CHECK_S)
                    for one in self._directory.expire(self._ctx.now_ns()):
                        self._forget(one)
        finally:
            self._group = None

    # requests

    @staticmethod
    def owns(path: tuple[str, ...]) -> bool:
        """Whether a path takes registrations."""
        return path == _SIMPLE or (path[:1] == _RD and len(path) <= 2)

    def own_links(self) -> list[Link]:
        """The directory itself."""
        return [
            Link("/rd", (("rt", "core.rd"), ("ct", "40"))),
            Link(f"/{_LOOKUP}/ep", (("rt", "core.rd-lookup-ep"), ("ct", "40"))),
            Link(f"/{_LOOKUP}/res", (("rt", "core.rd-lookup-res"), ("ct", "40"))),
        ]

    def look_up(self, path: tuple[str, ...], queries: tuple[str, ...]) -> list[Link] | None:
        """The answer to a lookup; None if the path is none.

        Raises:
            RefusedError: 4.00, a query that makes no sense.
        """
        if len(path) != 2 or path[0] != _LOOKUP or path[1] not in {"ep", "res"}:
            return None
        try:
            return look_up(path[1], self._directory, queries)
        except PayloadError as error:
            raise RefusedError(codes.BAD_REQUEST, str(error)) from error

    async def take(self, message: Any, query: dict[str, str], body: bytes) -> Any:
        """Carry out a registration, its update or its end; the response.

        Raises:
            RefusedError: it is not as it should be.
        """
        path = message.opt.uri_path
        try:
            if message.code == codes.DELETE and len(path) == 2 and path[0] == "rd":
                self._forget(self._directory.remove(path[1], message.remote.uri_base))
                return Message(code=codes.DELETED)
            if message.code != codes.POST:
                raise RefusedError(codes.METHOD_NOT_ALLOWED, "POST, or DELETE of a registration")
            if path == _SIMPLE:
                return self._call_back(message, query)
            return self._register(message, query, body) if path == _RD else self._update(message, query, body)
        except PayloadError as error:
            self._ctx.reject(error.reason, "/" + "/".join(path), body, str(error))
            raise RefusedError(_CODES.get(error.reason, codes.BAD_REQUEST), str(error)[:200]) from error

    def _register(self, message: Any, query: dict[str, str], body: bytes) -> Any:
        self._ctx.stats.messages += 1
        one = self._directory.register(query, parse_links(body), message.remote.uri_base, self._ctx.now_ns())
        self._keep(one)
        response = Message(code=codes.CREATED)
        response.opt.location_path = ("rd", one.location)
        response.opt.block1 = message.opt.block1
        return response

    def _update(self, message: Any, query: dict[str, str], body: bytes) -> Any:
        links = parse_links(body) if body else None
        location, remote = message.opt.uri_path[1], message.remote.uri_base
        self._keep(self._directory.update(location, query, links, remote, self._ctx.now_ns()))
        response = Message(code=codes.CHANGED)
        response.opt.block1 = message.opt.block1
        return response

    # simple registration (RFC 9176, 5.1): the endpoint only says that it is there, its links are fetched

    def _call_back(self, message: Any, query: dict[str, str]) -> Any:
        if "base" in query:
            raise PayloadError("bad-registration", "a simple registration has no base")
        if self._group is None or self._context is None or self._calls >= MAX_CALLS:
            raise RefusedError(codes.SERVICE_UNAVAILABLE, "too many simple registrations")
        self._calls += 1
        self._group.create_task(self._collect(query, message.remote.uri_base), name=f"coap {self._ctx.name} links")
        return Message(code=codes.CHANGED)

    async def _collect(self, query: dict[str, str], remote: str) -> None:
        assert self._context is not None
        try:
            links = parse_links(await self._fetch(self._context, remote))
            self._keep(self._directory.register(query, links, remote, self._ctx.now_ns()))
        except ExchangeError as error:
            self._ctx.reject("no-links", remote, b"", str(error))
        except PayloadError as error:
            self._ctx.reject(error.reason, remote, b"", str(error))
        finally:
            self._calls -= 1

    # what becomes of it

    def _keep(self, one: Registration) -> None:
        self._ctx.remember(f"directory/{one.slot}", dump(one))
        self._follow(one)

    def _forget(self, one: Registration) -> None:
        self._ctx.remember(f"directory/{one.slot}", b"")
        name = self._names.pop(one.location, None)
        if name is not None:
            del self.devices[name]
            self.changed.set()

    def _follow(self, one: Registration) -> None:
        """Make the registration a device by the rules, or say that it is there."""
        name = self._names.get(one.location)
        try:
            adopted = adopt(one, self._options.rules)
        except FieldError as error:
            self._ctx.reject("bad-registration", one.base, one.links.encode(), str(error))
            adopted = None
        if adopted is not None and adopted.name != name and self._is_taken(adopted.name):
            self._ctx.reject("name-taken", one.base, one.links.encode(), f"there is a device {adopted.name} already")
            adopted = None
        if name is not None and (adopted is None or adopted.name != name):
            del self.devices[self._names.pop(one.location)]
            self.changed.set()
        if adopted is None:
            self._ctx.found(finding(one, self._ctx.name))
        elif self.devices.get(adopted.name) != adopted.options:
            self.devices[adopted.name] = adopted.options
            self._names[one.location] = adopted.name
            self.changed.set()

    def _is_taken(self, name: str) -> bool:
        return name in self.devices or name in self._taken()
