"""The whole demo as a user starts it."""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

import pytest

from gateway.config.load import load
from gateway.demo.run import SITE, Demo, Options
from gateway.errors import OnpathError

ROOT = Path(__file__).parents[3]
KEYS = [
    *("duration_s", "samples_in", "samples_out", "messages_up", "bytes_up", "bytes_raw_json", "reduction"),
    *("acknowledged", "lost", "doubled", "latency_ms", "adapters", "cpu_s", "rss_mb"),
]


@pytest.fixture
async def start(tmp_path):
    processes = []

    async def start(*arguments):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "gateway.cli.main", "demo", *arguments),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "TMPDIR": str(tmp_path)},
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        if process.returncode is None:
            process.terminate()
        await process.wait()


def left_behind(tmp_path):
    """Files and processes that still know the demo's folder."""
    running = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if str(tmp_path).encode() in (folder / "cmdline").read_bytes():
                running.append(folder.name)
        except OSError:
            continue
    return list(tmp_path.iterdir()) + running


def test_its_configuration_is_valid_with_its_defaults():
    config = load(SITE, {})
    assert config.gateway == "demo"
    assert {name: len(adapter.devices_named()) for name, adapter in config.adapters.items()} == {
        "meters": 20,
        "sensors": 10,
        "bus": 0,
    }
    assert (ROOT / "configs/demo/site.yaml").read_bytes() == SITE.read_bytes()


async def test_six_seconds_lose_nothing_and_end_with_the_object(start, tmp_path):
    process = await start("--for", "6s", "--json")
    out, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, err.decode()
    final = json.loads(out.splitlines()[-1])
    assert list(final) == KEYS
    assert (final["lost"], final["doubled"]) == (0, 0)
    assert 400 <= final["acknowledged"] <= 620  # 20 devices, 5 a second, 6 s
    assert {name: part["link"] for name, part in final["adapters"].items()} == {
        "meters": "up",
        "sensors": "up",
        "bus": "up",
    }
    assert all(part["errors"] == 0 for part in final["adapters"].values())
    assert final["adapters"]["bus"]["samples"] == 5 * final["acknowledged"]
    assert final["adapters"]["meters"]["samples"] > 20 * 4 * 10
    assert final["adapters"]["sensors"]["samples"] > 100
    assert final["samples_in"] == sum(part["samples"] for part in final["adapters"].values())
    assert final["acknowledged"] < final["samples_out"] < final["samples_in"]
    assert final["reduction"] > 2
    assert 0 < final["latency_ms"]["p50"] <= final["latency_ms"]["p99"] < 2000
    assert 0 < final["cpu_s"] < 6
    assert final["rss_mb"] > 10
    assert left_behind(tmp_path) == []


async def test_a_gateway_that_loses_is_found_out(tmp_path):
    whole = SITE.read_text()
    lossy = whole.replace('["d*/seq"]\n    steps: []', '["d*/seq"]\n    steps: [{deadband: {absolute: 1.5}}]')
    assert lossy != whole
    (tmp_path / "lossy.yaml").write_text(lossy)
    final, verdict = await Demo(Options(for_s=1.0, config=tmp_path / "lossy.yaml")).run()
    assert final.lost == verdict.missing > 0.2 * final.acknowledged
    assert verdict.gaps == verdict.doubled == 0  # what arrived is whole: only the pipeline kept some back
    assert not verdict.clean


async def test_a_gateway_that_does_not_start_says_why(tmp_path):
    (tmp_path / "broken.yaml").write_text("gateway: demo\nadaptors: {}\n")
    with pytest.raises(OnpathError, match=r"ended with code 78\n(.*\n)*.*broken.yaml:2:1: adaptors: unknown key"):
        await Demo(Options(config=tmp_path / "broken.yaml")).run()


async def test_ctrl_c_ends_it_in_order_with_a_summary(start, tmp_path):
    process = await start("--rate", "20")
    await asyncio.wait_for(process.stdout.readline(), 30)
    await asyncio.sleep(0.1)  # anywhere in the start or the run: the order is the same
    process.send_signal(signal.SIGINT)
    out, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, err.decode()
    assert b"0 lost, 0 doubled" in out
    assert left_behind(tmp_path) == []


@pytest.mark.alone  # the second one has to come while the first still takes its course
async def test_a_second_ctrl_c_ends_it_at_once_and_still_cleans_up(start, tmp_path):
    process = await start()
    await asyncio.wait_for(process.stdout.readline(), 30)
    process.send_signal(signal.SIGINT)
    async with asyncio.timeout(10):
        while True:  # the first has been heard when it starts to end, with a broker and more running
            if len(left_behind(tmp_path)) > 1:
                break
            await asyncio.sleep(0.02)
    process.send_signal(signal.SIGINT)
    await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode != 0
    assert left_behind(tmp_path) == []
