"""Runs one adapter for a moment, outside the daemon, and keeps what it says of each point."""

from __future__ import annotations

import asyncio
import logging
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from adapters.base import AdapterConfig, Points, Stats, Tokens
from gateway.directory import Directory
from gateway.errors import LinkError
from gateway.finding import Finding
from gateway.frame import Frame, Mask
from gateway.latest import LatestValues, ValuesView
from gateway.quality import reason_codes


@dataclass(frozen=True)
class Sample:
    """One sample; ``text`` if the point is a state that has one."""

    time_ns: int
    value: float
    quality: int
    reason: int
    text: str


class _Kept:
    """A receipt for what is only in memory."""

    async def durable(self) -> int:
        """Nothing waits here: see :class:`adapters.base.Receipt`."""
        return 0


class Collector:
    """The gateway's side of the adapter contract, see :class:`adapters.base.Context`; nothing is stored."""

    def __init__(self, name: str) -> None:
        self.gateway = "onpath"
        self.name = name
        self._directory = Directory()
        self.points: Points = self._directory
        self.stats = Stats()
        self.log = logging.LoggerAdapter(logging.getLogger("onpath.tool"), {"adapter": name})
        self.samples: dict[str, list[Sample]] = defaultdict(list)
        self.news = asyncio.Event()
        self._memory: dict[str, bytes] = {}
        self._folder = tempfile.TemporaryDirectory(prefix="onpath-tool-")
        self.folder = Path(self._folder.name)
        self.findings: list[Finding] = []
        self.latest = LatestValues(self._directory)

    def now_ns(self) -> int:
        """The wall clock."""
        return time.time_ns()

    async def emit(self, frame: Frame, tokens: Tokens | None = None) -> _Kept:
        """Keep the samples by point."""
        del tokens
        codes = reason_codes(frame.value).tolist()
        columns = zip(
            frame.point.tolist(), frame.time.tolist(), frame.value.tolist(), frame.quality.tolist(), codes, strict=True
        )
        for point, time_ns, value, quality, code in columns:
            states = self._directory.states(point)
            text = states[int(value)] if states and 0 <= value < len(states) else ""
            self.samples[self._directory.name(point)].append(Sample(time_ns, value, quality, code, text))
        self.stats.samples += len(frame)
        self.latest.take(frame)
        self.news.set()
        return _Kept()

    def known(self, tokens: Tokens) -> Mask:
        """Nothing is known from before."""
        return np.zeros(len(tokens), np.bool_)

    def remember(self, key: str, value: bytes) -> None:
        """Keep it as long as this lasts."""
        self._memory[key] = value

    def recall(self, key: str) -> bytes | None:
        """What was remembered."""
        return self._memory.get(key)

    def link(self, device: str, *, up: bool, detail: str = "") -> None:
        """Nobody is told."""
        self.stats.link = ("up" if up else f"down: {detail}") if not device else self.stats.link

    def expect(self, device: str, period_s: float) -> None:
        """Nobody waits so long."""

    def reject(self, reason: str, where: str, payload: bytes = b"", detail: str = "") -> None:
        """Count it."""
        del where, payload, detail
        self.stats.reasons[reason] += 1

    def found(self, finding: Finding) -> None:
        """Keep it."""
        self.findings.append(finding)
        self.news.set()

    def view(self, globs: Sequence[str]) -> ValuesView:
        """What was collected."""
        return self.latest.view(globs)

    def close(self) -> None:
        """Remove the folder."""
        self._folder.cleanup()


async def collect(
    config: AdapterConfig, enough: Callable[[Collector], bool], timeout_s: float, *, name: str = "tool"
) -> Collector:
    """Run an adapter until ``enough`` is collected, or for ``timeout_s``.

    Raises:
        LinkError: there is no connection.
        OSError: likewise.
    """
    collector = Collector(name)
    running = asyncio.create_task(config.create().run(collector), name="tool adapter")
    loop = asyncio.get_running_loop()
    until = loop.time() + timeout_s
    try:
        while not running.done() and not enough(collector) and loop.time() < until:
            collector.news.clear()
            heard = asyncio.create_task(collector.news.wait(), name="tool news")
            await asyncio.wait([running, heard], timeout=until - loop.time(), return_when=asyncio.FIRST_COMPLETED)
            heard.cancel()
        if running.done():
            running.result()
            raise LinkError("the adapter ended by itself")
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        collector.close()
    return collector
