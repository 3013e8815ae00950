"""The server: who answers which request. Blocks, pushes, offers and registrations have modules of their own."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Collection
from typing import Any, Final

from aiocoap import Context as CoapContext
from aiocoap import Message, interfaces
from aiocoap.numbers import codes, uri_path_abbrev

from adapters.base import Context, Stats
from adapters.coap.directory.links import Link, format_links, parse_links, select
from adapters.coap.directory.registrar import Registrar
from adapters.coap.directory.registrations import Fetch, Registrations
from adapters.coap.options.serve import ServeOptions, listen_address
from adapters.coap.points import PointTable
from adapters.coap.serving.bodies import Bodies
from adapters.coap.serving.echo import EchoGuard
from adapters.coap.serving.observers import Observers
from adapters.coap.serving.offers import Offer, Offered
from adapters.coap.serving.pushes import Pushes
from adapters.coap.serving.refusal import RefusedError
from adapters.coap.serving.representation import BLOCK_EXPONENT, Representation, Transfers
from adapters.coap.serving.routes import Target
from adapters.coap.transport import server_context
from gateway.errors import PayloadError

LINK_FORMAT: Final = 40
"""The Content-Format of links."""

_WELL_KNOWN: Final = (".well-known", "core")
_PUSHED: Final = frozenset({codes.POST, codes.PUT})
# Uri-Host, Uri-Port, Uri-Path, its abbreviation, Uri-Query, Accept, Block2, Block1
_UNDERSTOOD: Final = frozenset({3, 7, 11, 13, 15, 17, 23, 27})
_PROXY: Final = frozenset({35, 39})


class ServerSite(interfaces.Resource):  # type: ignore[misc]  # aiocoap ships no types
    """All that is served; one object, because patterns are not single resources."""

    def __init__(
        self,
        options: ServeOptions,
        ctx: Context,
        table: PointTable,
        *,
        fetch: Fetch,
        taken: Callable[[], Collection[str]],
        registrar: Registrar | None = None,
    ) -> None:
        self._ctx = ctx
        self._bodies = Bodies(ctx, int(options.max_payload))
        self._pushes = Pushes(options.resources, ctx, table)
        self._offers = [Offer(pattern, offer, ctx) for pattern, offer in options.offer.items()]
        self._transfers = Transfers()
        self._observers = Observers(self._transfers)
        self._guard = EchoGuard(options.echo)
        self._registrar = registrar
        self.registrations: Registrations | None = None
        """The directory, if there is one."""
        if options.directory is not None:
            self.registrations = Registrations(options.directory, ctx, fetch, taken)

    # its life

    def attach(self, context: CoapContext) -> None:
        """The server listens; this is its context."""
        self._observers.attach(context)
        if self._registrar is not None:
            self._registrar.attach(context)
        if self.registrations is not None:
            self.registrations.attach(context)

    async def run(self) -> None:
        """Tell observers what changes, for ever."""
        async with asyncio.TaskGroup() as group:
            for offer in self._offers:
                group.create_task(self._watch(offer), name=f"coap {self._ctx.name} offer {offer.pattern}")

    async def _watch(self, offer: Offer) -> None:
        while True:
            self._observers.tell(offer, await offer.changed())
            await asyncio.sleep(offer.options.min_interval)  # what changes meanwhile is joined

    def close(self) -> None:
        """Stop following values."""
        for offer in self._offers:
            offer.close()

    # requests

    async def needs_blockwise_assembly(self, request: Any) -> bool:
        """Called by aiocoap's wrappers of sites: blocks are put together here."""
        del request
        return False

    async def render(self, request: Any) -> Any:
        """Not used; see :meth:`render_to_pipe`."""
        raise NotImplementedError(f"requests come by a pipe ({request.code})")

    async def render_to_pipe(self, request: Any) -> None:
        """Called by aiocoap in a task of its own for each request (``request`` is the pipe to answer on)."""
        message = request.request
        try:
            _check_options(message)
            offered = self._offered(message)
            if offered is not None and message.opt.observe == 0 and self._may_observe(message, offered):
                await self._observers.serve(request, message, offered, lambda _: self._prove(message))
                return
            response = self._get(message, offered) if message.code == codes.GET else await self._change(message)
        except RefusedError as refusal:
            response = refusal.message()
        response.opt.no_response = message.opt.no_response
        request.add_response(response, is_last=True)

    # reading

    def _offered(self, message: Any) -> Offered | None:
        if message.code != codes.GET:
            return None
        found = (offer.match(message.opt.uri_path) for offer in self._offers)
        return next((offered for offered in found if offered is not None), None)

    def _may_observe(self, message: Any, offered: Offered) -> bool:
        if message.opt.block2 is not None and message.opt.block2.block_number:
            return False
        if self._observers.has_room(offered.offer):
            return True
        self._ctx.reject("too-many-observers", "/" + "/".join(message.opt.uri_path))
        return False

    def _get(self, message: Any, offered: Offered | None) -> Any:
        now_s = asyncio.get_running_loop().time()
        found = self._transfers.continued(message, now_s) or self._representation(message, offered)
        self._guard.check(message, min(len(found.payload), 16 << BLOCK_EXPONENT), now_s)
        return self._transfers.answer(message, found, now_s)

    def _representation(self, message: Any, offered: Offered | None) -> Representation:
        path = message.opt.uri_path
        if path == _WELL_KNOWN:
            return _links_of(select(self._links(), message.opt.uri_query), message.opt.accept)
        if offered is not None:
            return offered.offer.represent(offered, message.opt.accept)
        found = self.registrations.look_up(path, message.opt.uri_query) if self.registrations is not None else None
        if found is not None:
            return _links_of(found, message.opt.accept)
        if self._pushes.find(path) is not None:
            raise RefusedError(codes.METHOD_NOT_ALLOWED, "POST or PUT")
        raise RefusedError(codes.NOT_FOUND, "no such path is served")

    def _links(self) -> list[Link]:
        links = self._pushes.links()
        for offer in self._offers:
            links += offer.links()
        links += self.registrations.own_links() if self.registrations is not None else ()
        links += self._registrar.links() if self._registrar is not None else ()
        return links

    def _prove(self, message: Any) -> None:
        """Ask for proof of an address to which more than one message would be sent."""
        received = getattr(message, "received", None)
        if received is not None:
            self._guard.check(message, 1 << 20, asyncio.get_running_loop().time())

    # changing

    async def _change(self, message: Any) -> Any:
        path, query = message.opt.uri_path, _query(message)
        if self._registrar is not None and self._registrar.owns(path, query):
            return await self._register(message, query, self._registrar)
        if self.registrations is not None and self.registrations.owns(path):
            self._prove(message)
            body = self._bodies.take(message)
            return _go_on(message) if body is None else await self.registrations.take(message, query, body)
        target = self._pushes.find(path)
        if target is None:
            raise RefusedError(codes.NOT_FOUND, "no such path is served")
        if message.code not in _PUSHED:
            raise RefusedError(codes.METHOD_NOT_ALLOWED, "POST or PUT")
        return await self._push(target, message)

    async def _push(self, target: Target, message: Any) -> Any:
        last = message.opt.block1 is None or not message.opt.block1.more
        if last and self._pushes.known(message):
            response = Message(code=codes.CHANGED)
        else:
            body = self._bodies.take(message)
            if body is None:
                return _go_on(message)
            response = await self._pushes.take(target, message, body)
        response.opt.block1 = message.opt.block1
        return response

    async def _register(self, message: Any, query: dict[str, str], registrar: Registrar) -> Any:
        body = self._bodies.take(message)
        if body is None:
            return _go_on(message)
        path, remote = message.opt.uri_path, message.remote
        if message.code == codes.DELETE:
            await registrar.deregister(path, remote)
            return Message(code=codes.DELETED)
        if message.code != codes.POST:
            raise RefusedError(codes.METHOD_NOT_ALLOWED, "POST or DELETE")
        if path == ("rd",):
            response = Message(code=codes.CREATED)
            response.opt.location_path = await registrar.register(remote, query, self._parse(path, body))
        elif path[0] == "rd":
            await registrar.update(path, remote, query, self._parse(path, body) if body else None)
            response = Message(code=codes.CHANGED)
        else:
            response = await registrar.other(path, remote, query, body, message.opt.content_format)
        response.opt.block1 = message.opt.block1
        return response

    def _parse(self, path: tuple[str, ...], body: bytes) -> list[Link]:
        try:
            return parse_links(body)
        except PayloadError as error:
            self._ctx.reject(error.reason, "/" + "/".join(path), body, str(error))
            raise RefusedError(codes.BAD_REQUEST, str(error)[:200]) from error


def _check_options(message: Any) -> None:
    """Refuse what must be understood and is not (RFC 7252, 5.4.1), and requests to others."""
    numbers = {int(option.number) for option in message.opt.option_list()}
    if numbers & _PROXY:
        raise RefusedError(codes.PROXYING_NOT_SUPPORTED, "not a proxy")
    unknown = [number for number in numbers - _UNDERSTOOD if number & 1]
    if unknown:
        raise RefusedError(codes.BAD_OPTION, f"option {min(unknown)} is not understood")
    abbreviated = message.opt.uri_path_abbrev
    if abbreviated is not None:
        whole = uri_path_abbrev._map.get(abbreviated)  # noqa: SLF001  # the only table of them
        if message.opt.uri_path or whole is None:
            raise RefusedError(codes.BAD_OPTION, "an unknown path abbreviation")
        message.opt.uri_path = whole
        message.opt.uri_path_abbrev = None


def _query(message: Any) -> dict[str, str]:
    """The parameters of a request; one without a value is empty, of equal names the first counts."""
    query: dict[str, str] = {}
    for part in message.opt.uri_query:
        name, _, value = part.partition("=")
        query.setdefault(name, value)
    return query


def _go_on(message: Any) -> Any:
    response = Message(code=codes.CONTINUE)
    response.opt.block1 = message.opt.block1
    return response


def _links_of(links: list[Link], accept: int | None) -> Representation:
    if accept not in {None, LINK_FORMAT}:
        raise RefusedError(codes.NOT_ACCEPTABLE, "there is 40 only")
    return Representation(format_links(links).encode(), LINK_FORMAT)


async def listen(site: Any, address: str, stats: Stats, loggername: str) -> tuple[Any, int]:
    """A server at ``host:port``, and the port that it has.

    Raises:
        OSError: the address cannot be used, or another process has it.
    """
    host, port = listen_address(address)
    port = _free(host, port)
    return await server_context(site, (host, port), stats, loggername), port


def _free(host: str, port: int) -> int:
    """The port, once it is certain that nobody has it.

    aiocoap binds with SO_REUSEPORT, so that a second daemon would quietly take half of the packets.
    """
    family, _, _, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM, flags=socket.AI_PASSIVE)[0]
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.bind(where)
        bound: int = probe.getsockname()[1]
        return bound
