"""A connection for a tool: every transport of the adapter, one request at a time, errors in plain words."""

from __future__ import annotations

import os
import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from adapters.modbus.line import Line, connect
from adapters.modbus.pdu import AnswerError, Request, read_request
from adapters.modbus.url import Carrier, parse_url
from gateway.errors import LinkError, OnpathError
from gateway.quality import Reason

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from adapters.modbus.place import Table
    from adapters.modbus.secure import Certificates
    from adapters.modbus.url import Endpoint


class UsageError(OnpathError):
    """What the user asked for makes no sense; one line says why."""

    exit_code = 2


class Session:
    """Requests to one endpoint; a connection that goes is made anew, once a request.

    Args:
        url: the endpoint's, for messages.
        endpoint: the same, parsed.
        timeout_s: how long an answer may take.
        pause_s: quiet time between an answer and the next request.
        certificates: for ``tls://``.
    """

    def __init__(
        self, url: str, endpoint: Endpoint, *, timeout_s: float, pause_s: float, certificates: Certificates | None
    ) -> None:
        self.requests = 0
        """How many went out so far."""
        self._url = url
        self._endpoint = endpoint
        self._timeout_s = timeout_s
        self._pause_s = pause_s
        self._certificates = certificates
        self._line: Line | None = None

    async def open(self) -> None:
        """Connect.

        Raises:
            LinkError: it cannot be done; says why.
        """
        try:
            self._line = await connect(
                self._endpoint, timeout_s=self._timeout_s, pause_s=self._pause_s, certificates=self._certificates
            )
        except TimeoutError:
            raise LinkError(f"{self._url}: no connection in time") from None
        except LinkError as error:
            raise LinkError(f"{self._url}: {error}") from error
        except OSError as error:
            raise LinkError(f"{self._url}: {plain(error)}") from error

    def close(self) -> None:
        """Close the connection, if there is one."""
        line, self._line = self._line, None
        if line is not None:
            line.close()

    async def ask(self, request: Request, *, tries: int = 1) -> bytes:
        """The data of the answer; a request that nothing answers goes out ``tries`` times.

        Raises:
            AnswerError: there is none, or it is not usable.
            LinkError: the connection is gone, and once more after a new one.
        """
        for left in reversed(range(tries)):
            try:
                return await self._ask_connected(request)
            except AnswerError as error:
                if not left or error.code not in {Reason.TIMEOUT, Reason.DEVICE_BUSY}:
                    raise
        raise AssertionError("the last try returns or raises")

    async def _ask_connected(self, request: Request) -> bytes:
        for again in (True, False):
            if self._line is None:
                await self.open()
            assert self._line is not None
            self.requests += 1
            try:
                return await self._line.exchange(request)
            except LinkError as error:
                self.close()
                if not again:
                    raise LinkError(f"{self._url}: {error}") from error
        raise AssertionError("the second turn returns or raises")

    async def read(self, unit: int, table: Table, address: int, count: int, *, tries: int = 2) -> bytes:
        """The data of a read: see :meth:`ask`."""
        return await self.ask(read_request(unit, table, address, count), tries=tries)


@asynccontextmanager
async def session(
    url: str, *, timeout_s: float, pause_s: float = 0.0, certificates: Certificates | None = None
) -> AsyncIterator[Session]:
    """An open connection to ``url``.

    Raises:
        UsageError: the URL is not one.
        LinkError: there is no connection.
    """
    try:
        endpoint = parse_url(url)
    except ValueError as error:
        raise UsageError(str(error)) from None
    if endpoint.carrier is Carrier.LISTEN:
        raise UsageError(f"{url}: a tool calls devices, it does not wait for a modem to dial in")
    if endpoint.carrier is Carrier.TLS and certificates is None:
        raise UsageError("tls:// needs --ca, --cert and --key: both sides show a certificate")
    opened = Session(url, endpoint, timeout_s=timeout_s, pause_s=pause_s, certificates=certificates)
    await opened.open()
    try:
        yield opened
    finally:
        opened.close()


def plain(error: OSError) -> str:
    """What went wrong, for people: ``connection refused`` rather than "Connect call failed ('127.0.0.1', 502)"."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is refused: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS: {str(error.reason or error).replace('_', ' ').lower()}"
    if error.errno is not None and error.errno > 0:
        return os.strerror(error.errno).lower()
    return error.strerror or str(error) or type(error).__name__
