"""Pushes: what devices send with POST or PUT is stored, and 2.04 says that it is on disk."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from aiocoap import Message
from aiocoap.numbers import codes

from adapters.base import Context
from adapters.coap.directory.links import Link
from adapters.coap.options.serve import ServedOptions
from adapters.coap.points import PointTable
from adapters.coap.serving.refusal import RefusedError
from adapters.coap.serving.repeats import Repeats
from adapters.coap.serving.routes import Route, Target, compile_routes, find
from gateway.errors import PayloadError, StoreError, TooManyPointsError
from gateway.frame import Frame

MAX_PUSHES: Final = 1024
"""Pushes that may wait for the disk at one time; further ones hear 5.03."""

_CONTENT_FORMATS: Final = "0 50 60 110 112"


class Pushes:
    """The paths of ``serve.resources``."""

    def __init__(self, resources: dict[str, ServedOptions], ctx: Context, table: PointTable) -> None:
        self._ctx = ctx
        self._table = table
        self._routes = compile_routes(resources)
        self._waiting = 0
        self._devices: set[str] = set()
        self._repeats = Repeats(ctx, asyncio.get_running_loop().time())

    def links(self) -> list[Link]:
        """What ``/.well-known/core`` lists; a pattern is listed as it is."""
        return [Link(route.pattern, (("rt", "onpath.push"), ("ct", _formats(route)))) for route in self._routes]

    def find(self, path: tuple[str, ...]) -> Target | None:
        """Who takes what is pushed to a path, or None."""
        return find(self._routes, path)

    def known(self, message: Any) -> bool:
        """Whether a message is on disk since before a restart: it is to be answered and not taken again."""
        known = self._repeats.known(message, asyncio.get_running_loop().time())
        self._ctx.stats.repeated += known
        return known

    async def take(self, target: Target, message: Any, payload: bytes) -> Any:
        """Store what was pushed; the response, once it is on disk.

        Raises:
            RefusedError: it cannot be used, or could not be stored.
        """
        self._ctx.stats.messages += 1
        if self._waiting >= MAX_PUSHES:
            self._ctx.stats.reasons["busy"] += 1
            raise RefusedError(codes.SERVICE_UNAVAILABLE, "too many pushes wait for the disk")
        frame = self._frame(target, payload, message)
        if target.device not in self._devices:
            self._devices.add(target.device)
            self._ctx.link(target.device, up=True)
        self._waiting += 1
        try:
            receipt = await self._ctx.emit(frame, self._repeats.tokens(message))
            await receipt.durable()
        except StoreError as error:
            self._ctx.stats.reasons["not-durable"] += 1
            raise RefusedError(codes.SERVICE_UNAVAILABLE, f"not stored: {error}") from error
        finally:
            self._waiting -= 1
        return Message(code=codes.CHANGED)

    def _frame(self, target: Target, payload: bytes, message: Any) -> Frame:
        now_ns = self._ctx.now_ns()
        path = "/" + "/".join(message.opt.uri_path)
        try:
            readings = target.route.read(payload, message.opt.content_format, now_ns, target.point)
            rows = [
                self._table.row(f"{target.device}/{name}", target.route.point_options(name), value, unit)
                for name, value, unit, _ in readings
            ]
        except PayloadError as error:
            self._ctx.reject(error.reason, path, payload, str(error))
            unsupported = error.reason == "unsupported-format"
            code = codes.UNSUPPORTED_CONTENT_FORMAT if unsupported else codes.BAD_REQUEST
            raise RefusedError(code, str(error)[:200]) from error
        except TooManyPointsError as error:
            if not self._ctx.stats.reasons["too-many-points"]:
                self._ctx.log.warning("%s", error)
            self._ctx.reject("too-many-points", path, payload, str(error))
            raise RefusedError(codes.FORBIDDEN, str(error)[:200]) from error
        times = [now_ns if reading.time_ns is None else reading.time_ns for reading in readings]
        points, values, words = zip(*rows, strict=True)
        return Frame.of(points, times, values, words)


def _formats(route: Route) -> str:
    return f"{_CONTENT_FORMATS} 42" if route.has_layout else _CONTENT_FORMATS
