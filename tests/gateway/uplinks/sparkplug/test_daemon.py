"""The daemon as an edge node: killed, started again, stopped in order, as a host sees it."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import aiomqtt

from adapters.payloads.sparkplug.codec import Payload, decode, read
from gateway.tasks import ended
from tests.support.daemon import daemon
from tests.support.nats import nats_broker
from tests.support.publish import publish

CONFIG = """
adapters: {bus: {type: mqtt, url: '%(url)s', subscribe: [{topic: 'site/{device}/telemetry', points: {v: {}}}]}}
pipelines: {all: {from: ['**'], to: [scada]}}
uplinks: {scada: {type: sparkplug, url: '%(url)s', group: Plant1}}
"""


@asynccontextmanager
async def host(port: int):
    got: list[tuple[str, Payload]] = []

    def note(message) -> None:
        got.append((str(message.topic).split("/")[2], decode(bytes(message.payload))))

    async def collect(client) -> None:
        async for message in client.messages:
            note(message)

    async with aiomqtt.Client("127.0.0.1", port, identifier="host") as client:
        await client.subscribe("spBv1.0/Plant1/#", qos=1)
        task = asyncio.create_task(collect(client))
        try:
            yield got
        finally:
            await ended(task)


async def until(condition) -> None:
    async with asyncio.timeout(15):
        while not condition():  # noqa: ASYNC110 - what other processes do sets no event here
            await asyncio.sleep(0.01)


def numbers(heard, verb: str) -> list[int]:
    found = [
        next(metric for metric in payload.metrics if metric.name == "bdSeq") for said, payload in heard if said == verb
    ]
    return [read(metric) for metric in found]


async def test_killed_started_and_stopped(tmp_path):
    async with nats_broker(tmp_path / "nats") as broker, host(broker.mqtt_port) as heard:
        (tmp_path / "g").mkdir()
        async with daemon(tmp_path / "g", CONFIG % {"url": broker.mqtt_url}) as running:
            await running.until(lambda s: s["adapters"]["bus"]["link"] == s["uplinks"]["scada"]["link"] == "up")
            await publish(broker.mqtt_port, [("site/m1/telemetry", {"v": n}) for n in range(50)])
            await until(lambda: sum(len(p.metrics) for verb, p in heard if verb == "DDATA") == 50)
            await running.until(lambda s: s["uplinks"]["scada"]["spool"]["rows"] == 0)
            running.kill()
            await until(lambda: heard[-1][0] == "NDEATH")
            await running.start()
            await running.until(lambda s: s["adapters"]["bus"]["link"] == s["uplinks"]["scada"]["link"] == "up")
            await publish(broker.mqtt_port, [("site/m1/telemetry", {"v": 50})])
            await until(lambda: heard[-1][0] == "DDATA")
            assert await asyncio.to_thread(running.stop) == 0
            await until(lambda: heard[-1][0] == "NDEATH")
            before = len(heard)
            await running.start()
            await until(lambda: [verb for verb, _ in heard[before:]][:2] == ["NBIRTH", "DBIRTH"])
            (born,) = heard[before + 1][1].metrics
            assert (born.name, read(born)) == ("v", 50.0), "the newest value outlives a stop in order"
    births, deaths = numbers(heard, "NBIRTH"), numbers(heard, "NDEATH")
    assert sorted(set(births)) == [0, 1, 2]
    assert sorted(births) == births
    assert deaths[:2] == [0, 1]
