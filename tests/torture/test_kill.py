"""kill -9 again and again under load: what was acknowledged arrives, once, and the counters balance."""

import asyncio
import os
import random
import time

import pytest

from gateway.tasks import ended
from tests.support.daemon import Daemon
from tests.support.nats import nats_broker
from tests.torture.oracle import Devices, Receiver, check

KILLS = int(os.environ.get("ONPATH_KILLS", "50"))
CONFIG = """
adapters:
  bus:
    type: mqtt
    url: "{url}"
    subscribe: [{{topic: "site/{{device}}/telemetry", time: ts, points: {{n: {{}}}}}}]
pipelines:
  raw: {{from: ["*/n"], to: [cloud]}}
  counted:
    from: ["*/n"]
    steps: [{{window: {{every: 2s, stats: [count], lateness: 1s, late: next}}}}]
    to: [cloud]
uplinks:
  cloud: {{type: mqtt, url: "{url}", topic: "up/{{pipeline}}"}}
"""


@pytest.mark.timeout(300)
async def test_kills_lose_nothing_and_double_nothing(tmp_path):
    chance = random.Random(7)
    # The broker repeats what the gateway did not acknowledge within ack_wait
    async with (
        nats_broker(tmp_path / "nats", ack_wait="2s") as broker,
        Receiver(broker.mqtt_port).running() as receiver,
    ):
        daemon = Daemon(tmp_path, CONFIG.format(url=broker.mqtt_url))
        await daemon.start()
        await daemon.until(lambda s: s["adapters"]["bus"]["link"] == "up")
        devices = Devices(broker.mqtt_port)
        publishing = asyncio.create_task(devices.run())
        try:
            for number in range(KILLS):
                if number % 5:
                    await daemon.until(lambda s: s["adapters"]["bus"]["messages"] > 0)
                await asyncio.sleep(chance.uniform(0, 0.19))
                daemon.kill()
                await daemon.start()
            devices.stop.set()
            await publishing
            await settled(daemon, devices, receiver)
            found = check(devices, receiver)
            found.pop("reordered")  # what a broker repeats comes behind what it sent since
            assert found == {"lost": [], "doubled": [], "invented": []}
            assert not receiver.differing, "one record id, one content"
            status = await daemon.status()
            assert_balanced(status)
            total = sum(s["value"] for s in receiver.samples("counted"))
            assert total == len(set(accepted(receiver))), "windows count each message once"
            print(f"{KILLS} kills, {len(devices.acknowledged)} messages, {receiver.repeated} batches repeated")
        finally:
            await ended(publishing)
            daemon.kill()


def accepted(receiver):
    """(point, value) of every message that came through."""
    return [(s["point"], s["value"]) for s in receiver.samples("raw")]


async def settled(daemon, devices, receiver, timeout_s=60.0):
    """Wait until every acknowledged message has arrived, every window is closed and the spool is empty."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        status = await daemon.status()
        quiet = time.monotonic() - receiver.last_news > 3.5
        idle = status["pipelines"]["counted"]["queued"] == 0 and status["uplinks"]["cloud"]["spool"]["rows"] == 0
        if quiet and idle and not check(devices, receiver)["lost"]:
            return
        await asyncio.sleep(0.1)


def assert_balanced(status):
    for name, pipeline in status["pipelines"].items():
        gone = sum(pipeline[key] for key in ("out", "filtered", "aggregated", "dropped", "queued"))
        assert pipeline["in"] + pipeline["derived"] == gone, (name, pipeline)
