"""What goes by its age, over both carriers; and the folder's tables by a clock of their own."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from pathlib import Path

import pytest

from gateway.network.carrier import local_tables
from gateway.network.carrier.base import BUCKETS, DUPLICATES_S, OUT_S, CarrierError, ConflictError
from gateway.network.carrier.local_tables import GRAVE_S, Tables
from gateway.network.carrier.nats_streams import wanted
from tests.gateway.network.carrier.conftest import Place
from tests.gateway.network.carrier.test_contract import soon


async def test_a_key_that_nobody_writes_again_goes(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BUCKETS, "nodes", 1.0)
    carrier = await place.carrier()
    first = await carrier.put("nodes", "old", b"1")
    stays = await carrier.put("plan", "stays", b"1")
    async with asyncio.timeout(20):
        while await carrier.get("nodes", "old") is not None:  # noqa: ASYNC110  an age has no event
            await asyncio.sleep(0.1)
    async with aclosing(carrier.watch("nodes")) as entries:
        assert await soon(entries) == []
    with pytest.raises(ConflictError):
        await carrier.put("nodes", "old", b"2", first)
    assert await carrier.put("nodes", "old", b"2", 0) > first
    assert (await carrier.get("plan", "stays")).revision == stays


def test_the_streams_are_as_the_contract_says() -> None:
    streams = {stream["name"]: stream for stream in wanted(3, 1.0)}
    assert streams["onpath-out"]["max_age"] == OUT_S * 1e9
    assert "max_age" not in streams["onpath-up"]
    assert {streams[name]["duplicate_window"] for name in ("onpath-up", "onpath-out")} == {DUPLICATES_S * 1e9}
    assert {streams[f"KV_onpath-{name}"]["max_age"] / 1e9 for name in BUCKETS} == set(BUCKETS.values())
    assert {stream["num_replicas"] for stream in streams.values()} == {3}


@pytest.fixture
def tables(tmp_path: Path):
    opened = Tables(tmp_path / "t.db")
    yield opened
    opened.close()


def write(tables: Tables, call):
    tables.begin()
    found = call()
    tables.commit()
    return found


def later(tables: Tables, by_s: float) -> None:
    tables._offset += by_s


def test_results_go_by_their_age_and_what_goes_up_does_not(tables: Tables) -> None:
    for subject in ("out/s/1", "up/me/a"):
        write(tables, lambda subject=subject: tables.publish(subject, b"old", ""))
    later(tables, OUT_S - 10)
    new = write(tables, lambda: tables.publish("out/s/1", b"new", ""))
    assert len(tables.read("out/**", 0).messages) == 2
    later(tables, 20)
    assert [m.seq for m in tables.read("out/**", 0).messages] == [new]
    write(tables, tables.clean)
    assert tables.db.execute("SELECT count(*) FROM out").fetchall() == [(1,)]
    later(tables, OUT_S)
    write(tables, tables.clean)
    assert tables.read("out/**", 0).messages == []
    assert write(tables, lambda: tables.publish("out/s/1", b"x", "")) > new
    assert len(tables.read("up/**", 0).messages) == 1


def test_an_id_is_known_for_its_time(tables: Tables) -> None:
    first = write(tables, lambda: tables.publish("up/me/a", b"1", "id"))
    later(tables, DUPLICATES_S - 10)
    write(tables, tables.clean)
    assert write(tables, lambda: tables.publish("up/me/a", b"1", "id")) == first
    later(tables, 20)
    again = write(tables, lambda: tables.publish("up/me/a", b"1", "id"))
    assert again > first
    later(tables, DUPLICATES_S + 10)
    write(tables, tables.clean)
    assert tables.db.execute("SELECT count(*) FROM seen").fetchall() == [(0,)]


def test_a_deletion_that_is_forgotten_is_still_told(tables: Tables) -> None:
    for key in "abc":
        write(tables, lambda key=key: tables.put("services", key, b"1", None))
    seen = tables.changes("services", "**", None, set())
    assert [entry.key for entry in seen.entries] == ["a", "b", "c"]
    write(tables, lambda: tables.delete("services", "b", None))
    later(tables, GRAVE_S + 1)
    write(tables, tables.clean)
    assert tables.db.execute("SELECT count(*) FROM key WHERE value IS NULL").fetchall() == [(0,)]
    told = tables.changes("services", "**", seen.revision, {"a", "b", "c"})
    assert [(entry.key, entry.value) for entry in told.entries] == [("b", None), ("a", b"1"), ("c", b"1")]
    assert tables.changes("services", "**", told.revision, {"a", "c"}).entries == []


def test_time_goes_on_over_a_start_of_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also with a wall clock that is wrong then: nothing gets younger."""
    one = Tables(tmp_path / "t.db")
    later(one, 5000)
    before = one.now()
    write(one, one.clean)
    one.close()
    same = Tables(tmp_path / "t.db")
    assert abs(same.now() + 5000 - before) < 100  # the same run: what it began with holds
    same.close()
    monkeypatch.setattr(local_tables, "boot_id", lambda: "another")
    monkeypatch.setattr(local_tables.time, "time", lambda: 1000.0)
    after = Tables(tmp_path / "t.db")
    assert after.now() >= before
    after.close()


def test_numbers_of_a_folder_that_was_made_again_are_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = Tables(tmp_path / "a.db")
    last = max(write(one, lambda: one.publish("up/me/a", b"", "")) for _ in range(1000))
    revision = write(one, lambda: one.put("nodes", "a", b"", None))
    one.close()
    now = local_tables.time.time()
    monkeypatch.setattr(local_tables.time, "time", lambda: now + 1)
    two = Tables(tmp_path / "b.db")
    assert write(two, lambda: two.publish("up/me/a", b"", "")) > last
    assert write(two, lambda: two.put("nodes", "a", b"", None)) > revision
    two.close()


def test_a_folder_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    one = Tables(tmp_path / "t.db")
    one.db.pragma("user_version", 99)
    one.close()
    with pytest.raises(CarrierError, match="has format 99"):
        Tables(tmp_path / "t.db")


async def test_a_folder_that_cannot_be_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "network.db").write_bytes(b"no database at all, but long enough to be looked at" * 50)
    for folder in ("file", "net"):
        with pytest.raises(CarrierError, match="local:"):
            await Place(f"local:{tmp_path / folder}", None).carrier()
