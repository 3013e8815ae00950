"""Uplinks to a file, rotated by size, and to standard output."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from gateway.batch import Batch
from gateway.errors import LinkError
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
        self._file = self._path.open("ab")
        self._mend()

    def _mend(self) -> None:
        """End a line that a power cut left half written, so that the next record is not lost with it."""
        size = self._file.tell()
        if self._config.format is Format.JSON and size:
            with self._path.open("rb") as existing:
                existing.seek(size - 1)
                if existing.read(1) != b"\n":
                    self._file.write(b"\n")

    def write(self, records: list[bytes]) -> None:
        """Append records and sync them to disk. Blocks: called in a thread."""
        self._file.write(b"".join(records))
        self._file.flush()
        os.fsync(self._file.fileno())

    @property
    def full(self) -> bool:
        """Whether the file has reached its bound."""
        return self._file.tell() >= self._config.max_size

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
        self._file = self._path.open("ab")

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class Recorder:
    """Batches to the bytes that a stream of records holds, in either format."""

    def __init__(self, config: FileUplinkConfig | StdoutUplinkConfig, ctx: UplinkContext) -> None:
        self._config = config
        self._ctx = ctx
        self._frames = FrameEncoder(ctx.gateway, ctx.epoch, ctx.directory)

    def begin(self) -> None:
        """A new file begins: it has to name its points itself."""
        self._frames = FrameEncoder(self._ctx.gateway, self._ctx.epoch, self._ctx.directory)

    def record(self, batch: Batch) -> bytes:
        """One JSON line, or a msgpack map with the directory before it where points are new."""
        ctx = self._ctx
        if self._config.format is Format.JSON:
            return encode_json(batch, ctx.gateway, ctx.epoch, ctx.directory, self._config.time) + b"\n"
        message, announced = self._frames.encode(batch)
        return announced[1] + message if announced else message


class FileUplink(Uplink):
    """See :class:`FileUplinkConfig`. A batch is done when it is synced to disk."""

    def __init__(self, config: FileUplinkConfig) -> None:
        self._config = config

    async def run(self, ctx: UplinkContext) -> None:
        """See the base class."""
        try:
            file = await asyncio.to_thread(RotatedFile, self._config)
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
            await asyncio.to_thread(file.rotate)
            recorder.begin()
        records = [recorder.record(batch) for batch in batches]
        await asyncio.shield(asyncio.to_thread(file.write, records))
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
            try:
                await asyncio.to_thread(_print, record)
            except OSError as error:
                raise LinkError(f"standard output: {error.strerror}") from error
            ctx.stats.messages += 1
            ctx.stats.bytes += len(record)
            ctx.done(batch)


def _print(record: bytes) -> None:
    sys.stdout.buffer.write(record)
    sys.stdout.buffer.flush()
