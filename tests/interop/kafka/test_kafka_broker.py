"""The Kafka uplink against Apache Kafka itself (KRaft, one node): killed with -9 under load, and back."""

from __future__ import annotations

import asyncio
import json
import subprocess
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from confluent_kafka import Consumer, KafkaException, TopicPartition

from gateway.errors import LinkError
from gateway.frame import Frame
from gateway.units import Duration
from gateway.uplinks.kafka_config import KafkaUplinkConfig
from tests.interop.mqtt.mosquitto import free_port
from tests.support.build import directory_of
from tests.support.uplink import uplink_context

LIB = Path(__file__).parent / "lib"
CLUSTER = "b25wYXRoLXRlc3QtMDAwMQ"
_CONFIG = """
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
log.dirs={folder}/data
num.partitions=1
offsets.topic.replication.factor=1
auto.create.topics.enable=true
"""


class Broker:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port, controller = free_port(), free_port()
        self.server = f"127.0.0.1:{self.port}"
        self.config = folder / "server.properties"
        self.config.write_text(_CONFIG.format(port=self.port, controller=controller, folder=folder))
        self.process: subprocess.Popen | None = None

    def java(self, name: str, *arguments: str) -> list[str]:
        return ["java", "-Xmx256m", "-XX:TieredStopAtLevel=1", "-cp", f"{LIB}/*", name, *arguments]

    async def format(self) -> None:
        command = self.java("kafka.tools.StorageTool", "format", "-t", CLUSTER, "-c", str(self.config))
        await asyncio.to_thread(subprocess.run, command, check=True, capture_output=True, timeout=60)

    async def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            command = self.java("kafka.Kafka", str(self.config))
            self.process = subprocess.Popen(command, stdout=log, stderr=log)  # noqa: ASYNC220
        consumer = Consumer({"bootstrap.servers": self.server, "group.id": "test", "log_level": 0})
        try:
            async with asyncio.timeout(60):
                while True:
                    try:
                        await asyncio.to_thread(consumer.list_topics, timeout=1)
                    except KafkaException:
                        assert self.process.poll() is None, (self.folder / "log").read_text()[-2000:]
                    else:
                        return
        finally:
            consumer.close()

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def read(self, topic: str) -> list:
        """All messages of the only partition of a topic, in order."""
        consumer = Consumer({"bootstrap.servers": self.server, "group.id": "test", "enable.auto.commit": False})
        try:
            place = TopicPartition(topic, 0, 0)
            low, high = consumer.get_watermark_offsets(place, timeout=20)
            consumer.assign([place])
            found = []
            while low < high:
                message = consumer.poll(20)
                assert message is not None
                assert not message.error(), message.error()
                found.append(message)
                low = message.offset() + 1
            return found
        finally:
            consumer.close()


@asynccontextmanager
async def kafka(folder: Path):
    broker = Broker(folder)
    await broker.format()
    await broker.start()
    try:
        yield broker
    finally:
        broker.kill()


def id_of(message) -> tuple[str, int, int]:
    found = {name: value.decode() for name, value in message.headers()}
    return found["gateway"], int(found["epoch"]), int(found["seq"])


@pytest.mark.skipif(not LIB.is_dir(), reason="Kafka is not there: .ci/install-peers fetches it")
@pytest.mark.timeout(240)
async def test_a_broker_killed_under_load_and_back_has_everything(tmp_path):
    folder = tmp_path / "kafka"
    folder.mkdir()
    async with kafka(folder) as broker:
        with uplink_context(tmp_path / "state", directory_of("m1/power")) as ctx:
            config = KafkaUplinkConfig(servers=[broker.server], topic="site", timeout=Duration(5), in_flight=50)
            ends: list[str] = []

            async def supervised():
                while True:
                    ctx.feed.rewind()
                    try:
                        await config.create().run(ctx)
                    except LinkError as error:
                        ends.append(str(error))
                        await asyncio.sleep(0.1)

            task = asyncio.create_task(supervised())
            try:
                seqs = []
                for n in range(3000):
                    seqs.append(ctx.put(Frame.of([0], n, [n + 0.5]))[0].seq)
                    await asyncio.sleep(0.001)
                    if n == 1000:
                        await ctx.until(lambda: len(ctx.acknowledged) > 500, 60)
                        broker.kill()
                    if n == 2000:
                        await ctx.until(lambda: ends, 60)  # longer away than a message may take
                        await broker.start()
                await ctx.until(lambda: len(set(ctx.acknowledged)) == 3000, 90)
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
            assert ctx.spool.gauge("out").rows == 0
        messages = await asyncio.to_thread(broker.read, "site")
    ids = [id_of(message) for message in messages]
    assert set(ids) == {("test", 77, seq) for seq in seqs}, "none lost"
    first = {
        found: json.loads(message.value()) for found, message in zip(reversed(ids), reversed(messages), strict=True)
    }
    assert [first["test", 77, seq]["samples"][0]["value"] for seq in seqs] == [n + 0.5 for n in range(3000)]
    print(f"{len(ids) - len(seqs)} of {len(seqs)} doubled before removal by id; runs ended: {ends}")
    assert len(ids) - len(seqs) <= 50 * len(ends), "no more than what was in flight"
