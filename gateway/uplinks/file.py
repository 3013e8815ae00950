"""Uplinks to a file, rotated by size, and to standard output."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import select
import sys
import threading
from pathlib import Path
from typing import BinaryIO

import msgpack

from gateway.batch import Batch
from gateway.errors import LinkError
from gateway.tasks import in_thread
from gateway.uplinks.base import Uplink, UplinkContext
from gateway.uplinks.config import FileUplinkConfig, Format, StdoutUplinkConfig
from gateway.uplinks.formats import FrameEncoder, encode_json

GATHER = 64
"""Batches written and synced together, at most."""


class RotatedFile:
    """An append-only file; ``path`` becomes ``path.1``, that ``path.2`` ... before it outgrows its bound."""

    def __init__(self, config: FileUplinkConfig) -> None:
        self._path = Path(config.path)
        self._config = config
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._open()
        try:
            self._mend()
        except OSError:
            self._file.close()
            raise

    def _open(self) -> io.FileIO:
        """The file at its end, its name as durable as what is written to it."""
        file = io.FileIO(self._path, "ab")
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        return file

    def _mend(self) -> None:
        """Mend a record that a power cut left half written, so that the next one is not lost with it.

        It was not acknowledged, so it comes again. A line is ended; of msgpack, the open end is cut off.
        """
        size = self._file.tell()
        if not size:
            return
        with self._path.open("rb") as existing:
            if self._config.format is Format.FRAME:
                self._file.truncate(_whole(existing, size))
                return
            existing.seek(size - 1)
            if existing.read(1) != b"\n":
                self._file.write(b"\n")

    def write(self, records: list[bytes]) -> None:
        """Append records and sync them to disk, all or (where the disk is full) none. Blocks: called in a thread."""
        before = os.fstat(self._file.fileno()).st_size
        try:
            _write_all(self._file.fileno(), b"".join(records))
            os.fsync(self._file.fileno())
        except OSError:
            with contextlib.suppress(OSError):  # the first error is the one to tell
                self._file.truncate(before)
            raise

    @property
    def full(self) -> bool:
        """Whether the file has reached its bound."""
        return os.fstat(self._file.fileno()).st_size >= self._config.max_size

    def rotate(self) -> None:
        """Begin a new file. Blocks: called in a thread."""
        self._file.close()
        numbered = [self._path.with_name(f"{self._path.name}.{n}") for n in range(1, self._config.keep + 1)]
        if numbered:
            for older, newer in zip(reversed(numbered), reversed([self._path, *numbered[:-1]]), strict=True):
                if newer.exists():
                    newer.replace(older)
        else:
            self._path.unlink()
        self._file = self._open()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _whole(stream: BinaryIO, size: int) -> int:
    """Where the last whole msgpack object of a stream ends, in bytes; ``size`` if it holds something else."""
    unpacker = msgpack.Unpacker(stream)
    try:
        while True:
            end = int(unpacker.tell())
            unpacker.skip()
    except msgpack.OutOfData:
        return end
    except (ValueError, msgpack.UnpackException):
        return size


def _write_all(fd: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        try:
            left = left[os.write(fd, left) :]
        except BlockingIOError:  # somebody who shares our standard output made it non-blocking
            select.select([], [fd], [])


class Recorder:
    """Batches to the bytes that a stream of records holds, in either format."""

    def __init__(self, config: FileUplinkConfig | StdoutUplinkConfig, ctx: UplinkContext) -> None:
        self._config = config
        self._ctx = ctx
        self._frames = FrameEncoder(ctx.gateway, ctx.directory)

    def begin(self) -> None:
        """A new file begins: it has to name its points itself."""
        self._frames = FrameEncoder(self._ctx.gateway, self._ctx.directory)

    def record(self, batch: Batch) -> bytes:
        """One JSON line, or a msgpack map with the directory before it where points are new."""
        ctx = self._ctx
        if self._config.format is Format.JSON:
            return encode_json(batch, ctx.gateway, ctx.directory, self._config.time) + b"\n"
        message, announced = self._frames.encode(batch)
        return b"".join([*(directory for _, directory in announced), message])


class FileUplink(Uplink):
    """See :class:`FileUplinkConfig`. A batch is done when it is synced to disk."""

    def __init__(self, config: FileUplinkConfig) -> None:
        self._config = config

    async def run(self, ctx: UplinkContext) -> None:
        """See the base class."""
        try:
            file = await in_thread(RotatedFile, self._config)
        except OSError as error:
            raise LinkError(f"{self._config.path}: {error.strerror}") from error
        ctx.link(up=True, detail=self._config.path)
        recorder = Recorder(self._config, ctx)
        try:
            while True:
                await self._write_some(ctx, file, recorder)
        except OSError as error:
            raise LinkError(f"{self._config.path}: {error.strerror}") from error
        finally:
            file.close()

    async def _write_some(self, ctx: UplinkContext, file: RotatedFile, recorder: Recorder) -> None:
        batches = [await ctx.next(), *ctx.ready(GATHER - 1)]
        if file.full:
            await in_thread(file.rotate)
            recorder.begin()
        records = [recorder.record(batch) for batch in batches]
        await in_thread(file.write, records)
        ctx.stats.messages += len(batches)
        ctx.stats.bytes += sum(map(len, records))
        for batch in batches:
            ctx.done(batch)


class StdoutUplink(Uplink):
    """See :class:`StdoutUplinkConfig`. A batch is done when the pipe has taken it."""

    def __init__(self, config: StdoutUplinkConfig) -> None:
        self._config = config

    async def run(self, ctx: UplinkContext) -> None:
        """See the base class."""
        recorder = Recorder(self._config, ctx)
        ctx.link(up=True)
        while True:
            batch = await ctx.next()
            record = recorder.record(batch)
            if error := await _printed(record):
                raise LinkError(f"standard output: {error.strerror}") from error
            ctx.stats.messages += 1
            ctx.stats.bytes += len(record)
            ctx.done(batch)


_printing = threading.Lock()


async def _printed(record: bytes) -> OSError | None:
    """Write to standard output; what went wrong, if anything.

    In a thread that nothing waits for: whoever reads our output may stop reading, and then a stop of the
    gateway may not hang on it.
    """
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[OSError | None] = loop.create_future()

    def settle(error: OSError | None) -> None:
        if not outcome.done():
            outcome.set_result(error)

    def work() -> None:
        error = _print(record)
        with contextlib.suppress(RuntimeError):  # the loop is closed: the process is ending
            loop.call_soon_threadsafe(settle, error)

    threading.Thread(target=work, name="stdout", daemon=True).start()
    return await outcome


def _print(record: bytes) -> OSError | None:
    with _printing:
        try:
            _write_all(sys.stdout.fileno(), record)
        except OSError as error:
            return error
    return None
