"""The file: created once, refused when it is newer, set aside when it is no database any more."""

import logging

import apsw
import pytest

from gateway.errors import StoreError
from gateway.store.config import StoreConfig
from gateway.store.database import FILE, FORMAT, get_meta, open_database, set_meta
from gateway.store.store import Store, with_store


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
    database().pragma("user_version", FORMAT + 1)
    database_file = tmp_path / FILE
    with pytest.raises(StoreError, match=f"has format {FORMAT + 1}, this version reads {FORMAT}"):
        database()
    with pytest.raises(StoreError, match="format"):
        Store(tmp_path, StoreConfig(), 5)
    assert [path.name for path in tmp_path.iterdir() if "corrupt" in path.name] == []
    assert database_file.exists()


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
    again = Store(tmp_path, StoreConfig(), 6)
    assert again.epoch == store.epoch
    assert again.processed == 1
    again.close()


def test_an_empty_file_is_a_new_store(tmp_path):
    (tmp_path / FILE).touch()
    store = Store(tmp_path, StoreConfig(), 5)
    assert store.epoch
    store.close()


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
