"""Files that are visible when they are complete: compressed lines, CSV, Parquet.

A file is written as ``NAME.part``. When it is full or old enough it is closed and synced; what it holds is noted in the
store (``closing``), and only when that note is on disk does the file get its name; then its batches are done. At a
start, a ``.part`` was not complete: it is removed, and its batches come again. If the file that the note speaks of has
its name, its batches are done already, in whatever order they come again.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import zstandard

from gateway.batch import Batch
from gateway.errors import StoreError
from gateway.frame import Frame
from gateway.tasks import in_thread
from gateway.uplinks.base import UplinkContext
from gateway.uplinks.file_append import GATHER, sync_folder
from gateway.uplinks.file_config import WHOLE_FILES_S, FileUplinkConfig
from gateway.uplinks.file_names import PART, FileNames, tell_removed
from gateway.uplinks.file_sinks import open_sink

NOTE: Final = "closing"
MAX_BATCHES: Final = 50_000
"""Batches of one file: they are all open until it is complete."""
MAX_THERE: Final = 2 * MAX_BATCHES
"""Seqs that are remembered as being in files, the newest; they come again only if they were not let go of in time."""
HOUR_S: Final = 3600.0


class WholeFiles:
    """One run: a file after another."""

    def __init__(self, config: FileUplinkConfig, names: FileNames, ctx: UplinkContext) -> None:
        self._config = config
        self._names = names
        self._ctx = ctx
        self._there: tuple[int, set[int]] = (0, set())
        """Epoch and seqs that files have from before the start, and that have not come again yet."""
        self._left: list[Batch] = []
        """Came when a file was over; they belong into the next."""
        self._getting: asyncio.Task[Batch] | None = None

    async def run(self) -> None:
        """Write until cancelled; a file that is open then is completed."""
        self._there = await in_thread(self._begin)
        self._ctx.link(up=True, detail=self._config.path)
        try:
            while True:
                await self._one_file()
        finally:
            if self._getting is not None:
                self._getting.cancel()
                await asyncio.gather(self._getting, return_exceptions=True)

    def _begin(self) -> tuple[int, set[int]]:
        there = (0, set[int]())
        if (raw := self._ctx.recall(NOTE)) is not None:
            note = msgspec.msgpack.decode(raw, type=_Note)
            seqs = _unpacked(note.there)
            final = Path(note.final)
            if final.exists() and not Path(note.part).exists():
                sync_folder(final.parent)
                seqs += _unpacked(note.held)
            there = note.epoch, set(sorted(seqs)[-MAX_THERE:])
        for part in self._names.parts():
            part.unlink(missing_ok=True)
        return there

    async def _one_file(self) -> None:
        """From its first batch until it has its name."""
        batches = self._left or await self._some(None)
        self._left = []
        file = _Open(self._config, self._names, self._ctx)
        try:
            await in_thread(file.begin)
            while True:
                await in_thread(file.write, batches)
                self._ctx.stats.messages += len(batches)
                batches = [] if file.due() else await self._some(file.left_s())
                if file.due():
                    break
            self._left = batches
            await self._complete(file)
        except asyncio.CancelledError:
            with contextlib.suppress(OSError, StoreError):  # then its batches come again
                await self._complete(file)
            raise
        finally:
            file.abandon()

    async def _some(self, timeout_s: float | None) -> list[Batch]:
        """Batches that are in no file yet; none if there are none in time."""
        ctx = self._ctx
        while True:
            if self._getting is None:
                self._getting = asyncio.create_task(ctx.next(), name=f"uplink {ctx.name} next")
            await asyncio.wait((self._getting,), timeout=timeout_s)
            if not self._getting.done():
                return []
            batches, self._getting = [self._getting.result(), *ctx.ready(GATHER - 1)], None
            if fresh := [batch for batch in batches if not self._is_done(batch)]:
                return fresh

    def _is_done(self, batch: Batch) -> bool:
        """Whether it is in a file that was completed before the start; then it is done now."""
        epoch, seqs = self._there
        again = batch.epoch == epoch and batch.seq in seqs
        if again:
            seqs.discard(batch.seq)
            self._ctx.stats.counts["already_there"] += 1
            self._ctx.done(batch)
        return again

    async def _complete(self, file: _Open) -> None:
        ctx = self._ctx
        if file.published or not file.held:
            return
        await in_thread(file.finish)
        ctx.remember(NOTE, file.note(*self._there))
        await ctx.saved()
        await in_thread(file.publish)
        ctx.stats.counts["files_written"] += 1
        ctx.stats.bytes += file.size
        for batch in file.held:
            ctx.done(batch)
        tell_removed(ctx, await in_thread(_tidy, self._names))


class _Open:
    """A file that is being written. Methods block: called in a thread."""

    def __init__(self, config: FileUplinkConfig, names: FileNames, ctx: UplinkContext) -> None:
        self._config = config
        self._names = names
        self._ctx = ctx
        self.held: list[Batch] = []
        """What is in it, without the samples."""
        self.size = 0
        self.published = False

    def begin(self) -> None:
        """Open it under the name of a part."""
        self._base = self._names.base()
        self._began = time.monotonic()
        self._final = self._names.path(self._base, self._names.newest(self._base) + 1)
        self._part = self._final.with_name(self._final.name + PART)
        self._part.parent.mkdir(parents=True, exist_ok=True)
        self._raw = self._part.open("wb")
        sync_folder(self._part.parent)
        self._sink = open_sink(self._config, self._ctx, self._raw)

    def write(self, batches: list[Batch]) -> None:
        self._sink.write(batches)
        self.held += map(_blank, batches)

    def due(self) -> bool:
        """Whether it is full or old enough."""
        return (
            len(self.held) >= MAX_BATCHES
            or self._sink.size() >= self._config.max_size
            or self._age_s() >= (self._config.every_s or WHOLE_FILES_S)
            or (self._names.dated and self._names.base() != self._base)
        )

    def left_s(self) -> float:
        """How long it may stay open at most; the full hours are looked at, for the name may change then."""
        left = (self._config.every_s or WHOLE_FILES_S) - self._age_s()
        return max(0.01, min(left, HOUR_S - time.time() % HOUR_S))

    def _age_s(self) -> float:
        return time.monotonic() - self._began

    def finish(self) -> None:
        """All of it is on disk, under the name of a part."""
        self._sink.close()
        self._raw.flush()
        os.fsync(self._raw.fileno())
        self.size = self._raw.tell()
        self._raw.close()

    def note(self, epoch: int, there: set[int]) -> bytes:
        """Both names, what is in it, and what other files have that may still come again."""
        own = self.held[0].epoch
        held = _packed(batch.seq for batch in self.held)
        note = _Note(str(self._final), str(self._part), own, held, _packed(there if epoch == own else ()))
        return msgspec.msgpack.encode(note)

    def publish(self) -> None:
        """Give it its name."""
        self._part.rename(self._final)
        self.published = True
        sync_folder(self._final.parent)

    def abandon(self) -> None:
        """Remove it if it has no name; cheap enough for the event loop."""
        if not self.published and hasattr(self, "_raw"):
            with contextlib.suppress(OSError):  # a full disk
                if hasattr(self, "_sink"):
                    self._sink.abandon()
                self._raw.close()
            self._part.unlink(missing_ok=True)


class _Note(msgspec.Struct, frozen=True):
    final: str
    part: str
    epoch: int
    held: bytes
    there: bytes


def _packed(seqs: Iterable[int]) -> bytes:
    steps = np.diff(np.sort(np.fromiter(seqs, np.int64)), prepend=0)
    return zstandard.ZstdCompressor().compress(steps.astype(np.int64).tobytes())


def _unpacked(raw: bytes) -> list[int]:
    steps = zstandard.ZstdDecompressor().decompress(raw, max_output_size=8 * (MAX_BATCHES + MAX_THERE + GATHER))
    return [int(seq) for seq in np.frombuffer(steps, np.int64).cumsum().tolist()]


def _blank(batch: Batch) -> Batch:
    """A batch as the books want it: so many samples, none of their bytes."""
    return replace(batch, frame=_blank_frame(len(batch.frame)), block=b"", bounds=())


@lru_cache(maxsize=4096)
def _blank_frame(n: int) -> Frame:
    """A frame of any length in the memory of one sample."""
    empty = Frame.of([0], 0, [0.0])
    columns = (empty.point, empty.time, empty.value, empty.quality)
    return Frame(*(np.broadcast_to(column[0], n) for column in columns))


def _tidy(names: FileNames) -> list[Path]:
    gone = names.surplus()
    for file in gone:
        file.unlink(missing_ok=True)
    return gone
