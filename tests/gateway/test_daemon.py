"""The daemon as a process: start, refuse, stop in order, reload only what changed, and systemd's protocol."""

import asyncio
import os
import signal
import socket
import subprocess
import sys

import pytest

from gateway.control import ask
from tests.support.daemon import daemon, json_lines, samples_of
from tests.support.nats import nats_broker
from tests.support.publish import publish

FILE = "uplinks: {out: {type: file, path: %s}}\n"
BUS = "adapters: {bus: {type: mqtt, url: '%s', subscribe: [{topic: 'site/{device}/telemetry', points: {v: {}}}]}}\n"
ALL = "pipelines: {all: {from: ['**'], to: [out]}}\n"


@pytest.fixture
async def broker(tmp_path):
    async with nats_broker(tmp_path / "nats") as running:
        yield running


def onpath(*args):
    command = [sys.executable, "-m", "gateway.cli.main", *args]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=30)


async def test_a_second_daemon_on_the_same_state_refuses(tmp_path):
    async with daemon(tmp_path, ALL + FILE % (tmp_path / "out")):
        second = await asyncio.to_thread(onpath, "run", "-c", str(tmp_path / "onpath.yaml"))
    assert second.returncode == 75
    assert "in use by process" in second.stderr


def test_a_broken_configuration_is_refused_with_exit_78(tmp_path):
    (tmp_path / "onpath.yaml").write_text("gateway: g\nadaptors: {}\n")
    refused = onpath("run", "-c", str(tmp_path / "onpath.yaml"))
    assert refused.returncode == 78
    assert 'onpath.yaml:2:1: adaptors: unknown key; did you mean "adapters"?' in refused.stderr


async def test_sigterm_delivers_what_is_there_and_ends_clean(tmp_path, broker):
    config = BUS % broker.mqtt_url + ALL + FILE % (tmp_path / "out")
    async with daemon(tmp_path, config) as running:
        await running.until(lambda s: s["adapters"]["bus"]["link"] == "up")
        await publish(broker.mqtt_port, [("site/m1/telemetry", {"v": n}) for n in range(200)])
        assert await asyncio.to_thread(running.stop) == 0
        values = [s["value"] for s in samples_of(json_lines(tmp_path / "out"), "m1/v")]
        assert values == [float(n) for n in range(len(values))]
        await running.start()
        await running.until(
            lambda s: s["uplinks"]["out"]["spool"]["rows"] == 0 and s["adapters"]["bus"]["link"] == "up"
        )
        assert await asyncio.to_thread(running.stop) == 0
    values = [s["value"] for s in samples_of(json_lines(tmp_path / "out"), "m1/v")]
    assert values == [float(n) for n in range(200)], "the broker kept what was not acknowledged"


async def test_reload_changes_only_what_changed(tmp_path, broker):
    window = "pipelines: {all: {from: ['**'], to: [out], steps: [{window: {every: 1h, stats: [count]}}%s]}}\n"
    base = BUS % broker.mqtt_url + FILE % (tmp_path / "out")
    async with daemon(tmp_path, base + window % "") as running:
        await running.until(lambda s: s["adapters"]["bus"]["link"] == "up")
        await publish(broker.mqtt_port, [("site/m1/telemetry", {"v": n}) for n in range(5)])
        before = await running.until(lambda s: s["pipelines"]["all"]["queued"] == 5)

        running.write(base + window % ", {deadband: {absolute: 1}}" + "max_points: 5000\n")
        answer = await ask(running.state, "reload")
        assert answer["ok"], answer
        assert answer["reload"]["pipelines"]["changed"] == ["all"]
        assert answer["reload"]["adapters"] == {"added": [], "changed": [], "removed": []}
        after = await running.status()
        assert after["pipelines"]["all"]["queued"] == 5, "the window keeps its state"
        assert after["adapters"]["bus"]["messages"] == before["adapters"]["bus"]["messages"]
        assert running.log.read_text().count("adapter bus: link up") == 1, "the connection was kept"


async def test_a_broken_file_changes_nothing_and_says_so(tmp_path, broker):
    async with daemon(tmp_path, BUS % broker.mqtt_url + ALL + FILE % (tmp_path / "out")) as running:
        await running.until(lambda s: s["adapters"]["bus"]["link"] == "up")
        running.write("adapters: {bus: {type: mqqt}}\n")
        refused = await asyncio.to_thread(onpath, "reload", "--state", str(running.state))
        assert refused.returncode == 78
        assert 'did you mean "mqtt"' in refused.stderr
        running.process.send_signal(signal.SIGHUP)
        status = await running.until(lambda s: s["reloads"]["failed"] == 2)
        assert status["adapters"]["bus"]["link"] == "up"
        await publish(broker.mqtt_port, [("site/m1/telemetry", {"v": 1})])
        await running.until(lambda s: s["uplinks"]["out"]["samples"] == 1)
        running.write(BUS % broker.mqtt_url + ALL.replace("all", "other") + FILE % (tmp_path / "out"))
        running.process.send_signal(signal.SIGHUP)
        status = await running.until(lambda s: s["reloads"]["done"] == 1)
        assert list(status["pipelines"]) == ["other"]


async def test_what_holds_for_life_is_refused_on_reload(tmp_path):
    async with daemon(tmp_path, ALL + FILE % (tmp_path / "out")) as running:
        running.config.write_text(running.config.read_text().replace("gateway: g1", "gateway: g2"))
        answer = await ask(running.state, "reload")
        assert not answer["ok"]
        assert "restart" in answer["error"]


async def test_an_uplink_that_comes_and_goes(tmp_path, broker):
    one = BUS % broker.mqtt_url + ALL + FILE % (tmp_path / "out")
    two = BUS % broker.mqtt_url + (
        f"pipelines: {{all: {{from: ['**'], to: [out, more]}}}}\n"
        f"uplinks: {{out: {{type: file, path: {tmp_path}/out}}, more: {{type: file, path: {tmp_path}/more}}}}\n"
    )
    async with daemon(tmp_path, one) as running:
        await running.until(lambda s: s["adapters"]["bus"]["link"] == "up")
        running.write(two)
        assert (await ask(running.state, "reload"))["ok"]
        await publish(broker.mqtt_port, [("site/m1/telemetry", {"v": 1})])
        await running.until(lambda s: s["uplinks"]["more"]["samples"] == 1 and s["uplinks"]["out"]["samples"] == 1)
        running.write(one)
        assert (await ask(running.state, "reload"))["ok"]
        await publish(broker.mqtt_port, [("site/m1/telemetry", {"v": 2})])
        status = await running.until(lambda s: s["uplinks"]["out"]["samples"] == 2)
        assert list(status["uplinks"]) == ["out"]


async def test_systemd_hears_ready_reloading_watchdog_and_stopping(tmp_path):
    address = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(address))
        listener.settimeout(10)
        env = os.environ | {"NOTIFY_SOCKET": str(address), "WATCHDOG_USEC": "200000"}
        env.pop("WATCHDOG_PID", None)
        async with daemon(tmp_path, ALL + FILE % (tmp_path / "out"), env) as running:

            async def hear(word):
                while word not in (text := (await asyncio.to_thread(listener.recv, 4096)).decode()):
                    pass
                return text

            assert "STATUS=" in await hear("READY=1")
            await hear("WATCHDOG=1")
            running.process.send_signal(signal.SIGHUP)
            assert "MONOTONIC_USEC=" in await hear("RELOADING=1")
            await hear("READY=1")
            running.process.send_signal(signal.SIGTERM)
            await hear("STOPPING=1")
            assert await asyncio.to_thread(running.process.wait, 11) == 0


async def test_an_unreachable_uplink_does_not_stop_the_intake_nor_the_end(tmp_path, broker):
    config = BUS % broker.mqtt_url + ALL + "uplinks: {out: {type: mqtt, url: 'mqtt://127.0.0.1:9'}}\n"
    async with daemon(tmp_path, config) as running:
        await running.until(lambda s: s["adapters"]["bus"]["link"] == "up")
        await publish(broker.mqtt_port, [("site/m1/telemetry", {"v": n}) for n in range(50)])
        status = await running.until(lambda s: s["uplinks"]["out"]["spool"]["samples"] == 50)
        assert status["uplinks"]["out"]["link"] == "down"
        assert await asyncio.to_thread(running.stop) == 0
        running.write(BUS % broker.mqtt_url + ALL + FILE % (tmp_path / "out"))
        await running.start()
        await running.until(lambda s: s["uplinks"]["out"]["samples"] == 50)
    assert [s["value"] for s in samples_of(json_lines(tmp_path / "out"), "m1/v")] == [float(n) for n in range(50)]


async def test_a_pipeline_feeds_another(tmp_path, broker):
    config = (
        BUS % broker.mqtt_url
        + FILE % (tmp_path / "out")
        + (
            "pipelines:\n"
            "  clean: {from: ['*/v'], steps: [{limits: {max: 10, action: drop}}], to: [big]}\n"
            "  big: {steps: [{filter: {above: 5}}, {scale: {factor: 100}}], to: [out]}\n"
        )
    )
    async with daemon(tmp_path, config) as running:
        await running.until(lambda s: s["adapters"]["bus"]["link"] == "up")
        await publish(broker.mqtt_port, [("site/m1/telemetry", {"v": n}) for n in (1, 6, 11, 9)])
        status = await running.until(lambda s: s["uplinks"]["out"]["samples"] == 2)
        assert status["pipelines"]["clean"]["dropped"] == 1
        assert status["pipelines"]["big"]["filtered"] == 1
    batches = json_lines(tmp_path / "out")
    assert {batch["pipeline"] for batch in batches} == {"big"}
    assert [s["value"] for s in samples_of(batches)] == [600.0, 900.0]
