"""The local history: what came in, kept by size and age, found by point and time.

In the daemon it is made in the store's thread, in pieces of a few milliseconds (:mod:`gateway.store.compact`), and
read through a connection of its own beside it (:mod:`gateway.store.reading`), so that commits wait for neither.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Callable, Iterator
from pathlib import Path
from typing import Any, Final, Self, TypeVar

import apsw
import msgspec
import numpy as np

from gateway.clock import Clock
from gateway.directory import Directory
from gateway.errors import OnpathError, StoreError
from gateway.frame import Frame, concat
from gateway.intake import Intake
from gateway.latest import LatestValues
from gateway.store.compact import Compaction
from gateway.store.database import StoreFullError
from gateway.store.reading import EVER, Effort, Query, Reader, matching
from gateway.uplinks.config import TimeFormat
from gateway.wire.record import samples

log = logging.getLogger(__name__)

T = TypeVar("T")

LOOK_S: Final = 2.0
"""How often it is looked whether there is enough for a segment."""
IDLE: Final = 3.0
"""Between two pieces the store's thread is left alone for so many times what the last one took."""
RETRY_S: Final = 30.0
ROWS: Final = 500
"""Samples an answer of the verb ``history``."""
AT_ONCE: Final = 2
"""Queries that read at the same time."""
MOST: Final = 1 << 20
"""Samples that ``newest`` may ask for: they are held in memory."""


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody wants to see; also the verb's request."""

    globs: tuple[str, ...] = ("**",)
    since_ns: int = EVER[0]
    """Source time from which, ns."""
    until_ns: int = EVER[1]
    """Source time before which, ns."""
    newest: int | None = None
    """Only so many, the newest."""
    latest: bool = False
    """The newest sample of each point instead, however old."""
    time: str = "rfc3339"
    """``ns``: times as integers."""

    @classmethod
    def of(cls, request: dict[str, Any]) -> Self:
        """The request of the verb.

        Raises:
            OnpathError: something in it is of the wrong type.
        """
        try:
            return msgspec.convert({key: value for key, value in request.items() if key != "verb"}, cls)
        except msgspec.ValidationError as error:
            raise OnpathError(f"history: {error}") from error


def frames(reader: Reader, directory: Directory, asked: Asked, effort: Effort) -> Iterator[Frame]:
    """Samples in the order of time, a segment at a time; says in ``effort`` what it took.

    Raises:
        OnpathError: no point has such a name.
        StoreError: the file cannot be read.
    """
    points = matching(directory, asked.globs)
    if not len(points):
        raise OnpathError(f"no point is called {' or '.join(asked.globs)}")
    if asked.latest:
        found = reader.latest()
        yield found.take(np.isin(found.point, points))
        return
    query = Query(reader, points, asked.since_ns, asked.until_ns, backwards=asked.newest is not None)
    query.effort = effort
    if asked.newest is None:
        yield from query
    else:
        yield _newest(query, min(asked.newest, MOST))


def _newest(query: Query, most: int) -> Frame:
    held: list[Frame] = []
    for frame in query:
        held.append(frame)
        if sum(map(len, held)) >= most:
            break
    whole = concat(reversed(held))
    return whole.take(slice(max(0, len(whole) - most), None))


def answer(frame: Frame, directory: Directory, time: TimeFormat) -> dict[str, Any]:
    """``{"samples": [...], "units": {point: unit}}``, samples as in the format ``json``; plain JSON types."""
    known = map(directory.point, np.unique(frame.point).tolist())
    units = {point.name: point.unit for point in known if point.unit}
    return {"samples": samples(frame, directory, time), "units": units}


class History:
    """The daemon's. ``run`` and ``fill`` are tasks of it."""

    def __init__(self, state: Path, intake: Intake, clock: Clock, latest: LatestValues) -> None:
        self._state = state
        self._intake = intake
        self._clock = clock
        self._latest = latest
        self._compaction: Compaction | None = None
        self._turn = asyncio.Semaphore(AT_ONCE)

    async def run(self) -> None:
        """Compact what lies behind the checkpoint, for ever."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(LOOK_S)
            if self._intake.failure is not None:
                continue
            try:
                began = loop.time()
                while await self._intake.on_store(self._step):
                    await asyncio.sleep(IDLE * (loop.time() - began))
                    began = loop.time()
            except StoreError as error:
                log.warning("the history could not be written: %s", error)
                await asyncio.sleep(RETRY_S)

    def _step(self) -> bool:
        store = self._intake.engine.store
        if self._compaction is None or self._compaction.store is not store:
            self._compaction = Compaction(store)
        try:
            return self._compaction.step(self._clock.now_ns())
        except StoreFullError:  # commits may well go on in the room that is left
            raise
        except StoreError as error:
            if isinstance(error.__cause__, apsw.Error):  # of which ``on_store`` knows what to do: open it again
                raise error.__cause__ from None
            raise

    async def fill(self) -> None:
        """Whoever begins to watch latest values finds those from before: nobody need ask the devices for them."""
        while True:
            await self._latest.asked.wait()
            self._latest.asked.clear()
            try:
                self._latest.take(await _in_thread(self._read_latest))
            except OnpathError as error:
                log.warning("latest values could not be looked up in the history: %s", error)
            self._latest.caught_up.set()

    def _read_latest(self) -> Frame:
        with Reader(self._state) as reader:
            return reader.latest()

    async def query(self, asked: Asked, effort: Effort) -> AsyncGenerator[Frame, None]:
        """See :func:`frames`."""
        reader = await _in_thread(lambda: Reader(self._state))
        try:
            found = frames(reader, self._intake.directory, asked, effort)
            while True:
                async with self._turn:
                    frame = await _in_thread(lambda: next(found, None))
                if frame is None:
                    return
                yield frame
        finally:
            reader.close()

    async def history_verb(self, request: dict[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        """``{"verb": "history", "globs": ["**/power"], "since_ns": ..., "until_ns": ...}``; see :class:`Asked`.

        Answers as :func:`answer` has them; the last is ``{"end": {"samples": n, "bytes": n,
        "blocks": n, "damaged": n}}``.
        """
        asked = Asked.of(request)
        time = TimeFormat.NS if asked.time == "ns" else TimeFormat.RFC3339
        effort, given, directory = Effort(), 0, self._intake.directory
        async with contextlib.aclosing(self.query(asked, effort)) as found:
            async for frame in found:
                given += len(frame)
                for start in range(0, len(frame), ROWS):
                    yield await asyncio.to_thread(answer, frame.take(slice(start, start + ROWS)), directory, time)
        yield {"end": {"samples": given} | msgspec.to_builtins(effort)}


async def _in_thread(call: Callable[[], T]) -> T:
    """Like ``asyncio.to_thread``, but a cancellation waits: what the thread uses is closed next."""
    running = asyncio.ensure_future(asyncio.to_thread(call))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait((running,))
        raise
