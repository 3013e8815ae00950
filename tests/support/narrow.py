"""A TCP link that carries so many bytes a second upwards, exactly, as a line with a queue before it does.

:mod:`tests.torture.proxy` throttles by pauses, which a busy machine makes longer: enough to show that nothing is lost,
not to say how much of a link was used. Here each piece has the time at which its last byte is through.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

MOST: Final = 16_384
PIECE_S: Final = 0.02
"""How long the link takes for a piece."""
LATE_S: Final = 0.2
"""When this process wakes up late by up to so much, the link has worked on all the same."""
AT_ONCE_S: Final = 0.002
"""What is read sooner stood in the queue already."""


class Narrow:
    """Between clients and ``target`` (a port of the loopback); ``port`` is where clients connect."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.port = 0
        self.rate = 0.0
        """Bytes a second to the target; 0: as many as come."""
        self.passed = 0
        """Bytes that went to the target."""
        self._through = 0.0
        """When the last byte of the newest piece is through, of the loop's clock."""

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Narrow]:
        """Connections end with it."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            await server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, onward = await asyncio.open_connection("127.0.0.1", self.target)
        try:
            async with asyncio.TaskGroup() as ways:
                ways.create_task(self._carry(reader, onward), name="up")
                ways.create_task(_pass(there, writer), name="down")
        except* OSError:
            pass  # one side is gone, and so is the link
        finally:
            writer.close()
            onward.close()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        asked = loop.time()
        while piece := await reader.read(min(MOST, max(1, int(self.rate * PIECE_S))) if self.rate else MOST):
            if self.rate:
                now = loop.time()
                idle = now - asked > AT_ONCE_S
                self._through = max(self._through, now - (0 if idle else LATE_S)) + len(piece) / self.rate
                await asyncio.sleep(self._through - now)
            self.passed += len(piece)
            writer.write(piece)
            await writer.drain()
            asked = loop.time()
        writer.write_eof()


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while piece := await reader.read(MOST):
        writer.write(piece)
        await writer.drain()
    raise ConnectionResetError
