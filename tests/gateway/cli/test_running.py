"""Verbs that ask the running gateway, against a real one over simulated meters, and against none."""

import asyncio
import json
import signal
import subprocess
import sys
import time

import pytest

from tests.support.daemon import Daemon
from tests.support.metered import metered

CONFIG = """
adapters:
  bus: {type: mqtt, url: "mqtt://127.0.0.1:1", subscribe: [{topic: "site/{device}/t", payload: json}]}
pipelines:
  all: {from: "**", steps: [{deadband: {percent: 1}}], to: [out]}
uplinks:
  out: {type: file, path: FOLDER/out.jsonl}
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    with metered(tmp_path_factory.mktemp("site")) as running:
        yield running


@pytest.mark.parametrize("verb", ["status", "reload", "top", "points", "events", "tap"])
@pytest.mark.parametrize("extra", [(), ("--json",)])
def test_no_daemon_answers(onpath, tmp_path, verb, extra):
    path = tmp_path / "onpath.yaml"
    path.write_text(f"state: {tmp_path}\n" + CONFIG.replace("FOLDER", str(tmp_path)))
    code, out, err = onpath(verb, "-c", path, *extra)
    assert (code, out) == (69, "")
    assert err.startswith(f"onpath: no onpath daemon answers for {tmp_path}")
    assert err.count("\n") == 1


async def test_a_running_daemon(onpath, tmp_path):
    async def ask(*args):
        return await asyncio.to_thread(onpath, *args)

    text = CONFIG.replace("FOLDER", str(tmp_path))
    daemon = Daemon(tmp_path, text)
    await daemon.start()
    try:
        code, out, _ = await ask("status", "-c", daemon.config, "--json")
        assert code == 0
        status = json.loads(out)
        assert status["pipelines"]["all"]["in"] == 0
        assert status["health"] in {"ok", "degraded"}
        code, out, _ = await ask("status", "--state", daemon.state)
        assert code == 0
        for word in ("g1", "adapters", "bus", "pipelines", "all", "deadband", "uplinks", "out"):
            assert word in out
        assert await ask("reload", "-c", daemon.config) == (0, "nothing changed\n", "")
        daemon.write(text.replace("percent: 1", "percent: 2"))
        assert await ask("reload", "-c", daemon.config) == (0, "pipelines: changed all\n", "")
        daemon.write(text.replace("percent: 2", "procent: 2").replace("to: [out]", "to: [nowhere]"))
        code, out, err = await ask("reload", "--state", daemon.state)
        assert (code, out) == (78, "")
        assert err.startswith("nothing was changed:\n")
        assert "nowhere" in err
        code, out, _ = await ask("reload", "--state", daemon.state, "--json")
        assert code == 78
        assert json.loads(out)["problems"]
    finally:
        await asyncio.to_thread(daemon.stop)


def test_status_begins_with_the_health_and_what_to_look_at(onpath, site):
    deadline = time.monotonic() + 30
    while "degraded" not in (out := onpath("status", "-c", site.config)[1]):
        assert time.monotonic() < deadline, out
        time.sleep(0.5)
    lines = out.splitlines()
    assert lines[0].startswith("g1  onpath ")
    assert lines[0].endswith("● degraded")
    assert lines[1].startswith("  uplink cloud is down since ")
    assert "onpath doctor" in lines[2]
    assert "\x1b" not in out
    assert [line for line in lines if line in {"adapters", "pipelines", "uplinks"}] == [
        "adapters",
        "pipelines",
        "uplinks",
    ]
    assert any(line.split()[:2] == ["m1", "up"] for line in lines)


def test_status_fits_into_eighty_columns(onpath, site, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    narrow = onpath("status", "-c", site.config)[1]
    assert max(map(len, narrow.splitlines())) <= 80


def points(onpath, site, *args):
    return json.loads(onpath("points", *args, "--state", site.state, "--json")[1])


def test_points_are_found_by_words_and_globs(onpath, site):
    found = points(onpath, site, "M1", "volt")
    assert found["total"] > found["matched"] == len(found["rows"]) > 3
    assert all(row["name"].startswith("m1/") and "volt" in row["name"] for row in found["rows"])
    assert {row["name"].partition("/")[0] for row in points(onpath, site, "--device", "m2")["rows"]} == {"m2"}
    every = points(onpath, site, "--limit", "5000")
    assert len(every["rows"]) == every["total"]


def test_points_are_listed(onpath, site):
    lines = onpath("points", "*/power", "--state", site.state)[1].splitlines()
    assert [line.split()[0] for line in lines] == ["point", "m1/power", "m2/power"]
    assert lines[1].split()[2:4] == ["W", "good"]
    _, out, err = onpath("points", "--limit", "3", "--sort", "value", "-r", "--state", site.state)
    assert len(out.splitlines()) == 4
    assert err.endswith(" points; --limit shows more\n")
    assert onpath("points", "no such", "--state", site.state)[1] == "no point fits\n"


def test_points_are_watched(onpath, site):
    code, out, _ = onpath("points", "m1/*", "-w", "--for", "4s", "--json", "--state", site.state)
    rows = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert len({row["time_ms"] for row in rows if row["name"] == "m1/voltage_l1"}) > 1
    out = onpath("points", "m1/voltage_l1", "-w", "--for", "2s", "--state", site.state)[1]
    assert out.splitlines()[0].split()[1] == "m1/voltage_l1"


def test_events_are_shown(onpath, site):
    out = onpath("events", "-n", "5", "--json", "--state", site.state)[1]
    rows = [json.loads(line) for line in out.splitlines()]
    assert 0 < len(rows) <= 5
    assert [row["number"] for row in rows] == sorted(row["number"] for row in rows)
    assert rows[0].keys() == {"number", "time_ms", "level", "source", "text"}
    assert rows[-1]["text"] in onpath("events", "-n", "5", "--state", site.state)[1]


def test_events_are_followed_until_ctrl_c(onpath, site):
    command = [sys.executable, "-m", "gateway.cli.main", "events", "-f", "-n", "1", "--state", str(site.state)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=site.env) as following:
        assert following.stdout.readline()
        assert onpath("reload", "--state", site.state)[0] == 0
        while "reloaded: " not in following.stdout.readline():
            assert following.poll() is None
        following.send_signal(signal.SIGINT)
        assert (following.wait(10), following.stderr.read()) == (0, "")


def test_a_step_is_tapped_and_saved(onpath, site):
    code, out, _ = onpath("tap", "m1/*", "--after", "live/limits", "--for", "2s", "--json", "--state", site.state)
    assert code == 0
    assert {json.loads(line)["point"].partition("/")[0] for line in out.splitlines()} == {"m1"}
    assert "m1/power#mean" in onpath("tap", "--after", "window", "--for", "4s", "--state", site.state)[1]
    path = site.folder / "after.frames"
    code, _, err = onpath("tap", "--after", "live/0", "--save", path, "--for", "2s", "--state", site.state)
    assert (code, "0 missed" in err) == (0, True)
    assert '"point":"m1/voltage_l1"' in onpath("decode", path)[1].replace(" ", "")
    assert onpath("tap", "--after", "live/window", "--state", site.state) == (
        1, "", "onpath: no step is 'live/window': name one of live/0 (limits), live/1 (deadband)\n"
    )  # fmt: skip


def test_the_time_that_steps_take_is_counted(onpath, site):
    status = json.loads(onpath("status", "--state", site.state, "--json")[1])
    assert all(0 < step["cpu_s"] < 60 for step in status["pipelines"]["live"]["steps"])
