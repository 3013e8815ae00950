"""The MQTT uplink against a real nats-server: done at PUBACK only, a bounded window, a lost link noticed at once."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager

import aiomqtt
import msgpack
import msgspec
import pytest

from gateway.errors import LinkError
from gateway.frame import Frame
from gateway.tasks import ended
from gateway.units import Duration
from gateway.uplinks.config import Format, MqttUplinkConfig
from gateway.wire.message import FrameDecoder
from tests.support.build import directory_of
from tests.support.nats import NATS_WEB, nats_broker, nats_web_url
from tests.support.uplink import running, uplink_context


@pytest.fixture
async def broker(tmp_path):
    async with nats_broker(tmp_path / "broker") as started:
        yield started


@pytest.fixture
def ctx(tmp_path):
    with uplink_context(tmp_path / "state", directory_of("m1/power", "m2/power")) as context:
        yield context


def sample(n: int, point: int = 0) -> Frame:
    return Frame.of([point], n * 1_000_000, [n + 0.5])


@asynccontextmanager
async def receiver(broker, *topics: str):
    """A subscriber with what it got: (topic, payload, retained)."""
    got: list[tuple[str, bytes, bool]] = []
    async with aiomqtt.Client("127.0.0.1", broker.mqtt_port, identifier="receiver") as client:
        for topic in topics:
            await client.subscribe(topic, qos=1)

        def note(message) -> None:
            got.append((str(message.topic), bytes(message.payload), message.retain))

        async def collect() -> None:
            async for message in client.messages:
                note(message)

        task = asyncio.create_task(collect())
        try:
            yield got
        finally:
            await ended(task)


async def test_batches_arrive_in_order_and_leave_the_spool_at_puback(broker, ctx):
    config = MqttUplinkConfig(url=broker.mqtt_url, topic="up/{gateway}/{uplink}/{pipeline}")
    seqs = [ctx.put(sample(n))[0].seq for n in range(100)]
    async with receiver(broker, "up/#") as got, running(config.create(), ctx):
        seqs += [ctx.put(sample(n), "q")[0].seq for n in range(100, 300)]
        await ctx.until(lambda: len(ctx.acknowledged) == len(got) == 300)
    assert sorted(ctx.acknowledged) == seqs
    assert [json.loads(payload)["seq"] for _, payload, _ in got] == seqs
    assert {topic for topic, _, _ in got} == {"up/test/out/p", "up/test/out/q"}
    assert json.loads(got[0][1])["samples"][0]["value"] == 0.5
    assert ctx.spool.gauge("out").rows == 0
    assert ctx.links == [(True, broker.mqtt_url)]
    assert (ctx.stats.messages, ctx.stats.bytes) == (300, sum(len(payload) for _, payload, _ in got))


async def test_a_broker_that_stops_is_noticed_at_once_and_nothing_is_lost(broker, ctx):
    config = MqttUplinkConfig(url=broker.mqtt_url, topic="up/{pipeline}")
    seqs = [ctx.put(sample(n))[0].seq for n in range(500)]
    task = asyncio.create_task(config.create().run(ctx))
    await ctx.until(lambda: len(ctx.acknowledged) > 50)
    before = asyncio.get_running_loop().time()
    await broker.stop()
    with pytest.raises(LinkError):
        await asyncio.wait_for(task, 5)
    assert asyncio.get_running_loop().time() - before < 2
    acknowledged = set(ctx.acknowledged)
    assert acknowledged < set(seqs)
    assert {batch.seq for batch in ctx.spool.read("out", 0, 1000, 0)} == set(seqs) - acknowledged
    with pytest.raises(LinkError, match="mqtt://"):
        await asyncio.wait_for(config.create().run(ctx), 5)
    assert set(ctx.acknowledged) == acknowledged
    await broker.start()
    async with running(config.create(), ctx):
        await ctx.until(lambda: set(ctx.acknowledged) == set(seqs))
    assert len(ctx.acknowledged) == len(seqs)
    assert ctx.spool.gauge("out").rows == 0


async def test_an_idle_link_that_goes_is_noticed_too(broker, ctx):
    task = asyncio.create_task(MqttUplinkConfig(url=broker.mqtt_url).create().run(ctx))
    await ctx.until(lambda: ctx.links)
    await broker.stop()
    with pytest.raises(LinkError):
        await asyncio.wait_for(task, 2)


class SlowBroker:
    """Speaks just enough MQTT 3.1.1 to accept one client, and acknowledges when the test says so."""

    def __init__(self) -> None:
        self.ids: asyncio.Queue[int] = asyncio.Queue()
        self.writer: asyncio.StreamWriter | None = None
        self.received = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        try:
            while True:
                kind = (await reader.readexactly(1))[0]
                body = await reader.readexactly(await self.length(reader))
                if kind >> 4 == 1:
                    writer.write(b"\x20\x02\x00\x00")
                elif kind >> 4 == 3:
                    topic = int.from_bytes(body[:2])
                    self.received += 1
                    self.ids.put_nowait(int.from_bytes(body[2 + topic : 4 + topic]))
        except asyncio.IncompleteReadError:
            writer.close()

    async def length(self, reader) -> int:
        total = shift = 0
        while True:
            byte = (await reader.readexactly(1))[0]
            total |= (byte & 127) << shift
            if not byte & 128:
                return total
            shift += 7

    async def acknowledge(self) -> None:
        self.writer.write(b"\x40\x02" + (await self.ids.get()).to_bytes(2))


@pytest.fixture
async def slow():
    broker = SlowBroker()
    server = await asyncio.start_server(broker.serve, "127.0.0.1", 0)
    broker.url = f"mqtt://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        yield broker
        if broker.writer:
            broker.writer.close()


async def test_no_more_than_the_window_is_in_flight(slow, ctx):
    seqs = [ctx.put(sample(n))[0].seq for n in range(20)]
    async with running(MqttUplinkConfig(url=slow.url, in_flight=3).create(), ctx):
        await ctx.until(lambda: slow.received == 3)
        await asyncio.sleep(0.05)  # nothing more may come
        assert (slow.received, ctx.acknowledged) == (3, [])
        for n in range(1, 18):
            await slow.acknowledge()
            await ctx.until(lambda n=n: slow.received == 3 + n)
            assert len(ctx.handed) <= n + 3
        await ctx.until(lambda: len(ctx.acknowledged) == 17)
    assert ctx.acknowledged == seqs[:17]
    assert ctx.spool.gauge("out").rows == 3


async def test_an_acknowledgement_that_never_comes_is_a_link_that_is_down(slow, ctx):
    ctx.put(sample(1))
    uplink = MqttUplinkConfig(url=slow.url, timeout=Duration(0.15)).create()
    with pytest.raises(LinkError):
        await asyncio.wait_for(uplink.run(ctx), 5)
    assert slow.received == 1
    assert not ctx.acknowledged


async def test_frames_come_after_the_directory_that_names_their_points(broker, ctx):
    config = MqttUplinkConfig(url=broker.mqtt_url, topic="up/{pipeline}", format=Format.FRAME)
    async with receiver(broker, "up/#") as got, running(config.create(), ctx):
        ctx.put(sample(1))
        ctx.put(sample(2, point=1))
        ctx.put(sample(3))
        ctx.lose(sample(4))
        await ctx.until(lambda: len(ctx.acknowledged) == 4 and len(got) == 5)
    decoder = FrameDecoder()
    records = [decoder.decode(msgpack.unpackb(payload, strict_map_key=False)) for _, payload, _ in got]
    assert records[0] is None, "one directory names all points there are"
    assert records.count(None) == 1
    *samples, marker = [record for record in records if record]
    assert [record["samples"][0]["point"] for record in samples] == ["m1/power", "m2/power", "m1/power"]
    assert marker["loss"]["count"] == 1


async def test_directories_stay_for_who_comes_later_and_below_each_pipelines_topic(broker, ctx):
    config = MqttUplinkConfig(url=broker.mqtt_url, topic="up/{pipeline}", format=Format.FRAME)
    async with running(config.create(), ctx):
        ctx.put(sample(1), "p")
        ctx.put(sample(1), "q")
        await ctx.until(lambda: len(ctx.acknowledged) == 2)
    async with receiver(broker, "up/+/directory/#") as got:
        await ctx.until(lambda: len(got) == 2)
    assert all(retained for _, _, retained in got)
    for topic, payload, _ in got:
        assert topic.rpartition("/")[2] == msgpack.unpackb(payload, strict_map_key=False)["directory"]
    assert {topic.split("/")[1] for topic, _, _ in got} == {"p", "q"}


@pytest.mark.parametrize("content", [None, "", "no certificate"])
async def test_certificates_that_cannot_be_used(tmp_path, ctx, content):
    ca = tmp_path / "ca.pem"
    if content is not None:
        ca.write_text(content)
    uplink = MqttUplinkConfig(url="mqtts://127.0.0.1:1", ca=str(ca)).create()
    with pytest.raises(LinkError):
        await asyncio.wait_for(uplink.run(ctx), 5)


async def test_over_websockets(tmp_path, ctx):
    async with nats_broker(tmp_path / "web", extra=NATS_WEB) as web:
        seqs = [ctx.put(sample(n))[0].seq for n in range(100)]
        async with running(MqttUplinkConfig(url=nats_web_url(web)).create(), ctx):
            await ctx.until(lambda: len(ctx.acknowledged) == 100)
    assert sorted(ctx.acknowledged) == seqs


async def test_the_state_of_the_uplink_stands_at_the_broker(broker, ctx):
    config = MqttUplinkConfig(url=broker.mqtt_url, state_topic="state/{gateway}/{uplink}")

    def states(got):
        return [json.loads(payload)["state"] for topic, payload, _ in got if topic == "state/test/out"]

    async with receiver(broker, "state/#") as got:
        async with running(config.create(), ctx):
            await ctx.until(lambda: states(got) == ["online"])
        await ctx.until(lambda: states(got) == ["online", "offline"])
        uplink = config.create()
        task = asyncio.create_task(uplink.run(ctx))
        await ctx.until(lambda: len(states(got)) == 3)
        await ended(task)
        await ctx.until(lambda: len(states(got)) == 4)
    async with receiver(broker, "state/#") as late:
        await ctx.until(lambda: len(late) == 1)
    assert late[0][2], "it is retained"


async def test_a_lost_uplink_leaves_its_will(broker, ctx):
    config = MqttUplinkConfig(url=broker.mqtt_url, state_topic="state/up")
    async with Relay(broker.mqtt_port) as relay, receiver(broker, "state/#") as got:
        config = msgspec.structs.replace(config, url=f"mqtt://127.0.0.1:{relay.port}")
        task = asyncio.create_task(config.create().run(ctx))
        await ctx.until(lambda: len(got) == 1)
        relay.cut()
        with pytest.raises(LinkError):
            await asyncio.wait_for(task, 5)
        await ctx.until(lambda: len(got) == 2)
    said = json.loads(got[1][1])
    assert (said["state"], said["why"], said["time"]) == ("offline", "link lost", None)


class Relay:
    """Passes bytes on to a port until it is cut."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._writers: list[asyncio.StreamWriter] = []
        self._tasks: list[asyncio.Task] = []

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        self.cut()
        self._server.close()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader, writer) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._to)
        self._writers += [writer, back]
        self._tasks += [asyncio.create_task(self._copy(reader, back)), asyncio.create_task(self._copy(there, writer))]

    async def _copy(self, reader, writer) -> None:
        while data := await reader.read(65_536):
            writer.write(data)
        writer.close()

    def cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
