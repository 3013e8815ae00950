"""The file and stdout uplinks: on disk before done, rotated, mended after a power cut, back after an error."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading

import pytest

from gateway.errors import LinkError
from gateway.frame import Frame
from gateway.units import Size
from gateway.uplinks import file as files
from gateway.uplinks.config import FileUplinkConfig, Format, StdoutUplinkConfig
from gateway.uplinks.decode import FrameDecoder, messages
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
    assert ctx.stats.as_dict() == {
        "messages": 200, "acknowledged": 200, "samples": 200, "bytes": path.stat().st_size, "link": "down",
        "refused": 0,
    }  # fmt: skip
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
    config = FileUplinkConfig(path=str(path), max_size=Size(1), keep=keep)
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
    config = FileUplinkConfig(path=str(path), format=Format.FRAME)
    first = await send(ctx, config, [sample(1)])
    second = await send(ctx, config, [sample(2)])
    os.truncate(path, path.stat().st_size - cut)
    third = await send(ctx, config, [sample(3)])
    assert [record["seq"] for record in records(path)] == first + third
    assert second


async def test_a_file_of_something_else_is_not_cut(ctx, tmp_path):
    path = tmp_path / "out.frames"
    path.write_bytes(b"\xc1 something else")
    await send(ctx, FileUplinkConfig(path=str(path), format=Format.FRAME), [sample(1)])
    assert path.read_bytes().startswith(b"\xc1 something else\x84")


async def test_every_file_of_frames_names_its_points_itself(ctx, tmp_path):
    path = tmp_path / "out.frames"
    config = FileUplinkConfig(path=str(path), format=Format.FRAME, max_size=Size(300))
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
    file = files.RotatedFile(FileUplinkConfig(path=str(tmp_path / "out")))
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
