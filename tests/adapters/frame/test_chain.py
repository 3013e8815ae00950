"""Two real daemons, one the device of the other: child, broker, parent, file."""

import json
import math

import aiomqtt
import pytest

from tests.support.daemon import Daemon, json_lines, samples_of
from tests.support.nats import nats_broker

CHILD = """
adapters:
  bus:
    type: mqtt
    url: "{mqtt}"
    subscribe:
      - topic: "site/{{device}}/telemetry"
        time: ts
        points:
          n: {{unit: "1", kind: counter}}
          power: {{unit: W, limits: [0, 5000], labels: {{phase: L1}}}}
          mode: {{kind: state}}
pipelines:
  live: {{from: ["**"], to: [up]}}
uplinks:
  up: {uplink}
"""
PARENT = """
adapters:
  children: {adapter}
pipelines:
  all: {{from: ["**"], to: [file]}}
uplinks:
  file: {{type: file, path: "{path}", time: ns}}
"""
LINKS = {
    "mqtt-json": (
        '{{type: mqtt, url: "{mqtt}", topic: "onpath/{{gateway}}/{{pipeline}}", time: ns}}',
        '{{type: frame, url: "{mqtt}", topics: ["onpath/+/+"]}}',
    ),
    "nats": (
        '{{type: nats, url: "{nats}", format: frame}}',
        '{{type: frame, url: "{nats}", topics: ["onpath/+/+"]}}',
    ),
}


def yaml(template: str, broker) -> str:
    return template.format(mqtt=broker.mqtt_url, nats=broker.url)


async def publish(broker, device: str, numbers) -> None:
    async with aiomqtt.Client("127.0.0.1", broker.mqtt_port, identifier=f"dev-{device}") as client:
        for n in numbers:
            body = {"n": n, "power": 1.5 * n, "mode": "auto" if n % 2 else "off", "ts": 1_700_000_000_000 + n}
            await client.publish(f"site/{device}/telemetry", json.dumps(body), qos=1)
        await client.publish(f"site/{device}/telemetry", json.dumps({"power": None, "ts": 1_700_000_000_999}), qos=1)


@pytest.mark.parametrize("way", LINKS)
async def test_values_qualities_and_units_of_a_child_reach_the_file_of_its_parent(tmp_path, way):
    uplink, adapter = LINKS[way]
    for name in ("child", "parent"):
        (tmp_path / name).mkdir()
    out = tmp_path / "out.jsonl"
    async with nats_broker(tmp_path / "nats") as broker:
        child = Daemon(tmp_path / "child", CHILD.format(mqtt=broker.mqtt_url, uplink=yaml(uplink, broker)))
        parent = Daemon(tmp_path / "parent", PARENT.format(adapter=yaml(adapter, broker), path=out))
        parent.config.write_text(parent.config.read_text().replace("gateway: g1", "gateway: region"))
        try:
            await child.start()
            if way == "nats":
                await child.until(lambda s: s["uplinks"]["up"]["link"] == "up")
            await parent.start()
            await parent.until(lambda s: s["adapters"]["children"]["link"] == "up")
            await publish(broker, "m1", range(100))
            status = await parent.until(lambda _: len(samples_of(json_lines(out))) >= 301)
        finally:
            child.kill()
            parent.kill()
    batches = json_lines(out)
    names = {"g1/m1/n", "g1/m1/power", "g1/m1/mode"}
    assert {s["point"] for s in samples_of(batches)} == names
    assert [s["value"] for s in samples_of(batches, "g1/m1/n")] == list(range(100))
    power = samples_of(batches, "g1/m1/power")
    assert [s["value"] for s in power[:100]] == [1.5 * n for n in range(100)]
    assert power[100]["value"] is None
    assert power[100]["reason"] == "missing"
    assert power[100]["quality"].startswith("invalid")
    assert [s["value"] for s in samples_of(batches, "g1/m1/mode")][:4] == ["off", "auto", "off", "auto"]
    assert power[0]["time"] == 1_700_000_000_000_000_000
    device = status["adapters"]["children"]["devices"]["g1"]
    assert device["link"] == "up"
    assert device["batches"] > 0
    assert math.isclose(status["adapters"]["children"]["errors"], 0)
