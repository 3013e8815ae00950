"""``onpath spool``: looked at, checked, exported and drained, beside a running gateway and without one."""

import asyncio
import csv
import io
import json
import time

import apsw
import pytest

from gateway.engine import Group
from gateway.frame import Frame
from gateway.point import Point
from gateway.store.segments import Tick
from tests.support.build import config_of, engine_over
from tests.support.daemon import daemon, json_lines, samples_of

S = 1_000_000_000
TEXT = """
pipelines:
  raw: {{from: ["**"], to: [out, other]}}
  slow: {{from: ["m1/*"], to: [out]}}
uplinks:
  out: {{type: file, path: {path}, format: json}}
  other: {{type: file, path: {path}2, format: json}}
"""


def filled(folder, config: str, commits: int = 5, samples: int = 4) -> int:
    """A state folder as a daemon that was killed leaves it; when it was filled, ns."""
    engine = engine_over(folder, config_of(config), time.time_ns())
    points = [engine.directory.add(Point(name=name, unit="W")) for name in ("m1/power", "m2/power")]
    began = time.time_ns()
    for number in range(commits):
        frame = Frame.of(points * samples, began + number, [float(number)] * 2 * samples)
        engine.commit(Group(segments=[frame, Tick(began + number)]), began + number)
    engine.commit(Group(checkpoint=True), began + commits)
    engine.store.close()
    return began


@pytest.fixture
def folder(tmp_path):
    filled(tmp_path / "state", TEXT.format(path=tmp_path / "out"))
    return tmp_path / "state"


def test_status_without_a_daemon(onpath, folder):
    code, out, err = onpath("spool", "status", "--state", folder, "--json")
    found = json.loads(out)
    assert (code, err, found["running"]) == (0, "", False)
    uplink = found["uplinks"]["out"]
    assert (uplink["rows"], uplink["samples"]) == (10, 60)
    assert {name: one["samples"] for name, one in uplink["pipelines"].items()} == {"raw": 40, "slow": 20}
    assert found["uplinks"]["other"]["samples"] == 40
    code, out, _ = onpath("spool", "status", "--state", folder)
    assert code == 0
    assert out.startswith("no gateway runs: nothing is sent\n")
    assert [line.split()[:3] for line in out.splitlines() if line.startswith("  slow")] == [["slow", "5", "20"]]


def test_a_whole_store_is_well(onpath, folder):
    code, out, err = onpath("spool", "verify", "--state", folder)
    assert (code, err) == (0, "")
    assert out.endswith("all is well\n")
    parts = json.loads(onpath("spool", "verify", "--state", folder, "--json")[1])
    found = {part["part"]: part for part in parts["parts"]}
    assert parts["ok"]
    assert (found["spool"]["rows"], found["spool"]["samples"]) == (15, 100)
    assert (found["journal"]["samples"], found["points"]["rows"]) == (40, 2)
    assert found["checkpoint"]["rows"] == 2


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ("UPDATE spool SET block = zeroblob(30) WHERE seq = 3", "spool"),
        ("UPDATE spool SET pipeline = 'slaw' WHERE seq = 4", "spool"),
        ("UPDATE journal SET block = zeroblob(30) WHERE position = 2", "journal"),
        ("UPDATE journal SET samples = 7 WHERE position = 2", "journal"),
        ("UPDATE directory SET row = x'00' WHERE id = 1", "points"),
        ("UPDATE meta SET value = 12 WHERE key = 'epoch'", "meta"),
        ("UPDATE checkpoint SET state = x'00' WHERE pipeline = 'raw'", "checkpoint"),
        ("INSERT INTO latest VALUES (0, x'0102')", "latest"),
        ("INSERT INTO history_chunk VALUES (1, 1, 0, 0, 0, 0, 1, x'0102')", "history"),
    ],
)
def test_damage_is_found(onpath, folder, change, part):
    db = apsw.Connection(str(folder / "onpath.db"))
    db.execute(change)
    db.close()
    code, out, _ = onpath("spool", "verify", "--state", folder, "--json")
    found = json.loads(out)
    assert code == 1
    assert not found["ok"]
    assert [one["part"] for one in found["parts"] if one["damaged"]] == [part]
    code, out, _ = onpath("spool", "verify", "--state", folder)
    assert code == 1
    assert out.endswith("1 damaged\n")


def test_pages_that_are_torn_are_found(onpath, folder):
    path = folder / "onpath.db"
    whole = path.read_bytes()
    pages = range(4096, len(whole), 4096)
    seen = 0
    for at in pages:
        path.write_bytes(whole[: at + 8] + bytes(64) + whole[at + 72 :])
        code, _, err = onpath("spool", "verify", "--state", folder, "--json")
        assert code in {0, 1}
        assert "Traceback" not in err
        seen += code
    assert seen > len(pages) / 4, "what lies on pages in use is found"


@pytest.mark.parametrize("kind", ["json", "csv", "frame"])
def test_export_of_what_waits(onpath, folder, tmp_path, kind):
    file = tmp_path / "exported"
    wanted = ("--uplink", "out", "--pipeline", "slow", "--format", kind, "--gateway", "g9", "--since", "1h")
    code, out, err = onpath("spool", "export", file, "--state", folder, *wanted)
    assert (code, out) == (0, "")
    assert err == f"{file}: 5 batches, 20 samples\n"
    if kind == "csv":
        rows = list(csv.DictReader(io.StringIO(file.read_text())))
        assert [float(row["value"]) for row in rows] == [float(n) for n in range(5) for _ in range(4)]
        assert {row["point"] for row in rows} == {"m1/power"}
        assert len({row["seq"] for row in rows}) == 5
    else:
        text = file.read_text() if kind == "json" else onpath("decode", file)[1]
        records = [json.loads(line) for line in text.splitlines()]
        assert [record["gateway"] for record in records] == ["g9"] * 5
        assert [record["seq"] for record in records] == sorted(record["seq"] for record in records)
        assert [s["value"] for record in records for s in record["samples"]] == [
            float(n) for n in range(5) for _ in "abcd"
        ]
        assert sum(len(record["samples"]) for record in records) == 20
    code, _, err = onpath("spool", "export", file, "--state", folder, "--gateway", "g9")
    assert (code, err) == (1, f"onpath: {file}: exists already\n")
    later = ("--since", "2200-01-01T00:00:00Z", "--json", "--gateway", "g9")
    code, out, _ = onpath("spool", "export", tmp_path / "none", "--state", folder, *later)
    assert (code, json.loads(out)["batches"]) == (0, 0)


def test_export_wants_to_know_the_gateway(onpath, folder, tmp_path):
    code, _, err = onpath("spool", "export", tmp_path / "x", "--state", folder, "-c", tmp_path / "none.yaml")
    assert code == 1
    assert "--gateway" in err
    code, _, err = onpath("spool", "export", tmp_path / "x", "--state", folder, "--format", "xml", "--gateway", "g")
    assert (code, err) == (1, "onpath: --format: 'xml' is none of json, csv, frame\n")
    assert not (tmp_path / "x").exists()


def test_a_damaged_row_is_exported_as_a_loss(onpath, folder):
    db = apsw.Connection(str(folder / "onpath.db"))
    db.execute("UPDATE spool SET block = zeroblob(30) WHERE seq = 3")
    db.close()
    code, out, err = onpath("spool", "export", "-", "--state", folder, "--gateway", "g")
    assert code == 0
    losses = [record["loss"]["reason"] for line in out.splitlines() if "loss" in (record := json.loads(line))]
    assert losses == ["spool-damaged"]
    assert "1 rows are damaged" in err


def test_nobody_drains_where_nothing_runs(onpath, folder):
    code, _, err = onpath("spool", "drain", "--state", folder)
    assert code == 69
    assert "onpath spool export" in err


async def test_drain_of_a_running_gateway(onpath, tmp_path):
    """What waited is sent once somebody does: the same batches that were exported before."""
    config = TEXT.format(path=tmp_path / "out")
    filled(tmp_path / "state", config, commits=50)
    _, exported, _ = onpath("spool", "export", "-", "--state", tmp_path / "state", "--uplink", "out", "--gateway", "g1")
    async with daemon(tmp_path, config) as running:
        code, out, _ = await asyncio.to_thread(onpath, "spool", "drain", "--json", "--state", running.state)
        result = json.loads(out)
        assert (code, result["drained"], result["rows"]) == (0, True, {"out": 0, "other": 0})
        sent = {record["seq"]: record["samples"] for record in json_lines(tmp_path / "out")}
        assert sent == {one["seq"]: one["samples"] for one in map(json.loads, exported.splitlines())}
        assert len(samples_of(json_lines(tmp_path / "out"))) >= 50 * 12
        code, out, _ = await asyncio.to_thread(onpath, "spool", "status", "--json", "--state", running.state)
        found = json.loads(out)
        assert (code, found["running"]) == (0, True)
        assert found["uplinks"]["out"]["link"] == "up"
        code, _, err = await asyncio.to_thread(onpath, "spool", "drain", "--uplink", "no", "--state", running.state)
        assert (code, err) == (1, "onpath: there is no uplink no; there are other, out\n")
        assert (await asyncio.to_thread(onpath, "spool", "verify", "--state", running.state))[0] == 0


async def test_drain_gives_up(onpath, tmp_path):
    config = TEXT.format(path=tmp_path / "missing" / "out")  # a folder that is not there
    filled(tmp_path / "state", config)
    async with daemon(tmp_path, config) as running:
        arguments = ("spool", "drain", "--timeout", "300ms", "--uplink", "out", "--state", running.state)
        code, _, err = await asyncio.to_thread(onpath, *arguments)
        assert (code, err) == (1, "onpath: not drained within 0.3 s: out 10 rows\n")
