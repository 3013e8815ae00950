"""The engine: journal, pipelines and spool as one deterministic machine. Runs in the store's thread.

A group commit writes what came in to the journal. At the pace of the pipelines it also runs everything
journaled and not yet processed, and writes the output in the same transaction, with the position up to
which output exists (``processed``). After a crash the state is the checkpoint plus a replay of the
journal: output up to ``processed`` is thrown away, because it is in the spool; what is behind it is kept.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from adapters.base import Tokens
from gateway.batch import Batch, Loss
from gateway.config.model import PipelineConfig
from gateway.directory import Directory
from gateway.errors import StoreError
from gateway.frame import EMPTY, Frame, concat, grouped
from gateway.graph import NOBODY, Graph, Outputs, Place, PutAside
from gateway.missed import Missed
from gateway.store.config import Queue
from gateway.store.opening import with_store
from gateway.store.segments import Rebound, Segment, Step, Tick
from gateway.store.store import Memory, Store
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
    refused: Sequence[tuple[str, int, str]] = ()
    """(uplink, seq, reason) that the other side will never take."""
    repeats: Sequence[tuple[str, int]] = ()
    """(uplink, seq): what is kept behind it is to wait again."""
    held: Mapping[str, Collection[int]] = field(default_factory=dict)
    """Rows that feeds have in their hands, by uplink; see :attr:`Spool.held`."""
    run: bool = True
    """Whether the pipelines run now, on all that is journaled."""
    durable: bool = True
    """Whether it must be on disk at the end; else with a later commit."""
    checkpoint: bool = False
    aged: bool = True
    """Whether the clock may be believed, so that something is too old by it."""


@dataclass
class Committed:
    """What one commit made."""

    position: int
    batches: dict[str, list[Batch]] = field(default_factory=dict)
    """New spool rows by uplink, in order."""
    given_up: dict[str, list[int]] = field(default_factory=dict)
    """Seqs by uplink that the bound on the spool has let go."""
    delivered: Sequence[tuple[str, int]] = ()
    """(uplink, seq) that do not wait any more."""
    repeats: Sequence[tuple[str, int]] = ()
    """(uplink, seq): what was kept behind it waits again."""
    blocked: bool = False
    """An uplink under the rule ``block`` is full: take no more in."""
    synced: bool = True
    """It is on disk, and all before it."""
    pressed: bool = False
    """Something is nearly full that is to be thinned: say with the next commit what is held."""
    aside: PutAside = field(default_factory=dict)
    """What left the steps that are tapped."""
    alerts: Frame = field(default_factory=lambda: EMPTY)
    """What alerts have told."""


class Engine:
    """The state of all pipelines over an open store."""

    def __init__(
        self,
        store: Store,
        directory: Directory,
        pipelines: Mapping[str, PipelineConfig],
        queues: Mapping[str, Queue] | None = None,
    ) -> None:
        self.store = store
        self._queues = dict(queues or {})
        self._attach(directory)
        self.directory = directory
        self.graph = Graph(pipelines, directory)
        self._known = pipelines
        """What the store's checkpoint is of."""
        self._wanted: tuple[Mapping[str, PipelineConfig], Memory] | None = None
        """An exchange that is under way; it is made up for after a store that failed."""
        self._waiting: list[Segment] = []
        """Journaled and not yet processed."""
        self.tapped: frozenset[Place] = frozenset()
        """Steps behind which somebody looks; the loop exchanges the whole set, between commits or not."""
        self.replayed = 0
        self.attempted = 0
        """Journal position that the newest commit with segments was given, whether it succeeded or not."""
        self.recent = RecentTokens(store.tokens.read())
        self.memory = store.read_memory()

    def _attach(self, directory: Directory) -> None:
        """Tell the spool what only the configuration and the directory know."""
        self.store.spool.points = directory
        self.store.spool.queues = self._queues

    def bound(self, queues: Mapping[str, Queue]) -> None:
        """Use other bounds of the uplinks' queues from the next commit on."""
        self._queues = dict(queues)
        self.store.spool.queues = self._queues

    def recover(self, now_ns: int, missed: Missed | None = None) -> None:
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
            if self.store.leap() and missed is None:  # else it is known how much there was
                self._tell_loss(Loss(now_ns, now_ns, 0, "flash-window"))
            self._spool(kept, now_ns)
            self._tell(missed, now_ns)
            self.store.spool.write_gauges()
            self.store.mark_processed(self.store.journal.last, self.store.stream_ns)
            self.store.write_directory(self.directory)
            self.store.write_checkpoint(self.graph.snapshot())

    def _tell(self, missed: Missed | None, now_ns: int) -> None:
        """Have it told upstream what was lost before it came to the pipelines, by each that would have had it."""
        losses = [Loss(d.first_ns, d.last_ns, d.samples, "journal-damaged") for d in self.store.journal.take_damages()]
        if self.store.salvaged and self.store.salvaged.untold:
            losses.append(Loss(now_ns, now_ns, 0, "store-damaged"))  # nobody can say how much
        for loss in losses:
            self._tell_loss(loss)
        for pipeline, uplink in self.graph.ways:
            for loss in missed.of(self.graph.selected(pipeline)) if missed else ():
                self.store.spool.lose(uplink, pipeline, loss)

    def _tell_loss(self, loss: Loss) -> None:
        for pipeline, uplink in self.graph.ways:
            self.store.spool.lose(uplink, pipeline, loss)

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
        self.attempted = self.store.journal.last + bool(segments)
        spool = self.store.spool
        with self.store.transaction(durable=group.durable):
            self._tell_spool(group, now_ns)
            self.store.write_memory(group.learned)
            if segments:
                self.store.tokens.append(self.store.journal.append(segments, now_ns), group.tokens)
            committed = Committed(self.store.journal.last)
            if group.run and self._waiting:
                with self.graph.tapped(self.tapped) as committed.aside:
                    outputs = self._process(self._waiting)
                committed.batches, committed.alerts = self._spool(outputs, now_ns), _alerts(outputs)
                self.store.mark_processed(self.store.journal.last, _newest_tick(self._waiting))
                self._waiting = []
            self._announce(committed, now_ns)
            self.store.write_directory(self.directory)
            if group.checkpoint:
                self._checkpoint(now_ns if group.aged else 0)
            spool.write_gauges()
        committed.delivered, committed.repeats = group.delivered, group.repeats
        self._note_given_up(committed)
        committed.blocked, committed.pressed = spool.blocking(self.graph.targets), spool.pressed
        committed.synced = self.store.synced
        return committed

    def _tell_spool(self, group: Group, now_ns: int) -> None:
        """What has become of rows since the last commit."""
        spool = self.store.spool
        spool.held = dict(group.held)
        spool.deliver(group.delivered, now_ns)
        for uplink, seq, reason in group.refused:
            spool.give_up(uplink, [seq], reason)
        for uplink, after in group.repeats:
            spool.repeat(uplink, after)

    def _note_given_up(self, committed: Committed) -> None:
        given_up, self.store.spool.given_up = self.store.spool.given_up, {}
        for uplink, seqs in given_up.items():
            gone = set(seqs)
            committed.given_up.setdefault(uplink, []).extend(seqs)
            committed.batches[uplink] = [one for one in committed.batches.get(uplink, []) if one.seq not in gone]

    def _checkpoint(self, now_ns: int) -> None:
        """``now_ns`` says what is too old; 0 if the clock is in doubt: then only bounds on size hold."""
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
            if uplink != NOBODY:
                together.setdefault((uplink, pipeline), []).append(frame)
        batches: dict[str, list[Batch]] = {}
        for (uplink, pipeline), frames in together.items():
            graph = made_by if made_by is not None and pipeline in made_by.pipelines else self.graph
            bounds = graph.bounds(pipeline)
            rows = self.store.spool.append(uplink, pipeline, concat(frames), now_ns, bounds)
            batches.setdefault(uplink, []).extend(rows)
        return batches

    def _announce(self, committed: Committed, now_ns: int) -> None:
        """Tell of losses as soon as the spool has room again."""
        for uplink in self.store.spool.untold():
            if not self.store.spool.full(uplink):
                markers = self.store.spool.announce(uplink, now_ns)
                committed.batches.setdefault(uplink, []).extend(markers)

    def want(self, pipelines: Mapping[str, PipelineConfig], learned: Memory | None = None) -> None:
        """Have :meth:`make_up` exchange the pipelines, whatever becomes of the store before; the newest wish counts.

        ``learned`` is remembered with the exchange or not at all: why the pipelines are others now.
        """
        self._wanted = pipelines, dict(learned or {})

    def make_up(self, now_ns: int) -> Committed:
        """Make the exchange that is wanted, if there is one: unchanged operators keep their state.

        What the rest held is flushed, not lost.

        Raises:
            StoreError: as for :meth:`commit`; it stays wanted.
        """
        committed = self.commit(Group(), now_ns)
        self._exchange(committed, now_ns)
        self._note_given_up(committed)
        return committed

    @property
    def wants(self) -> bool:
        """Whether an exchange is still to come."""
        return self._wanted is not None

    def _exchange(self, committed: Committed, now_ns: int) -> None:
        """The wanted pipelines in the place of those that run; what these held goes on."""
        if self._wanted is None:
            return
        pipelines, learned = self._wanted
        before, successor = self.graph, Graph(pipelines, self.directory)
        flushed = successor.succeed(before)
        self.graph = successor
        with self.store.transaction():
            committed.alerts = concat([committed.alerts, _alerts(flushed)])
            for uplink, batches in self._spool(flushed, now_ns, before).items():
                committed.batches.setdefault(uplink, []).extend(batches)
            self.store.write_memory(learned)
            self.store.write_directory(self.directory)
            self.store.write_checkpoint(self.graph.snapshot())
            self.store.spool.write_gauges()
        self._known, self._wanted = pipelines, None

    def reopen(self, now_ns: int, failure: StoreError, missed: Missed | None = None) -> bool:
        """After a failure: open the store again, on new descriptors, and bring the pipelines to what it holds.

        An exchange that was under way is still wanted then, see :meth:`make_up`.

        ``missed`` is what nobody could take meanwhile: it is told upstream. The answer is whether the group that
        was ``attempted`` last is on disk after all.

        Raises:
            StoreError: it cannot be opened yet.
        """
        self.store.abandon()

        def begin(store: Store) -> None:
            self.store = store
            self._attach(self.directory)
            self.directory.rewrite()
            self._waiting = []
            self.graph = Graph(self._on_disk(), self.directory)
            self.recover(now_ns, missed)

        with_store(self.store.folder, self.store.config, now_ns, begin, self.store.files, failure)
        return self.store.journal.has(self.attempted)

    def _on_disk(self) -> Mapping[str, PipelineConfig]:
        """Which pipelines the store knows: an exchange may be on disk although it seemed to fail."""
        if self._wanted is not None:
            pipelines, _ = self._wanted
            if pipelines.keys() != self._known.keys() and self.store.read_checkpoint().keys() == pipelines.keys():
                self._known, self._wanted = pipelines, None
        return self._known

    def shut(self) -> None:
        """Close the store, whichever it is by now."""
        self.store.close()

    def status(self) -> dict[str, Any]:
        """Counters of the pipelines and of the store."""
        return {"pipelines": self.graph.timed_status(), "store": self.store.status()}


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


def _alerts(outputs: Outputs) -> Frame:
    return concat(frame for uplink, _, frame in outputs if uplink == NOBODY)


def _newest_tick(segments: Sequence[Segment]) -> int:
    return max((segment.now_ns for segment in segments if isinstance(segment, Tick)), default=0)
