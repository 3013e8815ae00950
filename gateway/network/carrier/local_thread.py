"""The thread of the carrier in a folder: what is asked for at one moment goes to disk in one transaction.

Changes of this process are noticed at once, those of others by looking at SQLite's ``data_version`` every 20 ms, and
only while somebody listens.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

import apsw

from gateway.errors import OnpathError
from gateway.network.carrier.base import CarrierError, Message
from gateway.network.carrier.local_tables import Position, Tables, Touched
from gateway.network.carrier.local_words import Words

POLL_S: Final = 0.02
CLEAN_S: Final = 30.0
GROUP: Final = 1000
"""Jobs that one transaction takes at most."""
FILE: Final = "network.db"

T = TypeVar("T")


class News(NamedTuple):
    """What has changed, told on the event loop."""

    touched: Touched
    words: list[Message]


class _Job(NamedTuple):
    call: Callable[[Tables], Any]
    writes: bool
    answer: asyncio.Future[Any]


class _Word(NamedTuple):
    subject: str
    payload: bytes
    answer: asyncio.Future[Any]


class _Hear(NamedTuple):
    """Somebody more listens to words, or somebody less."""

    more: int


class StoreThread:
    """Owns the files; see the module. All methods are the event loop's."""

    def __init__(self, folder: Path, tell: Callable[[News], None]) -> None:
        self._folder = folder
        self._tell = tell
        self._loop = asyncio.get_running_loop()
        self._jobs: queue.SimpleQueue[_Job | _Word | _Hear | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._main, name="carrier", daemon=True)
        self._opened: asyncio.Future[None] = self._loop.create_future()
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._results: list[tuple[asyncio.Future[Any], Any, BaseException | None]] = []
        self.listening = 0
        """How many want to know of changes or words; above 0 the files are looked at."""
        self.well = False
        """Whether the last transaction went well."""
        self._closing = False

    async def open(self) -> None:
        """Start, and wait until the files are open.

        Raises:
            CarrierError: they cannot be.
        """
        self._thread.start()
        await asyncio.shield(self._opened)

    async def close(self) -> None:
        """End, when what was asked for is done."""
        if not self._closing:
            self._closing = True
            self._jobs.put(None)
        await asyncio.shield(self._ended)

    def ask(self, call: Callable[[Tables], T], *, writes: bool = False) -> asyncio.Future[T]:
        """Run something in the thread; the answer comes when it is on disk."""
        answer: asyncio.Future[T] = self._loop.create_future()
        self._put(_Job(call, writes, answer))
        return answer

    def say(self, subject: str, payload: bytes) -> asyncio.Future[None]:
        """Say a word."""
        answer: asyncio.Future[None] = self._loop.create_future()
        self._put(_Word(subject, payload, answer))
        return answer

    def listen(self, more: int, *, words: bool = False) -> None:
        """Somebody more listens from now on, or somebody less."""
        self.listening += more
        if not self._closing:
            self._jobs.put(_Hear(more if words else 0))

    def _put(self, job: _Job | _Word) -> None:
        if self._closing:
            job.answer.set_exception(CarrierError(f"local:{self._folder}: closed"))
        else:
            self._jobs.put(job)

    # In the thread:

    def _main(self) -> None:
        try:
            self._folder.mkdir(0o700, parents=True, exist_ok=True)
            tables = Tables(self._folder / FILE)
            try:
                words = Words(self._folder)
            except BaseException:
                tables.close()
                raise
        except (apsw.Error, OSError, CarrierError) as error:
            self._in_loop(self._failed_to_open, CarrierError(f"local:{self._folder}: {error}"))
            return
        self.well = True
        self._in_loop(_answer, [(self._opened, None, None)])
        try:
            _Loop(self, tables, words).run()
        finally:
            self.well = False
            tables.close()
            words.close()
            self._in_loop(self._end)

    def _in_loop(self, call: Callable[..., None], *args: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(call, *args)
        except RuntimeError:
            return  # the loop has been closed over our head, nobody waits any more

    def _failed_to_open(self, error: CarrierError) -> None:
        self._opened.set_exception(error)
        self._opened.exception()  # whoever opens sees it; it need not
        self._closing = True
        self._end()

    def _end(self) -> None:
        if not self._ended.done():
            self._ended.set_result(None)

    def next_jobs(self, timeout_s: float) -> list[_Job | _Word | _Hear | None]:
        """What was asked for; nothing when the time is over."""
        found = list[_Job | _Word | _Hear | None]()
        with contextlib.suppress(queue.Empty):
            found.append(self._jobs.get(timeout=timeout_s))
            while len(found) < GROUP:
                found.append(self._jobs.get_nowait())
        return found

    def result(self, answer: asyncio.Future[Any], value: Any, error: BaseException | None = None) -> None:
        """Note an answer, for :meth:`flush`."""
        self._results.append((answer, value, error))

    def flush(self, news: News | None) -> None:
        """Hand answers and news to the event loop."""
        if self._results:
            results, self._results = self._results, []
            self._in_loop(_answer, results)
        if news is not None:
            self._in_loop(self._tell, news)

    def failed(self, error: Exception) -> CarrierError:
        """What a failed transaction raises."""
        return CarrierError(f"local:{self._folder}: {error}")


def _answer(results: list[tuple[asyncio.Future[Any], Any, BaseException | None]]) -> None:
    for answer, value, error in results:
        if answer.done():
            continue  # cancelled
        if error is None:
            answer.set_result(value)
        else:
            answer.set_exception(error)


class _Loop:
    """What the thread does, with the files open."""

    def __init__(self, thread: StoreThread, tables: Tables, words: Words) -> None:
        self._thread = thread
        self._tables = tables
        self._words = words
        self._seen: Position = tables.position()
        self._versions = (tables.data_version(), words.data_version())
        self._hearing = 0
        self._clean_at = time.monotonic() + CLEAN_S * random.uniform(0.1, 1)  # noqa: S311  spreads load

    def run(self) -> None:
        """Until it is told to end."""
        thread, over = self._thread, False
        while not over:
            jobs = thread.next_jobs(POLL_S if thread.listening else CLEAN_S)
            if None in jobs:
                over = True
            asked = [job for job in jobs if isinstance(job, _Job)]
            self._hear([job for job in jobs if isinstance(job, _Hear)])
            self._write([job for job in asked if job.writes])
            said = self._say([job for job in jobs if isinstance(job, _Word)])
            self._read([job for job in asked if not job.writes])
            thread.flush(self._look(wrote=any(job.writes for job in asked), said=said))
            if time.monotonic() > self._clean_at:
                self._clean()

    def _write(self, jobs: list[_Job]) -> None:
        """All in one transaction; what a job refuses concerns that job only."""
        if not jobs:
            return
        thread, tables = self._thread, self._tables
        results: list[tuple[asyncio.Future[Any], Any, BaseException | None]] = []
        try:
            tables.begin()
            results = [(job.answer, *_run(job, tables)) for job in jobs]
            tables.commit()
        except apsw.Error as error:
            thread.well = False
            results = [(job.answer, None, thread.failed(error)) for job in jobs]
        else:
            thread.well = True
        finally:
            tables.roll_back()
        for one in results:
            thread.result(*one)

    def _read(self, jobs: list[_Job]) -> None:
        for job in jobs:
            try:
                self._thread.result(job.answer, *_run(job, self._tables))
            except apsw.Error as error:
                self._thread.result(job.answer, None, self._thread.failed(error))

    def _hear(self, jobs: list[_Hear]) -> None:
        for job in jobs:
            if not self._hearing and job.more > 0:
                self._words.skip()
            self._hearing += job.more

    def _say(self, words: list[_Word]) -> bool:
        if not words:
            return False
        error: CarrierError | None = None
        try:
            self._words.add([(word.subject, word.payload) for word in words])
        except apsw.Error as why:
            error = self._thread.failed(why)
        for word in words:
            self._thread.result(word.answer, None, error)
        return error is None

    def _look(self, *, wrote: bool, said: bool) -> News | None:
        """What has changed since the last look, if somebody wants to know."""
        thread = self._thread
        try:
            old, self._versions = self._versions, (self._tables.data_version(), self._words.data_version())
            words = self._words.new() if self._hearing and (said or old[1] != self._versions[1]) else []
            touched = Touched(set(), set())
            if wrote or old[0] != self._versions[0]:
                before, self._seen = self._seen, self._tables.position()
                if thread.listening:
                    touched = self._tables.touched(before, self._seen)
        except apsw.Error:
            thread.well = False  # whoever asks for something hears why
            return None
        return News(touched, words) if words or touched.lanes or touched.buckets else None

    def _clean(self) -> None:
        self._clean_at = time.monotonic() + CLEAN_S * random.uniform(0.8, 1.2)  # noqa: S311  likewise
        tables = self._tables
        try:
            tables.begin()
            tables.clean()
            tables.commit()
            tables.shrink()
        except apsw.Error:
            return  # the next time; it is not urgent
        finally:
            tables.roll_back()


def _run(job: _Job, tables: Tables) -> tuple[Any, OnpathError | None]:
    """A job's answer, or what it refuses."""
    try:
        return job.call(tables), None
    except OnpathError as error:
        return None, error
