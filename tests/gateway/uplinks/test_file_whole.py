"""Files that are visible when complete: what other programs read in them, and that a kill doubles and loses nothing."""

from __future__ import annotations

import asyncio
import csv
import gzip
import io
import json
import os
import subprocess
import sys
from itertools import count

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import zstandard

from gateway import quality as q
from gateway.directory import Directory
from gateway.errors import LinkError
from gateway.frame import Frame
from gateway.point import Point
from gateway.units import Duration, Size
from gateway.uplinks import file_config, file_whole
from gateway.uplinks.compress import Compress
from gateway.uplinks.file_config import CsvColumn, FileFormat, FileUplinkConfig
from gateway.wire.record import TimeFormat
from tests.support.uplink import running, uplink_context

NS = 1_000_000_000
T0 = 1_769_860_800 * NS + 250_000_000


def directory() -> Directory:
    found = Directory()
    found.add(Point(name="m1/power", unit="W"))
    found.add(Point(name='m1/odd, "name"'))
    mode = found.add(Point(name="m1/mode"))
    for text in ("off", "on"):
        found.state(mode, text)
    return found


@pytest.fixture
def ctx(tmp_path):
    with uplink_context(tmp_path / "state", directory()) as context:
        yield context


def mixed() -> Frame:
    return Frame.of(
        [0, 0, 0, 1, 2],
        [T0, T0 + 1, T0 + 2, T0, T0],
        [230.125, q.no_value(q.Reason.TIMEOUT), float("inf"), 1 / 3, 1.0],
        [0, q.INVALID | q.FAILURE, q.QUESTIONABLE, 0, 0],
    )


def sample(n: int) -> Frame:
    return Frame.of([0], n * 1_000_000, [n + 0.5])


async def written(ctx, config, frames, *, marker: bool = False) -> list[int]:
    """Write frames into files that are completed by the stop; the seqs."""
    seqs = [batch.seq for frame in frames for batch in ctx.put(frame)]
    if marker:
        seqs += [batch.seq for batch in ctx.lose(sample(7))]
    async with running(config.create(), ctx):
        await ctx.until(lambda: ctx.stats.messages == len(seqs))
    assert sorted(ctx.acknowledged) == seqs
    assert not list(ctx.folder.glob("*.part"))
    return seqs


@pytest.fixture(autouse=True)
def _folder(ctx, tmp_path):
    ctx.folder = tmp_path


async def test_csv_is_read_by_pythons_own_reader(ctx, tmp_path):
    path = tmp_path / "out.csv"
    await written(ctx, FileUplinkConfig(path=str(path), format=FileFormat.CSV), [mixed()], marker=True)
    raw = path.read_bytes()
    assert raw.startswith(b"time,point,value,unit,quality,reason\r\n")
    rows = list(csv.DictReader(io.StringIO(raw.decode(), newline=""), strict=True))
    assert [row["value"] for row in rows] == ["230.125", "", "", repr(1 / 3), "on", "1"]
    assert [row["reason"] for row in rows[:3]] == ["", "timeout", "infinity"]
    assert rows[0]["time"] == "2026-01-31T12:00:00.250Z"
    assert (rows[0]["unit"], rows[1]["quality"], rows[3]["point"]) == ("W", "invalid,failure", 'm1/odd, "name"')
    assert rows[5]["point"] == "onpath/loss"
    assert rows[5]["reason"].startswith("spool-age since 1970-01-01T00:00:00.007Z")


async def test_csv_columns_and_nanoseconds(ctx, tmp_path):
    columns = (CsvColumn.SEQ, CsvColumn.EPOCH, CsvColumn.GATEWAY, CsvColumn.PIPELINE, CsvColumn.TIME)
    path = tmp_path / "out.csv"
    config = FileUplinkConfig(path=str(path), format=FileFormat.CSV, columns=columns, time=TimeFormat.NS)
    (seq,) = await written(ctx, config, [mixed()])
    rows = list(csv.reader(io.StringIO(path.read_text(), newline="")))
    assert rows[:2] == [["seq", "epoch", "gateway", "pipeline", "time"], [str(seq), "77", "test", "p", str(T0)]]


@pytest.mark.parametrize("how", [Compress.GZIP, Compress.ZSTD])
@pytest.mark.parametrize("format_", [FileFormat.JSON, FileFormat.CSV])
async def test_compressed(ctx, tmp_path, how, format_):
    config = FileUplinkConfig(path=str(tmp_path / "out.txt"), format=format_, compress=how)
    seqs = await written(ctx, config, map(sample, range(500)))
    if how is Compress.GZIP:
        text = gzip.decompress((tmp_path / "out.txt.gz").read_bytes())
    else:
        with (tmp_path / "out.txt.zst").open("rb") as file:
            text = zstandard.ZstdDecompressor().stream_reader(file).read()
    if format_ is FileFormat.JSON:
        assert [json.loads(line)["seq"] for line in text.splitlines()] == seqs
    else:
        assert [float(row["value"]) for row in csv.DictReader(io.StringIO(text.decode()))] == [
            n + 0.5 for n in range(500)
        ]


async def test_parquet_is_read_by_pandas(ctx, tmp_path):
    path = tmp_path / "out.parquet"
    await written(ctx, FileUplinkConfig(path=str(path), format=FileFormat.PARQUET), [mixed(), mixed()], marker=True)
    table = pd.read_parquet(path)
    assert str(table["time"].dtype) == "datetime64[ns, UTC]"
    assert table["time"].astype("int64").tolist()[:3] == [T0, T0 + 1, T0 + 2]
    assert table["point"].dtype == "category"
    assert table["value"].tolist()[0] == 230.125
    assert np.isnan(table["value"][1])
    assert table["value"][2] == float("inf")
    assert table["text"].tolist()[4] == "on"
    assert table["quality"].dtype == np.uint16
    assert table["quality"].tolist()[:3] == [0, q.INVALID | q.FAILURE, q.QUESTIONABLE]
    assert table["reason"].tolist()[1] == "timeout"
    assert table["seq"].nunique() == 3
    assert table["unit"].tolist()[0] == "W"
    (loss,) = table[table["point"] == "onpath/loss"].to_dict("records")
    assert (loss["value"], loss["quality"]) == (1.0, q.INVALID)
    assert pq.read_schema(path).metadata[b"onpath.gateway"] == b"test"
    assert pq.ParquetFile(path).metadata.row_group(0).column(1).statistics is not None


async def test_row_groups_are_bounded(ctx, tmp_path):
    path = tmp_path / "out.parquet"
    frames = [
        Frame.of([0] * 2000, np.arange(2000) + n * 2000, np.random.default_rng(n).random(2000)) for n in range(140)
    ]
    await written(ctx, FileUplinkConfig(path=str(path), format=FileFormat.PARQUET), frames)
    meta = pq.ParquetFile(path).metadata
    assert meta.num_rows == 280_000
    assert [meta.row_group(n).num_rows for n in range(meta.num_row_groups)] == [132_000, 132_000, 16_000]


async def test_files_are_rotated_by_size_and_the_oldest_removed(ctx, tmp_path):
    config = FileUplinkConfig(path=str(tmp_path / "out.csv"), format=FileFormat.CSV, max_size=Size(3000), files=2)
    ctx.ready, many = lambda _limit: [], ctx.ready
    seqs = await written(ctx, config, map(sample, range(300)))
    assert many(1) == []
    found = sorted(tmp_path.glob("out*.csv"), key=lambda file: file.stat().st_mtime_ns)
    assert len(found) == 2
    written_files = ctx.stats.counts["files_written"]
    assert written_files > 3
    assert ctx.stats.counts["files_removed"] == written_files - 2
    assert found[-1].name == f"out-{written_files}.csv"
    assert seqs


async def test_files_are_closed_by_age_without_another_batch(ctx, tmp_path):
    config = FileUplinkConfig(path=str(tmp_path / "out.csv"), format=FileFormat.CSV, every=Duration(0.2))
    ctx.put(sample(1))
    async with running(config.create(), ctx):
        await ctx.until((tmp_path / "out.csv.part").exists)
        assert not ctx.acknowledged
        await ctx.until(lambda: ctx.acknowledged)
        assert (tmp_path / "out.csv").exists()
        ctx.put(sample(2))
        await ctx.until((tmp_path / "out-2.csv").exists)


async def test_a_part_is_removed_and_its_batches_come_again(ctx, tmp_path):
    path = tmp_path / "out.parquet"
    (tmp_path / "out.parquet.part").write_bytes(b"torn")
    (tmp_path / "out-7.parquet.part").write_bytes(b"torn")
    (tmp_path / "other.parquet.part").write_bytes(b"not ours")
    seqs = [ctx.put(sample(n))[0].seq for n in range(10)]
    async with running(FileUplinkConfig(path=str(path), format=FileFormat.PARQUET).create(), ctx):
        await ctx.until(lambda: ctx.stats.messages == 10)
    (other,) = tmp_path.glob("*.part")
    assert other.name == "other.parquet.part"
    assert pd.read_parquet(path)["seq"].tolist() == seqs


@pytest.mark.parametrize("named", [False, True])
async def test_a_kill_around_the_naming_doubles_and_loses_nothing(ctx, tmp_path, monkeypatch, named):
    """The note is on disk; the file has its name or not; the word that its batches are done never came."""
    path = tmp_path / "out.csv"
    config = FileUplinkConfig(path=str(path), format=FileFormat.CSV, every=Duration(0.05), columns=(CsvColumn.SEQ,))
    seqs = [ctx.put(sample(n))[0].seq for n in range(30)]
    real = file_whole._Open.publish

    def dies(self):
        if named:
            real(self)
        self.published = True  # who is killed cleans nothing up
        raise OSError(5, "killed")

    with monkeypatch.context() as patched:
        patched.setattr(file_whole._Open, "publish", dies)
        with pytest.raises(LinkError, match="killed"):
            async with asyncio.timeout(5):
                await config.create().run(ctx)
    assert not ctx.acknowledged
    assert path.exists() is named
    async with running(config.create(), ctx):
        more = [ctx.put(sample(n))[0].seq for n in range(5)]
        await ctx.until(lambda: len(ctx.acknowledged) == 35)
    assert sorted(seqs_of(tmp_path, "csv")) == seqs + more
    assert ctx.stats.counts["already_there"] == (30 if named else 0)


async def test_what_comes_again_late_is_still_known_after_another_file_and_another_kill(ctx, tmp_path, monkeypatch):
    config = FileUplinkConfig(path=str(tmp_path / "out.csv"), format=FileFormat.CSV, every=Duration(0.05))
    for n in range(6):
        ctx.put(sample(n))
    real = file_whole._Open.publish

    def dies(self):
        real(self)
        raise OSError(5, "killed")

    with monkeypatch.context() as patched:
        patched.setattr(file_whole._Open, "publish", dies)
        with pytest.raises(LinkError, match="killed"):
            async with asyncio.timeout(5):
                await config.create().run(ctx)
    # Another run that is killed the same way, and sees new batches only
    old, ctx.next = ctx.next, None
    fresh = ctx.put(sample(7))
    late = asyncio.get_running_loop().create_future()
    given = iter(fresh)

    async def only_new():
        return next(given, None) or await late

    ctx.next, ready, ctx.ready = only_new, ctx.ready, lambda _limit: []
    with monkeypatch.context() as patched:
        patched.setattr(file_whole._Open, "publish", dies)
        with pytest.raises(LinkError, match="killed"):
            async with asyncio.timeout(5):
                await config.create().run(ctx)
    ctx.next, ctx.ready = old, ready
    async with running(config.create(), ctx):
        await ctx.until(lambda: len(ctx.acknowledged) == 7)
    assert ctx.stats.counts["already_there"] == 7
    assert [len(file.read_text().splitlines()) for file in sorted(tmp_path.glob("out*.csv"))] == [2, 7]


async def test_a_full_disk_loses_nothing(ctx, tmp_path, monkeypatch):
    config = FileUplinkConfig(path=str(tmp_path / "out.csv"), format=FileFormat.CSV, every=Duration(0.05))
    seqs = [ctx.put(sample(n))[0].seq for n in range(10)]
    numbers = count()

    def full(fd):
        if next(numbers) == 1:  # the first is that of the folder
            raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(LinkError, match="No space"):
            async with asyncio.timeout(5):
                await config.create().run(ctx)
    assert not ctx.acknowledged
    assert not list(tmp_path.glob("out*"))
    async with running(config.create(), ctx):
        await ctx.until(lambda: sorted(ctx.acknowledged) == seqs)


KILLED = """
import asyncio, os, random, signal, sys, time
from pathlib import Path
import msgpack
from gateway.directory import Directory
from gateway.frame import Frame
from gateway.point import Point
from gateway.units import Duration, Size
from gateway.uplinks.compress import Compress
from gateway.uplinks.file_config import CsvColumn, FileFormat, FileUplinkConfig
from tests.support.uplink import running, uplink_context

OPTIONS = {
    "csv": dict(format=FileFormat.CSV, columns=(CsvColumn.SEQ,), max_size=Size(200), every=Duration(0.1)),
    "parquet": dict(format=FileFormat.PARQUET, every=Duration(0.02)),
    "json": dict(max_size=Size(1000)),
    "gzip": dict(compress=Compress.GZIP, every=Duration(0.01)),
}
folder, kind, kills = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])

async def write(many, up):
    directory = Directory()
    directory.add(Point(name="a"))
    with uplink_context(folder / "state", directory) as ctx:
        noted = folder / "note"  # what the store would keep
        ctx.memory = msgpack.unpackb(noted.read_bytes()) if noted.exists() else {}

        async def saved():
            (folder / "note.new").write_bytes(msgpack.packb(ctx.memory))
            (folder / "note.new").replace(noted)

        ctx.saved = saved
        config = FileUplinkConfig(path=str(folder / "out"), files=10_000, **OPTIONS[kind])
        async with running(config.create(), ctx):
            up()
            for n in range(many):
                ctx.put(Frame.of([0], n, [n]))
                await asyncio.sleep(0.001)
            await ctx.until(lambda: ctx.spool.gauge("out").rows == 0, 30)

if kind == "parquet":
    import gateway.uplinks.file_parquet  # once, before there are children
chance = random.Random(kind)
for _ in range(kills):
    ready, tell = os.pipe()
    if not (child := os.fork()):
        asyncio.run(write(1_000_000, lambda: os.write(tell, b"!")))
    os.read(ready, 1)
    time.sleep(chance.uniform(0.1, 0.4))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
asyncio.run(write(10, lambda: None))
print("done")
"""


def seqs_of(folder, kind) -> list[int]:
    files = [file for file in folder.glob("out*") if not file.name.endswith(".part")]
    if kind == "parquet":
        return [seq for file in files for seq in pq.read_table(file)["seq"].to_pylist()]
    if kind == "csv":
        return [int(line) for file in files for line in file.read_text().splitlines()[1:]]
    plain = gzip.decompress if kind == "gzip" else bytes
    return [json.loads(line)["seq"] for file in files for line in plain(file.read_bytes()).splitlines()]


@pytest.mark.parametrize(("kind", "kills"), [("csv", 6), ("parquet", 4), ("json", 6), ("gzip", 4)])
def test_kills_while_files_are_written_and_named(tmp_path, kind, kills):
    program = [sys.executable, "-c", KILLED, str(tmp_path), kind, str(kills)]
    done = subprocess.run(program, capture_output=True, text=True, timeout=100, check=False)
    assert done.stdout == "done\n", done.stderr
    seqs = seqs_of(tmp_path, kind)
    assert len(seqs) > 50
    assert sorted(seqs) == list(range(1, max(seqs) + 1)), "one each, none missing, none twice"


def test_without_the_extra_the_check_says_what_to_install(monkeypatch):
    monkeypatch.setattr(file_config, "find_spec", lambda _name: None)
    with pytest.raises(ValueError, match=r"pip install 'onpath\[parquet\]'"):
        FileUplinkConfig(path="x.parquet", format=FileFormat.PARQUET)
