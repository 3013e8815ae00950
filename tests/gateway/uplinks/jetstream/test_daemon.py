"""The whole way, from YAML: a daemon, its site's broker, and a hub that loses the end of its stream."""

from __future__ import annotations

import json
import shutil

import aiomqtt

from tests.support.daemon import daemon
from tests.support.nats import nats_broker
from tests.support.streams import client, stored

CONFIG = """
adapters:
  bus:
    type: mqtt
    url: {site}
    subscribe:
      - {{topic: "site/{{device}}", payload: json, points: {{power: {{}}}}}}
pipelines:
  live: {{from: "**", steps: [], to: hub}}
uplinks:
  hub: {{type: nats, url: "{hub}", create: {{duplicate_window: 1h}}}}
"""


async def values(hub) -> list[float]:
    """Of all samples in the stream, each batch once."""
    async with client(hub.url) as nc:
        records = {headers["Nats-Msg-Id"]: json.loads(data) for _, headers, data in await stored(nc)}
    return sorted(sample["value"] for record in records.values() for sample in record["samples"])


async def test_a_hub_set_back_while_the_gateway_runs_has_everything_again(tmp_path):
    async with nats_broker(tmp_path / "site") as site, nats_broker(tmp_path / "hub", mqtt=False) as hub:
        config = CONFIG.format(site=site.mqtt_url, hub=hub.url)
        async with (
            daemon(tmp_path, config) as gateway,
            aiomqtt.Client("127.0.0.1", site.mqtt_port, identifier="device") as device,
        ):

            async def send(first: int, last: int) -> None:
                for n in range(first, last):
                    await device.publish("site/m1", json.dumps({"power": n}), qos=1)
                await gateway.until(lambda status: status["uplinks"]["hub"]["samples"] >= last)

            await gateway.until(lambda status: status["uplinks"]["hub"]["link"] == "up")
            await send(0, 40)
            await hub.stop()
            shutil.copytree(hub.store, tmp_path / "copy")
            await hub.start()
            await send(40, 100)
            hub.kill()
            shutil.rmtree(hub.store)
            shutil.copytree(tmp_path / "copy", hub.store)
            await hub.start()
            status = await gateway.until(lambda status: status["uplinks"]["hub"]["counts"].get("replays") == 1)
            assert status["uplinks"]["hub"]["facts"]["synced"].startswith("unknown")
            await gateway.until(lambda status: status["uplinks"]["hub"]["samples"] >= 200)
            assert await values(hub) == list(range(100))
