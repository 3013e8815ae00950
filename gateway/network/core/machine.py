"""One partition's state and what happens to it; synchronous, knows no carrier and no clock, one call at a time.

Batches come in and are taken once, by the ledger; the graph of all services gives results, and partials for other
partitions. :meth:`Machine.capture` is a snapshot of all that, with what is to be published after it: nobody hears of
anything that a snapshot does not cover.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from adapters.frame.child import Child
from adapters.frame.ledger import Ledger, Record
from adapters.frame.records import Reader, UnknownDirectoryError
from gateway.batch import Batch, record_id
from gateway.errors import PayloadError
from gateway.frame import Frame, concat, grouped
from gateway.graph import Graph
from gateway.network.config import core_subject
from gateway.network.core.points import Leaving, Log
from gateway.network.core.services import Running, Version, pipelines, running, target_of
from gateway.network.names import THROUGH, TRANSIT, StageId, pipeline_name, stage_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gateway.graph import Outputs
    from gateway.network.carrier.base import Message
    from gateway.units import Duration
    from gateway.wire.receive import Received

MOST_SAMPLES: Final = 50_000
"""Of one message that leaves."""
RENEW_NS: Final = 86_400 * 10**9
"""Directory messages are said anew after so long; the carrier keeps them for longer."""
_TEMPLATE: Final = f"{TRANSIT}{{pipeline}}/{{point}}"


class Stuck(NamedTuple):
    """Messages that wait for something to be fetched."""

    rest: Sequence[Message]
    directory: str = ""
    """Hash of a directory message; or"""
    service: Version | None = None
    """a version of a service that is not known here."""


class Captured(NamedTuple):
    """What a snapshot covers."""

    state: dict[str, Any]
    seq: int
    done: list[tuple[str, Record]]
    """(subject, record) to be confirmed."""
    outbox: list[list[Any]]
    """(subject, message id, payload) to be published."""
    directories: list[tuple[str, bytes]]
    """(hash, directory message) that must be there before."""


@dataclass
class _Made:
    frames: list[Frame]
    bounds: tuple[dict[str, Any], ...]


@dataclass
class Machine:
    """A partition. Made by :meth:`begun` or :meth:`of`."""

    partition: int
    corrections: Duration
    epoch: int
    log: Log
    seq: int = 0
    """Of the newest message that was taken."""
    stream_ns: int = 0
    """Of the newest tick; time never goes back, whoever holds the partition."""
    out_seq: int = 0
    chains: dict[str, list[int]] = field(default_factory=dict)
    """By subject: the number of its chain, and its newest seq."""
    outbox: list[list[Any]] = field(default_factory=list)
    """What the newest snapshot says is to be published."""
    counts: Counter[str] = field(default_factory=Counter)
    waiting: bool = False
    """Whether time must pass."""
    fresh: bool = False
    """Whether something has happened that no snapshot has."""

    def __post_init__(self) -> None:
        self.name = core_subject(self.partition)
        self.directory = self.log.directory()
        self.graph = Graph({}, self.directory)
        self.versions: Mapping[Version, Running] = {}
        self.heard: set[Version] = set()
        """Of which batches came; whoever uses it empties it."""
        self.refused: set[Version] = set()
        """Versions that nobody knows, for now."""
        self.hopeless: set[str] = set()
        """Directory messages that are nowhere."""
        self._ledger = Ledger()
        self._ledgers: dict[tuple[str, int], bytes] = {}
        self._touched: set[tuple[str, int]] = set()
        self._reader = Reader()
        self._children: dict[str, Child] = {}
        self._done: list[tuple[str, Record]] = []
        self._made: dict[tuple[str, str], _Made] = {}
        self._due_ns: int | None = None
        self._leaving = Leaving(self.name, self.directory)
        self._leaving_ns = 0

    @classmethod
    def of(cls, partition: int, corrections: Duration, state: dict[str, Any]) -> Machine:
        """As a snapshot says.

        Raises:
            PayloadError: a service of it cannot run here.
        """
        found = cls(
            partition, corrections, state["epoch"], Log(state["points"]), state["seq"], state["stream_ns"],
            state["out_seq"], dict(state["chains"]), [list(one) for one in state["outbox"]], Counter(state["counts"]),
        )  # fmt: skip
        versions: dict[Version, Running] = {}
        for name, version, yaml, until_ns in state["services"]:
            one = running(name, version, yaml, until_ns)
            if one is None:
                raise PayloadError("bad-state", f"{found.name}: version {version} of service {name} cannot run here")
            versions[name, version] = one
        found.versions = versions
        found.graph = Graph(pipelines(found.versions, partition, corrections), found.directory)
        found.graph.restore(state["graph"])
        for gateway, epoch, kept in state["ledger"]:
            found._ledger.load(gateway, epoch, kept)
            found._ledgers[gateway, epoch] = kept
        found._look()
        return found

    # What comes

    def take(self, messages: Sequence[Message]) -> Stuck | None:
        """Take messages in order; those from the first on that lacks something are given back."""
        frames: list[Frame] = []
        stuck: Stuck | None = None
        for at, message in enumerate(messages):
            lacking = self._take(message, frames)
            if lacking is not None:
                stuck = lacking._replace(rest=messages[at:])
                break
            self.seq = max(self.seq, message.seq)
            self.fresh = True
        frame = grouped(concat(frames))
        if len(frame):
            self.counts["samples"] += len(frame)
            self._gather(self.graph.process(frame))
            self._look()
        return stuck

    def _take(self, message: Message, frames: list[Frame]) -> Stuck | None:
        try:
            received = self._reader.read(message.payload)
        except UnknownDirectoryError as error:
            if error.name not in self.hopeless:
                return Stuck((), directory=error.name)
            self._reject(message, error)
            return None
        except PayloadError as error:
            self._reject(message, error)
            return None
        if received is None:  # a directory message
            return None
        stages = _stages(received)
        for stage in stages:
            version = (stage.service, stage.version)
            if version not in self.versions and version not in self.refused:
                return Stuck((), service=version)
        self.heard.update((stage.service, stage.version) for stage in stages)
        known = list(map(self._knows, stages))
        if any(known) and not all(known):
            self.counts["unknown-service"] += 1
        self._take_batch(message, received, frames if any(known) else None)
        return None

    def _knows(self, stage: StageId) -> bool:
        one = self.versions.get((stage.service, stage.version))
        return one is not None and stage.stage <= len(one.chain)

    def _take_batch(self, message: Message, received: Received, frames: list[Frame] | None) -> None:
        gateway, batch = received.gateway, received.batch
        record = Record(gateway, batch.epoch, batch.seq)
        self._done.append((message.subject, record))
        if self._ledger.has(record, batch.chain[0] if batch.chain else 0):
            self.counts["repeated"] += 1
            return
        self._ledger.add(gateway, batch)
        self._touched.add((gateway, batch.epoch))
        self.counts["batches"] += 1
        if batch.loss is not None:
            self.counts["lost"] += batch.loss.count
        elif frames is None:
            self.counts["unknown-service"] += 1
        else:
            try:
                frames.append(self._child(gateway).frame(received))
            except PayloadError as error:
                self._reject(message, error)

    def _child(self, gateway: str) -> Child:
        child = self._children.get(gateway)
        if child is None:
            child = self._children[gateway] = Child(gateway, _TEMPLATE, self.directory, self.counts)
        return child

    def _reject(self, message: Message, error: PayloadError) -> None:
        del message
        self.counts["rejected"] += 1
        self.counts[f"rejected: {error.reason}"] += 1

    def learn(self, directory: bytes) -> bool:
        """A directory message that was fetched; whether it is one."""
        try:
            self._reader.learn(directory)
        except PayloadError:
            return False
        return True

    # Services and time

    def run(self, versions: Mapping[Version, Running]) -> None:
        """Run these versions from now on; those that go let go what they hold."""
        if versions == self.versions:
            return
        before = self.graph
        self.graph = Graph(pipelines(versions, self.partition, self.corrections), self.directory)
        self._gather(self.graph.succeed(before), before)
        self.versions, self.fresh = versions, True
        self._look()

    def tick(self, now_ns: int) -> None:
        """Let time pass."""
        self.stream_ns = max(now_ns, self.stream_ns)
        self._gather(self.graph.tick(self.stream_ns))
        self._look()

    def wants_tick(self, now_ns: int) -> bool:
        """Whether time must pass."""
        return self.waiting or (self._due_ns is not None and self._due_ns <= now_ns)

    def _look(self) -> None:
        self.waiting = self.graph.queued > 0
        dues = [due for pipeline in self.graph.pipelines.values() if (due := pipeline.due_ns) is not None]
        self._due_ns = min(dues, default=None)

    def _gather(self, outputs: Outputs, made_by: Graph | None = None) -> None:
        for _, pipeline, frame in outputs:
            stage = stage_of(pipeline)
            assert stage is not None
            chain, name = self.versions[stage.service, stage.version].chain, pipeline_name(*stage)
            subject = target_of(chain, self.partition, stage.stage, name)
            key = (subject, stage.service if stage.stage == len(chain) else name)
            made = self._made.setdefault(key, _Made([], (made_by or self.graph).bounds(pipeline)))
            made.frames.append(frame)
            self.fresh = True

    # Snapshots

    def capture(self) -> Captured:
        """A snapshot, and what it covers; from here on this is as told."""
        outbox, directories = self._leave()
        self.outbox = outbox
        done, self._done = self._done, []
        for gateway, epoch in self._touched:
            self._ledgers[gateway, epoch] = self._ledger.encode(gateway, epoch)
        self._touched.clear()
        self.fresh = False
        state = {
            "epoch": self.epoch, "seq": self.seq, "stream_ns": self.stream_ns, "out_seq": self.out_seq,
            "chains": {subject: list(chain) for subject, chain in self.chains.items()},
            "outbox": outbox, "counts": dict(self.counts),
            "services": [[name, version, one.yaml, one.until_ns] for (name, version), one in self.versions.items()],
            "ledger": [[gateway, epoch, kept] for (gateway, epoch), kept in self._ledgers.items()],
            "graph": self.graph.snapshot(),
            "points": self.log.add(self.directory.changes()),
        }  # fmt: skip
        return Captured(state, self.seq, done, outbox, directories)

    def _leave(self) -> tuple[list[list[Any]], list[tuple[str, bytes]]]:
        """What was made since the last snapshot, as messages; and the directory messages that they need."""
        if self.stream_ns - self._leaving_ns > RENEW_NS:
            self._leaving, self._leaving_ns = Leaving(self.name, self.directory), self.stream_ns
        outbox: list[list[Any]] = []
        directories: list[tuple[str, bytes]] = []
        made, self._made = self._made, {}
        for (subject, pipeline), one in made.items():
            frame = self._leaving.frame(grouped(concat(one.frames)))
            chain = self.chains.setdefault(subject, [len(self.chains) + 1, 0])
            for start in range(0, len(frame), MOST_SAMPLES):
                self.out_seq += 1
                batch = Batch(
                    seq=self.out_seq, pipeline=pipeline, created_ns=0, bounds=one.bounds, epoch=self.epoch,
                    frame=frame.take(slice(start, start + MOST_SAMPLES)), chain=(chain[0], chain[1]),
                )  # fmt: skip
                chain[1] = self.out_seq
                payload, announced = self._leaving.encode(batch)
                outbox.append([subject, record_id(self.name, self.epoch, self.out_seq), payload])
                directories += announced
            self.counts["samples out"] += len(frame)
        return outbox, directories


def _stages(received: Received) -> list[StageId]:
    """The stages that samples of a batch have passed; several of one that nodes below had no use for."""
    batch = received.batch
    names = {batch.pipeline}
    if batch.pipeline == THROUGH:
        points = set(batch.frame.point.tolist())
        names = {str(facts["name"]).partition("/")[0] for point, facts in received.points.items()
                 if point in points and isinstance(facts, dict) and "name" in facts}  # fmt: skip
    return [stage for name in sorted(names) if (stage := stage_of(name)) is not None]
