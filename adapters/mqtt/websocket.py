"""MQTT over WebSockets (MQTT 5.0, chapter 6): what stands between the socket and a session.

To the socket this is a protocol, to the session a transport. MQTT's bytes travel in binary frames that need not
be aligned with packets; they go on as they come, so that no frame is too large: nothing of it is held here.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any, Final, cast

from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Message,
    Ping,
    RejectConnection,
    Request,
    TextMessage,
)
from wsproto.utilities import LocalProtocolError, RemoteProtocolError

from gateway.errors import LinkError

SUBPROTOCOL: Final = "mqtt"


class WebSocket(asyncio.Protocol, asyncio.Transport):
    """One connection. ``session`` hears of it once the broker has agreed to speak MQTT."""

    def __init__(self, session: asyncio.Protocol, host: str, target: str) -> None:
        super().__init__()
        self._session = session
        self._ws = WSConnection(ConnectionType.CLIENT)
        self._request = Request(host=host, target=target, subprotocols=[SUBPROTOCOL])
        self._transport: asyncio.Transport | None = None
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when MQTT may be spoken; its exception says why not."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(self._ws.send(self._request))

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        try:
            self._ws.receive_data(data)
            for event in self._ws.events():
                self._take(event)
        except (RemoteProtocolError, LocalProtocolError) as error:
            self._refuse(f"WebSocket: {error}")

    def _take(self, event: Event) -> None:
        match event:
            case BytesMessage():
                self._session.data_received(bytes(event.data))
            case AcceptConnection():
                self._accept(event)
            case RejectConnection():
                self._refuse(f"the broker's web server answers {event.status_code} instead of a WebSocket")
            case TextMessage():
                self._refuse("a WebSocket frame of text, where MQTT has binary ones only")
            case Ping():
                self._send(event.response())
            case CloseConnection():
                self._refuse(f"the broker closed the WebSocket, code {int(event.code)} {event.reason or ''}".rstrip())

    def _accept(self, event: AcceptConnection) -> None:
        if event.subprotocol != SUBPROTOCOL:
            self._refuse("the web server does not speak MQTT: it did not take the subprotocol")
        elif not self.opened.done():
            self._session.connection_made(self)
            self.opened.set_result(None)

    def _refuse(self, why: str) -> None:
        error = LinkError(why)
        if self.opened.done():
            self._session.connection_lost(error)
        else:
            self.opened.set_exception(error)
        self.abort()

    def _send(self, event: Event) -> None:
        if self._transport is not None and not self._transport.is_closing():
            with contextlib.suppress(LocalProtocolError):  # the other side is closing
                self._transport.write(self._ws.send(event))

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        if self.opened.done() and not self.opened.cancelled() and self.opened.exception() is None:
            self._session.connection_lost(exc)
        elif not self.opened.done():
            self.opened.set_exception(exc or LinkError("the broker closed the connection during the WebSocket's start"))

    def write(self, data: Any) -> None:
        """See asyncio.WriteTransport."""
        self._send(Message(data=bytes(data)))

    def is_closing(self) -> bool:
        """See asyncio.BaseTransport."""
        return self._transport is None or self._transport.is_closing()

    def close(self) -> None:
        """See asyncio.BaseTransport: says good-bye to the web server as well."""
        self._send(CloseConnection(code=1000))
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """See asyncio.WriteTransport."""
        if self._transport is not None:
            self._transport.abort()

    def pause_reading(self) -> None:
        """See asyncio.ReadTransport."""
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """See asyncio.ReadTransport."""
        if self._transport is not None:
            self._transport.resume_reading()

    def get_write_buffer_size(self) -> int:
        """See asyncio.WriteTransport."""
        return 0 if self._transport is None else self._transport.get_write_buffer_size()
