"""MQTT over WebSockets, against a web server that does what a test tells it."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest
from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Ping,
    Pong,
    RejectConnection,
    Request,
    TextMessage,
)

from gateway.errors import LinkError
from tests.adapters.mqtt.certificates import Authority
from tests.adapters.mqtt.scripted import CONNACK, puback, publish
from tests.adapters.mqtt.support import mqtt_config, publisher
from tests.support.context import RecordingContext, running
from tests.support.nats import NATS_WEB, nats_broker, nats_web_url

ENTRY = {"topic": "x/{device}", "points": {"v": {}}}


class Web:
    """A broker behind a WebSocket: logs in, grants, and keeps what it heard."""

    def __init__(self, answer, scheme: str) -> None:
        self.answer, self.scheme = answer, scheme
        self.port = 0
        self.heard = b""
        self.pongs: list[bytes] = []
        self.requests: list[Request] = []
        self.closed = asyncio.Event()
        self.connections = 0

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    async def serve(self, reader, writer) -> None:
        self._ws, self._writer = WSConnection(ConnectionType.SERVER), writer
        self.heard, self.connections = b"", self.connections + 1
        self.closed.clear()
        try:
            while data := await reader.read(65_536):
                self._ws.receive_data(data)
                for event in self._ws.events():
                    self._take(event)
        except OSError:
            pass
        finally:
            writer.close()
            self.closed.set()

    def _take(self, event) -> None:
        match event:
            case Request():
                self.requests.append(event)
                self.send(self.answer)
            case BytesMessage():
                self._mqtt(bytes(event.data))
            case Pong():
                self.pongs.append(bytes(event.payload))
            case CloseConnection():
                self._writer.close()

    def _mqtt(self, data: bytes) -> None:
        if data[0] == 0x10:
            self.frame(CONNACK)
        elif data[0] == 0x82:
            self.frame(b"\x90\x03\x00\x01\x01")
        else:
            self.heard += data
            if data.endswith(b"\xe0\x00"):
                self.send(CloseConnection(code=1000))

    def send(self, event) -> None:
        self._writer.write(self._ws.send(event))

    def frame(self, data: bytes) -> None:
        self.send(BytesMessage(data=data))


@asynccontextmanager
async def web(answer=None, *, ssl=None):
    answer = answer or AcceptConnection(subprotocol="mqtt")
    broker = Web(answer, "wss" if ssl else "ws")
    server = await asyncio.start_server(broker.serve, "127.0.0.1", 0, ssl=ssl)
    broker.port = server.sockets[0].getsockname()[1]
    try:
        yield broker
    finally:
        server.close()
        await server.wait_closed()
        if broker.connections:
            async with asyncio.timeout(5):
                await broker.closed.wait()


def adapter(url: str, **options):
    return mqtt_config(ENTRY, url=url, timeout="3s", **options).create()


async def failure(made, ctx=None) -> str:
    with pytest.raises(LinkError) as caught:
        await made.run(ctx or RecordingContext())
    return str(caught.value)


def values(ctx):
    return [value for _, value, _ in ctx.samples("d/v")]


async def test_packets_need_not_be_aligned_with_frames():
    ctx = RecordingContext()
    data = b"".join(publish(n, b'{"v": %d}' % n) for n in range(1, 9))
    async with web() as broker:
        async with running(adapter(broker.url + "/mqtt?token=x"), ctx):
            await ctx.until(lambda: ctx.links)
            for at in range(0, len(data), 7):
                broker.frame(data[at : at + 7])
            broker.send(Ping(payload=b"hello"))
            await ctx.until(lambda: puback(*range(1, 9)) in broker.heard and broker.pongs)
        assert broker.heard.endswith(b"\xe0\x00")
    assert values(ctx) == [float(n) for n in range(1, 9)]
    assert broker.pongs == [b"hello"]
    (request,) = broker.requests
    assert (request.target, request.subprotocols) == ("/mqtt?token=x", ["mqtt"])
    assert request.host == f"127.0.0.1:{broker.port}"


async def test_a_path_is_supposed_where_the_url_has_none():
    async with web() as broker, running(adapter(broker.url), ctx := RecordingContext()):
        await ctx.until(lambda: ctx.links)
    assert broker.requests[0].target == "/mqtt"


async def test_a_frame_of_any_size_is_bounded_by_the_payload_and_not_held():
    ctx = RecordingContext()
    size = 3_000_000
    body = b"\x00\x03x/d" + b"\x00\x05" + b"y" * size
    length, rest = bytearray(), len(body)
    while rest:
        rest, low = divmod(rest, 128)
        length.append(low | (0x80 if rest else 0))
    async with web() as broker, running(adapter(broker.url, max_payload="1KiB"), ctx):
        await ctx.until(lambda: ctx.links)
        broker.frame(b"\x32" + bytes(length) + body)
        await ctx.until(lambda: puback(5) in broker.heard)
    assert ctx.stats.reasons == {"oversize": 1}


async def test_over_tls(tmp_path):
    authority = Authority(tmp_path)
    ctx = RecordingContext()
    async with web(ssl=authority.server(*authority.issue("broker"))) as broker:
        async with running(adapter(broker.url, ca=str(authority.file)), ctx):
            await ctx.until(lambda: ctx.links)
            broker.frame(publish(1))
            await ctx.until(lambda: puback(1) in broker.heard)
        assert "certificate is refused" in await failure(adapter(broker.url))


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (RejectConnection(status_code=404), "answers 404 instead of a WebSocket"),
        (AcceptConnection(), "did not take the subprotocol"),
    ],
)
async def test_a_web_server_that_is_no_broker(answer, why):
    async with web(answer) as broker:
        assert why in await failure(adapter(broker.url))


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (TextMessage(data="hello"), "frame of text"),
        (CloseConnection(code=1001, reason="maintenance"), "closed the WebSocket, code 1001 maintenance"),
        (BytesMessage(data=b"\x36\x06\x00\x01a\x00\x01x"), "QoS 3"),
    ],
)
async def test_a_broker_that_breaks_off(said, why):
    ctx = RecordingContext()
    async with web() as broker:
        task = asyncio.create_task(failure(adapter(broker.url), ctx))
        await ctx.until(lambda: ctx.links)
        broker.send(said)
        assert why in await task


@pytest.mark.parametrize("said", [b"\xff\x05garbage", b"\x82\xff" + b"\xff" * 8 + b"x"])
async def test_bytes_that_are_no_frame(said):
    ctx = RecordingContext()
    async with web() as broker:
        task = asyncio.create_task(failure(adapter(broker.url), ctx))
        await ctx.until(lambda: ctx.links)
        broker._writer.write(said)
        assert "closed the WebSocket" in await task


async def test_a_peer_that_speaks_no_http():
    async with web() as broker:
        broker.answer = None
        broker.send = lambda _event: broker._writer.write(b"SSH-2.0-x\r\n\r\n")
        assert "WebSocket: " in await failure(adapter(broker.url))


async def test_a_stop_during_the_start_leaves_nothing_open():
    async with web(RejectConnection(status_code=404)) as broker:
        broker.answer = Ping()  # nothing that would be an answer
        broker.send = lambda _event: None
        ctx = RecordingContext()
        task = asyncio.create_task(adapter(broker.url).run(ctx))
        await ctx.until(lambda: broker.requests)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_at_a_real_broker(tmp_path):
    ctx = RecordingContext()
    async with nats_broker(tmp_path, extra=NATS_WEB) as broker:
        url = nats_web_url(broker)
        async with running(adapter(url), ctx), publisher(broker.mqtt_port) as device:
            await ctx.until(lambda: ctx.links)
            for n in range(300):
                await device.publish("x/d", f'{{"v": {n}}}', qos=1)
            await ctx.until(lambda: len(ctx.frame) == 300)
    assert values(ctx) == [float(n) for n in range(300)]
