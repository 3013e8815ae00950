"""A copy before the upgrade, a newer version that takes input and gives out record ids, and the way back."""

import shutil
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import apsw
import pytest

from gateway.errors import StoreError
from gateway.frame import Frame
from gateway.store import setback
from gateway.store.config import StoreConfig
from gateway.store.database import FILE
from gateway.store.files import StoreFiles
from gateway.store.store import StateLock, Store
from gateway.store.upgrade import FORMAT

FIXTURE = Path(__file__).parents[2] / "cases" / "store" / "format-1.db"
NOW_NS = 1_700_000_000_000_000_000
ONE = Frame.of([0], [NOW_NS], [1.0])


def run(verb, folder):
    """As the installer does it."""
    command = [sys.executable, "-m", "gateway.store.setback", verb, folder]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def take(folder, commits):
    """This version opens the store (and upgrades it) and takes input; (epoch, record ids given, all waiting)."""
    store = Store(folder, StoreConfig(), NOW_NS)
    given = []
    for _ in range(commits):
        with store.transaction():
            store.journal.append([ONE], NOW_NS)
            given += [batch.seq for batch in store.spool.append("cloud", "live", ONE, NOW_NS)]
    store.check()
    waiting = [seq for (seq,) in store._db.execute("SELECT seq FROM spool ORDER BY seq")]
    store.close()
    return store.epoch, given, waiting


@pytest.fixture
def old(tmp_path):
    """The state folder of a gateway of format 1."""
    shutil.copy(FIXTURE, tmp_path / FILE)
    return tmp_path


def test_there_and_back_no_record_id_repeats(old):
    assert run("format", old).stdout.split() == ["1", str(FORMAT)]
    assert run("save", old).stdout == "format-1-onpath.db\n"
    before = (old / "format-1-onpath.db").read_bytes()
    epoch, given, waiting = take(old, 5)
    assert run("format", old).stdout.split() == [str(FORMAT), str(FORMAT)]

    done = run("restore", old)
    assert done.returncode == 0, done.stderr
    assert f"kept as newer-{FORMAT}-onpath.db; it holds 5 commits of input" in done.stdout
    assert run("format", old).stdout.split()[0] == "1"
    assert len((old / FILE).read_bytes()) >= len(before)
    assert (old / f"newer-{FORMAT}-onpath.db").exists()
    assert not (old / "format-1-onpath.db").exists()

    again, later, still = take(old, 3)
    assert again == epoch
    assert min(later) > max(given)
    assert still[: len(waiting) - 5] == waiting[:-5]  # what waited when the copy was made
    assert not set(given) & set(still)


def test_nothing_is_copied_where_the_format_stays(tmp_path):
    take(tmp_path, 1)
    assert run("save", tmp_path).stdout == "\n"
    assert list(tmp_path.glob("format-*")) == []
    done = run("restore", tmp_path)
    assert done.returncode == 1
    assert "holds no copy of a store of an older format" in done.stderr


def test_the_format_of_a_store_in_use_that_is_all_in_its_log(tmp_path):
    store = Store(tmp_path, StoreConfig(), NOW_NS)
    assert (tmp_path / FILE).read_bytes()[60:64] != FORMAT.to_bytes(4, "big")
    assert run("format", tmp_path).stdout == f"{FORMAT} {FORMAT}\n"
    store.close()


def test_an_empty_folder_has_no_format(tmp_path):
    assert run("format", tmp_path).stdout == f"0 {FORMAT}\n"
    assert run("save", tmp_path).stdout == "\n"
    assert list(tmp_path.glob("*.db")) == []


def test_a_newer_store_is_refused_and_not_touched(tmp_path):
    take(tmp_path, 1)
    db = apsw.Connection(str(tmp_path / FILE))
    db.pragma("user_version", FORMAT + 1)
    db.close()
    done = run("save", tmp_path)
    assert done.returncode == 1
    assert f"has format {FORMAT + 1}, this version reads {FORMAT}" in done.stderr


def test_not_while_a_gateway_runs(old):
    lock = StateLock(old)
    assert run("save", old).returncode == 75
    assert run("restore", old).returncode == 75
    lock.release()
    assert list(old.glob("format-*")) == []


def test_a_restore_that_was_cut_short_ends_when_run_again(old):
    setback.save(old)
    epoch, given, _ = take(old, 2)
    rename = StoreFiles.rename

    def cut(files, source, target):
        if target.name == FILE:
            raise OSError("power cut")
        rename(files, source, target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(StoreFiles, "rename", cut)
        with pytest.raises(OSError, match="power cut"):
            setback.restore(old)
    assert not (old / FILE).exists()
    assert "is the store again" in run("restore", old).stdout
    again, later, _ = take(old, 1)
    assert again == epoch
    assert later[0] > max(given)


def test_no_room_no_copy(old, monkeypatch):
    usage = namedtuple("Usage", "total used free")  # noqa: PYI024 - as shutil has it
    monkeypatch.setattr(setback.shutil, "disk_usage", lambda _: usage(2**30, 2**30 - 2**20, 2**20))
    with pytest.raises(StoreError, match="needs 64 MiB free"):
        setback.save(old)
    assert list(old.glob("format*")) == []
