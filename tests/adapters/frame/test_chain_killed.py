"""kill -9 of child and parent in turn, under load, with receipts end to end: nothing is lost or doubled."""

import asyncio
import os
import random
from collections import Counter

import pytest

from tests.support.daemon import Daemon, json_lines, samples_of
from tests.support.nats import nats_broker
from tests.torture.oracle import Devices

KILLS = int(os.environ.get("ONPATH_CHAIN_KILLS", "2"))
CHILD = """
adapters:
  bus:
    type: mqtt
    url: "{mqtt}"
    subscribe: [{{topic: "site/{{device}}/telemetry", time: ts, points: {{n: {{unit: "1", kind: counter}}}}}}]
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
  file: {{type: file, path: "{path}", time: ns, max_size: 1GiB}}
"""
WAYS = {
    "mqtt": (
        '{{type: mqtt, url: "{mqtt}", format: frame, receipts: receiver, receipt_timeout: 2s}}',
        '{{type: frame, url: "{mqtt}", receipts: true}}',
    ),
    "nats": (
        '{{type: nats, url: "{nats}", format: frame, receipts: receiver, receipt_timeout: 2s}}',
        '{{type: frame, url: "{nats}", receipts: true, ack_wait: 2s}}',
    ),
}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("way", WAYS)
async def test_a_chain_that_is_killed_loses_and_doubles_nothing(tmp_path, way):
    chance = random.Random(5)
    uplink, adapter = WAYS[way]
    out = tmp_path / "out.jsonl"
    for name in ("child", "parent"):
        (tmp_path / name).mkdir()
    async with nats_broker(tmp_path / "nats", ack_wait="2s") as broker:
        known = {"mqtt": broker.mqtt_url, "nats": broker.url}
        child = Daemon(tmp_path / "child", CHILD.format(uplink=uplink.format(**known), **known))
        parent = Daemon(tmp_path / "parent", PARENT.format(adapter=adapter.format(**known), path=out))
        parent.config.write_text(parent.config.read_text().replace("gateway: g1", "gateway: region"))
        devices = Devices(broker.mqtt_port, names=("d0", "d1"), pause_s=0.005)
        try:
            await child.start()
            await child.until(lambda s: s["adapters"]["bus"]["link"] == "up" and s["uplinks"]["up"]["link"] == "up")
            await parent.start()
            await parent.until(lambda s: s["adapters"]["children"]["link"] == "up")
            publishing = asyncio.create_task(devices.run())
            for number in range(KILLS):
                await asyncio.sleep(chance.uniform(0.1, 0.5))
                victim = (parent, child)[number % 2]
                victim.kill()
                await victim.start()
            devices.stop.set()
            await publishing
            # Empty only once the parent has confirmed every batch
            await child.until(lambda s: s["uplinks"]["up"]["spool"]["rows"] == 0, 60)
            wanted = set(devices.acknowledged)
            await parent.until(lambda _: wanted <= numbers(out).keys(), 60)
        finally:
            devices.stop.set()
            for one in (child, parent):
                if one.process is not None and one.process.poll() is None:
                    one.kill()
    got = numbers(out)
    assert not wanted - got.keys(), "lost"
    assert not [key for key, count in got.items() if count > 1], "doubled"
    assert {s["quality"] for s in samples_of(json_lines(out))} <= {"good", "good,historical"}
    assert len(wanted) > 50


def numbers(path) -> Counter:
    """(device, number) of each sample in the parent's file, each batch by its record id once."""
    batches = {(b["gateway"], b["epoch"], b["seq"]): b for b in json_lines(path)}
    return Counter((s["point"].split("/")[1], int(s["value"])) for s in samples_of(batches.values()))
