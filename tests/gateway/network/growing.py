"""A tree of nodes in this process: real pipelines, messages, ledgers and a partition of the core."""

from __future__ import annotations

from collections import Counter

import msgspec

from adapters.frame.child import Child
from adapters.frame.ledger import Ledger, Record
from adapters.frame.records import Reader, UnknownDirectoryError
from gateway.batch import Batch
from gateway.directory import Directory
from gateway.frame import concat, grouped
from gateway.graph import Graph
from gateway.network import applied as applying
from gateway.network.applied import Applied
from gateway.network.assignment import Assignment, ServicePart
from gateway.network.carrier.base import Message
from gateway.network.config import NetworkConfig, core_subject, partition_of
from gateway.network.core.machine import Machine
from gateway.network.core.points import Log
from gateway.network.core.services import running
from gateway.network.extended import pipelines_for
from gateway.network.names import TRANSIT
from gateway.store import state as codec
from gateway.units import Duration, decode_quantity
from gateway.wire.message import FrameEncoder

S = 1_000_000_000
SITE = "north"
PART = partition_of(SITE)
EPOCH = 7


def part(name, version, cut, yaml, epoch, parent="", since=0):
    return ServicePart(version=version, epoch=epoch, cut=cut, yaml=yaml, parent=parent, since_ns=since * S)


class Node:
    """An access or aggregation node: its state folder is what :meth:`restart` brings back."""

    def __init__(self, name, tier, parent, directories):
        self.name, self.parent, self.directories = name, parent, directories
        config = {"carrier": {"url": "local:/nowhere"}, "tier": tier, "site": SITE}
        self.network = msgspec.convert(config, NetworkConfig, dec_hook=decode_quantity)
        self.applied = Applied()
        self.directory = Directory()
        self.graph = Graph({}, self.directory)
        self.ledger, self.reader, self.children = Ledger(), Reader(), {}
        self.box = []
        """(due, parent, message) on its way up."""
        self.seq, self.chains = 0, {}
        self.encoder = FrameEncoder(name, self.directory, sparse=True)
        self._follow(Applied(), 0)

    # the plan

    def told(self, epoch, parts, now):
        self._follow(applying.heard(self.applied, Assignment(epoch=epoch, services=parts), now * S), now)

    def passed(self, now, ahead=0):
        """What has run out by its clock, which may be ahead."""
        self._follow(applying.passed(self.applied, (now + ahead) * S), now)

    def _follow(self, applied, now, delay=0):
        self.applied = applied
        fresh = Graph(pipelines_for(self.network, self.name, applied), self.directory)
        outputs = fresh.succeed(self.graph)
        self.graph = fresh
        self.send(outputs, now + delay)

    def restart(self):
        """As after a kill: from a checkpoint, which a replay would bring to the same state."""
        graph = Graph(
            pipelines_for(self.network, self.name, applying.decode(applying.encode(self.applied))), self.directory
        )
        graph.restore(codec.decode(codec.encode(self.graph.snapshot())))
        ledger = Ledger()
        for gateway, epoch in self.ledger.gateways():
            ledger.load(gateway, epoch, self.ledger.encode(gateway, epoch))
        self.graph, self.ledger, self.reader, self.children = graph, ledger, Reader(), {}
        self.encoder = FrameEncoder(self.name, self.directory, sparse=True)

    # data

    def take(self, frame, due):
        self.send(self.graph.process(frame), due)

    def tick(self, now, due):
        self.send(self.graph.tick(now * S), due)

    def send(self, outputs, due):
        """As the spool does it: a row for each pipeline, with its chain; it goes to the parent of that moment."""
        together = {}
        for _, pipeline, frame in outputs:
            together.setdefault(pipeline, []).append(frame)
        for pipeline, frames in together.items():
            frame = grouped(concat(frames))
            if not len(frame):
                continue
            number, before = self.chains.setdefault(pipeline, (len(self.chains) + 1, 0))
            self.seq += 1
            self.chains[pipeline] = number, self.seq
            batch = Batch(self.seq, pipeline, 0, frame, epoch=EPOCH, chain=(number, before))
            payload, announced = self.encoder.encode(batch)
            self.directories.update(announced)
            subject = f"up/{self.parent.word}/{self.name}/{pipeline}"
            self.box.append((due, self.parent, Message(subject, payload)))

    @property
    def word(self):
        return self.name

    def deliver(self, now, rng=None):
        """What is due goes to the parents; with ``rng`` some of it twice, and in any order."""
        due = [one for one in self.box if one[0] <= now]
        self.box = [one for one in self.box if one[0] > now]
        if rng is not None:
            due += [one for one in due if rng.random() < 0.1]
            rng.shuffle(due)
        for _, parent, message in due:
            parent.receive(message, now)

    def receive(self, message, now):
        received = self._read(message.payload)
        record = Record(received.gateway, received.batch.epoch, received.batch.seq)
        if self.ledger.has(record, received.batch.chain[0]):
            return
        self.ledger.add(received.gateway, received.batch)
        child = self.children.get(received.gateway)
        if child is None:
            child = Child(received.gateway, TRANSIT + "{pipeline}/{point}", self.directory, Counter())
            self.children[received.gateway] = child
        self.take(grouped(child.frame(received)), now)

    def _read(self, payload):
        while True:
            try:
                return self.reader.read(payload)
            except UnknownDirectoryError as error:
                self.reader.learn(self.directories[error.name])


class Core:
    """One partition, and what its final stages gave: by version, point and time, the newest word."""

    word = core_subject(PART)

    def __init__(self, directories, services):
        self.directories, self.services = directories, services
        self.results = {}
        self._seq = 0
        self._use(Machine(PART, Duration(86_400), 42, Log([])))

    def _use(self, machine):
        self.machine = machine
        gather = machine._gather

        def gathered(outputs, made_by=None):
            for _, pipeline, frame in outputs:
                for point, time, value in zip(
                    frame.point.tolist(), frame.time.tolist(), frame.value.tolist(), strict=True
                ):
                    self.results[pipeline, machine.directory.name(point), time // S] = value
            gather(outputs, made_by)

        machine._gather = gathered

    def restart(self):
        state = codec.decode(codec.encode(self.machine.capture().state))
        self._use(Machine.of(PART, Duration(86_400), state))

    def receive(self, message, now):
        del now
        self._seq += 1
        rest = [message._replace(seq=self._seq)]
        while (stuck := self.machine.take(rest)) is not None:
            rest = stuck.rest
            if stuck.service is None:
                self.machine.learn(self.directories[stuck.directory])
            elif stuck.service in self.services:
                one = running(*stuck.service, self.services[stuck.service])
                self.machine.run({**self.machine.versions, stuck.service: one})
            else:
                self.machine.refused.add(stuck.service)

    def tick(self, now):
        self.machine.tick(now * S)

    def total(self, suffix):
        """The sum over all versions of results that end so, by time."""
        found = Counter()
        for (_, name, time), value in self.results.items():
            if name.endswith(suffix):
                found[time] += value
        return found
