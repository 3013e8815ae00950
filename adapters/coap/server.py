"""The server's side: devices push with POST or PUT, and hear 2.04 when what they sent is on disk."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from aiocoap import Message, resource
from aiocoap.numbers import codes
from aiocoap.util.linkformat import Link, LinkFormat

from adapters.base import Context, Stats
from adapters.coap.blocks import Assembly, Block, BusyError, IncompleteError, TooLargeError
from adapters.coap.points import PointTable
from adapters.coap.routes import Target, compile_routes, find
from adapters.coap.serve_options import ServeOptions, listen_address
from adapters.coap.transport import server_context
from gateway.errors import PayloadError, StoreError, TooManyPointsError
from gateway.frame import Frame

MAX_PUSHES = 1024
"""Pushes that may wait for the disk at one time; further ones hear 5.03."""
RETRY_AFTER_S = 5
"""What a 5.03 says of when to try again (Max-Age)."""

_WELL_KNOWN = (".well-known", "core")
_CONTENT_FORMATS = "0 50 60 110 112"


class RefusedError(Exception):
    """A push is not taken; becomes the response."""

    def __init__(self, code: Any, detail: str, *, size1: int | None = None) -> None:
        self.code = code
        self.size1 = size1
        super().__init__(detail)

    def message(self) -> Any:
        """The response, with the reason as its diagnostic payload (RFC 7252, 5.5.2)."""
        response = Message(code=self.code, payload=str(self).encode())
        response.opt.size1 = self.size1
        if self.code == codes.SERVICE_UNAVAILABLE:
            response.opt.max_age = RETRY_AFTER_S
        return response


class PushSite(resource.Site):  # type: ignore[misc]  # aiocoap ships no types
    """All served paths; one object, because patterns are not single resources."""

    def __init__(self, options: ServeOptions, ctx: Context, table: PointTable) -> None:
        super().__init__()
        self._ctx = ctx
        self._table = table
        self._max_payload = int(options.max_payload)
        self._routes = compile_routes(options.resources)
        self._assembly = Assembly(self._max_payload)
        self._pushes = 0
        self._devices: set[str] = set()
        self.add_resource(_WELL_KNOWN, resource.WKCResource(self._links, impl_info=None))

    def _links(self) -> Any:
        return LinkFormat([Link(route.pattern, rt="onpath.push", ct=_CONTENT_FORMATS) for route in self._routes])

    async def render_to_pipe(self, request: Any) -> None:
        """Called by aiocoap in a task of its own for each request (``request`` is the pipe to answer on)."""
        message = request.request
        if message.opt.uri_path == _WELL_KNOWN or message.opt.uri_path_abbrev is not None:
            await super().render_to_pipe(request)
            return
        try:
            response = await self._respond(message)
        except RefusedError as refusal:
            response = refusal.message()
        response.opt.no_response = message.opt.no_response
        request.add_response(response, is_last=True)

    async def _respond(self, message: Any) -> Any:
        target = find(self._routes, message.opt.uri_path)
        if target is None:
            raise RefusedError(codes.NOT_FOUND, "no such path is served")
        if message.code not in {codes.POST, codes.PUT}:
            raise RefusedError(codes.METHOD_NOT_ALLOWED, "POST or PUT")
        payload = self._body(message)
        if payload is None:
            response = Message(code=codes.CONTINUE)
        else:
            await self._push(target, payload, message.opt.content_format)
            response = Message(code=codes.CHANGED)
        response.opt.block1 = message.opt.block1
        return response

    def _body(self, message: Any) -> bytes | None:
        """The payload, or None while blocks are missing."""
        option, payload = message.opt.block1, message.payload
        if option is None:
            if len(payload) > self._max_payload:
                raise self._too_large()
            return bytes(payload)
        block = Block(option.start, option.size, more=option.more, announced=message.opt.size1 or 0)
        key = (message.remote.blockwise_key, message.code, message.opt.uri_path)
        try:
            return self._assembly.feed(key, block, payload, asyncio.get_running_loop().time())
        except TooLargeError:
            raise self._too_large() from None
        except IncompleteError:
            self._ctx.stats.reasons["incomplete"] += 1
            raise RefusedError(codes.REQUEST_ENTITY_INCOMPLETE, "blocks are missing") from None
        except BusyError:
            raise self._busy("too many block-wise transfers") from None

    def _too_large(self) -> RefusedError:
        self._ctx.stats.reasons["too-large"] += 1
        return RefusedError(
            codes.REQUEST_ENTITY_TOO_LARGE, f"at most {self._max_payload} bytes", size1=self._max_payload
        )

    def _busy(self, detail: str) -> RefusedError:
        self._ctx.stats.reasons["busy"] += 1
        return RefusedError(codes.SERVICE_UNAVAILABLE, detail)

    async def _push(self, target: Target, payload: bytes, content_format: int | None) -> None:
        """Store what was pushed; returns when it is on disk."""
        self._ctx.stats.messages += 1
        if self._pushes >= MAX_PUSHES:
            raise self._busy("too many pushes wait for the disk")
        frame = self._frame(target, payload, content_format)
        if target.device not in self._devices:
            self._devices.add(target.device)
            self._ctx.link(target.device, up=True)
        self._pushes += 1
        try:
            receipt = await self._ctx.emit(frame)
            await receipt.durable()
        except StoreError as error:
            self._ctx.stats.reasons["not-durable"] += 1
            raise RefusedError(codes.SERVICE_UNAVAILABLE, f"not stored: {error}") from error
        finally:
            self._pushes -= 1

    def _frame(self, target: Target, payload: bytes, content_format: int | None) -> Frame:
        now_ns = self._ctx.now_ns()
        try:
            readings = target.route.read(payload, content_format, now_ns, target.point)
            rows = [
                self._table.row(f"{target.device}/{name}", target.route.point_options(name), value, unit)
                for name, value, unit, _ in readings
            ]
        except PayloadError as error:
            self._ctx.stats.reasons[error.reason] += 1
            unsupported = error.reason == "unsupported-format"
            code = codes.UNSUPPORTED_CONTENT_FORMAT if unsupported else codes.BAD_REQUEST
            raise RefusedError(code, str(error)[:200]) from error
        except TooManyPointsError as error:
            if not self._ctx.stats.reasons["too-many-points"]:
                self._ctx.log.warning("%s", error)
            self._ctx.stats.reasons["too-many-points"] += 1
            raise RefusedError(codes.FORBIDDEN, str(error)[:200]) from error
        times = [now_ns if reading.time_ns is None else reading.time_ns for reading in readings]
        points, values, words = zip(*rows, strict=True)
        return Frame.of(points, times, values, words)


async def listen(site: PushSite, address: str, stats: Stats, loggername: str) -> tuple[Any, int]:
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
