"""Where a simulator listens: sockets, serial devices, pseudo-terminals."""

from __future__ import annotations

import asyncio
import os
import tty
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from adapters.modbus.tools.far import FRAMINGS
from adapters.modbus.tools.session import UsageError, plain
from adapters.modbus.tools.simulator import Connection, Datagrams, Simulator
from adapters.modbus.url import Carrier, Endpoint, Frames, parse_url
from gateway.errors import LinkError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SCHEMES = ("tcp", "udp", "rtu+tcp", "ascii+tcp", "rtu", "ascii")
"""What a simulator can listen on."""


@asynccontextmanager
async def serving(simulator: Simulator, listen: str) -> AsyncIterator[str]:
    """Serve until left; the URL to reach it by.

    Raises:
        UsageError: ``listen`` is no address.
        LinkError: nobody can listen there.
    """
    moving = asyncio.create_task(simulator.move(), name="simulated values")
    try:
        async with _served(simulator, listen) as url:
            yield url
    except OSError as error:
        raise LinkError(f"{listen}: {plain(error)}") from error
    finally:
        moving.cancel()
        await asyncio.gather(moving, return_exceptions=True)


@asynccontextmanager
async def _served(simulator: Simulator, listen: str) -> AsyncIterator[str]:
    parts = urlsplit(listen)
    if parts.scheme not in SCHEMES:
        raise UsageError(f"--listen: {listen!r}: write one of {', '.join(f'{one}://' for one in SCHEMES)}")
    if parts.scheme in {"rtu", "ascii"} and parts.netloc == "pty":
        async with _terminal(simulator, Frames(parts.scheme)) as url:
            yield url
        return
    free = parts.netloc.endswith(":0")
    try:
        endpoint = parse_url(listen.replace(":0", ":1", 1) if free else listen)
        port = 0 if free else endpoint.port
    except ValueError as error:
        raise UsageError(f"--listen: {error}") from None
    if endpoint.carrier is Carrier.SERIAL:
        async with _serial(simulator, endpoint):
            yield listen
    elif endpoint.carrier is Carrier.UDP:
        async with _datagrams(simulator, endpoint.host, port) as bound:
            yield f"udp://{_host(endpoint.host)}:{bound}"
    else:
        async with _sockets(simulator, endpoint, port) as bound:
            yield f"{parts.scheme}://{_host(endpoint.host)}:{bound}"


def _host(host: str) -> str:
    return f"[{host}]" if ":" in host else host


@asynccontextmanager
async def _sockets(simulator: Simulator, endpoint: Endpoint, port: int) -> AsyncIterator[int]:
    bus = endpoint.frames is not Frames.MBAP
    connections: set[Connection] = set()

    def connected() -> Connection:
        connection = Connection(simulator, FRAMINGS[endpoint.frames](), bus=bus, gone=connections.discard)
        connections.add(connection)
        return connection

    server = await asyncio.get_running_loop().create_server(connected, endpoint.host, port)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for connection in list(connections):
            connection.close()
        await server.wait_closed()


@asynccontextmanager
async def _datagrams(simulator: Simulator, host: str, port: int) -> AsyncIterator[int]:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: Datagrams(simulator), (host, port))
    try:
        yield transport.get_extra_info("sockname")[1]
    finally:
        transport.close()


@asynccontextmanager
async def _serial(simulator: Simulator, endpoint: Endpoint) -> AsyncIterator[None]:
    from pymodbus.transport.serialtransport import create_serial_connection

    connection = Connection(simulator, FRAMINGS[endpoint.frames](), bus=True)
    await create_serial_connection(
        asyncio.get_running_loop(), lambda: connection, endpoint.device,
        baudrate=endpoint.baudrate, bytesize=endpoint.bytesize, parity=endpoint.parity,
        stopbits=endpoint.stopbits, timeout=0,
    )  # fmt: skip
    try:
        yield
    finally:
        connection.close()


@asynccontextmanager
async def _terminal(simulator: Simulator, frames: Frames) -> AsyncIterator[str]:
    """A new pseudo-terminal. We keep its far end open too, so that clients may come and go."""
    near, far = os.openpty()
    tty.setraw(far)
    os.set_blocking(near, False)
    loop = asyncio.get_running_loop()
    connection = Connection(simulator, FRAMINGS[frames](), bus=True)
    connection.connection_made(_Terminal(near))
    loop.add_reader(near, lambda: connection.data_received(os.read(near, 1024)))
    try:
        yield f"{frames.value}://{os.ttyname(far)}"
    finally:
        loop.remove_reader(near)
        os.close(near)
        os.close(far)


class _Terminal(asyncio.Transport):
    """Writes to a pseudo-terminal; the kernel's buffer holds an answer of any size."""

    def __init__(self, near: int) -> None:
        super().__init__()
        self._near = near

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """See the base class. A terminal that nobody reads is full one day: what comes then is lost, as on a wire."""
        try:
            os.write(self._near, data)
        except BlockingIOError:
            return

    def is_closing(self) -> bool:
        """See the base class."""
        return False

    def abort(self) -> None:
        """See the base class. A wire has no connection that could be closed."""
