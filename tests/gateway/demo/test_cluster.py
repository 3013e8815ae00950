"""``onpath demo cluster`` as a user starts it: exact, far less to the root than as JSON, and nothing left behind."""

import asyncio
import json
import os
import signal
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest

from gateway.config.load import load
from gateway.demo.cluster import Cluster, Options
from gateway.demo.cluster_model import LENGTH, RATE, Part, error, first_weights
from gateway.demo.cluster_parts import AGGREGATOR_CONFIG, ROOT_CONFIG
from gateway.demo.cluster_report import Span
from gateway.demo.cluster_worker import NUMBERS
from gateway.reduction.terms import Terms


@pytest.fixture
async def start(tmp_path):
    processes = []

    async def start(*arguments):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "gateway.cli.main", "demo", "cluster", *arguments),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "TMPDIR": str(tmp_path)},
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        if process.returncode is None:
            process.kill()
        await process.wait()


def children_of(pid):
    """Processes that the demo has started, and theirs."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if parent == pid:
            found += [int(folder.name), *children_of(int(folder.name))]
    return found


def alive(pids):
    return [pid for pid in pids if Path(f"/proc/{pid}").exists()]


def test_its_configurations_are_valid_with_their_defaults():
    root, aggregator = load(ROOT_CONFIG, {}), load(AGGREGATOR_CONFIG, {})
    assert root.reduction.parents == []
    assert aggregator.reduction.parents == [root.reduction.address]


async def test_learning_on_the_way_gives_the_bits_of_one_process(start, tmp_path):
    picture = tmp_path / "cluster.svg"
    process = await start("--workers", "4", "--rounds", "8", "--json", "--picture", str(picture))
    out, err = await asyncio.wait_for(process.communicate(), 100)
    assert process.returncode == 0, err.decode()
    final = json.loads(out.splitlines()[-1])
    assert final["exact"] is True
    assert {phase["weights"] for phase in final["phases"]} == {final["weights"]}
    assert [phase["rounds"] for phase in final["phases"]] == [8] * 4
    assert final["fan_in"] == 2
    tree, numbers = final["phases"][1], 8 * LENGTH
    assert final["bytes_by_tier"] == {"workers": tree["bytes_workers"], "root": tree["bytes_root"]}
    assert final["bytes_central"] == final["phases"][0]["bytes_root"]
    assert 1.6 < final["root_bytes_ratio"] < 2.4  # in so few rounds the central server's first weights count
    bits = final["bits_by_tier"]
    assert bits["root"] == pytest.approx(8 * tree["bytes_root"] / 2 / numbers, abs=0.01)
    assert 8 < bits["workers"] < bits["root"] < 14
    assert final["bytes_raw"] == raw(final)
    assert final["reduction"] == pytest.approx(final["bytes_raw"] / tree["bytes_root"], abs=0.1)
    assert final["reduction"] > 25  # half of what the demo has without options: 8 workers by 2, here 4
    assert final["fallbacks"] == final["phases"][2]["fallbacks"] == 2
    assert final["phases"][2]["bytes_root"] > 1.1 * tree["bytes_root"]
    assert 0 < final["latency_ms"]["p50"] <= final["latency_ms"]["p95"]
    words = " ".join(text.text for text in ET.parse(picture).iter("{http://www.w3.org/2000/svg}text"))
    assert "aggregator 1" in words
    assert "bit for bit" in words
    picture.unlink()
    assert list(tmp_path.iterdir()) == []


def raw(final):
    """The gradients of the first round as JSON, as of every eighth, for all workers and rounds."""
    weights, workers = first_weights(1), final["workers"]
    vectors = [Part(worker, workers, 1).gradient(weights, 0).tolist() for worker in range(workers)]
    return final["rounds"] * sum(len(json.dumps(vector, separators=(",", ":"))) for vector in vectors)


async def test_sums_that_are_not_packed_fall_by_the_fan_in():
    final = await Cluster(Options(workers=4, rounds=8, packed=False), lambda _: None).run()
    assert final.exact
    assert 1.9 < 4 * 8 * LENGTH * 8 / final.bytes_by_tier["root"] < 2.0
    assert final.root_bytes_ratio == pytest.approx(final.fan_in, rel=0.05)
    assert final.bits_by_tier["root"] == pytest.approx(64, rel=0.01)


def test_the_model_errs_as_with_more_bits():
    """To four digits, over the samples of all workers."""
    errors = {}
    for scale in (NUMBERS.scale, 30):
        parts, weights = [Part(worker, 4, 1) for worker in range(4)], first_weights(1)
        terms = Terms("j", 4, LENGTH, scale=scale, rate=RATE / 4)
        for step in range(20):
            total = np.sum([terms.scaled(part.gradient(weights, step)) for part in parts], axis=0)
            weights = terms.applied(weights, total)
        errors[scale] = np.mean([error(weights, part.days, part.after) for part in parts])
    assert errors[NUMBERS.scale] == pytest.approx(errors[30], abs=5e-5)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["ctrl-c", "kill"])
async def test_nothing_is_left_behind(start, tmp_path, number):
    process = await start("--workers", "2", "--rounds", "5000")
    async with asyncio.timeout(60):
        while (line := await process.stdout.readline()) != b"central server (star) ...\n":
            assert line
    await asyncio.sleep(1)  # somewhere in the middle of it
    started = children_of(process.pid)
    assert len(started) >= 5
    process.send_signal(number)
    _, err = await asyncio.wait_for(process.communicate(), 60)
    if number == signal.SIGINT:
        assert process.returncode == 130
        assert err == b"interrupted: everything is stopped\n"
        assert list(tmp_path.iterdir()) == []
    async with asyncio.timeout(20):
        while True:
            if not alive(started):
                break
            await asyncio.sleep(0.1)


async def test_wrong_options_are_one_line(start):
    for options, why in (
        (("--workers", "2", "--aggregators", "3"), b"more aggregators than workers"),
        (("--rounds", "9", "--for", "9s"), b"--rounds and --for exclude each other"),
        (("--for", "soon"), b"is not a duration"),
    ):
        process = await start(*options)
        _, err = await asyncio.wait_for(process.communicate(), 30)
        assert process.returncode == 2
        assert why in err


def test_the_model_learns():
    parts, weights = [Part(worker, 4, 1) for worker in range(4)], first_weights(1)
    before = error(weights, parts[0].days, parts[0].after)
    for step in range(30):
        weights = weights - 0.25 * sum(part.gradient(weights, step) for part in parts) / 4
    assert error(weights, parts[0].days, parts[0].after) < before / 2


def test_spans():
    assert Span.of([3.0, 1.0, 2.0]) == Span(p50=2.0, p95=3.0)
    assert Span.of(list(range(1, 101))) == Span(p50=50.0, p95=95.0)
