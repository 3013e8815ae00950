"""``onpath tap --save``: a capture of a running gateway, which ``decode`` and ``simulate`` read."""

import asyncio
import io
import json
import math
import signal
import sys

import pytest

from gateway import quality as q
from gateway.directory import Directory
from gateway.frame import concat
from gateway.point import Kind
from gateway.trial.facts import Facts
from gateway.trial.files import FileSource
from gateway.trial.saving import Saving
from gateway.trial.source import Names
from tests.support.build import config_of
from tests.support.daemon import daemon
from tests.support.nats import nats_broker
from tests.support.publish import publish

BAD = "invalid,failure"
CONFIG = """
adapters:
  bus: {{type: mqtt, url: '{url}', subscribe: [{{topic: 'site/{{device}}/telemetry', points: {{v: {{}}}}}}]}}
pipelines: {{all: {{from: ["**"], steps: [{{window: {{every: 1s, stats: [count], lateness: 0s}}}}], to: [out]}}}}
uplinks: {{out: {{type: file, path: {out}}}}}
"""


async def test_a_capture_holds_what_adapters_bring(onpath, tmp_path):
    path = tmp_path / "capture.frames"
    async with nats_broker(tmp_path / "nats") as broker:
        config = CONFIG.format(url=broker.mqtt_url, out=tmp_path / "out")
        async with daemon(tmp_path, config) as running:
            await running.until(lambda status: status["adapters"]["bus"]["link"] == "up")
            command = [sys.executable, "-m", "gateway.cli.main", "tap", "--save", str(path), "--state"]
            saving = await asyncio.create_subprocess_exec(*command, str(running.state))
            async with asyncio.timeout(20):
                while not path.exists() or path.stat().st_size < 1000:
                    await publish(broker.mqtt_port, [("site/m1/telemetry", b'{"v": 1.5}')])
                    await asyncio.sleep(0.02)
                await running.until(lambda status: status["pipelines"]["all"]["out"] > 0)
            saving.send_signal(signal.SIGINT)
            assert await saving.wait() == 0
    code, out, _ = await asyncio.to_thread(onpath, "decode", path)
    samples = [sample for line in out.splitlines() for sample in json.loads(line)["samples"]]
    assert code == 0
    assert {(sample["point"], sample["value"]) for sample in samples} == {("m1/v", 1.5)}
    code, out, _ = await asyncio.to_thread(onpath, "simulate", running.config, "-i", path, "--json")
    result = json.loads(out)
    assert (code, result["kind"], result["raw"]["samples"]) == (0, "frames", len(samples))
    code, _, err = await asyncio.to_thread(onpath, "tap", "--save", path, "--state", running.state)
    assert (code, err) == (1, f"onpath: {path}: exists already; a capture is not added to\n")


def test_no_daemon_leaves_no_file(onpath, tmp_path):
    code, _, err = onpath("tap", "--save", tmp_path / "x", "--state", tmp_path)
    assert (code, "no onpath daemon answers" in err, (tmp_path / "x").exists()) == (69, True, False)


def test_every_kind_of_sample_comes_back():
    file = io.BytesIO()
    saving = Saving(file)
    rows = [
        {"point": "a", "time": 1_790_000_000_123_456_789, "value": 1.5, "quality": "good"},
        {"point": "a", "time": 1_790_000_001_000_000_000, "value": None, "reason": "timeout", "quality": BAD},
        {"point": "b", "time": 1_790_000_001_000_000_000, "value": None, "reason": "-infinity", "quality": "good"},
        {"point": "c", "time": 1_790_000_001_000_000_000, "value": "on", "quality": "good"},
    ]  # fmt: skip
    saving.take({"samples": rows[:2], "missed": 0})
    saving.take({"samples": rows[2:], "missed": 7})
    saving.take({"samples": []})
    assert (saving.samples, saving.missed) == (4, 7)
    directory = Directory()
    source = FileSource(io.BufferedReader(io.BytesIO(file.getvalue())), "f", Names(directory, Facts(config_of(""))))
    frame = concat([chunk.part(0, len(chunk.times)) for chunk in source.chunks()])
    assert frame.time.tolist() == [row["time"] for row in rows]
    assert frame.quality.tolist() == [0, q.INVALID | q.FAILURE, 0, 0]
    assert frame.value[0] == 1.5
    assert int(q.reason_codes(frame.value)[1]) == q.Reason.TIMEOUT
    assert frame.value[2] == -math.inf
    assert directory.states(2) == ["on"]
    assert directory.point(2).kind is Kind.STATE
    with pytest.raises(ValueError, match="not a validity"):
        saving.take({"samples": [rows[0] | {"quality": "fine"}]})
