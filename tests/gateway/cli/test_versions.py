"""``onpath config``: with a running gateway, with one that may not write, and without one."""

import asyncio
import contextlib
import io
import json
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from gateway.cli.main import main
from tests.support.daemon import daemon
from tests.support.mounts import tmpfs

BASE = "uplinks: {out: {type: stdout}}\n"


def onpath(*args):
    """The command in this process, in a thread: starting dozens of processes would take most of the time."""
    out, err = io.StringIO(), io.StringIO()
    sys.argv = ["onpath", "config", *map(str, args)]
    code = 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main()
        except SystemExit as ended:
            code = int(ended.code or 0)
    return SimpleNamespace(returncode=code, stdout=out.getvalue(), stderr=err.getvalue())


@pytest.fixture(autouse=True)
def own_arguments(monkeypatch):
    monkeypatch.setattr(sys, "argv", sys.argv)


async def run(*args):
    return await asyncio.to_thread(onpath, *args)


@pytest.fixture
async def running(tmp_path):
    async with daemon(tmp_path, BASE) as one:
        yield one


def edited(running, tmp_path, more):
    path = tmp_path / "edited.yaml"
    path.write_text(running.config.read_text() + more)
    return path


async def test_apply_list_show_diff_and_roll_back(running, tmp_path):
    old = running.config.read_text()
    new = edited(running, tmp_path, "max_points: 7000\n")
    at = ("-c", running.config)
    looked = await run("apply", new, "--dry-run", *at)
    assert looked.returncode == 0
    assert "+max_points: 7000" in looked.stdout
    assert running.config.read_text() == old
    done = await run("apply", new, "--comment", "more room", *at)
    assert done.stdout.startswith("version 2 runs")
    assert running.config.read_text() == new.read_text()
    listed = json.loads((await run("versions", "--json", *at)).stdout)["versions"]
    assert [(one["version"], one["comment"], one["running"]) for one in listed] == [
        (2, "more room", True),
        (1, "read from disk", False),
    ]
    assert listed[0]["by"].endswith("(command line)")
    assert "more room" in (await run("versions", *at)).stdout
    assert (await run("show", 1, *at)).stdout == old
    changed = await run("diff", 1, 2, *at)
    assert (changed.returncode, "+max_points: 7000" in changed.stdout) == (1, True)
    assert (await run("diff", *at)).returncode == 0, "the newest is what is on disk"
    back = await run("rollback", 1, *at)
    assert back.stdout.startswith("version 3 runs")
    assert running.config.read_text() == old
    gone = await run("rollback", 77, *at)
    assert (gone.returncode, "there is no version 77" in gone.stderr) == (1, True)


async def test_what_is_wrong_is_said_and_nothing_changes(running, tmp_path):
    old = running.config.read_text()
    new = edited(running, tmp_path, "pipelines: {p: {from: x, to: [outt]}}\n")
    for more in ([], ["--dry-run"]):
        refused = await run("apply", new, "-c", running.config, *more)
        assert refused.returncode == 78
        assert 'no uplink or pipeline is named "outt"; did you mean "out"?' in refused.stderr
    assert running.config.read_text() == old


async def test_a_change_that_undoes_itself(running, tmp_path):
    old = running.config.read_text()
    new = edited(running, tmp_path, "max_points: 7000\n")
    done = await run("apply", new, "--confirm", "5m", "-c", running.config)
    assert "it is undone in" in done.stdout
    assert "onpath config confirm" in done.stdout
    kept = await run("confirm", "-c", running.config)
    assert kept.stdout == "version 2 stays\n"
    await run("rollback", 1, "--confirm", "5m", "-c", running.config)
    taken = await run("confirm", "--revert", "-c", running.config)
    assert taken.stdout == "taken back; version 4 runs\n"
    assert running.config.read_text() == new.read_text() != old
    assert (await run("confirm", "-c", running.config)).returncode == 1


async def test_rollback_where_the_file_on_disk_is_broken(running):
    old = running.config.read_text()
    running.config.write_text(old + "x: [\n")
    done = await run("rollback", 1, "-c", running.config)
    assert done.returncode == 0, done.stderr
    assert running.config.read_text() == old


async def test_without_a_gateway_it_checks_and_writes(tmp_path):
    folder, state = tmp_path / "etc", tmp_path / "state"
    folder.mkdir()
    (folder / "a.yaml").write_text(f"gateway: g\nstate: {state}\n")
    (tmp_path / "b.yaml").write_text("uplinks: {out: {type: stdout}}\n")
    done = await run("apply", tmp_path / "b.yaml", "-c", folder)
    assert done.stdout == "written; no gateway runs\n"
    assert (folder / "b.yaml").read_text() == (tmp_path / "b.yaml").read_text()
    refused = await run("apply", tmp_path / "b.yaml", "--confirm", "1m", "-c", folder)
    assert "--confirm needs a gateway" in refused.stderr
    gone = await run("apply", tmp_path / "b.yaml", "--remove", "b.yaml", "--remove", "c.yaml", "-c", folder)
    assert "c.yaml: there is no such file" in gone.stderr
    assert (await run("versions", "-c", folder)).stderr == "no gateway runs\n"
    whole = tmp_path / "whole"
    whole.mkdir()
    (whole / "z.yaml").write_text(f"gateway: g\nstate: {state}\n")
    assert (await run("apply", whole, "-c", folder)).returncode == 0
    assert [path.name for path in folder.iterdir()] == ["z.yaml"], "a folder stands for all of it"


@pytest.mark.skipif(os.getuid() != 0, reason="needs somebody who may write where the gateway may not")
async def test_where_the_gateway_may_not_write_the_person_does(tmp_path):
    """A gateway whose own view of the folder is read-only, as under systemd's ProtectSystem=strict."""
    with tmpfs(tmp_path / "etc", "size=1m") as etc:
        config, state = etc / "onpath.yaml", tmp_path / "state"
        config.write_text(f"gateway: g1\nstate: {state}\n{BASE}")
        gateway = [sys.executable, "-m", "gateway.cli.main", "run", "-c", str(config)]
        script = f"mount -o remount,bind,ro '{etc}' && exec \"$@\""
        with (tmp_path / "log").open("wb") as log:
            process = subprocess.Popen(["unshare", "-m", "sh", "-c", f"mount --bind '{etc}' '{etc}' && {script}", "sh", *gateway], stderr=log)  # fmt: skip  # noqa: ASYNC220, E501
        try:
            for _ in range(400):
                if (await run("versions", "-c", config)).stdout.count("read from disk"):
                    break
                assert process.poll() is None, (tmp_path / "log").read_text()
                await asyncio.sleep(0.05)
            new = tmp_path / "new.yaml"
            new.write_text(config.read_text() + "max_points: 7000\n")
            done = await run("apply", new, "--comment", "by root", "-c", config)
            assert done.stdout.startswith("version 2 runs"), done.stderr
            listed = json.loads((await run("versions", "--json", "-c", config)).stdout)["versions"]
            assert [(one["comment"], one["running"]) for one in listed] == [
                ("by root", True),
                ("read from disk", False),
            ]
            refused = await run("apply", new, "--confirm", "1m", "-c", config)
            assert "read-only for the gateway" in refused.stderr
            new.write_text(config.read_text().replace("g1", "g2"))
            before = config.read_text()
            assert (await run("apply", new, "-c", config)).returncode == 78
            assert config.read_text() == before
        finally:
            process.terminate()
            await asyncio.to_thread(process.wait, 15)
