"""The engine: journal, pipelines and spool as one deterministic machine. Runs in the store's thread.

A group commit writes what came in to the journal. At the pace of the pipelines it also runs everything
journaled and not yet processed, and writes the output in the same transaction, with the position up to
which output exists (``processed``). After a crash the state is the checkpoint plus a replay of the
journal: output up to ``processed`` is thrown away, because it is in the spool; what is behind it is kept.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import apsw

from adapters.base import Tokens
from gateway.batch import Batch
from gateway.config.model import PipelineConfig
from gateway.directory import Directory
from gateway.frame import Frame, concat, grouped
from gateway.graph import Graph, Outputs
from gateway.store.config import SpoolFull
from gateway.store.segments import Rebound, Segment, Step, Tick
from gateway.store.store import Memory, Store, with_store
from gateway.store.tokens import RecentTokens

log = logging.getLogger(__name__)


@dataclass
class Group:
    """What one commit writes."""

    segments: Sequence[Segment] = ()
    delivered: Sequence[tuple[str, int]] = ()
    """(uplink, seq) that the other side has."""
    tokens: Sequence[tuple[str, Tokens]] = ()
    """(adapter, tokens) of the wire messages behind the segments."""
    learned: Memory = field(default_factory=dict)
    """What adapters want to be kept."""
    run: bool = True
    """Whether the pipelines run now, on all that is journaled."""
    checkpoint: bool = False


@dataclass
class Committed:
    """What one commit made."""

    position: int
    batches: dict[str, list[Batch]] = field(default_factory=dict)
    """New spool rows by uplink, in order."""
    given_up: dict[str, int] = field(default_factory=dict)
    """Newest seq by uplink that the bound on the spool has let go."""
    blocked: bool = False
    """An uplink under the rule ``block`` is full: take no more in."""


class Engine:
    """The state of all pipelines over an open store."""

    def __init__(self, store: Store, directory: Directory, pipelines: Mapping[str, PipelineConfig]) -> None:
        self.store = store
        self.directory = directory
        self.graph = Graph(pipelines, directory)
        self._wanted = pipelines
        """What the configuration says; the graph follows it, also after a store that failed."""
        self._waiting: list[Segment] = []
        """Journaled and not yet processed."""
        self.replayed = 0
        self.recent = RecentTokens(store.tokens.read())
        self.memory = store.read_memory()

    def recover(self, now_ns: int) -> None:
        """Bring the pipelines to where the store says they were, and spool what was not spooled yet."""
        known = self.graph.restore(self.store.read_checkpoint())
        kept: Outputs = []
        for position, segments in self.store.journal.read(self.store.checkpointed):
            if position > self.store.processed:
                self._renew(known)
                known = {}
                self._waiting.extend(segments)
            else:
                self._process(segments)
                self.replayed += 1
        self._renew(known)
        if self._waiting:
            kept = self._process(self._waiting)
            self._waiting = []
        with self.store.transaction():
            self._spool(kept, now_ns)
            self.store.mark_processed(self.store.journal.last, self.store.stream_ns)
            self.store.write_directory(self.directory)
            self.store.write_checkpoint(self.graph.snapshot())

    def _renew(self, known: Mapping[str, set[str]]) -> None:
        """Begin steps afresh that the checkpoint did not know: what they "sent" in the replay never was."""
        for name, keys in known.items():
            self.graph.pipelines[name].renew(keys)

    def commit(self, group: Group, now_ns: int) -> Committed:
        """Make a group durable.

        Raises:
            StoreError: nothing of it is; the engine must be built anew from the store.
        """
        segments = _gathered(group.segments)
        self._waiting.extend(segments)
        with self.store.transaction():
            self.store.spool.remove(group.delivered)
            self.store.write_memory(group.learned)
            if segments:
                self.store.tokens.append(self.store.journal.append(segments, now_ns), group.tokens)
            committed = Committed(self.store.journal.last)
            if group.run and self._waiting:
                outputs = self._process(self._waiting)
                committed.batches = self._spool(outputs, now_ns)
                self.store.mark_processed(self.store.journal.last, _newest_tick(self._waiting))
                self._waiting = []
            self._announce(committed, now_ns)
            self.store.write_directory(self.directory)
            if group.checkpoint:
                self._checkpoint(now_ns)
        committed.given_up, self.store.spool.given_up = self.store.spool.given_up, {}
        committed.blocked = self._blocked()
        return committed

    def _checkpoint(self, now_ns: int) -> None:
        if self._waiting:  # a checkpoint is as of a position, so nothing may lie between
            return
        self.store.write_checkpoint(self.graph.snapshot())
        self.store.journal.trim(self.store.checkpointed, now_ns)
        self.store.tokens.trim()
        self.store.spool.expire(now_ns)

    def _process(self, segments: Sequence[Segment]) -> Outputs:
        outputs: Outputs = []
        for segment in segments:
            match segment:
                case Frame():
                    outputs += self.graph.process(segment)
                case Tick(now_ns):
                    outputs += self.graph.tick(now_ns)
                case Step(delta_ns):
                    outputs += self.graph.clock_stepped(delta_ns)
                case Rebound():
                    outputs += self.graph.rebound(segment.pipeline, segment.step, segment.bound)
        return outputs

    def _spool(self, outputs: Outputs, now_ns: int, made_by: Graph | None = None) -> dict[str, list[Batch]]:
        together: dict[tuple[str, str], list[Frame]] = {}
        for uplink, pipeline, frame in outputs:
            together.setdefault((uplink, pipeline), []).append(frame)
        batches: dict[str, list[Batch]] = {}
        for (uplink, pipeline), frames in together.items():
            bounds = (made_by or self.graph).bounds(pipeline)
            rows = self.store.spool.append(uplink, pipeline, concat(frames), now_ns, bounds)
            batches.setdefault(uplink, []).extend(rows)
        return batches

    def _announce(self, committed: Committed, now_ns: int) -> None:
        """Tell of losses as soon as the spool has room again."""
        for uplink in self.store.spool.untold():
            if not self.store.spool.full(uplink):
                markers = self.store.spool.announce(uplink, now_ns)
                committed.batches.setdefault(uplink, []).extend(markers)

    def _blocked(self) -> bool:
        spool = self.store.spool
        return spool.config.when_full is SpoolFull.BLOCK and any(map(spool.full, self.graph.targets))

    def reconfigure(self, pipelines: Mapping[str, PipelineConfig], now_ns: int) -> Committed:
        """Exchange the pipelines; unchanged operators keep their state, the rest is flushed, not lost.

        Raises:
            StoreError: as for :meth:`commit`.
        """
        self._wanted = pipelines
        committed = self.commit(Group(), now_ns)
        before, successor = self.graph, Graph(pipelines, self.directory)
        flushed = successor.succeed(before)
        self.graph = successor
        with self.store.transaction():
            for uplink, batches in self._spool(flushed, now_ns, before).items():
                committed.batches.setdefault(uplink, []).extend(batches)
            self.store.write_directory(self.directory)
            self.store.write_checkpoint(self.graph.snapshot())
        return committed

    def reopen(self, now_ns: int) -> None:
        """After a failed commit: open the store again and bring the pipelines to what it holds.

        Raises:
            StoreError: it cannot be opened yet.
        """
        with contextlib.suppress(apsw.Error):
            self.store.close()

        def begin(store: Store) -> None:
            self.store = store
            self.directory.rewrite()
            self._waiting = []
            self.graph = Graph(self._wanted, self.directory)
            self.recover(now_ns)

        with_store(self.store.folder, self.store.config, now_ns, begin)

    def status(self) -> dict[str, Any]:
        """Counters of the pipelines and of the store."""
        return {"pipelines": self.graph.status(), "store": self.store.status()}


def _gathered(segments: Sequence[Segment]) -> list[Segment]:
    """Neighbouring frames as one, grouped by point: the same order that the journal gives back."""
    out: list[Segment] = []
    frames: list[Frame] = []

    def close() -> None:
        if frames:
            out.append(grouped(concat(frames)))
            frames.clear()

    for segment in segments:
        if isinstance(segment, Frame):
            if len(segment):
                frames.append(segment)
        else:
            close()
            out.append(segment)
    close()
    return out


def _newest_tick(segments: Sequence[Segment]) -> int:
    return max((segment.now_ns for segment in segments if isinstance(segment, Tick)), default=0)
