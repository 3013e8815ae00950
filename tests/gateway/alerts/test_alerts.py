"""Alerts end to end: the real daemon, a real broker and a real webhook; told once, over kills, reloads and restarts."""

from __future__ import annotations

import asyncio
import itertools
import json
import subprocess
import sys

import pytest

from gateway.control import ask
from tests.gateway.uplinks.http_server import http_server
from tests.support.daemon import daemon, json_lines, samples_of
from tests.support.nats import nats_broker
from tests.support.publish import publish

BASE = """
    adapters:
      bus: {{type: mqtt, url: "{url}", subscribe: [{{topic: "site/{{device}}/t", points: {{v: {{unit: V}}}}}}]}}
    pipelines:
      all: {{from: "**", to: [out]}}
    uplinks:
      out: {{type: file, path: {folder}/out}}
      hook: {{type: webhook, url: "{hook}", rate: 1000/s}}
    {rest}
"""
HIGH = 'alerts: {high: {points: "*/v", above: 250, hysteresis: 5, to: [hook, out], text: "{point}: {value} {unit}"}}'


@pytest.fixture
async def broker(tmp_path):
    async with nats_broker(tmp_path / "nats") as running:
        yield running


@pytest.fixture
async def hook():
    async with http_server() as server:
        yield server


@pytest.fixture
def config(tmp_path, broker, hook):
    return lambda rest: BASE.format(url=broker.mqtt_url, folder=tmp_path, hook=hook.url, rest=rest)


def up(status):
    return status["adapters"]["bus"]["link"] == "up"


async def say(broker, *values, device="m1"):
    await publish(broker.mqtt_port, [(f"site/{device}/t", {"v": value}) for value in values])


def notes(hook):
    return [
        (body["rule"], body["state"], body["value"]) for body in map(json.loads, (one.body for one in hook.accepted))
    ]


async def view(running):
    return (await ask(running.state, "alerts"))["alerts"]


async def until_notes(hook, count):
    async with asyncio.timeout(20):
        while len(hook.accepted) < count:  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.02)


async def test_raised_and_cleared_to_people_and_machines(tmp_path, broker, hook, config):
    async with daemon(tmp_path, config(HIGH)) as running:
        await running.until(up)
        await say(broker, 240, 251, 248, 252, 244, 240)
        await until_notes(hook, 2)
        status = await running.until(lambda s: s["uplinks"]["out"]["spool"]["rows"] == 0)
        assert notes(hook) == [("high", "raised", 251.0), ("high", "cleared", 244.0)]
        assert json.loads(hook.accepted[0].body)["text"] == "m1/v: 251 V"
        lines = samples_of(json_lines(tmp_path / "out"), "alert/high/m1/v")
        assert [line["value"] for line in lines] == ["warning", "quiet"]
        values = samples_of(json_lines(tmp_path / "out"), "alert/high/m1/v#value")
        assert [line["value"] for line in values] == [251.0, 244.0]
        assert status["alerts"]["active"] == []
        assert list(status["pipelines"]) == ["all"]
        row = status["hidden"]["alert.high"]
        assert (row["in"], row["out"], row["derived"], row["filtered"]) == (6, 4, 4, 6)
        recent = (await view(running))["recent"]
        assert [one["state"] for one in recent] == ["cleared", "raised"]
        log = running.log.read_text()
        assert log.count("alert high, warning: m1/v: 251 V") == 1
        assert log.count("alert high: over: m1/v is 244 V") == 1


async def test_a_kill_while_it_is_raised_tells_nothing_twice_and_loses_no_clear(tmp_path, broker, hook, config):
    async with daemon(tmp_path, config(HIGH)) as running:
        await running.until(up)
        await say(broker, 260)
        await until_notes(hook, 1)
        acknowledged = await ask(running.state, "acknowledge", rule="high", point="m1/v", by="anna")
        assert acknowledged["acknowledged"]["by"] == "anna"
        refused = await ask(running.state, "acknowledge", rule="high", point="m2/v")
        assert "not raised" in refused["error"]
        before = (await view(running))["active"]
        await say(broker, 261)
        await running.until(lambda s: s["pipelines"]["all"]["in"] == 2)
        for _ in range(3):
            running.kill()
            await running.start()
            await running.until(up)
            assert (await view(running))["active"][0]["since_ms"] == before[0]["since_ms"]
            assert (await view(running))["active"][0]["acknowledged"]["by"] == "anna"
        await say(broker, 259)
        await running.until(lambda s: s["pipelines"]["all"]["in"] == 3)
        assert notes(hook) == [("high", "raised", 260.0)]
        await say(broker, 230)
        await until_notes(hook, 2)
        assert notes(hook)[1] == ("high", "cleared", 230.0)
        assert (await view(running))["active"] == []
        ids = [body.headers["Idempotency-Key"] for body in hook.accepted]
        assert len(set(ids)) == 2
        states = samples_of(json_lines(tmp_path / "out"), "alert/high/m1/v")
        assert [line["value"] for line in states] == ["warning", "quiet"]


async def test_for_and_absent_need_no_further_sample(tmp_path, broker, config):
    rules = """alerts:
      slow: {points: "*/v", above: 250, for: 500ms, severity: critical}
      gone: {points: "m2/*", absent: 1s, severity: info}
    """
    async with daemon(tmp_path, config(rules)) as running:
        await running.until(up)
        await say(broker, 260)
        pending = await running.until(lambda s: s["alerts"]["pending"] or s["alerts"]["critical"])
        assert pending["alerts"]["rules"] == 2
        await running.until(lambda s: s["alerts"]["critical"] == 1)
        await say(broker, 1, device="m2")
        status = await running.until(lambda s: s["alerts"]["info"] == 1)
        assert status["alerts"]["active"][0]["rule"] == "slow", "the gravest first"
        found = await view(running)
        assert [rule["condition"] for rule in found["rules"]] == ["above 250, for 0.5 s", "absent for 1 s"]
        await say(broker, 2, device="m2")
        await running.until(lambda s: s["alerts"]["info"] == 0)
        quiet = await running.status()
        await asyncio.sleep(0.2)
        await running.until(lambda s: s["alerts"]["info"] == 1)
        idle = (await running.status())["store"]["commits"]
        await asyncio.sleep(1.2)
        assert (await running.status())["store"]["commits"] - idle <= 1, "nothing waits for time: nothing is written"
        assert quiet["alerts"]["critical"] == 1


async def test_a_reload_keeps_what_is_raised_and_clears_what_is_gone(tmp_path, broker, hook, config):
    async with daemon(tmp_path, config(HIGH)) as running:
        await running.until(up)
        await say(broker, 260)
        await until_notes(hook, 1)
        running.write(config(HIGH.replace("above: 250", "above: 255, severity: critical")))
        answer = await ask(running.state, "reload")
        assert answer["reload"]["alerts"] == {"added": [], "changed": ["high"], "removed": []}
        assert answer["reload"]["pipelines"]["changed"] == []
        await until_notes(hook, 2)
        assert notes(hook)[1] == ("high", "raised", 260.0), "it is graver now"
        assert (await running.status())["alerts"]["critical"] == 1
        running.write(config(""))
        assert (await ask(running.state, "reload"))["reload"]["alerts"]["removed"] == ["high"]
        await until_notes(hook, 3)
        assert notes(hook)[2][:2] == ("high", "cleared")
        status = await running.status()
        assert (status["alerts"]["active"], status["hidden"]) == ([], {})


async def test_results_of_a_pipeline_and_own_metrics(tmp_path, broker, config):
    rules = """alerts:
      mean: {points: "**#mean", of: [load], above: 100}
      link: {points: "onpath/uplink/*/up", below: 1, severity: info}
    metrics: {every: 1s}
    """
    load = 'load: {from: "*/v", steps: [{window: {every: 1s, stats: [mean], lateness: 0s}}], to: [out]}'
    dead = "dead: {type: webhook, url: 'http://127.0.0.1:9'}"
    text = config(rules).replace("    uplinks:", f"      {load}\n    uplinks:\n      {dead}")
    async with daemon(tmp_path, text) as running:
        await running.until(up)
        for _ in range(3):
            await say(broker, 150, 160)
            await asyncio.sleep(0.6)
        status = await running.until(lambda s: s["alerts"]["warning"] == 1 and s["alerts"]["info"] == 1)
        assert {(one["rule"], one["point"]) for one in status["alerts"]["active"]} == {
            ("mean", "m1/v#mean"),
            ("link", "onpath/uplink/dead/up"),
        }
        assert status["pipelines"]["all"]["in"] == 6, "own metrics are not part of everything"


async def test_a_heart_that_beats_when_nothing_else_happens(tmp_path, config):
    beat = "heartbeat: {to: [out], every: 1s, also: ['onpath/clock/*', 'onpath/uplink/out/spool_age']}"
    async with daemon(tmp_path, config(beat)) as running:
        await running.until(lambda s: s["hidden"]["heartbeat"]["out"] >= 20)
        await running.until(lambda s: s["uplinks"]["out"]["samples"] >= 20)
        batches = [batch for batch in json_lines(tmp_path / "out") if batch["pipeline"] == "heartbeat"]
        health = samples_of(batches, "onpath/health")
        assert {line["value"] for line in health} <= {"ok", "degraded"}
        assert samples_of(batches, "onpath/version")[0]["value"][0].isdigit()
        uptimes = [line["value"] for line in samples_of(batches, "onpath/uptime")]
        assert len(uptimes) >= 3
        assert all(0.8 < later - earlier < 8 for earlier, later in itertools.pairwise(uptimes))
        assert samples_of(batches, "onpath/clock/trusted")
        assert samples_of(batches, "onpath/uplink/out/spool_age")
        assert {line["point"].split("/")[0] for line in samples_of(batches)} == {"onpath"}
        running.write(config(""))
        assert (await ask(running.state, "reload"))["ok"]
        assert (await running.status())["hidden"] == {}


async def test_people_are_told_when_their_service_is_back_also_after_a_kill(tmp_path, broker, hook, config):
    hook.script = lambda _: 500
    async with daemon(tmp_path, config(HIGH)) as running:
        await running.until(up)
        await say(broker, 260)
        await running.until(lambda s: s["uplinks"]["hook"]["link"] == "down" and s["uplinks"]["hook"]["messages"])
        running.kill()
        await running.start()
        await running.until(lambda s: s["uplinks"]["hook"]["messages"] > 0)
        assert (await running.status())["uplinks"]["hook"]["spool"]["samples"] == 2
        hook.script = None
        await until_notes(hook, 1)
        await running.until(lambda s: s["uplinks"]["hook"]["spool"]["rows"] == 0)
    assert notes(hook) == [("high", "raised", 260.0)]
    assert len({one.headers["Idempotency-Key"] for one in hook.took}) == 1


def test_rules_can_be_tested_offline(tmp_path):
    (tmp_path / "site.yaml").write_text("""
gateway: g
state: state
adapters: {m: {type: modbus, url: "tcp://h", devices: {m1: {points: {v: {at: "input:0", unit: V}}}}}}
pipelines: {all: {from: "**", to: out}}
alerts: {high: {points: "m1/v", above: 253, hysteresis: 2, for: 10s}}
uplinks: {out: {type: stdout}}
""")
    (tmp_path / "site.test.yaml").write_text("""
tests:
  - name: over-voltage is told once
    pipeline: alert.high
    given:
      - samples: |
          time  m1/v
          +0s   254
      - clock: 15s
      - samples: |
          time  m1/v
          +15s  252
          +16s  250
    expect: |
      time  alert/high/m1/v
      +10s  critical
      +16s  quiet
    only: ["alert/*/*/*"]
""")
    command = [sys.executable, "-m", "gateway.cli.main", "test", str(tmp_path / "site.test.yaml")]
    failed = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert failed.returncode == 1
    assert "warning" in failed.stdout, "the severity is another"
    text = (tmp_path / "site.test.yaml").read_text().replace("critical", "warning")
    (tmp_path / "site.test.yaml").write_text(text)
    passed = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert passed.returncode == 0, passed.stdout + passed.stderr
