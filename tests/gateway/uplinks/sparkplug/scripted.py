"""A broker of MQTT 3.1.1 for one client at a time: shows every packet, and answers when it is told to."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

from adapters.payloads.sparkplug.codec import Payload, decode, encode, read


class Connect(NamedTuple):
    version: int
    clean: bool
    client_id: str
    keepalive: int
    will_topic: str
    will_payload: bytes
    will_qos: int
    will_retain: bool

    @property
    def will(self) -> Payload:
        return decode(self.will_payload)


class Publish(NamedTuple):
    topic: str
    raw: bytes
    qos: int
    retain: bool

    @property
    def verb(self) -> str:
        return self.topic.split("/")[2]

    @property
    def device(self) -> str:
        return "/".join(self.topic.split("/")[4:])

    @property
    def payload(self) -> Payload:
        return decode(self.raw)

    @property
    def values(self) -> dict:
        """Value by name (or alias) of the last of each metric, raw where the type is left out."""
        return {m.name or m.alias: read(m) if m.datatype else m.raw for m in self.payload.metrics}

    def metric(self, name):
        return next(m for m in self.payload.metrics if name in {m.name, m.alias})


class Subscribe(NamedTuple):
    topics: tuple[tuple[str, int], ...]


class Unsubscribe(NamedTuple):
    topics: tuple[str, ...]


class Disconnect(NamedTuple):
    pass


class Dropped(NamedTuple):
    """The connection ended without a DISCONNECT."""


@dataclass
class Broker:
    packets: list = field(default_factory=list)
    url: str = ""
    answering: bool = True
    """Answer UNSUBSCRIBE and PUBLISH of QoS 1."""
    retained: dict[str, bytes] = field(default_factory=dict)
    suback: int = 1
    held: list[bytes] = field(default_factory=list)
    writer: asyncio.StreamWriter | None = None

    def of(self, kind) -> list:
        return [packet for packet in self.packets if isinstance(packet, kind)]

    @property
    def published(self) -> list[Publish]:
        return self.of(Publish)

    @property
    def verbs(self) -> list[str]:
        return [packet.verb for packet in self.published]

    def said(self, verb: str) -> list[Publish]:
        return [packet for packet in self.published if packet.verb == verb]

    def tell(self, topic: str, payload: bytes | Payload) -> None:
        """Publish to the client."""
        body = payload if isinstance(payload, bytes) else encode(payload)
        self.writer.write(_packet(0x30, _text(topic) + body))

    def release(self) -> None:
        """Give the answers that were held back."""
        self.answering = True
        self.writer.write(b"".join(self.held))
        self.held.clear()

    def cut(self) -> None:
        self.writer.transport.abort()

    async def serve(self, reader, writer) -> None:
        self.writer = writer
        try:
            while True:
                first = (await reader.readexactly(1))[0]
                body = await reader.readexactly(await _length(reader))
                if self._take(first, body):
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            self.packets.append(Dropped())
        finally:
            writer.close()

    def _take(self, first: int, body: bytes) -> bool:
        kind = first >> 4
        if kind == 1:
            self.packets.append(_connect(body))
            self.writer.write(b"\x20\x02\x00\x00")
        elif kind == 3:
            self._publish(first, body)
        elif kind == 8:
            topics, at = [], 2
            while at < len(body):
                name, at = _take_text(body, at)
                topics.append((name, body[at]))
                at += 1
            self.packets.append(Subscribe(tuple(topics)))
            codes = bytes([self.suback] * len(topics))
            self.writer.write(_packet(0x90, body[:2] + codes))
            for topic, _ in topics:
                if topic in self.retained:
                    self.writer.write(_packet(0x31, _text(topic) + self.retained[topic]))
        elif kind == 10:
            self.packets.append(Unsubscribe((_take_text(body, 2)[0],)))
            self._answer(_packet(0xB0, body[:2]))
        elif kind == 12:
            self.writer.write(b"\xd0\x00")
        elif kind == 14:
            self.packets.append(Disconnect())
            return True
        return False

    def _publish(self, first: int, body: bytes) -> None:
        topic, at = _take_text(body, 0)
        qos = first >> 1 & 3
        if qos:
            self._answer(_packet(0x40, body[at : at + 2]))
            at += 2
        self.packets.append(Publish(topic, body[at:], qos, bool(first & 1)))

    def _answer(self, packet: bytes) -> None:
        if self.answering:
            self.writer.write(packet)
        else:
            self.held.append(packet)


def _connect(body: bytes) -> Connect:
    _, at = _take_text(body, 0)
    version, flags, keepalive = body[at], body[at + 1], int.from_bytes(body[at + 2 : at + 4])
    client_id, at = _take_text(body, at + 4)
    topic, payload = "", b""
    if flags & 4:
        topic, at = _take_text(body, at)
        size = int.from_bytes(body[at : at + 2])
        payload = body[at + 2 : at + 2 + size]
    clean, retain = bool(flags & 2), bool(flags & 32)
    return Connect(version, clean, client_id, keepalive, topic, payload, flags >> 3 & 3, retain)


def _text(text: str) -> bytes:
    return len(text.encode()).to_bytes(2) + text.encode()


def _take_text(body: bytes, at: int) -> tuple[str, int]:
    end = at + 2 + int.from_bytes(body[at : at + 2])
    return body[at + 2 : end].decode(), end


def _packet(first: int, body: bytes) -> bytes:
    size, length = len(body), b""
    while size > 127:
        length, size = length + bytes([size & 127 | 128]), size >> 7
    return bytes([first]) + length + bytes([size]) + body


async def _length(reader) -> int:
    total = shift = 0
    while True:
        byte = (await reader.readexactly(1))[0]
        total |= (byte & 127) << shift
        if not byte & 128:
            return total
        shift += 7


@asynccontextmanager
async def scripted_broker():
    broker = Broker()
    server = await asyncio.start_server(broker.serve, "127.0.0.1", 0)
    broker.url = f"mqtt://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield broker
    finally:
        server.close()
        if broker.writer:
            broker.writer.close()
        await server.wait_closed()


class Proxy:
    """Passes bytes on to a port, until it is cut."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._writers: list[asyncio.StreamWriter] = []

    @asynccontextmanager
    async def serving(self):
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()
            self.abort()
            await server.wait_closed()

    async def _accept(self, reader, writer) -> None:
        other_reader, other_writer = await asyncio.open_connection("127.0.0.1", self._port)
        self._writers += [writer, other_writer]
        await asyncio.gather(self._pipe(reader, other_writer), self._pipe(other_reader, writer))

    async def _pipe(self, reader, writer) -> None:
        try:
            while data := await reader.read(65_536):
                writer.write(data)
        except ConnectionError:
            writer.close()

    def abort(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()
