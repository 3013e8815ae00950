"""Versions that have run: kept, bounded, listed without reading their texts."""

import random
import threading

import pytest

from gateway.editing import versions as module
from gateway.editing.versions import KEPT, NoVersionError, Versions


def record(versions, number, **more):
    return versions.record(
        {"a.yaml": b"max_points: %d\n" % number}, comment=f"c{number}", by="me", time_ms=number, **more
    )


def test_what_was_recorded_comes_back(tmp_path):
    versions = Versions(tmp_path)
    texts = {"a.yaml": "größer\r\n".encode(), "b.yaml": b"\xff\xfe no text", "c.yaml": b""}
    assert versions.record(texts, comment="first", by="anna", time_ms=5) == 1
    assert versions.texts(1) == texts
    (head,) = Versions(tmp_path).heads()
    assert (head.version, head.time_ms, head.comment, head.by, head.files) == (1, 5, "first", "anna", list(texts))


def test_the_same_again_is_no_version_unless_it_is_meant(tmp_path):
    versions = Versions(tmp_path)
    assert [record(versions, 1), record(versions, 1), record(versions, 2), record(versions, 1)] == [1, 1, 2, 3]
    assert record(versions, 1, always=True) == 4


def test_the_oldest_give_way_and_numbers_only_grow(tmp_path):
    versions = Versions(tmp_path)
    assert [record(versions, number) for number in range(1, KEPT + 6)] == list(range(1, KEPT + 6))
    heads = versions.heads()
    assert [head.version for head in heads] == list(range(KEPT + 5, 5, -1))
    with pytest.raises(NoVersionError, match="there is no version 5"):
        versions.texts(5)
    for file in (tmp_path / "config").iterdir():
        file.unlink()
    assert record(Versions(tmp_path), 7) == 1, "an empty folder begins anew"


def test_all_together_are_bounded_in_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MAX_BYTES", 3000)
    versions, chance = Versions(tmp_path), random.Random(1)
    for _ in range(8):
        versions.record({"a.yaml": chance.randbytes(1000)}, comment="", by="", time_ms=0)
    kept = list((tmp_path / "config").glob("*.version"))
    assert 1 <= len(kept) < 8
    assert sum(file.stat().st_size for file in kept) <= 3000
    versions.record({"a.yaml": chance.randbytes(60_000)}, comment="", by="", time_ms=0)
    assert [head.version for head in versions.heads()] == [9], "the newest stays whatever its size"


def test_a_damaged_one_is_said_and_the_others_stay(tmp_path):
    versions = Versions(tmp_path)
    record(versions, 1)
    record(versions, 2)
    file = tmp_path / "config" / "00000001.version"
    data = bytearray(file.read_bytes())
    data[-3] ^= 1
    file.write_bytes(data)
    with pytest.raises(NoVersionError, match="version 1 cannot be read any more"):
        versions.texts(1)
    file.write_bytes(b"nonsense")
    assert [head.version for head in versions.heads()] == [2]
    assert record(versions, 3) == 3


def test_nobody_else_may_read_them(tmp_path):
    record(Versions(tmp_path), 1)
    folder = tmp_path / "config"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert [file.stat().st_mode & 0o777 for file in folder.iterdir()] == [0o600]


def test_threads_do_not_share_a_number(tmp_path):
    versions = Versions(tmp_path)
    found = []
    threads = [threading.Thread(target=lambda n=n: found.append(record(versions, n))) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == list(range(1, 21))
