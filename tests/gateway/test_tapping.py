"""``onpath tap``: samples as they go by, and what could not be used."""

import asyncio
import json
import subprocess
import sys

import pytest

from gateway.control import follow
from gateway.rejected import RejectedRing
from tests.support.daemon import daemon
from tests.support.nats import nats_broker
from tests.support.publish import publish

CONFIG = """
adapters:
  bus: {{type: mqtt, url: '{url}', subscribe: [{{topic: 'site/{{device}}/telemetry', points: {{v: {{}}}}}}]}}
pipelines: {{all: {{from: ["**"], steps: [{{window: {{every: 1s, stats: [count]}}}}], to: [out]}}}}
uplinks: {{out: {{type: file, path: {out}}}}}
"""


@pytest.fixture
async def running(tmp_path):
    async with nats_broker(tmp_path / "nats") as broker:
        config = CONFIG.format(url=broker.mqtt_url, out=tmp_path / "out")
        async with daemon(tmp_path, config) as process:
            process.broker = broker
            await process.until(lambda s: s["adapters"]["bus"]["link"] == "up")
            yield process


async def tapped(running, count, **request):
    """The first ``count`` answers of a tap, while ``feed`` publishes."""
    rows = []
    async for answer in follow(running.state, "tap", **request):
        rows += answer.get("samples") or [answer["rejected"]]
        if len(rows) >= count:
            return rows
    return rows


async def feed(running, messages):
    while True:
        await publish(running.broker.mqtt_port, messages)
        await asyncio.sleep(0.05)


async def with_feed(running, messages, waiting):
    feeding = asyncio.create_task(feed(running, messages))
    try:
        async with asyncio.timeout(20):
            return await waiting
    finally:
        while not feeding.done():  # wait_for of Python 3.11, inside aiomqtt, loses one that meets an answer
            feeding.cancel()
            await asyncio.wait((feeding,), timeout=1)


async def test_a_tap_shows_the_points_it_asks_for_and_derived_ones(running):
    messages = [("site/m1/telemetry", {"v": 1}), ("site/m2/telemetry", {"v": 2})]
    rows = await with_feed(running, messages, tapped(running, 3, globs=["m2/*"]))
    assert {row["point"] for row in rows} == {"m2/v"}
    assert {row["value"] for row in rows} == {2.0}
    rows = await with_feed(running, messages, tapped(running, 2, globs=["m1/v#count"]))
    assert {row["point"] for row in rows} == {"m1/v#count"}


async def test_rejected_messages_are_shown_with_their_reason_and_payload(running):
    rows = await with_feed(running, [("site/m1/telemetry", b'{"v": ')], tapped(running, 1, rejected=True))
    assert (rows[0]["adapter"], rows[0]["reason"], rows[0]["where"]) == ("bus", "unparsable", "site/m1/telemetry")
    assert rows[0]["payload"] == '{"v": '
    command = [sys.executable, "-m", "gateway.cli.main", "tap", "--rejected", "--for", "1s", "-c", str(running.config)]
    shown = await asyncio.to_thread(subprocess.run, command, check=True, capture_output=True, text=True, timeout=30)
    assert "unparsable" in shown.stdout
    shown = await asyncio.to_thread(
        subprocess.run, [*command, "--json"], check=True, capture_output=True, text=True, timeout=30
    )
    assert json.loads(shown.stdout.splitlines()[0])["reason"] == "unparsable"


def test_the_ring_is_bounded_and_payloads_are_cut():
    ring = RejectedRing(3)
    for _ in range(5):
        ring.add("a", "r", "x" * 10_000, b"\xff" * 5000, "d")
    kept = ring.after(0)
    assert [one.number for one in kept] == [3, 4, 5]
    shown = kept[0].as_dict()
    assert len(shown["payload_hex"]) == 2048
    assert shown["size"] == 5000
    assert len(shown["where"]) == 512
    json.dumps(shown)
