"""The history in whole daemons: asked while one runs and when none does, across kills; nobody need ask a device."""

import asyncio
import contextlib
import csv
import functools
import io
import json
import os
import subprocess
import sys
import time

import aiocoap
import pytest

from gateway.control import follow
from gateway.errors import OnpathError
from gateway.frame import Frame
from gateway.store.config import StoreConfig
from gateway.store.store import Store
from tests.adapters.coap.peers import free_port
from tests.adapters.coap.raw import packet, raw_peer
from tests.support.build import config_of, engine_over
from tests.support.daemon import daemon

S = 1_000_000_000
HOUR = 3600 * S
CONFIG = """
adapters:
  sensors:
    type: coap
    serve:
      listen: 127.0.0.1:{port}
      resources:
        "/v/{{device}}/{{point}}": {{points: {{t: {{unit: Cel}}}}}}
      offer:
        "/values/{{point}}": {{points: ["**"]}}
pipelines:
  all: {{from: ["**"], to: [out]}}
uplinks:
  out: {{type: file, path: {out}, format: json}}
"""
NOTHING = "pipelines: {all: {from: ['**'], to: [out]}}\nuplinks: {out: {type: stdout}}\n"


async def onpath(*args) -> tuple[int, str, str]:
    command = [sys.executable, "-m", "gateway.cli.main", *map(str, args)]
    env = {key: value for key, value in os.environ.items() if key != "PYTHONDEVMODE"}  # asyncio would tell what is slow
    run = functools.partial(subprocess.run, check=False, capture_output=True, text=True, timeout=60, env=env)
    done = await asyncio.to_thread(run, command)
    return done.returncode, done.stdout, done.stderr


def json_rows(out: str) -> list[dict]:
    return [json.loads(line) for line in out.splitlines()]


def old_journal(folder, hours: int = 2) -> int:
    """A state folder with a row a second of two points, that many hours old; samples of each."""
    engine = engine_over(folder, config_of(NOTHING))
    points = [engine.directory.add(point) for point in named("m1/power", "m2/power")]
    began = time.time_ns() - hours * HOUR
    with engine.store.transaction():
        for second in range(900):
            frame = Frame.of(points, began + second * S, [float(second), -float(second)])
            engine.store.journal.append([frame], began + second * S)
        engine.store.write_directory(engine.directory)
        engine.store.processed = engine.store.journal.last
        engine.store.write_checkpoint({})
        engine.store.mark_processed(engine.store.journal.last, 0)
    engine.store.close()
    return 900


def named(*names):
    from gateway.point import Point

    return [Point(name=name, unit="W") for name in names]


async def asked(state, **request) -> tuple[list[dict], dict]:
    rows = []
    async for answer in follow(state, "history", **request):
        if "end" in answer:
            return rows, answer["end"]
        rows += answer["samples"]
    raise AssertionError("no end")


async def test_a_sample_is_found_while_it_runs_after_a_kill_and_when_nothing_runs(tmp_path):
    port = free_port()
    async with daemon(tmp_path, CONFIG.format(port=port, out=tmp_path / "out")) as running:
        with raw_peer(port) as device:
            for number, value in enumerate((b"20.5", b"21.5", b"22.5")):
                await device.ask(packet("/v/d/t", value, mid=number))
        await running.until(lambda status: status["uplinks"]["out"]["samples"] == 3)
        code, online, err = await onpath("history", "d/*", "--json", "--state", running.state)
        assert (code, err) == (0, "")
        assert [row["value"] for row in json_rows(online)] == [20.5, 21.5, 22.5]
        running.kill()
        assert await onpath("history", "d/*", "--json", "--state", running.state) == (0, online, "")
        code, table, err = await onpath("history", "d/t", "--csv", "-c", running.config)
        assert [row["value"] for row in csv.DictReader(io.StringIO(table))] == ["20.5", "21.5", "22.5"]
        code, shown, err = await onpath("history", "--latest", "--state", running.state)
        assert code == 0
        assert "d/t  22.5 Cel" in shown
        assert "ago" in shown
        await running.start()
        rows, end = await asked(running.state, globs=["**"], newest=2)
        assert ([row["value"] for row in rows], end["samples"]) == ([21.5, 22.5], 2)
        assert running.stop() == 0
    code, picture, err = await onpath("history", "--plot", "--state", running.state)
    assert (code, err) == (0, "")
    assert picture.startswith("d/t  3 samples  mean 21.5 Cel\n")
    assert len(picture.splitlines()) > 6


async def test_who_asks_after_a_restart_gets_what_was_there_before(tmp_path):
    """The device is gone; what it said last is offered all the same, with its time."""
    port = free_port()
    async with daemon(tmp_path, CONFIG.format(port=port, out=tmp_path / "out")) as running:
        with raw_peer(port) as device:
            await device.ask(packet("/v/d/t", b"21.5", mid=1))
            await running.until(lambda status: status["uplinks"]["out"]["samples"] == 1)
            running.kill()
            await running.start()
            await running.until(lambda status: status["adapters"]["sensors"]["link"] == "up")
            async with asyncio.timeout(30):
                mid = 2
                while (shown := await device.ask(packet("/values/d/t", code=aiocoap.GET, mid=mid))).payload != b"21.5":
                    mid += 1
            assert shown.code == aiocoap.CONTENT


async def test_the_daemon_compacts_behind_its_checkpoint(tmp_path):
    samples = old_journal(tmp_path / "state")
    async with daemon(tmp_path, NOTHING) as running:
        before = (await running.status())["store"]["journal"]["bytes"]
        status = await running.until(lambda status: status["store"]["journal"]["bytes"] < before / 3)
        assert status["store"]["healthy"]
        rows, end = await asked(running.state, globs=["m1/*"], time="ns")
        assert [row["value"] for row in rows] == [float(n) for n in range(samples)]
        assert end["damaged"] == 0
        assert end["blocks"] < 4
        middle = rows[300]["time"]
        rows, _ = await asked(running.state, globs=["m2/power"], since_ns=middle, until_ns=middle + 10 * S)
        assert [row["value"] for row in rows] == [-float(n) for n in range(300, 310)]
        code, out, _ = await onpath(
            "history", "m1/*", "--since", "3h", "--until", "1h", "--json", "--state", running.state
        )
        assert (code, len(json_rows(out))) == (0, samples)
        running.kill()
    code, out, _ = await onpath("history", "m1/*", "--since", "3h", "--json", "--state", running.state)
    assert (code, len(json_rows(out))) == (0, samples)
    code, out, err = await onpath("history", "m1/*", "--state", running.state)
    assert (code, out, err) == (0, "", "no samples of that time\n")


async def test_many_ask_at_once_and_go_away_in_the_middle(tmp_path):
    samples = old_journal(tmp_path / "state")
    async with daemon(tmp_path, NOTHING) as running:

        async def leave() -> int:
            async with contextlib.aclosing(follow(running.state, "history", globs=["**"])) as answers:
                return len((await anext(answers))["samples"])

        async def stay() -> int:
            rows, _ = await asked(running.state)
            return len(rows)

        counts = await asyncio.gather(*(leave() if n % 2 else stay() for n in range(8)))
        assert counts[::2] == [2 * samples] * 4
        assert all(counts[1::2])
        async with contextlib.aclosing(follow(running.state, "history")) as open_still:
            await anext(open_still)
            assert await asyncio.to_thread(running.stop) == 0
    assert "Traceback" not in running.log.read_text()


async def test_what_cannot_be_asked_is_said(tmp_path):
    old_journal(tmp_path / "state")
    async with daemon(tmp_path, NOTHING) as running:
        with pytest.raises(OnpathError, match="no point is called m7/"):
            await asked(running.state, globs=["m7/*"])
        with pytest.raises(OnpathError, match="since_ns"):
            await asked(running.state, since_ns="yesterday")
        code, _, err = await onpath("history", "m7/*", "--state", running.state)
        assert (code, err) == (1, "onpath: no point is called m7/*\n")
    code, _, err = await onpath("history", "m7/*", "--state", running.state)
    assert (code, err) == (1, "onpath: no point is called m7/*\n")
    code, _, err = await onpath("history", "--state", tmp_path / "nowhere")
    assert code == 69
    code, _, err = await onpath("history", "--since", "yesterday", "--state", running.state)
    assert code == 2
    assert "2026-01-31T12:00:00Z" in err


def test_a_state_folder_that_cannot_be_written_is_read(tmp_path):
    """A copy on read-only ground: SQLite can put no log beside it."""
    old_journal(tmp_path / "state")
    Store(tmp_path / "state", StoreConfig(), 1).close()
    folder = tmp_path / "state"
    for suffix in ("-wal", "-shm"):
        (folder / f"onpath.db{suffix}").unlink(missing_ok=True)
    folder.chmod(0o500)
    try:
        command = [sys.executable, "-m", "gateway.cli.main", "history", "m1/*", "--since", "3h", "--state", str(folder)]
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    finally:
        folder.chmod(0o700)
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 900), done.stderr
