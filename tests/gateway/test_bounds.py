"""Error bounds: told with every batch, changed while running, kept over a crash and a restart."""

import asyncio
import contextlib
import subprocess
import sys

import apsw
import pytest

from gateway.store.bounds import BoundsTable
from gateway.store.database import FILE, open_database
from gateway.store.segments import Rebound, decode, encode
from gateway.store.upgrade import FIRST
from pipelines.bounds import Bound, bound_of
from tests.support.daemon import daemon, json_lines
from tests.support.nats import nats_broker
from tests.support.publish import publish

CONFIG = """
adapters:
  bus: {{type: mqtt, url: '{url}', subscribe: [{{topic: 'site/{{device}}/telemetry', points: {{v: {{}}}}}}]}}
pipelines:
  first: {{from: ["**"], steps: [{{deadband: {{epsilon: 10}}}}], to: [second]}}
  second: {{steps: [{{deadband: {{absolute: 1, points: "m2/*"}}}}], to: [out]}}
  plain: {{from: ["**"], to: [out]}}
uplinks: {{out: {{type: file, path: {out}}}}}
"""


def onpath(*args):
    command = [sys.executable, "-m", "gateway.cli.main", *map(str, args)]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)


def lines(folder, pipeline):
    """Each record once: what a kill left unacknowledged is sent again."""
    once = {batch["seq"]: batch for batch in json_lines(folder / "out")}
    return [batch for batch in once.values() if batch["pipeline"] == pipeline]


def values(folder):
    return [sample["value"] for batch in lines(folder, "second") for sample in batch["samples"]]


async def test_a_bound_is_told_changed_at_run_time_and_kept_over_kill_and_restart(tmp_path):
    async with nats_broker(tmp_path / "nats") as broker:
        config = CONFIG.format(url=broker.mqtt_url, out=tmp_path / "out")
        async with daemon(tmp_path, config) as running:

            async def say(*numbers):
                await running.until(lambda s: s["adapters"]["bus"]["link"] == "up")
                before = sum(len(batch["samples"]) for batch in lines(tmp_path, "plain"))
                await publish(broker.mqtt_port, [("site/m1/telemetry", {"v": n}) for n in numbers], window=1)
                await running.until(
                    lambda _: sum(len(b["samples"]) for b in lines(tmp_path, "plain")) == before + len(numbers)
                )

            await say(0, 5, 9)
            assert values(tmp_path) == [0.0]
            first = {"step": "deadband", "points": ["**"], "absolute": 10.0}
            second = {"step": "deadband", "points": ["m2/*"], "absolute": 1.0}
            assert lines(tmp_path, "second")[-1]["bounds"] == [first, second]
            assert all("bounds" not in batch for batch in lines(tmp_path, "plain"))
            changed = await asyncio.to_thread(onpath, "bound", "first", "deadband", "2", "-c", running.config)
            assert changed.stdout == "first deadband: 10 -> 2\n", changed.stderr
            await say(11, 12, 13, 14)
            assert values(tmp_path) == [0.0, 11.0, 14.0]
            assert lines(tmp_path, "second")[-1]["bounds"] == [{**first, "absolute": 2.0}, second]
            running.kill()
            await running.start()
            await say(15, 17)
            assert values(tmp_path) == [0.0, 11.0, 14.0, 17.0]
            assert await asyncio.to_thread(running.stop) == 0
            await running.start()
            status = await running.status()
            assert status["pipelines"]["first"]["steps"][0]["bound"] == {"absolute": 2.0}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("nobody", "deadband", "1"), "no pipeline"),
        (("plain", "deadband", "1"), "no step with a bound"),
        (("first", "7", "1"), "no step with a bound"),
        (("first", "0", "-1"), "0 or more"),
        (("first", "0", "often"), "write 0.2"),
    ],
)
async def test_what_cannot_be_is_refused(tmp_path, words, told):
    async with daemon(tmp_path, CONFIG.format(url="mqtt://127.0.0.1:1", out=tmp_path / "out")) as running:
        refused = await asyncio.to_thread(onpath, "bound", "-c", running.config, "--", *words)
        assert refused.returncode == 1
        assert told in refused.stderr


def test_bounds_by_row_come_back_and_are_trimmed(tmp_path):
    db = open_database(tmp_path, 1)
    table = BoundsTable(db)
    one, two = ({"step": "a", "percent": 1.0},), ({"step": "a", "percent": 2.0},)
    with db:
        for seq, bounds in ((1, ()), (2, one), (3, one), (4, two), (6, ())):
            table.note("out", "p", seq, bounds)
    db.close()
    db = open_database(tmp_path, 1)
    again = BoundsTable(db)
    again.load()
    assert [again.at("out", "p", seq) for seq in range(1, 8)] == [(), one, one, two, two, (), ()]
    assert again.at("out", "q", 5) == ()
    with db:
        again.trim(5)
    assert [again.at("out", "p", seq) for seq in (5, 6)] == [two, ()]
    assert db.execute("SELECT count(*) FROM bounds").get == 2
    db.close()


def test_a_store_of_before_gets_the_table(tmp_path):
    with contextlib.closing(apsw.Connection(str(tmp_path / FILE))) as db:
        db.execute(FIRST)
        db.execute("INSERT INTO meta VALUES ('epoch', 1), ('created_ns', 1)")
        db.pragma("user_version", 1)
    db = open_database(tmp_path, 1)
    assert isinstance(db, apsw.Connection)
    BoundsTable(db).load()
    db.close()


def test_a_change_of_a_bound_is_journaled():
    changes = [Rebound("p", "0:deadband:", Bound(percent=0.5)), Rebound("p", "k", Bound(absolute=2.0))]
    assert decode(encode(changes)) == changes


@pytest.mark.parametrize("text", ["0.5 %", "0.5%", " 5e-1% "])
def test_percent(text):
    assert Bound.parse(text) == Bound(percent=0.5)


@pytest.mark.parametrize("value", ["", "%", "-1", "1 V", "nan", float("nan"), float("inf"), -0.1])
def test_no_bound(value):
    with pytest.raises(ValueError, match="bound"):
        Bound.parse(value)


@pytest.mark.parametrize("given", [(None, None, None), (1.0, 1.0, None), (1.0, None, "1%"), (-1.0, None, None)])
def test_exactly_one_way(given):
    with pytest.raises(ValueError, match=r"exactly one|finite"):
        bound_of(*given)
