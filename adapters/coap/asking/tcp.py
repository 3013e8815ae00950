"""CoAP over TCP (RFC 8323) for a client, on aiocoap's transport, hardened against what a stream may hold.

aiocoap 0.4.17 copies the whole buffer for each message in it, takes messages of 1 MiB, lets some malformed
ones fly into the event loop, answers pings into a buffer without a bound, opens one connection for each of
two questions that come at once, and leaves connections open at the end. Here garbage, a message that is too
large and a peer that sends without reading close the connection and are counted; a new one is made for the
next question.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any, Final

from aiocoap import Message, error
from aiocoap.numbers.codes import EMPTY, NOT_FOUND, PING, PONG
from aiocoap.transports.rfc8323common import CloseConnection
from aiocoap.transports.tcp import TCPClient, TcpConnection, _decode_message, _extract_message_size
from aiocoap.util import hostportsplit

from adapters.coap.messages import few_options

ROOM: Final = 1152
"""Bytes for the options of a message, beside its payload; also the smallest Max-Message-Size there is."""
SILENCE_S: Final = 30
"""Sent bytes that are not acknowledged for so long end the connection, and so does a peer that is gone."""
CLOSING_S: Final = 1.0
AT_ONCE: Final = 100
"""Messages taken before others have their turn."""

Reject = Callable[[str, str, bytes], None]


class Connection(TcpConnection):  # type: ignore[misc]  # aiocoap ships no types
    """A connection to one device; aiocoap's address of it as well."""

    def __init__(self, client: StreamClient, log: Any, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(client, log, loop, is_server=False)
        self._my_max_message_size = client.max_message
        self._spool = b""
        self.heard_s = loop.time()
        """When the last byte came, in the loop's time."""
        self.closed = loop.create_future()

    @property
    def is_open(self) -> bool:
        """Whether something can be sent."""
        return self._transport is not None and not self._transport.is_closing()

    def connection_made(self, transport: Any) -> None:
        """Called by the transport; says CSM first, as both sides must."""
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, SILENCE_S)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, SILENCE_S // 3)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, SILENCE_S * 1000)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65_536)  # questions are small
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Called by the transport."""
        self.heard_s = self.loop.time()
        self._spool += data
        self._drain()

    def _drain(self) -> None:
        """Take what is whole, but not so much at once that others wait."""
        spool, at, left = self._spool, 0, AT_ONCE
        try:
            while left and self.is_open and (size := _extract_message_size(spool[at : at + 5])) is not None:
                end = at + sum(size)
                if end - at > self._my_max_message_size:
                    self._refuse("too-large", spool[at:])
                elif end > len(spool):
                    break
                else:
                    self._take(spool[at:end], size[0] + size[1])
                    at, left = end, left - 1
        except (error.UnparsableMessage, UnicodeDecodeError):
            self._refuse("malformed", spool[at:])
        self._spool = spool[at:] if self.is_open else b""
        if not left and self.is_open:
            self._transport.pause_reading()
            self.loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        if self.is_open:
            self._transport.resume_reading()
            self._drain()

    def _take(self, data: bytes, header: int) -> None:
        """One whole message; ``header`` is what stands before its options.

        Raises:
            UnparsableMessage, UnicodeDecodeError: it is none.
        """
        if not few_options(b"\x40\0\0\0" + data[header:]):
            raise error.UnparsableMessage("too many options")
        message = _decode_message(data)
        message.remote = self
        if message.code == PING:
            self._pong(message)
        elif message.code.is_signalling():
            try:
                self._process_signaling(message)
            except CloseConnection as closed:
                self.give_up(closed.args[0])
        elif self._remote_settings is None:
            raise error.UnparsableMessage("a message before the peer's CSM")
        elif message.code.is_response():
            self._ctx.answered(message)
        elif message.code.is_request():
            self._send_message(Message(code=NOT_FOUND, _token=message.token))  # nobody asks a client
        elif message.code != EMPTY:
            raise error.UnparsableMessage("a code that is none")

    def _pong(self, ping: Any) -> None:
        """Answer a ping; aiocoap's own answer is made in a way that it has deprecated itself."""
        if any(option.number.is_critical() for option in ping.opt.option_list()):
            raise error.UnparsableMessage("a critical option in a ping")
        self._send_message(Message(code=PONG, _token=ping.token))

    def pause_writing(self) -> None:
        """Called when the peer makes us write without reading what we write."""
        self._refuse("flooded", b"")

    def abort(self, errormessage: str | None = None, bad_csm_option: int | None = None) -> None:
        """Called by aiocoap on a signal that cannot be used."""
        super().abort(errormessage, bad_csm_option)
        self._refuse("malformed", b"")

    def _refuse(self, reason: str, data: bytes) -> None:
        self._ctx.reject(reason, self.hostinfo, data)
        self.give_up(error.NetworkError(f"the connection was closed: {reason}"))

    def give_up(self, cause: Exception) -> None:
        """Close at once; everything that waits for the device fails."""
        if self._transport is not None:
            self._transport.abort()
        self._ctx.lost(self, cause)

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the transport at the end."""
        self._ctx.lost(self, exc or error.NetworkError("the device closed the connection"))
        if not self.closed.done():
            self.closed.set_result(None)


class StreamClient(TCPClient):  # type: ignore[misc]
    """The connections of one adapter, one for each host and port."""

    def __init__(self, max_message: int, reject: Reject) -> None:
        super().__init__()
        self.max_message = max_message
        self.reject = reject
        self._tokenmanager: Any = None
        self._pool: dict[tuple[str, int], Connection] = {}
        self._made: set[Connection] = set()
        self._turns: dict[tuple[str, int], asyncio.Lock] = {}

    def answered(self, message: Any) -> None:
        """A response has come."""
        if self._tokenmanager is not None:
            self._tokenmanager.process_response(message)

    def lost(self, connection: Connection, cause: Exception) -> None:
        """A connection is over; tells all that wait for it, the first time."""
        if connection in self._made:
            self._made.discard(connection)
            self._dispatch_error(connection, cause)

    async def fill_or_recognize_remote(self, message: Any) -> bool:
        """Called by aiocoap: whether the message goes by this transport; finds or makes its connection."""
        if isinstance(message.remote, Connection):
            return message.remote.is_open and message.remote._ctx is self  # noqa: SLF001  # aiocoap's field
        return bool(await super().fill_or_recognize_remote(message))

    async def _spawn_protocol(self, message: Any) -> Connection:
        host, port = hostportsplit(message.unresolved_remote)
        address = host, port or self._default_port
        async with self._turns.setdefault(address, asyncio.Lock()):
            known = self._pool.get(address)
            if known is not None and known.is_open:
                return known
            connection: Connection
            try:
                _, connection = await self.loop.create_connection(
                    lambda: Connection(self, self.log, self.loop), *address
                )
            except OSError as cause:
                raise error.NetworkError(f"no connection to {host}: {cause}") from cause
            self._pool[address] = connection
            self._made.add(connection)
            return connection

    async def shutdown(self) -> None:
        """Called by aiocoap at the end: releases and closes all connections."""
        self._tokenmanager = None
        made = list(self._made)
        for connection in made:
            await connection.release()
            connection._transport.close()  # noqa: SLF001  # aiocoap's field
        if made:
            _, late = await asyncio.wait([one.closed for one in made], timeout=CLOSING_S)
            for connection in made:
                if connection.closed in late:
                    connection._transport.abort()  # noqa: SLF001
                    await connection.closed


def attach_tcp(context: Any, tokens: Any, max_payload: int, reject: Reject) -> None:
    """Let a context ask ``coap+tcp://`` URLs; ``max_payload`` is the largest payload of a message, bytes."""
    client = StreamClient(max_payload + ROOM, reject)
    client._tokenmanager = tokens  # noqa: SLF001  # as aiocoap's own create_client_transport does
    client.log, client.loop = context.log, context.loop
    tokens.token_interface = client
    context.request_interfaces.append(tokens)
