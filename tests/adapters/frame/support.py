"""A gateway below, as far as a receiver sees one: batches with real encoders, sent to a real broker."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import aiomqtt
import msgpack
import nats
import numpy as np

from gateway.batch import Batch, Loss
from gateway.directory import Directory
from gateway.frame import EMPTY, Frame
from gateway.point import Kind, Point
from gateway.tasks import ended
from gateway.wire.message import FrameEncoder
from gateway.wire.record import TimeFormat, encode_json

START_NS = 1_700_000_000_000_000_000


class Gateway:
    """Numbers its batches like the spool does, over several uplinks: this one's rows have holes between them."""

    def __init__(self, name: str = "g1", *, points: int = 4, form: str = "frame", pipeline: str = "live") -> None:
        self.name = name
        self.form = form
        self.pipeline = pipeline
        self.directory = Directory()
        self.points = [
            self.directory.add(Point(name=f"m{n}/power", unit="W", kind=Kind.GAUGE, resolution=0.5))
            for n in range(points)
        ]
        self._encoder = FrameEncoder(name, self.directory)
        self.seq = 0
        self._prev = 0
        self.sent: dict[int, Batch] = {}

    def frame(self, samples: int) -> Frame:
        n = np.arange(samples) + 1000 * self.seq
        each = np.sort(np.resize(np.array(self.points, np.int32), samples))
        return Frame.of(each, START_NS + n * 1_000_000, (n % 9973) * 0.5)

    def batch(self, samples: int = 20, *, loss: Loss | None = None, historical: bool = False) -> Batch:
        """The next one; a row of another uplink lies between it and the one before."""
        self.seq += 2
        frame = EMPTY if loss else self.frame(samples)
        batch = Batch(self.seq, self.pipeline, 0, frame, loss, historical=historical, epoch=77, chain=(1, self._prev))
        self._prev = self.seq
        self.sent[self.seq] = batch
        return batch

    def messages(self, batch: Batch, *, again: bool = False) -> list[tuple[str, bytes, bool]]:
        """(topic, payload, retained) of a batch, directory messages before it."""
        topic = f"onpath/{self.name}/{self.pipeline}"
        if self.form == "json":
            return [(topic, encode_json(batch, self.name, self.directory, TimeFormat.NS), False)]
        if again:
            self._encoder = FrameEncoder(self.name, self.directory)
        payload, announced = self._encoder.encode(batch)
        told = [(f"{topic}/directory/{name}", message, True) for name, message in announced]
        return [*told, (topic, payload, False)]

    @property
    def records(self) -> list[tuple[str, int, int]]:
        return [(self.name, 77, seq) for seq in sorted(self.sent)]


class MqttSender:
    def __init__(self, client: aiomqtt.Client) -> None:
        self._client = client

    async def send(self, topic: str, payload: bytes, retain: bool) -> None:  # noqa: FBT001
        await self._client.publish(topic, payload, qos=1, retain=retain)


class NatsSender:
    def __init__(self, client: nats.NATS) -> None:
        self.client = client
        self.js = client.jetstream()

    async def send(self, topic: str, payload: bytes, retain: bool) -> None:  # noqa: FBT001
        await self.js.publish(topic.replace("/", "."), payload)


@asynccontextmanager
async def sender(broker, way: str):
    """Something that sends to a broker by MQTT, or to a JetStream stream named ONPATH."""
    if way == "mqtt":
        async with aiomqtt.Client("127.0.0.1", broker.mqtt_port, identifier="sender") as client:
            yield MqttSender(client)
        return
    client = await nats.connect(broker.url)
    try:
        found = NatsSender(client)
        await found.js.add_stream(name="ONPATH", subjects=["onpath.>"])
        yield found
    finally:
        await client.close()


async def send(to, gateway: Gateway, batch: Batch, *, again: bool = False) -> None:
    for topic, payload, retain in gateway.messages(batch, again=again):
        await to.send(topic, payload, retain)


def url(broker, way: str) -> str:
    return broker.mqtt_url if way == "mqtt" else broker.url


class Receipts:
    """What receivers confirm, heard on the topic of the receipts."""

    def __init__(self) -> None:
        self.done: set[tuple[str, int, int]] = set()

    @asynccontextmanager
    async def heard(self, broker, way: str):
        if way == "mqtt":
            async with aiomqtt.Client("127.0.0.1", broker.mqtt_port, identifier="confirmed") as client:
                await client.subscribe("onpath/+/+/receipt", qos=1)
                task = asyncio.create_task(self._mqtt(client))
                try:
                    yield self
                finally:
                    await ended(task)
            return
        client = await nats.connect(broker.url)
        try:

            async def came(message):
                self._take(message.data)

            await client.subscribe("onpath.*.*.receipt", cb=came)
            yield self
        finally:
            await client.close()

    async def _mqtt(self, client) -> None:
        async for message in client.messages:
            self._take(message.payload)

    def _take(self, payload: bytes) -> None:
        said = msgpack.unpackb(payload)
        assert said["onpath"] == 1
        assert said["receipt"] is True
        assert len(said["done"]) <= 1000
        self.done |= {(said["gateway"], said["epoch"], seq) for seq in said["done"]}
