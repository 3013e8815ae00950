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


def test_status_begins_with_the_health_and_what_to_look_at(site):
    deadline = time.monotonic() + 30
    while "degraded" not in (said := site.onpath("status", "-c", site.config)).stdout:
        assert time.monotonic() < deadline, said.stdout
        time.sleep(0.5)
    lines = said.stdout.splitlines()
    assert lines[0].startswith("g1  onpath ")
    assert lines[0].endswith("● degraded")
    assert lines[1].startswith("  uplink cloud is down since ")
    assert "onpath doctor" in lines[2]
    assert "\x1b" not in said.stdout
    titles = [line for line in lines if line in {"adapters", "pipelines", "uplinks"}]
    assert titles == ["adapters", "pipelines", "uplinks"]
    assert any(line.split()[:2] == ["m1", "up"] for line in lines)


def test_status_fits_into_eighty_columns(site):
    said = site.onpath("status", "-c", site.config, timeout=30)
    env = {**site.env, "COLUMNS": "80"}
    narrow = subprocess.run(
        [sys.executable, "-m", "gateway.cli.main", "status", "-c", str(site.config)],
        capture_output=True, text=True, check=True, env=env,
    )  # fmt: skip
    assert max(map(len, narrow.stdout.splitlines())) <= 80
    assert max(map(len, said.stdout.splitlines())) > 80


def test_points_are_found_by_words_and_globs(site):
    found = json.loads(site.onpath("points", "M1", "volt", "--state", site.state, "--json").stdout)
    assert found["total"] > found["matched"] == len(found["rows"]) > 3
    assert all(row["name"].startswith("m1/") and "volt" in row["name"] for row in found["rows"])
    lines = site.onpath("points", "*/power", "--state", site.state).stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["point", "m1/power", "m2/power"]
    assert lines[1].split()[2:4] == ["W", "good"]
    cut = site.onpath("points", "--limit", "3", "--sort", "value", "-r", "--state", site.state)
    assert len(cut.stdout.splitlines()) == 4
    assert cut.stderr.endswith(" points; --limit shows more\n")
    assert site.onpath("points", "no such", "--state", site.state).stdout == "no point fits\n"
    of = json.loads(site.onpath("points", "--device", "m2", "--limit", "5000", "--state", site.state, "--json").stdout)
    assert {row["name"].partition("/")[0] for row in of["rows"]} == {"m2"}


def test_points_are_watched(site):
    said = site.onpath("points", "m1/*", "-w", "--for", "4s", "--json", "--state", site.state)
    rows = [json.loads(line) for line in said.stdout.splitlines()]
    assert said.returncode == 0
    assert len({row["time_ms"] for row in rows if row["name"] == "m1/voltage_l1"}) > 1
    said = site.onpath("points", "m1/voltage_l1", "-w", "--for", "3s", "--state", site.state)
    assert said.stdout.splitlines()[0].split()[1] == "m1/voltage_l1"


def test_events_are_shown_and_followed(site):
    rows = [
        json.loads(line)
        for line in site.onpath("events", "-n", "5", "--json", "--state", site.state).stdout.splitlines()
    ]
    assert 0 < len(rows) <= 5
    assert [row["number"] for row in rows] == sorted(row["number"] for row in rows)
    assert rows[0].keys() == {"number", "time_ms", "level", "source", "text"}
    command = [sys.executable, "-m", "gateway.cli.main", "events", "-f", "-n", "1", "--state", str(site.state)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=site.env
    ) as following:
        assert following.stdout.readline()
        assert site.onpath("reload", "--state", site.state).returncode == 0
        while "reloaded: " not in following.stdout.readline():
            assert following.poll() is None
        following.send_signal(signal.SIGINT)
        assert (following.wait(10), following.stderr.read()) == (0, "")


def test_a_step_is_tapped_and_saved(site):
    said = site.onpath("tap", "m1/*", "--after", "live/limits", "--for", "3s", "--json", "--state", site.state)
    rows = [json.loads(line) for line in said.stdout.splitlines()]
    assert said.returncode == 0
    assert {row["point"].partition("/")[0] for row in rows} == {"m1"}
    means = site.onpath("tap", "--after", "window", "--for", "4s", "--state", site.state).stdout
    assert "m1/power#mean" in means
    path = site.folder / "after.frames"
    assert site.onpath("tap", "--after", "live/0", "--save", path, "--for", "3s", "--state", site.state).returncode == 0
    assert '"point":"m1/voltage_l1"' in site.onpath("decode", path).stdout.replace(" ", "")
    wrong = site.onpath("tap", "--after", "live/window", "--state", site.state)
    assert (wrong.returncode, wrong.stderr) == (
        1, "onpath: no step is 'live/window': name one of live/0 (limits), live/1 (deadband)\n"
    )  # fmt: skip


def test_the_time_that_steps_take_is_counted(site):
    status = json.loads(site.onpath("status", "--state", site.state, "--json").stdout)
    assert all(0 < step["cpu_s"] < 60 for step in status["pipelines"]["live"]["steps"])
