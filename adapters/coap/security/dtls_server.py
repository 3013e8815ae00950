"""Being asked by ``coaps://``: a transport of aiocoap, one socket, a session for each address.

A client gets a session once it has sent back the cookie of its address; until then nothing is kept of it. An
old session stays until a new one from the same address is complete (RFC 6347, 4.2.8).
"""

from __future__ import annotations

import asyncio
import socket
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final

from aiocoap import Message, error, interfaces
from aiocoap.util import hostportjoin

from adapters.coap.messages import few_options
from adapters.coap.security.dtls import DtlsError, ServerKeys, Session
from adapters.coap.security.dtls_address import DtlsRemote
from adapters.coap.security.dtls_records import is_hello
from adapters.coap.security.not_secure import SessionError

MAX_SESSIONS: Final = 1024
"""When there are more, those that were silent for longest give way."""
MAX_HANDSHAKES: Final = 64
HANDSHAKE_S: Final = 30.0
IDLE_S: Final = 86_400.0
"""A session that was silent for so long is forgotten; the device makes another one."""
SWEEP_S: Final = 10.0

Refused = Callable[[str, str, bytes, str], None]
"""Told of what was not taken: a countable word, from whom, the bytes, the reason."""


class DtlsGuest(DtlsRemote):
    """A session of the server."""

    def __init__(self, server: DtlsServer, session: Session, address: Any) -> None:
        super().__init__(hostportjoin(address[0], address[1]), server.local, [])
        self._server = server
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self.session = session
        self.address = address
        self.heard_s = self._loop.time()
        self.lost = False

    def begin(self) -> None:
        """Answer the ClientHello that brought back its cookie."""
        try:
            self.session.start()
        except DtlsError as cause:
            self.lose(str(cause))
        else:
            self.flush()

    def feed(self, data: bytes) -> list[bytes]:
        """The messages that a datagram brings; none if the session ends by it."""
        was = self.session.established
        try:
            received = self.session.feed(data)
        except DtlsError as cause:
            self.lose(str(cause))
            return []
        self.heard_s = self._loop.time()
        self.flush()
        if self.session.established and not was:
            self._claims = [self._server.keys.name_of(self.session)]
            self._server.established(self)
        return received

    def flush(self) -> None:
        """Send what is to be sent, and see when it has to be repeated."""
        for datagram in self.session.outgoing():
            self._server.send_to(datagram, self.address)
        if self._timer is not None:
            self._timer.cancel()
        wait_s = None if self.lost else self.session.timeout_s()
        self._timer = None if wait_s is None else self._loop.call_later(wait_s, self._repeat)

    def _repeat(self) -> None:
        self._timer = None
        try:
            self.session.repeat()
        except DtlsError as cause:
            self.lose(str(cause))
        else:
            self.flush()

    def send(self, data: bytes) -> None:
        """Send a message, if the session is still there."""
        if self.lost:
            return
        try:
            self.session.send(data)
        except DtlsError as cause:
            self.lose(str(cause))
        else:
            self.flush()

    def lose(self, why: str) -> None:
        """End the session."""
        if self.lost:
            return
        self.lost = True
        self.session.close()
        self.flush()
        self._server.ended(self, why)


class DtlsServer(interfaces.MessageInterface, asyncio.DatagramProtocol):  # type: ignore[misc]  # aiocoap ships no types
    """The transport."""

    def __init__(self, manager: Any, keys: ServerKeys, refused: Refused) -> None:
        self._manager = manager
        self._refused = refused
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.DatagramTransport | None = None
        self._sessions: OrderedDict[Any, DtlsGuest] = OrderedDict()
        """Complete ones by address, the longest silent first."""
        self._handshakes: OrderedDict[Any, DtlsGuest] = OrderedDict()
        self._sweeper: asyncio.TimerHandle | None = None
        self.keys = keys
        self.local = ""

    def __len__(self) -> int:
        return len(self._sessions)

    async def listen(self, host: str, port: int) -> int:
        """Take the port, or a free one for 0; which it is.

        Raises:
            OSError: the address cannot be used.
        """
        family, _, _, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM, flags=socket.AI_PASSIVE)[0]
        listening = socket.socket(family, socket.SOCK_DGRAM)
        try:
            if family == socket.AF_INET6:
                listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            listening.setblocking(False)
            listening.bind(where)
            bound: int = listening.getsockname()[1]
            self.local = hostportjoin(host, bound)
            await self._loop.create_datagram_endpoint(lambda: self, sock=listening)
        except BaseException:
            listening.close()
            raise
        self._sweeper = self._loop.call_later(SWEEP_S, self._sweep)
        return bound

    # the socket

    def connection_made(self, transport: Any) -> None:
        """Called by the loop."""
        self._transport = transport

    def error_received(self, exc: Exception) -> None:
        """Called by the loop for errors that belong to no session; silence will tell."""

    def datagram_received(self, data: bytes, addr: Any) -> None:
        """Called by the loop."""
        client = self._handshakes.get(addr) or self._sessions.get(addr)
        if client is None or (is_hello(data) and client.session.established):
            self._greet(data, addr)
            return
        if client.session.established:
            self._sessions.move_to_end(addr)
        received = client.feed(data)
        self._count_unknown(addr)
        for message in received:
            self._take(message, client)

    def _greet(self, data: bytes, addr: Any) -> None:
        if not is_hello(data):
            return  # the rest of a session that is forgotten; the device will find out
        session, outgoing = self.keys.greet(data, repr(addr[:2]).encode())
        for datagram in outgoing:
            self.send_to(datagram, addr)
        if session is None:
            return
        if len(self._handshakes) >= MAX_HANDSHAKES:
            next(iter(self._handshakes.values())).lose("too many handshakes at a time")
        client = self._handshakes[addr] = DtlsGuest(self, session, addr)
        client.begin()

    def _count_unknown(self, addr: Any) -> None:
        for identity in self.keys.unknown:
            self._refused("not-secure", f"from {hostportjoin(addr[0], addr[1])}", identity, "an unknown PSK identity")
        self.keys.unknown.clear()

    def _take(self, data: bytes, client: DtlsGuest) -> None:
        try:
            message = Message.decode(data, client) if few_options(data) else None
        except (error.UnparsableMessage, UnicodeDecodeError):
            message = None
        if message is None:
            self._refused("malformed", f"from {client.hostinfo}", data, "")
        elif self._manager is not None:
            self._manager.dispatch_message(message)

    def send_to(self, datagram: bytes, address: Any) -> None:
        """Send a datagram."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.sendto(datagram, address)

    # sessions

    def established(self, client: DtlsGuest) -> None:
        """A handshake is complete."""
        del self._handshakes[client.address]
        old = self._sessions.pop(client.address, None)
        if old is not None:
            old.lose("the device has begun another session")
        while len(self._sessions) >= MAX_SESSIONS:
            next(iter(self._sessions.values())).lose("too many sessions at a time")
        self._sessions[client.address] = client

    def ended(self, client: DtlsGuest, why: str) -> None:
        """A session, or a handshake, is over."""
        for table in (self._handshakes, self._sessions):
            if table.get(client.address) is client:
                del table[client.address]
        self.keys.forget(client.session)
        if not client.session.established:
            self._refused("not-secure", f"from {client.hostinfo}", b"", why)
        if self._manager is not None:
            self._manager.dispatch_error(SessionError(why), client)

    def _sweep(self) -> None:
        now_s = self._loop.time()
        for table, limit_s, why in (
            (self._handshakes, HANDSHAKE_S, "the handshake does not come to an end: is the key the right one?"),
            (self._sessions, IDLE_S, "silent for too long"),
        ):
            for client in list(table.values()):
                if now_s - client.heard_s > limit_s:
                    client.lose(why)
        self._sweeper = self._loop.call_later(SWEEP_S, self._sweep)

    # what aiocoap asks of a transport

    async def recognize_remote(self, remote: Any) -> bool:
        """Whether a message can go to where a request came from."""
        return isinstance(remote, DtlsGuest) and not remote.lost

    async def determine_remote(self, message: Any) -> None:
        """The server begins no sessions."""
        del message

    def send(self, message: Any) -> None:
        """Send a message by its session."""
        message.remote.send(message.encode())

    async def shutdown(self) -> None:
        """End all sessions, and close the socket."""
        self._manager = None
        if self._sweeper is not None:
            self._sweeper.cancel()
        for client in [*self._handshakes.values(), *self._sessions.values()]:
            client.lose("the gateway stops")
        if self._transport is not None:
            self._transport.close()
