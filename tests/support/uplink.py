"""The gateway's side of the uplink contract over a real spool and feed, recording what an uplink says."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from gateway.batch import Batch
from gateway.directory import Directory
from gateway.frame import Frame
from gateway.store.config import Queue, SpoolConfig
from gateway.store.database import open_database
from gateway.store.spool import Spool
from gateway.tasks import ended
from gateway.uplinks.base import UplinkStats
from gateway.uplinks.feed import Feed
from gateway.uplinks.gate import Gate
from gateway.uplinks.options import BacklogConfig, UplinkConfig

DAY_NS = 86_400 * 10**9


class RecordingUplinkContext:
    """``put`` commits samples as the engine would; ``acknowledged`` are the seqs an uplink called done."""

    def __init__(self, db, directory: Directory, config: SpoolConfig | None = None) -> None:
        self.gateway = "test"
        self.name = "out"
        self.directory = directory
        self.log = logging.LoggerAdapter(logging.getLogger("test.uplink"), {})
        self.stats = UplinkStats()
        self.db = db
        config = config or SpoolConfig()
        kept = Queue(bounds=config, keep_ns=3600 * 10**9)
        self.spool = Spool(db, config, 77, queues={"out": kept})
        self.spool.load()
        gate = Gate(UplinkConfig(backlog=BacklogConfig(in_flight=1000)))  # the uplink's own window is what counts
        self.feed = Feed(self._read, self._delivered, self.spool.newest, gate=gate)
        self.acknowledged: list[int] = []
        self.handed: list[int] = []
        self.given_up: list[tuple[Batch, str]] = []
        self.links: list[tuple[bool, str]] = []
        self.memory: dict[str, bytes] = {}
        self._news = asyncio.Event()

    async def _read(self, after: int, limit: int, _rank: int) -> list[Batch]:
        return self.spool.read("out", after, limit, time.time_ns())

    def _delivered(self, seq: int) -> None:
        with self.db:
            self.spool.deliver([("out", seq)], time.time_ns())
        self.feed.removed([seq])

    def repeat(self, after: int) -> None:
        with self.db:
            self.spool.repeat("out", after)
        self.feed.again(after)

    @property
    def newest(self) -> int:
        return self.spool.newest

    async def oldest(self) -> int:
        return self.spool.first("out")

    def park(self, batch: Batch) -> None:
        self.feed.park(batch.seq)

    def remember(self, key: str, value: bytes) -> None:
        self.memory[key] = value

    def recall(self, key: str) -> bytes | None:
        return self.memory.get(key)

    async def saved(self) -> None:
        """Memory is all there is."""

    def put(self, frame: Frame, pipeline: str = "p") -> list[Batch]:
        with self.db:
            batches = self.spool.append("out", pipeline, frame, time.time_ns())
        self.feed.offer(batches)
        return batches

    def lose(self, frame: Frame, pipeline: str = "p") -> list[Batch]:
        """Samples that policy let go: a loss marker travels instead."""
        with self.db:
            doomed = self.spool.append("out", pipeline, frame, time.time_ns() - 40 * DAY_NS)
            self.spool.expire(time.time_ns())
            markers = self.spool.announce("out", time.time_ns())
        assert doomed
        self.feed.offer(markers)
        return markers

    async def next(self) -> Batch:
        batch = await self.feed.next()
        self.handed.append(batch.seq)
        return batch

    def ready(self, limit: int) -> list[Batch]:
        batches: list[Batch] = []
        while len(batches) < limit and (batch := self.feed.ready()) is not None:
            batches.append(batch)
        self.handed += [batch.seq for batch in batches]
        return batches

    def done(self, batch: Batch) -> None:
        self.acknowledged.append(batch.seq)
        self.stats.acknowledged += 1
        self.stats.samples += len(batch.frame)
        self.feed.done(batch.seq)
        self._news.set()

    def give_up(self, batch: Batch, reason: str) -> None:
        self.given_up.append((batch, reason))
        self.feed.done(batch.seq)
        self._news.set()

    def link(self, *, up: bool, detail: str = "") -> None:
        self.links.append((up, detail))
        self._news.set()

    async def until(self, condition, timeout_s: float = 10.0) -> None:
        """Wait until ``condition()`` holds; checked whenever something happens, and every 10 ms."""
        async with asyncio.timeout(timeout_s):
            while not condition():
                self._news.clear()
                try:
                    await asyncio.wait_for(self._news.wait(), 0.01)
                except TimeoutError:
                    continue


@contextmanager
def uplink_context(folder: Path, directory: Directory, config: SpoolConfig | None = None):
    """A context over the spool of a folder; the database is closed at the end."""
    db = open_database(folder, 1)
    db.pragma("synchronous", "off")  # a test needs no power cut
    try:
        yield RecordingUplinkContext(db, directory, config)
    finally:
        db.close()


@asynccontextmanager
async def running(uplink, ctx: RecordingUplinkContext):
    """Run an uplink as the supervisor starts it; cancelled at the end."""
    ctx.feed.rewind()
    task = asyncio.create_task(uplink.run(ctx), name="uplink out")
    try:
        yield task
        if task.done() and not task.cancelled():
            task.result()
    finally:
        await ended(task)
