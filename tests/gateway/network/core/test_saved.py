"""Snapshots: fenced, large ones in blobs, what does not change written once, and a carrier that is away."""

from __future__ import annotations

import numpy as np
import pytest

from gateway.errors import PayloadError
from gateway.network.carrier.base import CarrierError
from gateway.network.carrier.local import LocalCarrier
from gateway.network.core.points import Log
from gateway.network.core.saved import FencedError, Saved
from gateway.network.core.threads import Threads
from gateway.point import Point
from pipelines.base import Settled


class Watched(LocalCarrier):
    """Counts blobs, and fails when told to."""

    def __init__(self, folder):
        super().__init__(folder)
        self.blobs = {}
        self.fail = []

    async def put_blob(self, name, data):
        assert name not in self.blobs, "a name is used once"
        self.blobs[name] = len(data)
        await super().put_blob(name, data)

    async def delete_blob(self, name):
        del self.blobs[name]
        await super().delete_blob(name)

    async def put(self, bucket, key, value, revision=None):
        if self.fail:
            how = self.fail.pop()
            if how == "after":
                await super().put(bucket, key, value, revision)
            raise CarrierError("gone for a moment")
        return await super().put(bucket, key, value, revision)


@pytest.fixture
async def carrier(tmp_path):
    found = Watched(tmp_path / "net")
    await found.open()
    yield found
    await found.close()


@pytest.fixture
def threads():
    found = Threads()
    yield found
    found.close()


def large(seed):
    return np.random.default_rng(seed).integers(0, 1 << 60, 50_000)


async def test_a_state_comes_back(carrier, threads):
    saved = Saved(carrier, threads, "core-07")
    assert await saved.load() is None
    state = {"a": {"b": np.arange(5)}, "names": ["x", "y"], "n": 1 << 70, "raw": b"abc"}
    await saved.commit(state)
    other = Saved(carrier, threads, "core-07")
    found = await other.load()
    assert found["a"]["b"].tolist() == [0, 1, 2, 3, 4]
    assert (found["names"], found["n"], found["raw"]) == (["x", "y"], 1 << 70, b"abc")
    assert other.number == 1
    assert carrier.blobs == {}


async def test_a_second_writer_fences_the_first_off(carrier, threads):
    first, second = (Saved(carrier, threads, "core-01") for _ in range(2))
    await first.load()
    await first.commit({"by": "first"})
    await second.load()
    await second.commit({"by": "second"})
    with pytest.raises(FencedError):
        await first.commit({"by": "first"})
    assert (await Saved(carrier, threads, "core-01").load()) == {"by": "second"}


@pytest.mark.parametrize("how", ["before", "after"])
async def test_an_answer_that_is_lost_changes_nothing(carrier, threads, how):
    saved = Saved(carrier, threads, "core-01")
    await saved.commit({"n": 1})
    carrier.fail = [how, how]
    await saved.commit({"n": 2})
    await saved.commit({"n": 3})
    assert (await Saved(carrier, threads, "core-01").load()) == {"n": 3}


async def test_large_states_are_blobs_and_old_ones_go(carrier, threads):
    saved = Saved(carrier, threads, "core-01")
    for seed in range(3):
        await saved.commit({"seed": seed, "large": large(seed)})
        assert len(carrier.blobs) == 1
    found = await Saved(carrier, threads, "core-01").load()
    assert found["large"].tolist() == large(2).tolist()
    await saved.commit({"small": 1})
    assert carrier.blobs == {}


async def test_what_is_settled_is_written_once(carrier, threads):
    saved = Saved(carrier, threads, "core-01")
    kept, small = Settled(large=large(1)), Settled(few=np.arange(3))
    for n in range(3):
        await saved.commit({"n": n, "kept": [kept, small]})
    assert len(carrier.blobs) == 1
    names = set(carrier.blobs)
    successor = Saved(carrier, threads, "core-01")
    state = await successor.load()
    assert state["kept"][0]["large"].tolist() == large(1).tolist()
    assert state["kept"][1]["few"].tolist() == [0, 1, 2]
    await successor.commit(state | {"n": 4})
    assert set(carrier.blobs) == names, "the successor goes on with the same parts"
    await successor.commit({"n": 5, "kept": []})
    assert carrier.blobs == {}


async def test_a_snapshot_that_cannot_be_read_is_told(carrier, threads):
    await carrier.put("snapshots", "core-01", b"nonsense")
    with pytest.raises(PayloadError):
        await Saved(carrier, threads, "core-01").load()
    saved = Saved(carrier, threads, "core-02")
    await saved.commit({"large": large(1)})
    for name in list(carrier.blobs):
        await carrier.delete_blob(name)
    with pytest.raises(PayloadError, match="missing"):
        await Saved(carrier, threads, "core-02").load()


def test_the_points_of_a_partition_are_appended():
    log = Log([])
    directory = log.directory()
    for at in range(300):
        directory.add(Point(name=f"m/{at}"))
        parts = log.add(directory.changes())
    assert len(parts) < 12
    directory.state(7, "on")
    parts = log.add(directory.changes())
    found = Log(parts).directory()
    assert [found.name(at) for at in range(300)] == [f"m/{at}" for at in range(300)]
    assert found.states(7) == ["on"]
