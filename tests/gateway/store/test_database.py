"""The file: created once, refused when it is newer, set aside when it is no database any more."""

import logging

import apsw
import pytest

from gateway.errors import StoreError
from gateway.store.config import StoreConfig
from gateway.store.database import FILE, SHM, WAL, get_meta, open_database, set_meta
from gateway.store.opening import with_store
from gateway.store.store import Store
from gateway.store.upgrade import FORMAT


def test_pragmas_promise_what_a_receipt_promises(database):
    db = database()
    assert db.pragma("journal_mode") == "wal"
    assert db.pragma("synchronous") == 2
    assert db.pragma("user_version") == FORMAT


def test_the_epoch_stays_with_the_folder_and_differs_between_folders(tmp_path, database):
    epoch = get_meta(database(), "epoch", 0)
    assert 0 < epoch < 2**48
    assert get_meta(database(), "epoch", 0) == epoch
    other = open_database(tmp_path / "other", 1)
    assert get_meta(other, "epoch", 0) != epoch
    other.close()


def test_meta(database):
    db = database()
    assert get_meta(db, "processed", 7) == 7
    set_meta(db, "processed", 2**62)
    set_meta(db, "processed", 2**62 + 1)
    assert get_meta(database(), "processed", 7) == 2**62 + 1


def test_a_newer_format_is_refused_and_left_alone(tmp_path, database):
    db = database()
    set_meta(db, "format", FORMAT + 1)  # as a later version does; the header alone could be a flipped bit
    db.pragma("user_version", FORMAT + 1)
    db.pragma("wal_checkpoint", "truncate")
    database_file = tmp_path / FILE
    before = database_file.read_bytes()
    with pytest.raises(StoreError, match=f"has format {FORMAT + 1}, this version reads {FORMAT}"):
        database()
    with pytest.raises(StoreError, match="format"):
        Store(tmp_path, StoreConfig(), 5)
    with pytest.raises(StoreError, match="format"):
        with_store(tmp_path, StoreConfig(), 5, lambda opened: opened)
    assert [path.name for path in tmp_path.iterdir() if "corrupt" in path.name] == []
    assert database_file.read_bytes() == before


@pytest.mark.parametrize(
    "content", [b"this is no database " * 500, b"\0" * 4096, b"SQLite format 3\0" + b"\xff" * 4080]
)
def test_a_damaged_file_is_set_aside_and_a_new_store_begun(tmp_path, caplog, content):
    (tmp_path / FILE).write_bytes(content)
    caplog.set_level(logging.ERROR)
    store = with_store(tmp_path, StoreConfig(), 5, lambda opened: opened)
    assert store.epoch
    with store.transaction():
        store.mark_processed(1, 1)
    store.close()
    (aside,) = [path for path in tmp_path.iterdir() if path.name.startswith("corrupt-5-")]
    assert aside.read_bytes() == content
    assert "set aside" in caplog.text
    assert store.salvaged.aside == aside.name
    again = Store(tmp_path, StoreConfig(), 6)
    assert again.epoch == store.epoch
    assert again.processed == 1
    again.close()


def test_an_empty_file_is_a_new_store(tmp_path):
    (tmp_path / FILE).touch()
    store = Store(tmp_path, StoreConfig(), 5)
    assert store.epoch
    store.close()


def killed(folder):
    """A store as a kill leaves it, with a log that holds the last commit."""
    store = with_store(folder, StoreConfig(), 5, lambda opened: opened)
    store._fold()
    with store.transaction():
        store.mark_processed(0, 7)
    store.abandon()
    assert (folder / WAL).stat().st_size
    return store


@pytest.mark.parametrize(
    ("spoil", "stream_ns"),
    [
        (lambda folder: None, 7),
        (lambda folder: (folder / SHM).unlink(missing_ok=True), 7),
        (lambda folder: (folder / SHM).write_bytes(b"\xff" * 32768), 7),
        (lambda folder: (folder / SHM).write_bytes(b""), 7),
        (lambda folder: (folder / WAL).unlink(), 0),
        (lambda folder: (folder / WAL).write_bytes(b""), 0),
        (lambda folder: (folder / WAL).write_bytes(b"\xff" * 5000), 0),
        (lambda folder: (folder / WAL).write_bytes((folder / WAL).read_bytes()[:1000]), 0),
        (lambda folder: (folder / (FILE + "-journal")).write_bytes(b"\0" * 600), 7),
        (lambda folder: (folder / (FILE + "-wal-renewed")).write_bytes(b"half of it"), 7),
        (lambda folder: (folder / "onpath.db-salvage").mkdir(), 7),
    ],
)
def test_it_opens_whatever_lies_beside_it(tmp_path, spoil, stream_ns):
    before = killed(tmp_path)
    spoil(tmp_path)
    store = with_store(tmp_path, StoreConfig(), 6, lambda opened: opened)
    assert (store.epoch, store.stream_ns, store.salvaged) == (before.epoch, stream_ns, None)
    store.close()


@pytest.mark.parametrize("what", [lambda path: path.mkdir(), lambda path: path.symlink_to("nowhere/at/all")])
def test_what_is_no_file_is_set_aside(tmp_path, what, caplog):
    what(tmp_path / FILE)
    store = with_store(tmp_path, StoreConfig(), 6, lambda opened: opened)
    assert store.epoch
    store.close()
    assert (tmp_path / f"corrupt-6-{FILE}").is_dir() or (tmp_path / f"corrupt-6-{FILE}").is_symlink()
    assert "no file" in caplog.text


def test_a_folder_that_cannot_be(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StoreError):
        open_database(tmp_path / "file" / "state", 1)


def test_a_store_that_somebody_holds_is_refused_and_not_set_aside(tmp_path):
    other = apsw.Connection(str(tmp_path / FILE))
    other.pragma("locking_mode", "exclusive")
    other.execute("BEGIN EXCLUSIVE; CREATE TABLE t (x)")
    with pytest.raises(StoreError, match="locked"):
        Store(tmp_path, StoreConfig(), 5)
    other.execute("ROLLBACK")
    other.close()
    assert not list(tmp_path.glob("corrupt-*"))
