"""The file and stdout uplinks: on disk before done, rotated, mended after a power cut, back after an error."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime

import pytest

from gateway.errors import FieldError, LinkError
from gateway.frame import Frame
from gateway.units import Duration, Size
from gateway.uplinks import file_names
from gateway.uplinks.compress import Compress
from gateway.uplinks.config import FileUplinkConfig, StdoutUplinkConfig
from gateway.uplinks.file_append import AppendedFile
from gateway.uplinks.file_config import FileFormat
from gateway.uplinks.file_names import FileNames
from gateway.uplinks.streams import Recorder
from gateway.wire.message import FrameDecoder
from gateway.wire.record import TimeFormat
from gateway.wire.stream import messages
from tests.support.build import directory_of
from tests.support.uplink import running, uplink_context


@pytest.fixture
def ctx(tmp_path):
    with uplink_context(tmp_path / "state", directory_of("m1/power", "m2/power")) as context:
        yield context


def sample(n: int, point: int = 0) -> Frame:
    return Frame.of([point], n * 1_000_000, [n + 0.5])


def lines(path) -> list[dict]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def records(path) -> list[dict]:
    decoder = FrameDecoder()
    with path.open("rb") as stream:
        return [record for message in messages(stream) if (record := decoder.decode(message))]


def appended(config) -> AppendedFile:
    return AppendedFile(config, FileNames(config, "test", "out"))


async def send(ctx, config, frames) -> list[int]:
    """Put frames, run an uplink until all are done; their seqs."""
    seqs = [batch.seq for frame in frames for batch in ctx.put(frame)]
    async with running(config.create(), ctx):
        await ctx.until(lambda: set(seqs) <= set(ctx.acknowledged))
    return seqs


async def test_lines_are_on_disk_when_done(ctx, tmp_path):
    path = tmp_path / "new" / "out.jsonl"
    seqs = await send(ctx, FileUplinkConfig(path=str(path)), map(sample, range(200)))
    assert ctx.acknowledged == seqs
    assert [line["seq"] for line in lines(path)] == seqs
    assert lines(path)[7]["samples"] == [
        {"point": "m1/power", "time": "1970-01-01T00:00:00.007Z", "value": 7.5, "quality": "good"}
    ]
    stats = ctx.stats
    assert (stats.messages, stats.acknowledged, stats.samples, stats.bytes) == (200, 200, 200, path.stat().st_size)
    assert ctx.links == [(True, str(path))]
    assert ctx.spool.gauge("out").rows == 0


async def test_a_loss_marker_is_a_line_of_its_own(ctx, tmp_path):
    path = tmp_path / "out.jsonl"
    ctx.lose(sample(3))
    await send(ctx, FileUplinkConfig(path=str(path)), [sample(4)])
    assert lines(path)[0]["loss"]["count"] == 1
    assert lines(path)[1]["samples"]


async def test_the_next_run_appends(ctx, tmp_path):
    path = tmp_path / "out.jsonl"
    first = await send(ctx, FileUplinkConfig(path=str(path)), [sample(1)])
    second = await send(ctx, FileUplinkConfig(path=str(path)), [sample(2)])
    assert [line["seq"] for line in lines(path)] == first + second


@pytest.mark.parametrize("keep", [0, 1, 3])
async def test_rotation_keeps_the_newest(ctx, tmp_path, keep):
    path = tmp_path / "out.jsonl"
    config = FileUplinkConfig(path=str(path), max_size=Size(1), files=keep)
    seqs = []
    for n in range(6):
        seqs += await send(ctx, config, [sample(n)])
    kept = [path, *(path.with_name(f"out.jsonl.{number}") for number in range(1, keep + 1))]
    assert sorted(tmp_path.glob("out*")) == sorted(kept)
    assert [line["seq"] for file in reversed(kept) for line in lines(file)] == seqs[-keep - 1 :]


async def test_a_file_is_rotated_when_it_has_reached_its_bound(ctx, tmp_path):
    path = tmp_path / "out.jsonl"
    ctx.ready, one_by_one = lambda _limit: [], ctx.ready
    seqs = await send(ctx, FileUplinkConfig(path=str(path), max_size=Size(1000)), map(sample, range(40)))
    assert one_by_one(1) == []
    rotated = sorted(tmp_path.glob("out.jsonl.*"), key=lambda file: -int(file.suffix[1:]))
    assert len(rotated) > 3
    assert all(1000 <= file.stat().st_size < 1300 for file in rotated)
    assert [line["seq"] for file in [*rotated, path] for line in lines(file)] == seqs


async def test_a_line_left_half_written_costs_itself_only(ctx, tmp_path):
    path = tmp_path / "out.jsonl"
    path.write_bytes(b'{"seq": 1}\n{"seq": 2, "sam')
    seqs = await send(ctx, FileUplinkConfig(path=str(path)), [sample(1)])
    first, half, whole = path.read_bytes().splitlines()
    assert (json.loads(first)["seq"], json.loads(whole)["seq"]) == (1, seqs[0])
    assert half == b'{"seq": 2, "sam'


@pytest.mark.parametrize("cut", [1, 5, 20])
async def test_a_message_left_half_written_is_cut_off(ctx, tmp_path, cut):
    path = tmp_path / "out.frames"
    config = FileUplinkConfig(path=str(path), format=FileFormat.FRAME)
    first = await send(ctx, config, [sample(1)])
    second = await send(ctx, config, [sample(2)])
    os.truncate(path, path.stat().st_size - cut)
    third = await send(ctx, config, [sample(3)])
    assert [record["seq"] for record in records(path)] == first + third
    assert second


async def test_a_file_of_something_else_is_not_cut(ctx, tmp_path):
    path = tmp_path / "out.frames"
    path.write_bytes(b"\xc1 something else")
    await send(ctx, FileUplinkConfig(path=str(path), format=FileFormat.FRAME), [sample(1)])
    assert path.read_bytes().startswith(b"\xc1 something else\x84")


async def test_every_file_of_frames_names_its_points_itself(ctx, tmp_path):
    path = tmp_path / "out.frames"
    config = FileUplinkConfig(path=str(path), format=FileFormat.FRAME, max_size=Size(300))
    ctx.ready, many = lambda _limit: [], ctx.ready
    seqs = await send(ctx, config, [sample(n, n % 2) for n in range(12)])
    assert many(1) == []
    rotated = sorted(tmp_path.glob("out.frames.*"), key=lambda file: -int(file.suffix[1:]))
    assert rotated
    found = [record for file in [*rotated, path] for record in records(file)]
    assert [record["seq"] for record in found] == seqs
    assert [record["samples"][0]["point"] for record in found[:2]] == ["m1/power", "m2/power"]


async def test_an_unwritable_path_is_a_link_that_is_down_and_works_again(ctx, tmp_path):
    path = tmp_path / "blocked" / "out.jsonl"
    (tmp_path / "blocked").touch()
    config = FileUplinkConfig(path=str(path))
    (batch,) = ctx.put(sample(1))
    with pytest.raises(LinkError, match=r"out\.jsonl: .*(exists|directory)"):
        await asyncio.wait_for(config.create().run(ctx), 5)
    assert not ctx.acknowledged
    (tmp_path / "blocked").unlink()
    await send(ctx, config, [])
    async with running(config.create(), ctx):
        await ctx.until(lambda: ctx.acknowledged == [batch.seq])
    assert lines(path)[0]["seq"] == batch.seq


async def test_a_full_disk_is_a_link_that_is_down_and_nothing_is_done(ctx):
    ctx.put(sample(1))
    with pytest.raises(LinkError, match="/dev/full: No space"):
        await asyncio.wait_for(FileUplinkConfig(path="/dev/full").create().run(ctx), 5)
    assert ctx.handed
    assert not ctx.acknowledged


def test_a_write_that_fails_in_the_middle_is_taken_back(tmp_path, monkeypatch):
    file = appended(FileUplinkConfig(path=str(tmp_path / "out")))
    file.write([b"whole\n"])
    real = os.write

    def short(fd, data):
        if bytes(data).startswith(b"cut"):
            return real(fd, data[:3])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", short)
        with pytest.raises(OSError, match="No space"):
            file.write([b"cut in the middle\n"])
    file.write([b"again\n"])
    file.close()
    assert (tmp_path / "out").read_bytes() == b"whole\nagain\n"


async def test_a_cancelled_write_is_finished_before_the_file_is_closed(ctx, tmp_path, monkeypatch):
    path = tmp_path / "out.jsonl"
    began, go = threading.Event(), threading.Event()
    real = os.fsync

    def slow(fd):
        began.set()
        go.wait(5)
        real(fd)

    ctx.put(sample(1))
    async with running(FileUplinkConfig(path=str(path)).create(), ctx) as task:
        await ctx.until(lambda: ctx.links)
        monkeypatch.setattr(os, "fsync", slow)
        ctx.put(sample(2))
        await asyncio.to_thread(began.wait, 5)
        task.cancel()
        await asyncio.sleep(0.01)
        assert not task.done()
        go.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        monkeypatch.undo()
    assert path.read_bytes().endswith(b"\n")
    assert len(lines(path)) >= 1


async def test_standard_output(ctx, capfd):
    seqs = await send(ctx, StdoutUplinkConfig(), map(sample, range(3)))
    assert [json.loads(line)["seq"] for line in capfd.readouterr().out.splitlines()] == seqs
    assert ctx.stats.messages == 3


STUCK = """
import asyncio, sys
from pathlib import Path
from gateway.frame import Frame
from gateway.uplinks.config import StdoutUplinkConfig
from tests.support.build import directory_of
from tests.support.uplink import running, uplink_context

async def main():
    with uplink_context(Path(sys.argv[1]), directory_of("a")) as ctx:
        async with running(StdoutUplinkConfig().create(), ctx):
            for n in range(20):
                ctx.put(Frame.of([0] * 2000, n, [n + 0.1] * 2000))
            await asyncio.sleep(0.15)  # time to fill the pipe; what matters comes after
            assert len(ctx.acknowledged) < 20
    print("stopped", file=sys.stderr)

asyncio.run(main())
"""


def test_a_reader_that_stopped_reading_does_not_hold_up_a_stop(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", STUCK, str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        try:
            process.stdout.read(1)  # and no more
            assert process.stderr.read() == b"stopped\n"
            assert process.wait(10) == 0
        finally:
            process.kill()


async def test_a_reader_that_is_gone_is_a_link_that_is_down(ctx, monkeypatch):
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb", buffering=0) as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        ctx.put(sample(1))
        with pytest.raises(LinkError, match="standard output: Broken pipe"):
            await asyncio.wait_for(StdoutUplinkConfig().create().run(ctx), 5)
    assert not ctx.acknowledged


@pytest.mark.parametrize("format_", [FileFormat.JSON, FileFormat.FRAME])
async def test_what_is_in_the_file_already_is_not_written_again(ctx, tmp_path, format_):
    """As after a kill between the write and the commit that lets go of the rows; they come in any order."""
    path = tmp_path / "out"
    config = FileUplinkConfig(path=str(path), format=format_)
    batches = [ctx.put(sample(n))[0] for n in range(40)]
    file = appended(config)
    recorder = Recorder(ctx, framed=format_ is FileFormat.FRAME, time=TimeFormat.RFC3339)
    for batch in [batches[30], *batches[3:20:2], batches[0]]:
        file.write([recorder.record(batch)])
    file.close()
    async with running(config.create(), ctx):
        await ctx.until(lambda: len(ctx.acknowledged) == 40)
    seqs = [record["seq"] for record in (records(path) if format_ is FileFormat.FRAME else lines(path))]
    assert sorted(seqs) == sorted(batch.seq for batch in batches)
    assert ctx.stats.counts["already_there"] == 11


async def test_nothing_is_written_twice_when_a_file_was_begun_before_the_repetitions_came(ctx, tmp_path):
    """Killed, killed again after a rotation; what the first file had comes only now."""
    config = FileUplinkConfig(path=str(tmp_path / "out"))
    batches = [ctx.put(sample(n))[0] for n in range(20)]
    recorder = Recorder(ctx, framed=False, time=TimeFormat.RFC3339)
    first = appended(config)
    first.write([recorder.record(batch) for batch in batches[:10]])
    first.close()
    second = appended(config)
    assert second.has(batches[3])
    ctx.remember("written", second.note())
    second.rotate()
    assert second.has(batches[4])
    second.write([recorder.record(batches[15])])
    second.close()
    ctx.acknowledged.clear()
    async with running(config.create(), ctx):
        await ctx.until(lambda: len(ctx.acknowledged) == 20)
    seqs = [line["seq"] for file in (tmp_path / "out.1", tmp_path / "out") for line in lines(file)]
    # batches[3] had come again before, was done then, and is not noted any more
    assert sorted(seqs) == sorted([*(batch.seq for batch in batches), batches[3].seq])


async def test_a_record_of_ours_that_is_torn_is_cut_off_and_comes_again(ctx, tmp_path):
    path = tmp_path / "out.jsonl"
    first = await send(ctx, FileUplinkConfig(path=str(path)), [sample(1)])
    whole = path.read_bytes()
    for end in range(1, len(whole)):
        path.write_bytes(whole + whole[:end])
        appended(FileUplinkConfig(path=str(path))).close()
        assert path.read_bytes() == whole
    assert first


async def test_a_line_that_a_power_cut_filled_with_nothing_counts_as_missing(ctx, tmp_path):
    path = tmp_path / "out.jsonl"
    (batch,) = ctx.put(sample(1))
    line = Recorder(ctx, framed=False, time=TimeFormat.RFC3339).record(batch)
    path.write_bytes(line[:-20] + b"\0" * 19 + b"\n")
    await send(ctx, FileUplinkConfig(path=str(path)), [])
    async with running(FileUplinkConfig(path=str(path)).create(), ctx):
        await ctx.until(lambda: ctx.acknowledged == [batch.seq])
    assert path.read_bytes().endswith(line)


async def test_names_follow_date_and_hour(ctx, tmp_path, monkeypatch):
    now = 1_769_860_800 - 1  # 2026-01-31T11:59:59Z
    monkeypatch.setattr(
        file_names.time, "gmtime", lambda: time.struct_time(datetime.fromtimestamp(now, UTC).timetuple())
    )
    config = FileUplinkConfig(path=str(tmp_path / "{date}" / "{gateway}-{hour}.jsonl"))
    async with running(config.create(), ctx):
        ctx.put(sample(1))
        await ctx.until(lambda: len(ctx.acknowledged) == 1)
        now += 1
        ctx.put(sample(2))
        await ctx.until(lambda: len(ctx.acknowledged) == 2)
    assert [len(lines(tmp_path / "2026-01-31" / f"test-{hour}.jsonl")) for hour in (11, 12)] == [1, 1]
    async with running(config.create(), ctx):  # goes on with the file of this hour
        ctx.put(sample(3))
        await ctx.until(lambda: len(ctx.acknowledged) == 3)
    assert len(lines(tmp_path / "2026-01-31" / "test-12.jsonl")) == 2


async def test_a_dated_file_that_is_full_gets_a_number(ctx, tmp_path):
    config = FileUplinkConfig(path=str(tmp_path / "a.b-{date}.jsonl"), max_size=Size(1), files=3)
    seqs = []
    for n in range(6):
        seqs += await send(ctx, config, [sample(n)])
    found = sorted(tmp_path.glob("a.b-*.jsonl"), key=lambda file: file.stat().st_mtime_ns)
    assert len(found) == 4
    assert found[-1].name.endswith("-6.jsonl")
    assert [line["seq"] for file in found for line in lines(file)] == seqs[-4:]
    assert ctx.stats.counts["files_removed"] == 2


@pytest.mark.parametrize(("options", "left"), [({"max_age": Duration(60)}, 1), ({"max_total": Size(250)}, 2)])
async def test_old_files_are_removed_by_age_and_by_size(tmp_path, ctx, options, left):
    path = tmp_path / "out.jsonl"
    for number in (1, 2, 3):
        old = path.with_name(f"out.jsonl.{number}")
        old.write_bytes(b"x" * 100)
        os.utime(old, (time.time() - 50 * number, time.time() - 50 * number))
    (tmp_path / "out.jsonl.bak").touch()
    await send(ctx, FileUplinkConfig(path=str(path), **options), [sample(1)])
    assert sorted(file.name for file in tmp_path.glob("out.jsonl.?")) == [f"out.jsonl.{n}" for n in range(1, left + 1)]
    assert (tmp_path / "out.jsonl.bak").exists()


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"path": "{nothing}.jsonl"}, "path"),
        ({"path": ".."}, "path"),
        ({"path": "x", "format": FileFormat.FRAME, "compress": Compress.GZIP}, "compress"),
        ({"path": "x", "columns": ()}, "columns"),
        ({"path": "x", "every": Duration(0)}, "every"),
        ({"path": "x", "max_size": Size(0)}, "max_size"),
        ({"path": "x", "format": FileFormat.CSV, "files": 0}, "files"),
    ],
)
def test_options_that_make_no_sense(options, field):
    with pytest.raises(FieldError) as caught:
        FileUplinkConfig(**options)
    assert caught.value.field == (field,)
