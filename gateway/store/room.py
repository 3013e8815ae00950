"""Room in the spool: what gives way when a bound is reached, by the rule that the configuration names.

There are two bounds on each row: that of its pipeline, if it has one, and that of the uplink, in which the least
important pipelines give way first (``priority``). Under ``thin`` the oldest rows become aggregates, level by level:
when all there is has been thinned to windows of one length, the oldest are thinned to windows four times as long.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from gateway.batch import Batch, Loss, RowKind
from gateway.frame import Frame, concat
from gateway.store.config import SpoolFull
from gateway.store.database import rows_of
from gateway.store.rows import cut, span
from gateway.store.thin import Thinner
from gateway.wire import columns

if TYPE_CHECKING:
    from gateway.store.spool import Spool

THINNED: Final = "thinned"
"""The reason of losses that aggregates stand for."""
CHUNK: Final = 64
"""Rows thinned at once: some tens of milliseconds."""
GROWTH: Final = 4
"""How much longer the windows of the next level are."""
LONGEST_NS: Final = 86_400_000_000_000
WORTH: Final = 0.75
"""What is left of the bytes, at most; otherwise longer windows are tried."""
PRESSED: Final = 0.8
"""The part of a bound from which on it matters what is being sent."""


@dataclass(frozen=True)
class _Bound:
    """One bound that a new row has to keep."""

    limit: int
    rule: SpoolFull
    pipelines: tuple[str, ...]
    """Whose rows may give way, the least important first."""
    whole: bool
    """Whether it is that of the uplink."""


class Room:
    """Makes room in a spool; see the module."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._thinner: Thinner | None = None
        self._not_worth: dict[tuple[str, str, int], int] = {}
        """By uplink, pipeline and level the last of some rows that do not get smaller: not tried again."""

    def make(self, uplink: str, pipeline: str, frame: Frame, size: int, now_ns: int) -> bool:
        """Whether a row of ``size`` bytes may be written; what had to give way for it has."""
        for bound in self._bounds(uplink, pipeline):
            if not self._make(uplink, bound, size, now_ns):
                self._spool.lose(uplink, pipeline, Loss(*span(frame), len(frame), "spool-full"))
                return False
        return True

    def _bounds(self, uplink: str, pipeline: str) -> Iterable[_Bound]:
        queue = self._spool.queue(uplink)
        stream = queue.streams.get(pipeline)
        if stream is not None and stream.max_size is not None:
            yield _Bound(stream.max_size, queue.rule(pipeline), (pipeline,), whole=False)
        limit = queue.bounds.max_size
        if self._used(uplink, None) < limit - 2**20 and queue.bounds.max_size > 2**21:
            return  # far from it: nothing to sort
        rank = queue.rank(pipeline)
        others = [one for one in self._spool.counts.pipelines(uplink) if queue.rank(one) >= rank]
        ordered = tuple(sorted(others, key=queue.rank, reverse=True))
        yield _Bound(limit, queue.bounds.when_full, ordered, whole=True)

    def _used(self, uplink: str, bound: _Bound | None) -> int:
        counts = self._spool.counts
        if bound is None or bound.whole:
            return self._spool.gauge(uplink).bytes + counts.kept_bytes.get(uplink, 0)
        return counts.stream(uplink, bound.pipelines[0]).bytes

    def _make(self, uplink: str, bound: _Bound, size: int, now_ns: int) -> bool:
        excess = self._used(uplink, bound) + size - bound.limit
        if excess > 0 and bound.whole:
            self._spool.forget_kept(uplink, excess)
            excess = self._used(uplink, bound) + size - bound.limit
        if excess <= 0 or bound.rule is SpoolFull.BLOCK:  # the intake has stopped before it comes to this
            return True
        if bound.rule is SpoolFull.DROP_NEWEST:
            return False
        thinning = bound.rule is SpoolFull.THIN and self._spool.points is not None
        while (excess := self._used(uplink, bound) + size - bound.limit) > 0:
            if thinning and self._thin(uplink, bound.pipelines, now_ns):
                continue
            seqs = self._oldest(uplink, bound.pipelines, excess)
            if not seqs:  # what is there is more important than what comes
                return not bound.whole or not self._spool.gauge(uplink).rows
            self._spool.give_up(uplink, seqs, "spool-full")
        return True

    def blocked(self, uplink: str) -> bool:
        """Whether a bound is reached whose rule is ``block``."""
        queue = self._spool.queue(uplink)
        if queue.bounds.when_full is SpoolFull.BLOCK and self._spool.full(uplink):
            return True
        return any(
            stream.max_size is not None
            and queue.rule(name) is SpoolFull.BLOCK
            and self._spool.counts.stream(uplink, name).bytes >= stream.max_size
            for name, stream in queue.streams.items()
        )

    def pressed(self, uplink: str) -> bool:
        """Whether something is nearly full that is to be thinned."""
        queue = self._spool.queue(uplink)
        if queue.bounds.when_full is SpoolFull.THIN and self._used(uplink, None) > PRESSED * queue.bounds.max_size:
            return True
        return any(
            stream.max_size is not None
            and queue.rule(name) is SpoolFull.THIN
            and self._spool.counts.stream(uplink, name).bytes > PRESSED * stream.max_size
            for name, stream in queue.streams.items()
        )

    def _oldest(self, uplink: str, pipelines: Iterable[str], excess: int) -> list[int]:
        """The oldest rows of the least important pipelines that hold ``excess`` bytes, as far as 16 of them do."""
        queue = self._spool.queue(uplink)
        for _, group in itertools.groupby(pipelines, key=queue.rank):
            rows = heapq.merge(*(self._first_rows(uplink, one) for one in group))
            seqs: list[int] = []
            for _, seq, size in itertools.islice(rows, 16):
                if excess <= 0:
                    break
                seqs.append(seq)
                excess -= size
            if seqs:
                return seqs
        return []

    def _first_rows(self, uplink: str, pipeline: str) -> list[tuple[int, int, int]]:
        """(minus the level, seq, bytes) of the oldest rows of a pipeline: what was thinned most is the oldest."""
        thinned = (
            "SELECT -level, seq, bytes FROM spool WHERE uplink = ? AND pipeline = ? AND delivered_ns IS NULL "
            "AND level > 0 ORDER BY level DESC, seq LIMIT 16"
        )
        rows = list(rows_of(self._spool.db, thinned, (uplink, pipeline)))
        plain = (
            "SELECT 0, seq, bytes FROM spool WHERE uplink = ? AND pipeline = ? AND delivered_ns IS NULL "
            "AND level = 0 ORDER BY seq LIMIT 16"
        )
        return [*rows, *rows_of(self._spool.db, plain, (uplink, pipeline))]

    def _thin(self, uplink: str, pipelines: Iterable[str], now_ns: int) -> bool:
        """Thin one chunk of the least important and least thinned pipeline; whether there was one that got smaller."""
        window_ns = self._spool.queue(uplink).bounds.thin_window.ns
        queue = self._spool.queue(uplink)
        for _, group in itertools.groupby(pipelines, key=queue.rank):
            streams = list(group)
            level = 0
            while window_ns * GROWTH**level <= max(LONGEST_NS, window_ns):
                if any(self._thin_stream(uplink, one, level, window_ns, now_ns) for one in streams):
                    return True
                level += 1
        return False

    def _thin_stream(self, uplink: str, pipeline: str, level: int, window_ns: int, now_ns: int) -> bool:
        """Thin the oldest rows of one level, to the next or the one after it that is worth it."""
        chosen = self._chunk(uplink, pipeline, level)
        if not chosen or chosen[0] <= self._not_worth.get((uplink, pipeline, level), 0):
            return False
        batches = [batch for batch in (self._read(uplink, seq, now_ns) for seq in chosen) if batch is not None]
        if not batches:
            return False
        raw = len(batches) if level == 0 else 0
        target = level + 1
        while (length := window_ns * GROWTH ** (target - 1)) <= max(LONGEST_NS, window_ns):
            joined = [*batches, *self._same_window(uplink, pipeline, target, batches, length, now_ns)]
            if self._replaced(uplink, pipeline, joined, raw, target, length):
                return True
            target += 1
        self._not_worth[uplink, pipeline, level] = chosen[-1]
        return False

    def _chunk(self, uplink: str, pipeline: str, level: int) -> list[int]:
        """The oldest rows of samples of a level that are not being sent."""
        query = (
            "SELECT seq FROM spool WHERE uplink = ? AND pipeline = ? AND delivered_ns IS NULL AND level > 0 "
            "AND level = ? AND kind = ? ORDER BY seq LIMIT ?"
        )
        if not level:  # by another index
            query = query.replace("AND level > 0 ", "")
        held = self._spool.held.get(uplink, ())
        found = rows_of(self._spool.db, query, (uplink, pipeline, level, int(RowKind.SAMPLES), CHUNK + len(held)))
        return [seq for (seq,) in found if seq not in held][:CHUNK]

    def _same_window(
        self, uplink: str, pipeline: str, level: int, batches: list[Batch], window_ns: int, now_ns: int
    ) -> list[Batch]:
        """Rows of the target level whose windows go on in these batches, so that a window's parts become one."""
        begin = min(span(batch.frame)[0] for batch in batches) // window_ns * window_ns
        query = (
            "SELECT seq FROM (SELECT seq, last_ns FROM spool WHERE uplink = ? AND pipeline = ? "
            "AND delivered_ns IS NULL AND level > 0 AND level = ? ORDER BY seq DESC LIMIT 32) WHERE last_ns > ?"
        )
        held = self._spool.held.get(uplink, ())
        seqs = [seq for (seq,) in rows_of(self._spool.db, query, (uplink, pipeline, level, begin)) if seq not in held]
        return [batch for batch in (self._read(uplink, seq, now_ns) for seq in seqs) if batch is not None]

    def _read(self, uplink: str, seq: int, now_ns: int) -> Batch | None:
        """A row of samples; None, and it is given up, if it is damaged."""
        batch = self._spool.batch(uplink, seq, now_ns)
        if batch.loss is None:
            return batch
        self._spool.give_up(uplink, [seq], "spool-damaged")
        return None

    def _replaced(self, uplink: str, pipeline: str, batches: list[Batch], raw: int, level: int, window_ns: int) -> bool:
        """Put the aggregates of some rows, the first ``raw`` of which were never thinned, in their place.

        Whether they are smaller by enough; otherwise nothing is done.
        """
        spool = self._spool
        if self._thinner is None:
            assert spool.points is not None
            self._thinner = Thinner(spool.points)
        out = self._thinner.thin(concat(batch.frame for batch in batches), window_ns)
        if out is None:
            return False
        parts = [(part, columns.encode(part)) for part in cut(out)]
        if sum(len(block) for _, block in parts) > WORTH * sum(len(batch.block) for batch in batches):
            return False
        created = min(batch.created_ns for batch in batches)
        mark: dict[str, Any] = {"step": "thin", "points": ["**"], "window_ns": window_ns}
        known = tuple(bound for bound in batches[0].bounds if bound.get("step") != "thin")
        for number, batch in enumerate(batches):
            replaced = len(batch.frame) if number < raw else 0  # aggregates were told of when they came about
            spool.lose(uplink, pipeline, Loss(*span(batch.frame), replaced, THINNED, batch.seq, batch.seq))
        spool.drop(uplink, [batch.seq for batch in batches])
        for part, block in parts:
            spool.insert(uplink, pipeline, part, block, created, (*known, mark), level=level)
        return True
