"""The far end: takes what arrives upstream and writes it down. Knows nothing of the gateway's inside.

It decodes the ``json`` format only, and every message becomes a line of its log before it counts.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import aiomqtt
import msgspec

from gateway.demo.oracle import Arrival, Series
from gateway.errors import LinkError

if TYPE_CHECKING:
    from types import TracebackType

PROOF = "/seq"
"""Points that end so carry the numbers of device messages, see :mod:`gateway.demo.oracle`."""
_TENTH_MS = 100_000


class Sample(msgspec.Struct, frozen=True):
    """A sample as upstream has it."""

    point: str
    time: int
    """ns since 1970 UTC (the demo's uplink says ``time: ns``)."""
    value: Any
    quality: str


class Message(msgspec.Struct, frozen=True):
    """A message in the ``json`` format."""

    gateway: str
    epoch: int | str
    seq: int
    pipeline: str
    samples: list[Sample] = []


class Latencies:
    """Times from a sample's source to its arrival, in tenths of a millisecond; bounded memory."""

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()

    def add(self, ns: int) -> None:
        """Take one; more than 100 s count as 100 s."""
        self._counts[min(max(ns, 0) // _TENTH_MS, 1_000_000)] += 1

    def percentile(self, percent: float) -> float | None:
        """In ms: the smallest that ``percent`` of all do not exceed; None before the first."""
        wanted = self._counts.total() * percent / 100
        seen = 0
        for tenths in sorted(self._counts):
            seen += self._counts[tenths]
            if seen >= wanted:
                return tenths / 10
        return None


class RawSizes:
    """What samples cost as JSON, each as an object of its own, measured on the samples that arrive.

    Deadbands let at least the first sample of each point through, so every point is known. A point's
    mean size stands for all its samples, the mean over an adapter's points for all samples of it.
    """

    def __init__(self) -> None:
        self._points: dict[str, list[int]] = {}

    def add(self, sample: Sample) -> None:
        """Take one; results of windows (``m01/power#mean``) are not raw."""
        if "#" not in sample.point:
            totals = self._points.setdefault(sample.point, [0, 0])
            totals[0] += len(msgspec.json.encode(sample))
            totals[1] += 1

    def mean(self, prefix: str) -> float:
        """Bytes a sample, over the points whose names begin so; 0 if none is known."""
        means = [total / n for name, (total, n) in self._points.items() if name.startswith(prefix)]
        return sum(means) / len(means) if means else 0.0


class Receiver:
    """Subscribes with QoS 1, logs, and keeps counts for whoever watches. Use as a context manager."""

    def __init__(self, log: Path) -> None:
        self.messages = 0
        self.bytes = 0
        self.samples = 0
        """Without records that came twice."""
        self.latencies = Latencies()
        self.raw = RawSizes()
        self.arrived: dict[str, Series] = {}
        """Numbers of device messages so far, for knowing when all is here. The log is what is judged."""
        self.subscribed = asyncio.Event()
        self._news = asyncio.Event()
        self._records: dict[tuple[str, int | str], Series] = {}
        self._decode = msgspec.json.Decoder(Message).decode
        self._file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._file)

    async def run(self, host: str, port: int, topic: str) -> None:
        """Take messages until cancelled.

        Raises:
            LinkError: the broker is gone.
        """
        try:
            async with aiomqtt.Client(host, port, identifier="demo-receiver") as client:
                await client.subscribe(topic, qos=1)
                self.subscribed.set()
                async for message in client.messages:
                    assert isinstance(message.payload, bytes)
                    self.take(message.payload, time.time_ns())
        except aiomqtt.MqttError as error:
            raise LinkError(f"the receiver lost the broker: {error}") from error

    def take(self, payload: bytes, at: int) -> None:
        """One message that arrived at ``at`` (ns since 1970 UTC): log it, then count it."""
        self._news.set()
        self.messages += 1
        self.bytes += len(payload)
        try:
            message = self._decode(payload)
        except msgspec.DecodeError:
            self._log(Arrival(at=at, bytes=len(payload), malformed=True))
            return
        proofs = [sample for sample in message.samples if sample.point.endswith(PROOF)]
        seqs: dict[str, list[int]] = {}
        for sample in proofs:
            seqs.setdefault(sample.point.removesuffix(PROOF), []).append(int(sample.value))
        self._log(
            Arrival(
                at=at,
                bytes=len(payload),
                gateway=message.gateway,
                epoch=message.epoch,
                seq=message.seq,
                seqs=seqs,
            )
        )
        self._count(message, proofs, seqs, at)

    def _count(self, message: Message, proofs: list[Sample], seqs: dict[str, list[int]], at: int) -> None:
        if not self._records.setdefault((message.gateway, message.epoch), Series()).add(message.seq):
            return
        self.samples += len(message.samples)
        for sample in message.samples:
            self.raw.add(sample)
        for sample in proofs:
            self.latencies.add(at - sample.time)
        for device, numbers in seqs.items():
            series = self.arrived.setdefault(device, Series())
            for number in numbers:
                series.add(number)

    def holds(self, acknowledged: dict[str, int]) -> bool:
        """Whether as many messages of each device are here as were acknowledged, without record gaps."""
        return all(len(self.arrived.get(device, ())) >= count for device, count in acknowledged.items()) and not any(
            series.gaps for series in self._records.values()
        )

    async def settle(self, acknowledged: dict[str, int], timeout_s: float) -> None:
        """Wait until it :meth:`holds` everything, but not for ever: what is late counts as lost."""
        try:
            async with asyncio.timeout(timeout_s):
                while not self.holds(acknowledged):
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            return

    def _log(self, arrival: Arrival) -> None:
        os.write(self._file, msgspec.json.encode(arrival) + b"\n")
