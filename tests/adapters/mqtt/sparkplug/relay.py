"""A way to a broker that can be cut."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager


@asynccontextmanager
async def relay(port, heard=None):
    """The port of a way to the broker, and what cuts it without a word; ``heard`` gets what clients say."""
    writers, pumps = [], []

    async def pump(reader, writer, notes=None):
        while data := await reader.read(65_536):
            writer.write(data)
            if notes is not None:
                notes += data

    async def connected(reader, writer):
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
        writers.extend((writer, far_writer))
        ways = ((reader, far_writer, heard), (far_reader, writer))
        pumps.extend(asyncio.create_task(pump(*way)) for way in ways)

    def cut():
        for writer in writers:
            writer.transport.abort()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], cut
    finally:
        cut()
        server.close()
        await asyncio.gather(*pumps, return_exceptions=True)


def packets(heard):
    """What a client said, as (type, flags, body)."""
    found, at = [], 0
    while at < len(heard):
        length, shift, here = 0, 0, at + 1
        while True:
            length |= (heard[here] & 0x7F) << shift
            here, shift = here + 1, shift + 7
            if heard[here - 1] < 0x80:
                break
        found.append((heard[at] >> 4, heard[at] & 15, bytes(heard[here : here + length])))
        at = here + length
    return found
