"""The daemon before a real broker that goes away: live first, the backlog behind it, nothing lost; and the budget."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import asynccontextmanager

import aiomqtt

from gateway.tasks import ended
from tests.support.daemon import daemon
from tests.support.nats import nats_broker

SITE = """
adapters:
  bus:
    type: mqtt
    url: {bus}
    subscribe: [{{topic: "in/{{device}}", payload: json, time: ts, qos: 1, points: {{v: {{}}, w: {{}}}}}}]
pipelines:
  important: {{from: ["*/v"], to: [up]}}
  rest: {{from: ["*/w"], to: [up]}}
uplinks:
  up: {{type: mqtt, url: "{up}", topic: "up/{{pipeline}}", time: ns, timeout: 2s, priority: [important], {more}}}
store: {{commit: 20ms}}
"""


class Receiver:
    """A persistent session: what the broker has acknowledged, it keeps for us."""

    def __init__(self, url: str) -> None:
        self._port = int(url.rpartition(":")[2])
        self.batches: list[dict] = []
        self._news = asyncio.Event()

    @asynccontextmanager
    async def listening(self):
        async with aiomqtt.Client("127.0.0.1", self._port, identifier="receiver", clean_session=False) as client:
            await client.subscribe("up/#", qos=1)
            task = asyncio.create_task(self._take(client))
            try:
                yield
            finally:
                await ended(task)

    async def _take(self, client) -> None:
        async for message in client.messages:
            self.batches.append(json.loads(message.payload))
            self._news.set()

    def values(self, point: str) -> set[float]:
        """All that came of a point."""
        return {s["value"] for batch in self.batches for s in batch["samples"] if s["point"].endswith(point)}

    async def until(self, condition, timeout_s: float = 40.0) -> None:
        async with asyncio.timeout(timeout_s):
            while not condition():
                self._news.clear()
                await self._news.wait()


async def publish(client, first: int, count: int) -> None:
    """QoS 1: each is on the gateway's disk when this returns."""
    for n in range(first, first + count):
        payload = json.dumps({"ts": time.time_ns(), "v": n, "w": n})
        await client.publish("in/m1", payload, qos=1)


async def test_what_waited_comes_behind_what_is_live_and_nothing_is_lost(tmp_path):
    async with nats_broker() as bus, nats_broker() as up:
        receiver = Receiver(up.mqtt_url)
        config = SITE.format(bus=bus.mqtt_url, up=up.mqtt_url, more="backlog: {rate: 40/s}")
        async with daemon(tmp_path, config) as process, aiomqtt.Client("127.0.0.1", bus.mqtt_port) as client:
            await process.until(lambda s: s["adapters"]["bus"]["link"] == s["uplinks"]["up"]["link"] == "up")
            async with receiver.listening():
                await publish(client, 0, 5)
                await receiver.until(lambda: receiver.values("/w") >= set(range(5)))
            await up.stop()
            await process.until(lambda s: s["uplinks"]["up"]["link"] == "down")
            await publish(client, 5, 60)
            waiting = await process.until(lambda s: s["uplinks"]["up"]["spool"]["samples"] == 120)
            parts = waiting["uplinks"]["up"]["spool"]["pipelines"]
            assert {name: part["samples"] for name, part in parts.items()} == {"important": 60, "rest": 60}
            await up.start()
            async with receiver.listening():
                await process.until(lambda s: s["uplinks"]["up"]["link"] == "up")
                await publish(client, 65, 5)
                await receiver.until(lambda: receiver.values("/v") >= set(range(70)))
                await receiver.until(lambda: receiver.values("/w") >= {65, 66, 67, 68, 69})
                before = [batch for batch in receiver.batches if not batch["historical"]]
                await receiver.until(lambda: receiver.values("/w") == set(range(70)))
                assert {s["value"] for b in before for s in b["samples"]} >= {65, 66, 67, 68, 69}
            done = await process.until(lambda s: s["uplinks"]["up"]["spool"]["rows"] == 0)
    lanes, spool = done["uplinks"]["up"]["lanes"], done["uplinks"]["up"]["spool"]
    assert lanes["backlog_samples"] >= 120
    assert (lanes["behind"], spool["lost"], spool["thinned"]) == (False, 0, 0)
    for pipeline in ("important", "rest"):
        mine = [b for b in receiver.batches if b["pipeline"] == pipeline]
        in_time = [b["seq"] for b in mine if not b["historical"]]
        assert in_time == sorted(in_time), "what is not flagged is in order"


async def test_a_budget_that_is_spent_lets_only_what_is_important_through_also_after_a_restart(tmp_path):
    async with nats_broker() as bus, nats_broker() as up:
        receiver = Receiver(up.mqtt_url)
        more = "budget: {size: 2kB, per: month, when_spent: priority}"
        config = SITE.format(bus=bus.mqtt_url, up=up.mqtt_url, more=more)
        async with (
            daemon(tmp_path, config) as process,
            aiomqtt.Client("127.0.0.1", bus.mqtt_port) as client,
            receiver.listening(),
        ):
            await process.until(lambda s: s["adapters"]["bus"]["link"] == s["uplinks"]["up"]["link"] == "up")
            for n in range(0, 30, 3):
                await publish(client, n, 3)
                await receiver.until(lambda n=n: receiver.values("/v") == set(range(n + 3)))
            status = await process.until(lambda s: s["uplinks"]["up"]["lanes"]["budget"]["exhausted"])
            assert await asyncio.to_thread(process.stop) == 0
            held = receiver.values("/w")
            assert len(held) < 30
            await process.start()
            await process.until(lambda s: s["adapters"]["bus"]["link"] == s["uplinks"]["up"]["link"] == "up")
            again = await process.status()
            assert again["uplinks"]["up"]["lanes"]["budget"]["spent"] >= status["uplinks"]["up"]["bytes"] >= 2000
            await publish(client, 30, 3)
            await receiver.until(lambda: receiver.values("/v") == set(range(33)))
            assert receiver.values("/w") == held
            await process.until(lambda s: s["uplinks"]["up"]["spool"]["pipelines"].keys() == {"rest"})
