"""The registration interface of LwM2M: who is there, until when, and a session for each."""

from __future__ import annotations

import asyncio
import fnmatch
import glob
import re
import secrets
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec
from aiocoap import Message
from aiocoap.numbers import codes

from adapters.base import Context
from adapters.coap.directory.links import Link
from adapters.coap.lwm2m import contents, sends
from adapters.coap.lwm2m.memory import Memory
from adapters.coap.lwm2m.options import Encoding, Lwm2mOptions
from adapters.coap.lwm2m.peer import Peer
from adapters.coap.lwm2m.registration import (
    DEFAULT_LIFETIME_S,
    Offer,
    Registration,
    device_name,
    endpoint_of,
    offered,
    terms_of,
)
from adapters.coap.lwm2m.reports import Reports
from adapters.coap.lwm2m.session import Session
from adapters.coap.outbox import Outbox
from adapters.coap.points import PointTable
from adapters.coap.serving.refusal import RefusedError
from gateway.errors import PayloadError
from gateway.finding import Finding

TICK_S: Final = 1.0
"""How often it is looked for registrations that have ended."""
STAGGER_S: Final = 0.005
"""Between the clients that are asked again after a restart."""

_ACCEPT: Final = {
    Encoding.TLV: contents.TLV,
    Encoding.SENML_CBOR: contents.SENML_CBOR,
    Encoding.SENML_JSON: contents.SENML_JSON,
    Encoding.JSON: contents.JSON,
    Encoding.ANY: None,
}
_SEND = ("dp",)


class Registry:
    """A :class:`adapters.coap.registrar.Registrar`."""

    def __init__(
        self,
        options: Lwm2mOptions,
        ctx: Context,
        table: PointTable,
        outbox: Outbox,
        taken: Callable[[], Collection[str]],
    ) -> None:
        self._options = options
        self._ctx = ctx
        self._table = table
        self._outbox = outbox
        self._taken = taken
        self._wanted = re.compile("|".join(fnmatch.translate(pattern) for pattern in options.globs))
        self._memory = Memory(ctx)
        self._context: Any = None
        self._sessions: dict[str, Session] = {}
        self._located: dict[str, Session] = {}
        self._devices: dict[str, str] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._group: asyncio.TaskGroup | None = None

    def __len__(self) -> int:
        return len(self._sessions)

    # what the server calls

    def attach(self, context: Any) -> None:
        """The server listens."""
        self._context = context
        now_ns = self._ctx.now_ns()
        for at, registration in enumerate(self._memory.recall(now_ns)):
            if self._fits(registration):
                left_s = min((registration.until_ns - now_ns) / 1e9, registration.lifetime_s)
                self._open(registration, None).resume(left_s, at * STAGGER_S)

    def owns(self, path: tuple[str, ...], query: Mapping[str, str]) -> bool:
        """Registrations, their updates, and what clients send by themselves (1.1)."""
        if len(path) == 2 and path[0] == "rd":
            return path[1] in self._located
        return path == _SEND or (path == ("rd",) and "lwm2m" in query)

    async def register(self, remote: Any, query: dict[str, str], links: list[Link]) -> tuple[str, ...]:
        """A new client, or one that has restarted."""
        try:
            endpoint, terms = endpoint_of(query), terms_of(query)
            device_name(self._options.device, endpoint)
        except PayloadError as error:
            self._ctx.reject(error.reason, "/rd", b"", str(error))
            known = error.reason != "unsupported-version"
            raise RefusedError(codes.BAD_REQUEST if known else codes.PRECONDITION_FAILED, str(error)) from error
        root, instances = offer = offered(links)
        self._admit(endpoint, remote, offer)
        lifetime_s = terms.lifetime_s if terms.lifetime_s is not None else DEFAULT_LIFETIME_S
        registration = Registration(
            endpoint=endpoint,
            location=secrets.token_hex(8),
            address=remote.uri_base,
            lifetime_s=min(lifetime_s or self._options.lifetime_max, self._options.lifetime_max),
            version=terms.version or "1.0",
            queue=bool(terms.queue),
            root=root,
            instances=instances,
        )
        before = self._forget(endpoint)
        session = self._open(registration, remote)
        session.heard()
        session.begin(before)
        self._memory.changed(endpoint)
        self._start(session)
        return ("rd", registration.location)

    async def update(self, path: tuple[str, ...], remote: Any, query: dict[str, str], links: list[Link] | None) -> None:
        """The client is still there, perhaps elsewhere or with other objects."""
        session = self._at(path)
        try:
            terms = terms_of(query)
        except PayloadError as error:
            self._ctx.reject(error.reason, "/rd", b"", str(error))
            raise RefusedError(codes.BAD_REQUEST, str(error)) from error
        offer = None if links is None else offered(links)
        session.renew(remote, remote.uri_base, terms, offer)
        self._memory.changed(session.registration.endpoint)

    async def deregister(self, path: tuple[str, ...], remote: Any) -> None:
        """The client leaves."""
        del remote
        self._end(self._at(path), "de-registered")

    async def other(
        self, path: tuple[str, ...], remote: Any, query: dict[str, str], payload: bytes, content_format: int | None
    ) -> Any:
        """Send (Core 1.1, 6.4.6): values that a client reports unasked; 2.04 when they are on disk."""
        del path, query
        session = next((it for it in self._sessions.values() if it.peer.is_at(remote.uri_base)), None)
        if session is None:
            raise RefusedError(codes.NOT_FOUND, "no client is registered from there")
        session.heard()
        await sends.store(self._ctx, session, payload, content_format)
        return Message(code=codes.CHANGED)

    def links(self) -> Sequence[Link]:
        """Nothing besides the directory's own."""
        return ()

    # registrations

    def _at(self, path: tuple[str, ...]) -> Session:
        try:
            return self._located[path[1]]
        except (KeyError, IndexError):
            raise RefusedError(codes.NOT_FOUND, "not registered") from None

    def _admit(self, endpoint: str, remote: Any, offer: Offer) -> None:
        """Refuse whom the options do not want, or nobody has room for.

        Raises:
            RefusedError: 4.03, 5.03.
        """
        if self._wanted.match(endpoint) is None:
            self._found(endpoint, remote, offer)
            raise RefusedError(codes.FORBIDDEN, "this endpoint is not taken here")
        device = device_name(self._options.device, endpoint)
        if device in self._taken() or self._devices.get(device, endpoint) != endpoint:
            self._ctx.reject("name-taken", "/rd", b"", f"{endpoint}: there is another device {device}")
            raise RefusedError(codes.FORBIDDEN, f"there is another device {device}")
        if endpoint not in self._sessions and len(self._sessions) >= self._options.max_endpoints:
            self._ctx.reject("too-many-endpoints", "/rd", b"", endpoint)
            raise RefusedError(codes.SERVICE_UNAVAILABLE, "too many endpoints")

    def _found(self, endpoint: str, remote: Any, offer: Offer) -> None:
        offers = tuple(f"/{number}/{instance}" for number, instance in offer[1][:32])
        config: dict[str, Any] = {}
        if not isinstance(self._options.endpoints, str):
            taken = {"type": "coap", "serve": {"lwm2m": {"endpoints": [glob.escape(endpoint)]}}}
            config = {"adapters": {self._ctx.name: taken}}
        device = device_name(self._options.device, endpoint)
        self._ctx.found(
            Finding(
                kind="lwm2m", address=remote.uri_base, identity=endpoint, device=device, offers=offers, config=config
            )
        )

    def _open(self, registration: Registration, remote: Any) -> Session:
        device = device_name(self._options.device, registration.endpoint)
        accept = _ACCEPT.get(self._options.accept, _ACCEPT[_encoding(registration.version)])
        peer = Peer(self._context, registration.address, self._options.timeout, registration.root, accept)
        if remote is not None:
            peer.found(remote, registration.address)
        reports = Reports(device, self._ctx, self._table, self._outbox)
        reports.state(endpoint=registration.endpoint, version=registration.version, queue=registration.queue)
        session = Session(registration, peer, self._options, reports, self._ctx)
        self._sessions[registration.endpoint] = session
        self._located[registration.location] = session
        self._devices[device] = registration.endpoint
        return session

    def _fits(self, registration: Registration) -> bool:
        """As :meth:`_admit`, for one out of the memory; the options may be other ones now."""
        device = device_name(self._options.device, registration.endpoint)
        wanted = self._wanted.match(registration.endpoint) is not None
        free = device not in self._taken() and device not in self._devices
        return wanted and free and len(self._sessions) < self._options.max_endpoints

    def _forget(self, endpoint: str) -> Session | None:
        """Let go of what was registered by that name."""
        session = self._sessions.pop(endpoint, None)
        if session is not None:
            del self._located[session.registration.location]
            del self._devices[session.device]
            task = self._tasks.pop(endpoint, None)
            if task is not None:
                task.cancel()
        return session

    def _end(self, session: Session, why: str) -> None:
        endpoint = session.registration.endpoint
        self._forget(endpoint)
        self._memory.changed(endpoint)
        session.over(why)

    # what runs

    async def run(self) -> None:
        """Ask the clients, end what has passed, remember; until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                for session in list(self._sessions.values()):
                    self._start(session)
                while True:
                    await asyncio.sleep(TICK_S)
                    self._expire(asyncio.get_running_loop().time())
                    self._memory.save(self._registrations)
        finally:
            self._group = None
            self._memory.save(self._registrations)

    def _start(self, session: Session) -> None:
        if self._group is not None:
            endpoint = session.registration.endpoint
            self._tasks[endpoint] = self._group.create_task(session.run(), name=f"lwm2m {self._ctx.name} {endpoint}")

    def _expire(self, now_s: float) -> None:
        for session in [it for it in self._sessions.values() if it.ends_s <= now_s]:
            self._end(session, "the registration was not renewed")

    def _registrations(self) -> Iterator[Registration]:
        now_s, now_ns = asyncio.get_running_loop().time(), self._ctx.now_ns()
        for session in self._sessions.values():
            until_ns = now_ns + int((session.ends_s - now_s) * 1e9)
            yield msgspec.structs.replace(session.registration, until_ns=until_ns)


def _encoding(version: str) -> Encoding:
    """What ``auto`` asks for: SenML is part of LwM2M from 1.1 on."""
    return Encoding.TLV if version == "1" or version.startswith("1.0") else Encoding.SENML_CBOR
