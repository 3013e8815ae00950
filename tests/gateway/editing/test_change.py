"""A change that a crash cuts off leaves either the old configuration or the new one, whole."""

import subprocess
import sys
from pathlib import Path

import pytest

from gateway.control import ask
from gateway.editing.change import Change, ChangeRecord, recover, undo
from gateway.editing.files import ConfigFiles
from gateway.errors import StateInUseError
from gateway.store.store import StateLock
from tests.support.daemon import daemon

DIES = """
import os, sys
from pathlib import Path
from gateway.editing.change import Change, ChangeRecord
from gateway.editing.files import ConfigFiles

folder, state, steps = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])

def dying(real):
    def step(*args, **kwargs):
        global steps
        if not steps:
            os._exit(9)  # as kill -9 and a power cut do it: nothing is tidied up
        steps -= 1
        return real(*args, **kwargs)
    return step

Path.rename, Path.unlink, os.fsync = dying(Path.rename), dying(Path.unlink), dying(os.fsync)
after = {"a.yaml": b"new a", "b.yaml": None, "c.yaml": b"new c"}
before = {"a.yaml": b"old a", "b.yaml": b"old b", "c.yaml": None}
ChangeRecord(state).begin(Change(path=str(folder), before=before, after=after))
ConfigFiles(folder).put(after)
print("through")
"""
OLD = {"a.yaml": b"old a", "b.yaml": b"old b"}


def fill(folder, texts):
    folder.mkdir()
    for name, text in texts.items():
        (folder / name).write_bytes(text)


def test_killed_at_every_step_it_is_old_again(tmp_path):
    """Every rename, removal and sync of a change is the last thing that happens, once."""
    step = 0
    while True:
        root = tmp_path / str(step)
        root.mkdir()
        folder, state = root / "etc", root / "state"
        state.mkdir()
        fill(folder, OLD)
        command = [sys.executable, "-c", DIES, str(folder), str(state), str(step)]
        ended = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[3])
        assert ended.returncode in {0, 9}, ended.stderr
        change = ChangeRecord(state).found()
        if change is not None:
            assert undo(change, ConfigFiles(folder))
        assert ConfigFiles(folder).read() == OLD, f"step {step}"
        if ended.returncode == 0:
            break
        step += 1
    assert step > 8, "there were steps to die at"


async def test_a_daemon_that_was_killed_in_a_change_starts_with_the_former_files(tmp_path):
    """Half of the new files are there, and together with the old ones they could not even be loaded."""
    state = tmp_path / "state"
    async with daemon(tmp_path, f"uplinks: {{out: {{type: file, path: {tmp_path}/out}}}}\n") as running:
        text = running.config.read_bytes()
        shown = await ask(state, "config")
        new = shown["files"][0]["text"] + "max_points: 5\n"
        files = [{"name": "onpath.yaml", "text": new}]
        done = await ask(state, "config-apply", files=files, base=shown["base"], confirm_s=600, by="test")
        assert done["ok"], done
        assert (await ask(state, "config"))["unconfirmed"]["version"] == 2
        running.kill()
        assert running.config.read_bytes() != text
        await running.start()
        assert running.config.read_bytes() == text
        assert "the former files are back" in running.log.read_text()
        assert (await ask(state, "config"))["unconfirmed"] is None
        versions = (await ask(state, "config-versions"))["versions"]
        assert [(one["version"], one["running"]) for one in versions] == [(3, True), (2, False), (1, False)]


def test_the_state_folder_is_found_where_the_whole_cannot_be_loaded(tmp_path):
    folder, state = tmp_path / "etc", tmp_path / "${NAME}"
    fill(folder, {"a.yaml": f"state: {state}\nx: [\n".encode(), "b.yaml": f"state: '{state}'\nadapters: 5\n".encode()})
    real = tmp_path / "here"
    real.mkdir()
    change = Change(path=str(folder), before={"b.yaml": b"fine"}, after={"b.yaml": (folder / "b.yaml").read_bytes()})
    ChangeRecord(real).begin(change)
    recover(folder, {"NAME": "here"})
    assert (folder / "b.yaml").read_bytes() == b"fine"
    assert ChangeRecord(real).found() is None


def test_the_change_of_a_running_daemon_is_left_alone(tmp_path):
    folder, state = tmp_path / "etc", tmp_path / "state"
    fill(folder, {"a.yaml": f"state: {state}\n".encode()})
    state.mkdir()
    change = Change(path=str(folder), before={"a.yaml": b"old"}, after={"a.yaml": (folder / "a.yaml").read_bytes()})
    ChangeRecord(state).begin(change)
    lock = StateLock(state)
    try:
        with pytest.raises(StateInUseError):
            recover(folder, {})
    finally:
        lock.release()
    assert ChangeRecord(state).found() == change


def test_what_was_changed_by_hand_since_is_left_as_it_is(tmp_path):
    folder = tmp_path / "etc"
    fill(folder, {"a.yaml": b"by hand", "b.yaml": b"new"})
    change = Change(
        path=str(folder), before={"a.yaml": b"old", "b.yaml": b"old"}, after={"a.yaml": b"new", "b.yaml": b"new"}
    )
    assert not undo(change, ConfigFiles(folder))
    assert ConfigFiles(folder).read() == {"a.yaml": b"by hand", "b.yaml": b"new"}


def test_a_record_that_was_cut_off_itself_never_began(tmp_path):
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "change.json").write_bytes(b'{"path": "/etc/onp')
    assert ChangeRecord(tmp_path).found() is None


def test_without_a_change_nothing_is_touched(tmp_path):
    recover(tmp_path / "missing.yaml", {})
    folder = tmp_path / "etc"
    fill(folder, {"a.yaml": f"state: {tmp_path}/state\n".encode()})
    recover(folder, {})
    assert not (tmp_path / "state").exists()
