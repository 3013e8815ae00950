"""A broker that does what a test tells it, byte by byte."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

CONNACK = b"\x20\x02\x00\x00"


def publish(n: int, payload: bytes = b'{"v": 1}', topic: bytes = b"x/d") -> bytes:
    """A QoS 1 message with packet id ``n``."""
    body = len(topic).to_bytes(2, "big") + topic + n.to_bytes(2, "big") + payload
    return bytes([0x32, len(body)]) + body


def puback(*ids: int) -> bytes:
    return b"".join(b"\x40\x02" + n.to_bytes(2, "big") for n in ids)


class Broker:
    """Accepts, logs in and grants by itself; ``heard`` is what came after that, ``send`` what to say."""

    def __init__(self, connack: bytes = CONNACK, suback: bytes = b"\x90\x03\x00\x01\x01", scheme: str = "mqtt") -> None:
        self.connack, self.suback, self.scheme = connack, suback, scheme
        self.certificates: list[dict] = []
        """Of the clients, where the broker asks for one."""
        self.heard = b""
        self.port = 0
        self.connections = 0
        self._writer: asyncio.StreamWriter | None = None
        self.ended = asyncio.Event()

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writer, self.connections = writer, self.connections + 1
        self.ended.clear()
        self.heard = b""
        self.certificates.append(writer.get_extra_info("peercert") or {})
        try:
            await self._packet(reader)
            writer.write(self.connack)
            if self.suback and self.connack[-1] == 0:
                await self._packet(reader)
                writer.write(self.suback)
            while data := await reader.read(65_536):
                self.heard += data
                if self.heard.endswith(b"\xe0\x00"):
                    break
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            writer.close()
            self.ended.set()

    async def _packet(self, reader: asyncio.StreamReader) -> bytes:
        head = await reader.readexactly(2)
        return await reader.readexactly(head[1])

    def send(self, data: bytes) -> None:
        self._writer.write(data)

    def drop(self) -> None:
        self._writer.transport.abort()


@asynccontextmanager
async def scripted(ssl=None, **options):
    broker = Broker(scheme="mqtts" if ssl else "mqtt", **options)
    server = await asyncio.start_server(broker.serve, "127.0.0.1", 0, ssl=ssl)
    broker.port = server.sockets[0].getsockname()[1]
    try:
        yield broker
    finally:
        server.close()
        await server.wait_closed()
        if broker.connections:
            async with asyncio.timeout(5):
                await broker.ended.wait()
