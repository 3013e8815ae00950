"""The rule that keeps sums exact, without any network: slots, one node, and trees in which everything goes wrong."""

import os
import random
from collections import deque

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import PayloadError
from gateway.reduction import codec
from gateway.reduction.codec import ALL, Hello, Kind, Need, Part, Result
from gateway.reduction.counts import Counts
from gateway.reduction.job import Job
from gateway.reduction.slot import Slot
from gateway.reduction.terms import ReductionError, Terms

TRIALS = int(os.environ.get("ONPATH_REDUCTIONS", "60"))
WORKERS = 6
TERMS = Terms("j", WORKERS, 5, slot=2, scale=0, magnitude=20)
ROUNDS = 4


def bits(*workers):
    return sum(1 << worker for worker in workers)


def ones(*workers):
    """Sums of workers of whom w has 10**w."""
    return np.array([sum(10**worker for worker in workers)], "<i8")


class TestSlot:
    def test_a_repeat_adds_nothing(self):
        slot = Slot()
        for _ in range(3):
            assert slot.take(bits(1), ones(1)) == 0
        assert slot.take(bits(0, 2), ones(0, 2)) == 0
        assert slot.take(bits(0), ones(0)) == slot.take(bits(1, 2), ones(1, 2)) == 0
        assert (slot.workers, slot.total().tolist()) == (bits(0, 1, 2), [111])

    def test_a_sum_that_contains_all_takes_its_place(self):
        slot = Slot()
        slot.take(bits(0), ones(0))
        assert slot.take(bits(0, 1), ones(0, 1)) == 0
        assert (slot.workers, slot.total().tolist()) == (bits(0, 1), [11])

    def test_an_overlap_is_not_taken_and_says_who_lacks(self):
        slot = Slot()
        slot.take(bits(0, 1), ones(0, 1))
        assert slot.take(bits(1, 2, 3), ones(1, 2, 3)) == bits(2, 3)
        assert (slot.workers, slot.total().tolist()) == (bits(0, 1), [11])

    def test_what_was_sent_is_not_replaced(self):
        slot = Slot()
        slot.take(bits(0), ones(0))
        assert slot.send()[0] == bits(0)
        assert slot.take(bits(0, 1), ones(0, 1)) == bits(1)
        slot.take(bits(1), ones(1))
        sent = slot.send()
        assert (sent[0], sent[1].tolist()) == (bits(1), [10])
        again = slot.sent()
        assert (again[0], again[1].tolist()) == (bits(0, 1), [11])

    @given(st.lists(st.sets(st.integers(0, 5), min_size=1), min_size=1, max_size=30), st.data())
    def test_nobody_is_ever_in_it_twice(self, sums, data):
        """Whatever comes, the value is that of the bitmap: by decimal digits, which all are 0 or 1."""
        slot, up = Slot(), 0
        for workers in sums:
            slot.take(bits(*workers), ones(*workers))
            if slot.open_workers and data.draw(st.booleans()):
                sent, values = slot.send()
                assert not sent & up
                assert values.tolist() == ones(*members(sent)).tolist()
                up |= sent
        if slot.open_workers:
            assert slot.total().tolist() == ones(*members(slot.open_workers)).tolist()
            assert not slot.open_workers & slot.sent_workers
        if slot.sent() is not None:
            assert slot.sent()[1].tolist() == ones(*members(slot.sent_workers)).tolist()


def members(workers):
    return [worker for worker in range(workers.bit_length()) if workers >> worker & 1]


class End:
    """A link as a node sees it; what it sends waits in ``out``."""

    def __init__(self, worker=None):
        self.worker = worker
        self.members = 0 if worker is None else 1 << worker
        self.out = deque()

    def send(self, data):
        self.out.append(data)

    def said(self):
        found = []
        while self.out:
            kind, start, end = codec.split(self.out[0], 0, 10**6)
            found.append((kind, codec.read(kind, self.out.popleft()[start:end])))
        return found


def feed(job, link, data):
    kind, start, end = codec.split(data, 0, 10**6)
    job.received(link, kind, data[start:end])


def part(round_, slot, workers, values, *, direct=False, packed=True):
    return codec.part(Part(round_, slot, direct, workers, codec.values(np.array(values, "<i8"), packed=packed)))


def sums(result, size=2):
    return codec.read_values(result.values, size, packed=True).tolist()


def root_with(*links, terms=TERMS):
    job = Job(terms, root=True, counts=Counts())
    for link in links:
        job.attach(link, Hello(terms, link.worker, 0))
    return job


class TestNode:
    def test_an_overlap_is_asked_for_and_answered_by_single_workers(self):
        left, right = End(), End()
        root = root_with(left, right)
        feed(root, left, part(1, 0, bits(0, 1, 2, 3), [4, 4]))
        feed(root, right, part(1, 0, bits(3, 4, 5), [3, 3]))
        assert right.said() == [(Kind.NEED, Need(1, 0, bits(4, 5), bits(4, 5)))]
        for worker in (4, 5):
            feed(root, right, part(1, 0, bits(worker), [1, 1], direct=True))
        ((kind, result),) = left.said()
        assert (kind, sums(result)) == (Kind.RESULT, [6, 6])

    def test_a_node_hands_on_what_it_has_sent_already(self):
        worker, up = End(0), deque()
        node = Job(TERMS, root=False, counts=Counts())
        node.attach(worker, Hello(TERMS, 0, 0))
        node.parent_up(up.append)
        node.from_parent(Kind.READY, b"")
        up.clear()
        feed(node, worker, part(1, 0, bits(0), [1, 1]))
        feed(node, worker, part(1, 0, bits(0), [1, 1]))
        assert len(up) == 1
        direct = part(1, 0, bits(0), [1, 1], direct=True)
        feed(node, worker, direct)
        assert up[-1] == direct

    def test_whoever_comes_late_gets_the_result_that_is_kept(self):
        links = [End(worker) for worker in range(WORKERS)]
        root = root_with(*links)
        for slot, values in enumerate(([1, 1], [1, 1], [1])):
            for link in links:
                feed(root, link, part(1, slot, link.members, values))
        late = End(3)
        root.attach(late, Hello(TERMS, 3, 1))
        feed(root, late, part(1, 1, bits(3), [1, 1]))
        (ready, _), (kind, result) = late.said()
        assert (ready, kind) == (Kind.READY, Kind.RESULT)
        assert result[:2] == (1, 1)
        assert sums(result) == [6, 6]

    @pytest.mark.parametrize(
        ("data", "reason"),
        [
            (part(1, 3, bits(0), [1, 1]), "slot 3"),
            (part(1, 0, bits(0), [1] * 9), "2 numbers in 9 bytes, their widths say 5"),
            (part(1, 0, bits(0), [1, 1], packed=False), "2 numbers in 16 bytes, their widths say 5"),
            (codec.part(Part(1, 0, False, bits(0), b"\x11")), "of a width that cannot be"),
            (codec.part(Part(1, 0, False, bits(0), b"")), "2 numbers in 0 bytes"),
            (part(0, 0, bits(0), [1, 1]), "malformed"),
            (part(1, 0, 0, [1, 1]), "nobody"),
            (part(1, 0, bits(6), [1, 1]), "more workers"),
            (part(1, 0, bits(1), [1, 1]), "speaks for others"),
            (part(1, 0, bits(0), [2**20 + 1, 0]), "above 1048576"),
            (part(1, 0, bits(0), [-(2**63), 0]), "above 1048576"),
            (codec.message(Kind.MEMBERS, b"\x01"), "MEMBERS from below"),
            (codec.result(Result(1, 9, b"")), "slot 9"),
            (codec.result(Result(1, 0, b"\x02\0")), "2 numbers in 2 bytes"),
        ],
    )
    def test_what_cannot_be_is_refused_and_changes_nothing(self, data, reason):
        link = End(0)
        root = root_with(link)
        with pytest.raises(PayloadError, match=reason):
            feed(root, link, data)
        assert root.rounds == {}

    def test_rounds_that_are_over_or_far_ahead_are_refused(self):
        link, worker = End(), End(0)
        root = root_with(link, worker)
        for round_ in (1, 2):
            for slot in range(TERMS.slots):
                feed(root, link, part(round_, slot, TERMS.everyone, [1] * TERMS.size(slot)))
        with pytest.raises(ReductionError, match="round 1 is over, it is at 2"):
            feed(root, worker, part(1, 0, bits(0), [1, 1]))
        feed(root, link, part(1, 0, TERMS.everyone, [1, 1]))
        with pytest.raises(ReductionError, match="round 5, and round 2 was the last"):
            feed(root, link, part(5, 0, TERMS.everyone, [1, 1]))
        assert set(root.rounds) == {2}

    def test_a_root_that_nobody_asked_takes_no_result(self):
        link = End(0)
        root = root_with(link)
        feed(root, link, part(1, 0, bits(0), [1, 1]))
        feed(root, link, codec.result(Result(1, 0, b"\0")))
        assert root.rounds[1].slots[0].result is None


class World:
    """Nodes and workers whose messages come when the dice say so, and whose links break when they say so."""

    def __init__(self, seed, *, parameters=False, packed=True):
        self.dice = random.Random(seed)
        self.terms = Terms(
            "j", WORKERS, 5, slot=2, scale=0, magnitude=20, parameters=parameters, rate=0.5, packed=packed
        )
        self.counts = Counts()
        self.values = np.random.default_rng(seed).integers(-1000, 1000, (WORKERS, ROUNDS + 1, 5))
        self.parents = {"root": [], "left": ["root"], "right": ["root"], "low": ["left", "right", "root"]}
        self.jobs = {}
        self.up = {}
        for name in self.parents:
            self.start(name)
        self.workers = [Worker(self, number) for number in range(WORKERS)]

    def start(self, name):
        self.jobs[name] = Job(self.terms, root=name == "root", counts=self.counts)

    def connect_nodes(self):
        for name, parents in self.parents.items():
            if parents and name not in self.up:
                self.up[name] = wire = Wire(self, self.dice.choice(parents), End(), name)
                wire.attach(self.jobs[name].from_parent)
                self.jobs[name].parent_up(wire.upwards.append)

    def wires(self):
        return [*self.up.values(), *(worker.wire for worker in self.workers if worker.wire is not None)]

    def cut(self, wire, *, seen=True):
        """What is on the way is lost; ``seen``: also the node notices that the link is gone."""
        if seen:
            self.jobs[wire.node].detach(wire.end)
        if wire.child in self.up and self.up[wire.child] is wire:
            del self.up[wire.child]
            self.jobs[wire.child].parent_down()
        for worker in self.workers:
            if worker.wire is wire:
                worker.wire = None

    def kill(self, name):
        for wire in [wire for wire in self.wires() if name in {wire.node, wire.child}]:
            self.cut(wire)
        self.start(name)

    def step(self):
        self.connect_nodes()
        for worker in self.workers:
            worker.connect()
        busy = [way for wire in self.wires() for way in wire.ways()]
        if busy:
            self.dice.choice(busy)()
        else:
            for job in self.jobs.values():
                job.look()

    def wanted(self):
        """The results of all rounds."""
        if not self.terms.parameters:
            return [self.values[:, number].sum(axis=0).tobytes() for number in range(1, ROUNDS + 1)]
        weights, found = np.arange(5.0), []
        for number in range(1, ROUNDS + 1):
            weights = self.terms.applied(weights, self.values[:, number].sum(axis=0))
            found.append(weights.tobytes())
        return found


class Wire:
    """A connection from a worker or a node (``child``) up to a node."""

    def __init__(self, world, node, end, child):
        self.world, self.node, self.end, self.child = world, node, end, child
        self.upwards = deque()

    def attach(self, hears):
        self.hears = hears
        self.world.jobs[self.node].attach(self.end, Hello(self.world.terms, self.end.worker, 0))

    def ways(self):
        return [self.deliver_up] * bool(self.upwards) + [self.deliver_down] * bool(self.end.out)

    def deliver_up(self):
        feed(self.world.jobs[self.node], self.end, self.upwards.popleft())

    def deliver_down(self):
        data = self.end.out.popleft()
        kind, start, end = codec.split(data, 0, 10**6)
        self.hears(kind, data[start:end])


class Worker:
    """What :mod:`gateway.reduction.member` does, without sockets."""

    def __init__(self, world, number):
        self.world, self.number = world, number
        self.wire = None
        self.round, self.ready = 0, False
        self.open = set()
        self.result = {}
        self.last = (0, np.arange(5.0).view("<i8"))
        self.results = []

    def connect(self):
        if self.wire is None:
            node = self.world.dice.choice(list(self.world.parents))
            self.wire = Wire(self.world, node, End(self.number), self.number)
            self.wire.attach(self.hears)
            for slot in sorted(self.open):
                self.say(slot)

    def say(self, slot, *, direct=False):
        values = self.world.values[self.number, self.round][self.world.terms.span(slot)]
        packed = self.world.terms.packed
        self.wire.upwards.append(part(self.round, slot, 1 << self.number, values, direct=direct, packed=packed))

    def begin(self):
        if len(self.results) < ROUNDS:
            self.round += 1
            self.open = set(range(self.world.terms.slots))
            self.result = {}
            for slot in sorted(self.open):
                self.say(slot)

    def hears(self, kind, body):
        value = codec.read(kind, body)
        if kind is Kind.READY and not self.ready:
            self.ready = True
            self.begin()
        elif kind is Kind.RESULT and value.round == self.round and value.slot in self.open:
            self.open.discard(value.slot)
            terms = self.world.terms
            self.result[value.slot] = codec.read_values(
                value.values, terms.size(value.slot), packed=terms.packed_results
            )
            if not self.open:
                whole = np.concatenate([self.result[slot] for slot in sorted(self.result)])
                self.last = (self.round, whole)
                self.results.append(whole.tobytes())
                self.begin()
        elif kind is Kind.NEED:
            self.need(value)

    def need(self, need):
        asked = range(3) if need.slot == ALL else [need.slot]
        for slot in asked:
            if need.round == self.round and slot in self.open:
                if need.wanted >> self.number & 1:
                    self.say(slot, direct=True)
            elif need.missing >> self.number & 1:
                if need.round == self.round and slot in self.result:
                    self.tell(need.round, slot, self.result[slot])
                elif need.round == self.last[0]:
                    self.tell(need.round, slot, self.last[1][self.world.terms.span(slot)])

    def tell(self, round_, slot, values):
        told = codec.values(values, packed=self.world.terms.packed_results)
        self.wire.upwards.append(codec.result(Result(round_, slot, told)))


@pytest.mark.parametrize("parameters", [False, True], ids=["allreduce", "parameters"])
def test_trees_in_which_everything_goes_wrong_end_with_the_exact_sums(parameters):
    overlaps = repeats = 0
    for seed in range(TRIALS):
        world = World(seed, parameters=parameters, packed=seed % 4 > 0)
        harm = world.dice.choice([0.0, 0.01, 0.05])
        for number in range(60_000):
            if all(len(worker.results) == ROUNDS for worker in world.workers):
                break
            if number < 3_000 and world.dice.random() < harm:
                if world.dice.random() < 0.3:
                    world.kill(world.dice.choice(list(world.parents)))
                elif wires := world.wires():
                    world.cut(world.dice.choice(wires), seen=world.dice.random() < 0.7)
            world.step()
        for worker in world.workers:
            assert worker.results == world.wanted(), f"seed {seed}, worker {worker.number}"
        overlaps += world.counts.overlaps
        repeats += world.counts.repeats
    assert overlaps > TRIALS / 10
    assert repeats > TRIALS
