"""The heart of a receiver: messages in, records out, each once; what is missing is known. No network, no clock.

Runs in a thread. What ``commit`` returns may be acknowledged: it is in the output, and the output's position and the
record ids are on disk together, so that a receiver that was killed at any moment goes on without a gap or a double.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from adapters.frame.held import Waiting
from adapters.frame.ledger import Hole, Record
from adapters.frame.records import Reader, UnknownDirectoryError, line
from adapters.frame.source import Message
from adapters.frame.topics import is_receipt
from gateway.batch import Batch
from gateway.errors import PayloadError
from gateway.receive.output import Output
from gateway.receive.state import ReceiverState
from gateway.wire.receive import Received

REMEMBERED: Final = 1 << 16
"""Records whose content is remembered, to see whether a repetition says the same."""
PATIENCE_S: Final = 60.0
MAX_UNCOMMITTED: Final = 1 << 16
"""Messages that wait for a commit, at most; then there is one."""


@dataclass
class Counts:
    """Of one gateway, in this run."""

    batches: int = 0
    samples: int = 0
    doubles: int = 0
    differing: int = 0
    """Repetitions that did not say the same."""
    unchained: int = 0
    """Batches that say nothing of the one before, so that nothing is proved of them."""
    historical: int = 0
    lost: Counter[str] = field(default_factory=Counter)
    """Samples that loss markers tell of, by reason."""


@dataclass
class Settled:
    """What may be told now."""

    messages: list[Message] = field(default_factory=list)
    """To be acknowledged."""
    done: list[tuple[str, Record]] = field(default_factory=list)
    """Records by topic, for receipts."""


class Receiver:
    """See above. ``now_s`` is any clock of the caller's that only grows."""

    def __init__(self, state: ReceiverState, output: Output, now_s: float) -> None:
        self._state = state
        self._output = output
        self.ledger = state.ledger(now_s)
        """Which records came."""
        self._reader = Reader()
        for payload in state.directories():
            self._reader.learn(payload)
        state.trim()
        self.waiting = Waiting(PATIENCE_S)
        self.counts: dict[str, Counts] = {}
        self.rejected: Counter[str] = Counter()
        self.problems: list[str] = []
        """One line for each message that could not be used, until somebody takes them."""
        self._contents: dict[Record, int] = {}
        self._changed: set[tuple[str, int]] = set()
        self._directories: dict[str, bytes] = {}
        self._settled = Settled()

    def take(self, messages: Sequence[Message], dot: str, now_s: float) -> None:
        """Take messages in. Nothing is durable yet."""
        for message in messages:
            self._read(message, dot, now_s, now_s)
        while self.waiting.news:
            for held in self.waiting.retry():
                self._read(held.message, dot, held.since_s, now_s)
        for held in self.waiting.given_up(now_s):
            self._reject("unknown-directory", held.message, held.missing)

    def _reject(self, reason: str, message: Message, detail: str) -> None:
        self.rejected[reason] += 1
        if len(self.problems) < 100:
            self.problems.append(f"{message.topic}: {detail or reason}")

    def _read(self, message: Message, dot: str, since_s: float, now_s: float) -> None:
        if not is_receipt(message.topic, dot):
            try:
                self._take(message, now_s)
            except UnknownDirectoryError as error:
                self.waiting.hold(message, error.name, since_s)
                return
            except PayloadError as error:
                self._reject(error.reason, message, str(error))
        self._settled.messages.append(message)

    def _take(self, message: Message, now_s: float) -> None:
        """Take a message.

        Raises:
            PayloadError: it cannot be used.
        """
        payload = message.payload
        if payload[:1] == b"{" and (add := self._output.line) is not None:
            found = line(payload)
            if self._is_new(message, found.gateway, found.batch, found.crc):
                add(payload)
                self._count(found.gateway, found.batch, found.samples, now_s)
            return
        received = self._reader.read(payload)
        if received is None:
            self._directories |= self._reader.fresh
            for name in self._reader.fresh:
                self.waiting.came(name)
            self._reader.fresh.clear()
            return
        if self._is_new(message, received.gateway, received.batch, _crc(received)):
            self._output.batch(received)
            self._count(received.gateway, received.batch, len(received.batch.frame), now_s)

    def _is_new(self, message: Message, gateway: str, batch: Batch, crc: int) -> bool:
        record = Record(gateway, batch.epoch, batch.seq)
        self._settled.done.append((message.topic, record))
        if not self.ledger.has(record, 0 if batch.chain is None else batch.chain[0]):
            self._contents[record] = crc
            if len(self._contents) > REMEMBERED:
                del self._contents[next(iter(self._contents))]
            return True
        counts = self.counts.setdefault(gateway, Counts())
        counts.doubles += 1
        if self._contents.get(record, crc) != crc:
            counts.differing += 1
        return False

    def _count(self, gateway: str, batch: Batch, samples: int, now_s: float) -> None:
        self.ledger.add(gateway, batch, now_s)
        self._changed.add((gateway, batch.epoch))
        counts = self.counts.setdefault(gateway, Counts())
        counts.batches += 1
        counts.samples += samples
        counts.unchained += batch.chain is None
        counts.historical += batch.historical
        if batch.loss is not None:
            counts.lost[batch.loss.reason] += batch.loss.count

    def due(self, idle_s: float) -> bool:
        """Whether it is time for a commit."""
        return self._output.due(idle_s) or len(self._settled.messages) >= MAX_UNCOMMITTED

    def commit(self) -> Settled:
        """Make what was taken durable; what may be told then.

        Raises:
            OnpathError: the disk does not take it. Nothing of it may be acknowledged, and this receiver is of no use.
        """
        settled, self._settled = self._settled, Settled()
        if self._changed or self._directories:
            position = self._output.sync()
            self._state.commit(
                self.ledger, self._changed, self._directories.items(), [("position", position)] if position else []
            )
            self._changed.clear()
            self._directories.clear()
        return settled

    def holes(self, before_s: float) -> list[Hole]:
        """What is missing since before that moment."""
        return [hole for hole in self.ledger.holes() if hole.since_s <= before_s]

    def summary(self, gaps: Sequence[Hole]) -> dict[str, Any]:
        """All counts, as plain JSON types."""
        missing = Counter(hole.gateway for hole in gaps)
        names = sorted(self.counts.keys() | missing.keys())
        rows = {name: _row(self.counts.get(name, Counts()), missing[name]) for name in names}
        totals = {key: sum(row[key] for row in rows.values()) for key in ("batches", "samples", "doubles", "differing")}
        return totals | {
            "gaps": len(gaps),
            "lost": sum(sum(row["lost"].values()) for row in rows.values()),
            "rejected": dict(self.rejected),
            "waiting": len(self.waiting),
            "gateways": rows,
            "missing": [
                {"gateway": hole.gateway, "epoch": hole.epoch, "pipeline": hole.pipeline, "seq": hole.missing}
                for hole in gaps[:100]
            ],
        }


def _row(counts: Counts, gaps: int) -> dict[str, Any]:
    return {
        "batches": counts.batches,
        "samples": counts.samples,
        "doubles": counts.doubles,
        "differing": counts.differing,
        "historical": counts.historical,
        "unchained": counts.unchained,
        "gaps": gaps,
        "lost": dict(counts.lost),
    }


def _crc(received: Received) -> int:
    """Of the samples as they came; flags and the directory may be others when a batch is repeated."""
    batch = received.batch
    if batch.block:
        return zlib.crc32(batch.block)
    frame = batch.frame
    return zlib.crc32(frame.value.tobytes() + frame.time.tobytes()) if len(frame) else hash(batch.loss)
