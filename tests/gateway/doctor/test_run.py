"""The whole examination: bounded in time, the same from a terminal and from within, and it changes nothing."""

import asyncio
import json
import socket
import subprocess
import sys
import threading
import time

import pytest

from gateway.control import ask
from gateway.doctor import run as examine
from gateway.doctor.diagnosis import Severity, fine
from tests.support.daemon import daemon


def onpath(*args):
    command = [sys.executable, "-m", "gateway.cli.main", *map(str, args)]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)


def test_one_that_hangs_holds_up_nothing(monkeypatch):
    monkeypatch.setattr(examine, "LIMIT_S", 0.3)
    release = threading.Event()
    hanging = [examine.Job("reach", f"silent {n}", lambda: release.wait(60) and []) for n in range(examine.WORKERS)]
    quick = [examine.Job("clock", "quick", lambda n=n: [fine("clock", str(n))]) for n in range(50)]
    began = time.monotonic()
    found = examine.run_all([*hanging, *quick], {"config": "/etc/onpath"})
    release.set()
    assert time.monotonic() - began < 10
    assert len([one for one in found if one.check == "clock"]) == 50
    late = [one for one in found if one.kind == "check-overdue"]
    assert len(late) == examine.WORKERS
    assert "took longer than" in late[0].what


def test_one_that_fails_is_told(monkeypatch):
    def broken():
        yield fine("disk", "so far")
        raise OSError("the disk is gone")

    found = examine.run_all([examine.Job("disk", "disk", broken)], {"config": "/etc/onpath"})
    assert {one.kind for one in found} == {"disk", "check-failed"}
    assert "the disk is gone" in found[-1].what


def test_without_a_configuration_and_a_gateway(tmp_path):
    done = onpath("doctor", "-c", tmp_path / "none", "--state", tmp_path / "state", "--json")
    said = json.loads(done.stdout)
    found = {row["kind"] for row in said["findings"]}
    assert {"config-missing", "not-running", "state-missing", "software"} <= found
    assert done.returncode == (1 if said["counts"]["problem"] else 0)
    assert list(tmp_path.iterdir()) == [], "it changes nothing"


def test_a_broken_configuration_is_a_problem(tmp_path):
    (tmp_path / "onpath.yaml").write_text("gateway: g\nadaptors: {}\n")
    done = onpath("doctor", "-c", tmp_path / "onpath.yaml", "--state", tmp_path / "state")
    assert done.returncode == 1
    assert 'onpath.yaml:2:1: adaptors: unknown key; did you mean "adapters"?' in done.stdout
    assert f"$ onpath check -c {tmp_path}/onpath.yaml" in done.stdout


@pytest.fixture
def nobody_listens():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()[1]


async def test_a_running_gateway_is_asked_what_it_sees(tmp_path, nobody_listens):
    """Its credentials, its links, its files: from a terminal that has none of its secrets."""
    secret = tmp_path / "credentials"
    secret.mkdir()
    (secret / "pw").write_text("tOpsEcret\n")
    text = f"""
        uplinks:
          up: {{type: mqtt, url: "mqtt://127.0.0.1:{nobody_listens}", username: u, password: "${{credential:pw}}"}}
        pipelines: {{all: {{from: ['**'], to: [up]}}}}
    """
    import os

    async with daemon(tmp_path, text, os.environ | {"CREDENTIALS_DIRECTORY": str(secret)}) as running:
        await running.until(lambda s: s["uplinks"]["up"]["link"] == "down")
        done = await asyncio.to_thread(onpath, "doctor", "-c", running.config, "--json")
        found = {row["kind"]: row for row in json.loads(done.stdout)["findings"]}
        assert done.returncode == 1
        assert found["not-reachable"]["subject"] == "uplink up"
        assert found["link-down"]["subject"] == "uplink up"
        assert "credential-missing" not in found, "the service has it"
        assert not {"not-running", "config-differs", "state-not-ours"} & found.keys()
        running.config.write_text(running.config.read_text() + "max_points: 7000\n")
        done = await asyncio.to_thread(onpath, "doctor", "-c", running.config)
        assert "onpath config diff -c" in done.stdout
        assert "tOpsEcret" not in done.stdout
        running.config.write_text(running.config.read_text() + "x: 1\n")
        assert not (await ask(running.state, "reload"))["ok"]
        found = {row["kind"] for row in (await ask(running.state, "doctor"))["doctor"]}
        assert {"reload-failed", "config-broken", "config-differs"} <= found


async def test_who_asks_meanwhile_gets_the_same_answer(tmp_path):
    async with daemon(tmp_path, "uplinks: {out: {type: stdout}}\n") as running:
        answers = await asyncio.gather(*(ask(running.state, "doctor") for _ in range(5)))
        rows = [answer["doctor"] for answer in answers]
        assert all(row == rows[0] for row in rows)
        assert {row["severity"] for row in rows[0]} <= {severity.value for severity in Severity}
        assert set(rows[0][0]) == {"check", "kind", "severity", "subject", "what", "why", "remedy"}
        assert "ok" in {row["severity"] for row in rows[0] if row["check"] == "gateway"}
