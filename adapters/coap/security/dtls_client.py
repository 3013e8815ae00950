"""Asking one device by ``coaps://``: a transport of aiocoap with a session that is made anew when it is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlsplit

from aiocoap import Context as CoapContext
from aiocoap import Message, error, interfaces
from aiocoap.util import hostportjoin

from adapters.coap.asking.questions import Asking, RandomTokens
from adapters.coap.messages import attach, few_options
from adapters.coap.options.credentials import PskOptions, secret_bytes
from adapters.coap.security.dtls import ClientKeys, DtlsError, Psk, Session
from adapters.coap.security.dtls_address import DtlsRemote
from adapters.coap.security.not_secure import NotSecureError, SessionError

PORT: Final = 5684
HANDSHAKE_SHARE: Final = 0.8
"""Of the time for an answer, so that who waits hears why there is none."""


Refused = Callable[[str, str], None]
"""Told why a session does not come about: a countable word, and the reason."""


async def dtls_context(
    name: str, psk: PskOptions, plain: CoapContext, *, url: str, timeout_s: float, refused: Refused
) -> Any:
    """A context for one device, whose only way out is a session with this key. ``plain`` lends its loop and its log."""
    context = CoapContext(loop=plain.loop, loggername=plain.log.name)
    keys = ClientKeys(Psk(psk.identity.encode(), secret_bytes(psk.key)))

    async def interface(manager: Any) -> DtlsClient:
        return DtlsClient(manager, keys, name, url=url, timeout_s=timeout_s, refused=refused)

    await attach(context, interface, Asking, RandomTokens)
    return context


class DtlsPeer(DtlsRemote, asyncio.DatagramProtocol):
    """A session with a device, on a socket of its own."""

    def __init__(self, client: DtlsClient, session: Session, hostinfo: str, name: str) -> None:
        super().__init__(hostinfo, "", [name])
        self._client = client
        self._session = session
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.DatagramTransport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._unanswered_s: float | None = None
        self.ready: asyncio.Future[None] = self._loop.create_future()
        """Done when the handshake is, or has failed."""
        self.lost = False

    # the socket

    def connection_made(self, transport: Any) -> None:
        """Called by the loop."""
        self._transport = transport
        host, port, *_ = transport.get_extra_info("sockname")
        self._local = hostportjoin(host, port)
        try:
            self._session.start()
        except DtlsError as cause:
            self.lose(str(cause))
        else:
            self._flush()

    def datagram_received(self, data: bytes, addr: Any) -> None:
        """Called by the loop."""
        del addr  # the socket is connected
        if self.lost:
            return
        try:
            received = self._session.feed(data)
        except DtlsError as cause:
            self._flush()
            self.lose(str(cause))
            return
        if self._session.established and not self.ready.done():
            self.ready.set_result(None)
        if received:
            self._unanswered_s = None
        self._flush()
        for message in received:
            self._client.take(message, self)

    def error_received(self, exc: Exception) -> None:
        """Called by the loop when the network says that nobody listens there."""
        self.lose(str(exc) or type(exc).__name__)

    def _flush(self) -> None:
        assert self._transport is not None
        for datagram in self._session.outgoing():
            self._transport.sendto(datagram)
        if self._timer is not None:
            self._timer.cancel()
        wait_s = self._session.timeout_s()
        self._timer = None if wait_s is None or self.lost else self._loop.call_later(wait_s, self._repeat)

    def _repeat(self) -> None:
        self._timer = None
        try:
            self._session.repeat()
        except DtlsError as cause:
            self.lose(str(cause))
        else:
            self._flush()

    # the session

    def send(self, data: bytes) -> None:
        """Send a message; if that cannot be, the session is lost."""
        if self.lost:
            self._client.failed(SessionError("the DTLS session is over"), self)
            return
        try:
            self._session.send(data)
        except DtlsError as cause:
            self.lose(str(cause))
            return
        if self._unanswered_s is None:
            self._unanswered_s = self._loop.time()
        self._flush()

    def silent_s(self) -> float:
        """How long nothing has come since something was sent."""
        return 0.0 if self._unanswered_s is None else self._loop.time() - self._unanswered_s

    def give_up(self) -> None:
        """The time for the handshake is over."""
        self.lose("the DTLS handshake does not come to an end: is the key the right one?")

    def lose(self, why: str) -> None:
        """End the session; whatever waits for an answer hears why."""
        if self.lost:
            return
        cause = self._cause(why)
        self._session.close()
        if self._transport is not None:
            self._flush()
            self._transport.close()
        self.lost = True
        if self._timer is not None:
            self._timer.cancel()
        if not self.ready.done():
            self.ready.set_exception(cause)
            self.ready.exception()  # perhaps nobody waits any more
        self._client.failed(cause, self)

    def _cause(self, why: str) -> Exception:
        if self._session.established:
            return SessionError(why)
        if self._session.heard:
            return NotSecureError(why)
        silence: Exception = error.TimeoutError()
        return silence


class DtlsClient(interfaces.MessageInterface):  # type: ignore[misc]  # aiocoap ships no types
    """The transport for one device."""

    def __init__(
        self, manager: Any, keys: ClientKeys, name: str, *, url: str, timeout_s: float, refused: Refused
    ) -> None:
        self._manager = manager
        self._refused = refused
        self._keys = keys
        self._name = name
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port or PORT
        self._limit_s = timeout_s * HANDSHAKE_SHARE
        self._peer: DtlsPeer | None = None
        self._connecting: asyncio.Task[DtlsPeer] | None = None
        self._closed = False

    async def recognize_remote(self, remote: Any) -> bool:
        """Called by aiocoap: whether a message can be sent to where an answer came from."""
        return remote is self._peer and self._peer is not None and not self._peer.lost

    async def determine_remote(self, message: Any) -> Any:
        """Called by aiocoap: the session, made when it is needed.

        Raises:
            NotSecureError: it does not come about.
            OSError: the address cannot be found.
        """
        del message  # there is one device
        if self._closed:
            raise error.LibraryShutdown
        peer = self._peer
        if peer is not None and not peer.lost:
            if peer.silent_s() < self._limit_s:
                return peer
            peer.lose("no answer by the old session")  # a device that was restarted has forgotten it
        if self._connecting is None:
            self._connecting = asyncio.create_task(self._connect(), name=f"coaps {self._host}")
            self._connecting.add_done_callback(self._connected)
        return await asyncio.shield(self._connecting)  # others wait for it too

    async def _connect(self) -> DtlsPeer:
        loop = asyncio.get_running_loop()
        hostinfo = hostportjoin(self._host, None if self._port == PORT else self._port)
        peer = DtlsPeer(self, self._keys.session(), hostinfo, self._name)
        limit = loop.call_later(self._limit_s, peer.give_up)
        try:
            await loop.create_datagram_endpoint(lambda: peer, remote_addr=(self._host, self._port))
            await peer.ready
        except asyncio.CancelledError:
            peer.lose("the gateway stops")
            raise
        finally:
            limit.cancel()
        return peer

    def _connected(self, task: asyncio.Task[DtlsPeer]) -> None:
        self._connecting = None
        if not task.cancelled() and task.exception() is None:  # an error is for those who wait, if anybody does
            self._peer = task.result()

    def send(self, message: Any) -> None:
        """Called by aiocoap."""
        message.remote.send(message.encode())

    def take(self, data: bytes, peer: DtlsPeer) -> None:
        """A message has come."""
        try:
            message = Message.decode(data, peer) if few_options(data) else None
        except (error.UnparsableMessage, UnicodeDecodeError):
            message = None
        if message is not None and not self._closed:
            self._manager.dispatch_message(message)

    def failed(self, cause: Exception, peer: DtlsPeer) -> None:
        """Nothing more will come by a session."""
        if self._closed:
            return
        if isinstance(cause, NotSecureError):
            self._refused("not-secure", str(cause))
        self._manager.dispatch_error(cause, peer)

    async def shutdown(self) -> None:
        """Called by aiocoap."""
        self._closed = True
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.wait({self._connecting})
        if self._peer is not None:
            self._peer.lose("the gateway has ended the session")
