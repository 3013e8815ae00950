"""A recording stand-in for the gateway's side of the adapter contract, with the real directory."""

from __future__ import annotations

import asyncio
import logging
import shutil
import tempfile
import time
import weakref
from contextlib import asynccontextmanager
from pathlib import Path

from adapters.base import Stats
from gateway.directory import Directory
from gateway.finding import Finding
from gateway.frame import Frame, concat
from gateway.latest import LatestValues
from gateway.store.tokens import RecentTokens


class RecordedReceipt:
    """A receipt that the test makes durable when it wants to."""

    def __init__(self, *, held: bool) -> None:
        self.position = asyncio.get_running_loop().create_future()
        self.asked = asyncio.Event()
        if not held:
            self.position.set_result(1)

    async def durable(self) -> int:
        self.asked.set()
        return await asyncio.shield(self.position)


class RecordingContext:
    """Collects frames; ``hold=True`` leaves receipts open until the test resolves them."""

    def __init__(self, name: str = "a", *, limit: int = 10_000, hold: bool = False) -> None:
        self.gateway = "test"
        self.name = name
        self.points = Directory(limit)
        self.log = logging.LoggerAdapter(logging.getLogger(f"test.{name}"), {})
        self.stats = Stats()
        self.folder = Path(tempfile.mkdtemp(prefix="onpath-test-"))
        weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)
        self.frames: list[Frame] = []
        self.receipts: list[RecordedReceipt] = []
        self.links: list[tuple[str, bool, str]] = []
        self.hold = hold
        self.memory: dict[str, bytes] = {}
        self.recent = RecentTokens({})
        """Unlike the gateway's, known from the moment of emitting."""
        self.expected: dict[str, float] = {}
        self.rejected: list[tuple[str, str, bytes, str]] = []
        """(reason, where, payload, detail)."""
        self.findings: list[Finding] = []
        self.latest = LatestValues(self.points)
        self._news = asyncio.Event()

    def now_ns(self) -> int:
        return time.time_ns()

    async def emit(self, frame: Frame, tokens=None) -> RecordedReceipt:
        self.frames.append(frame)
        if tokens is not None:
            self.recent.add(self.name, tokens)
        self.stats.samples += len(frame)
        self.latest.take(frame)
        receipt = RecordedReceipt(held=self.hold)
        self.receipts.append(receipt)
        self._news.set()
        return receipt

    def known(self, tokens):
        return self.recent.known(self.name, tokens)

    def remember(self, key, value):
        self.memory[key] = value

    def recall(self, key):
        return self.memory.get(key)

    def link(self, device: str, *, up: bool, detail: str = "") -> None:
        self.links.append((device, up, detail))
        self._news.set()

    def expect(self, device: str, period_s: float) -> None:
        self.expected[device] = period_s

    def reject(self, reason: str, where: str, payload: bytes = b"", detail: str = "") -> None:
        self.stats.reasons[reason] += 1
        self.rejected.append((reason, where, payload, detail))
        self._news.set()

    def found(self, finding: Finding) -> None:
        self.findings.append(finding)
        self._news.set()

    def view(self, globs):
        return self.latest.view(globs)

    @property
    def frame(self) -> Frame:
        """Everything emitted so far."""
        return concat(self.frames)

    def samples(self, name: str) -> list[tuple[int, float, int]]:
        """(time, value, quality) of one point so far."""
        point = self.points.find(name)
        frame = self.frame
        rows = zip(
            frame.point.tolist(),
            frame.time.tolist(),
            frame.value.tolist(),
            frame.quality.tolist(),
            strict=True,
        )
        return [(t, v, q) for p, t, v, q in rows if p == point]

    async def until(self, condition, timeout_s: float = 30.0) -> None:
        """Wait until ``condition()`` holds; checked whenever something happens, and every 10 ms."""
        async with asyncio.timeout(timeout_s):
            while not condition():
                self._news.clear()
                try:
                    await asyncio.wait_for(self._news.wait(), 0.01)
                except TimeoutError:
                    continue


@asynccontextmanager
async def running(adapter, ctx: RecordingContext):
    """Run an adapter in the background; re-raises what it raised, cancels it at the end."""
    task = asyncio.create_task(adapter.run(ctx), name=f"adapter {ctx.name}")
    try:
        yield task
        if task.done():
            task.result()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
