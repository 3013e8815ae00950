"""The HTTP server, in the daemon's own event loop: uvicorn without its signals, its log and its clock."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from gateway.errors import OnpathError

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from gateway.console.config import ConsoleConfig

KEEP_ALIVE_S: Final = 30
ASKING_S: Final = 15.0
"""A connection that has not asked for anything whole within that is closed."""
CONNECTIONS: Final = 300
"""More are closed at once."""
REQUESTS: Final = 250
"""More are answered 503."""
STOP_S: Final = 2
MOST_HEADERS: Final = 1 << 15


class _Connection(H11Protocol):
    """uvicorn waits for ever for a request to come whole."""

    _patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        if len(self.connections) > CONNECTIONS:
            transport.abort()
            return
        self._wait()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._forget()
        elif self._patience is None and not self.transport.is_closing():
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget()
        super().connection_lost(exc)

    def _wait(self) -> None:
        self._patience = self.loop.call_later(ASKING_S, self._give_up)

    def _forget(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _give_up(self) -> None:
        self._patience = None
        self.transport.abort()


class Server(uvicorn.Server):
    """Serves one application on one socket until it is told to stop."""

    def __init__(self, app: ASGIApp, config: ConsoleConfig) -> None:
        options: dict[str, Any] = {"ssl_certfile": config.cert, "ssl_keyfile": config.key} if config.cert else {}
        super().__init__(
            uvicorn.Config(
                app,
                http=_Connection,
                ws="none",
                lifespan="off",
                interface="asgi3",
                log_config=None,
                log_level="error",
                access_log=False,
                server_header=False,
                date_header=False,
                proxy_headers=config.behind_proxy,
                forwarded_allow_ips="127.0.0.1,::1",
                limit_concurrency=REQUESTS,
                timeout_keep_alive=KEEP_ALIVE_S,
                timeout_graceful_shutdown=STOP_S,
                h11_max_incomplete_event_size=MOST_HEADERS,
                **options,
            )
        )
        self._stopping = asyncio.Event()
        try:
            self.config.load()
        except (OSError, ssl.SSLError) as error:
            raise OnpathError(f"certificate {config.cert} and key {config.key} cannot be used: {error}") from error

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """None of ours: the daemon has its own."""
        yield

    async def main_loop(self) -> None:
        """Without uvicorn's ten looks a second."""
        self.server_state.default_headers = list(self.config.encoded_headers)
        await self._stopping.wait()

    def stop(self) -> None:
        """Have ``serve`` end."""
        self.should_exit = True
        self._stopping.set()


def bind(host: str, port: int) -> socket.socket:
    """A socket that listens there.

    Raises:
        OSError: it cannot.
    """
    family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    listening = socket.socket(family, kind)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(host != "::"))
        listening.bind(address)
        listening.listen(128)
        listening.setblocking(False)
    except OSError:
        listening.close()
        raise
    return listening


logging.getLogger("uvicorn").setLevel(logging.ERROR)  # who sends nonsense must not be able to fill the log
