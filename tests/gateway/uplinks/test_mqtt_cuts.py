"""The MQTT uplink through a proxy that cuts: what was acknowledged is not sent again, the rest once."""

from __future__ import annotations

import asyncio
import json

import aiomqtt
import msgpack
import pytest

from gateway.errors import LinkError
from gateway.frame import Frame
from gateway.units import Duration, Size
from gateway.uplinks.config import MqttUplinkConfig
from tests.support.build import directory_of
from tests.support.nats import nats_broker
from tests.support.uplink import running, uplink_context

BATCHES = 300
WINDOW = 20


@pytest.fixture
async def broker(tmp_path):
    async with nats_broker(tmp_path / "broker") as started:
        yield started


@pytest.fixture
def ctx(tmp_path):
    with uplink_context(tmp_path / "state", directory_of("m1/power")) as context:
        yield context


def sample(n: int) -> Frame:
    return Frame.of([0], n * 1_000_000, [n + 0.5])


async def packets(reader: asyncio.StreamReader):
    """(first byte, body) of MQTT packets."""
    while first := await reader.read(1):
        length = shift = 0
        while True:
            (byte,) = await reader.readexactly(1)
            length |= (byte & 127) << shift
            shift += 7
            if not byte & 128:
                break
        yield first[0], await reader.readexactly(length)


def packet(first: int, body: bytes) -> bytes:
    size, length = len(body), b""
    while True:
        length += bytes([size & 127 | (128 if size > 127 else 0)])
        size >>= 7
        if not size:
            return bytes([first]) + length + body


class Cutter:
    """A proxy that knows PUBLISH and PUBACK: it lets some acknowledgements through, then cuts the connection.

    ``connections``: of each, the seqs that were sent, those that were acknowledged to the sender, and DUP flags.
    """

    def __init__(self, port: int, lets_through: list[int]) -> None:
        self._port = port
        self._lets_through = lets_through
        self.connections: list[tuple[list[int], list[int], list[bool]]] = []

    async def serve(self, reader, writer) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._port)
        sent, acknowledged, dups = record = ([], [], [])
        left = self._lets_through[len(self.connections)] if len(self.connections) < len(self._lets_through) else 10**9
        self.connections.append(record)
        ids: dict[int, int] = {}

        async def up() -> None:
            async for first, body in packets(reader):
                if first >> 4 == 3:
                    topic = int.from_bytes(body[:2])
                    seq = json.loads(body[4 + topic :])["seq"]
                    ids[int.from_bytes(body[2 + topic : 4 + topic])] = seq
                    sent.append(seq)
                    dups.append(bool(first & 8))
                back.write(packet(first, body))

        async def down() -> None:
            async for first, body in packets(there):
                if first >> 4 == 4:
                    if len(acknowledged) >= left:
                        return
                    acknowledged.append(ids[int.from_bytes(body[:2])])
                writer.write(packet(first, body))

        tasks = [asyncio.create_task(up()), asyncio.create_task(down())]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for stream in (writer, back):
            stream.transport.abort()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_each_batch_goes_once_and_once_more_for_each_acknowledgement_that_was_cut_off(broker, ctx):
    cutter = Cutter(broker.mqtt_port, [0, 1, 30, 7, 100, 0, 55])
    for n in range(BATCHES):
        ctx.put(sample(n))
    async with await asyncio.start_server(cutter.serve, "127.0.0.1", 0) as server:
        url = f"mqtt://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        config = MqttUplinkConfig(url=url, topic="up", in_flight=WINDOW, timeout=Duration(5))
        for _ in range(7):
            ctx.feed.rewind()
            with pytest.raises(LinkError):
                await asyncio.wait_for(config.create().run(ctx), 10)
        async with running(config.create(), ctx):
            await ctx.until(lambda: len(set(ctx.acknowledged)) == BATCHES)
    expected, open_ = dict.fromkeys(range(1, BATCHES + 1), 1), set()
    for sent, acknowledged, dups in cutter.connections:
        assert len(sent) == len(set(sent)), "within a connection nothing goes twice"
        assert not any(dups), "each run is a session of its own: DUP would be a lie about packet ids"
        assert open_ <= set(sent[: len(open_)]), "what is open goes first, in its order"
        assert sent == sorted(sent)
        open_ = set(sent) - set(acknowledged)
        assert len(open_) <= WINDOW, "never more than the window"
        for seq in open_:
            expected[seq] += 1
    times = dict.fromkeys(expected, 0)
    for sent, _, _ in cutter.connections:
        for seq in sent:
            times[seq] += 1
    assert times == expected
    assert sorted(ctx.acknowledged) == list(range(1, BATCHES + 1)), "and each is done once"


def receipt(epoch: int, *done: int) -> bytes:
    return msgpack.packb({"onpath": 1, "receipt": True, "gateway": "test", "epoch": epoch, "done": list(done)})


async def test_done_is_what_the_receiver_confirms(broker, ctx):
    config = MqttUplinkConfig(url=broker.mqtt_url, topic="up/{pipeline}", receipts="receiver")
    async with aiomqtt.Client("127.0.0.1", broker.mqtt_port, identifier="receiver") as receiver:
        await receiver.subscribe("up/+", qos=1)
        async with running(config.create(), ctx):
            ctx.put(sample(1))
            ctx.put(sample(2), "q")
            messages = aiter(receiver.messages)
            got = [json.loads((await anext(messages)).payload) for _ in range(2)]
            await asyncio.sleep(0.05)
            assert not ctx.acknowledged, "the broker has them, and that is not enough"
            await receiver.publish("up/q/receipt", b"nonsense", qos=1)
            await receiver.publish("up/q/receipt", receipt(got[0]["epoch"], 2), qos=1)
            await ctx.until(lambda: ctx.acknowledged == [2])
            await receiver.publish("up/p/receipt", receipt(got[0]["epoch"], 1, 2), qos=1)
            await ctx.until(lambda: ctx.acknowledged == [2, 1])
    assert ctx.stats.counts["bad-receipts"] == 1


async def test_what_nobody_confirms_is_sent_again(broker, ctx):
    config = MqttUplinkConfig(url=broker.mqtt_url, receipts="receiver", receipt_timeout=Duration(0.05))
    async with running(config.create(), ctx):
        ctx.put(sample(1))
        await ctx.until(lambda: ctx.stats.counts["unconfirmed"] >= 2)
    assert not ctx.acknowledged
    assert ctx.stats.messages >= 3


async def test_a_batch_beyond_max_payload_is_given_up_with_a_word(broker, ctx, caplog):
    config = MqttUplinkConfig(url=broker.mqtt_url, max_payload=Size(3000))
    ctx.put(sample(1))
    ctx.put(Frame.of([0] * 200, [n * 10**6 for n in range(200)], [n / 4 for n in range(200)]))
    ctx.put(sample(3))
    async with running(config.create(), ctx):
        await ctx.until(lambda: {1, 3} <= set(ctx.acknowledged))
    assert ctx.stats.counts["too-large"] == 1
    assert "batch 2 of pipeline p has" in caplog.text
    assert 2 not in ctx.acknowledged
