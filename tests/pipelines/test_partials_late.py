"""Nothing is lost on the way: whatever the tree, the order, the cuts of windows and the lateness, the end is the same.

Leaves are ``window: {partial: true, late: partial}``, inner nodes ``merge: {partial: true, late: partial}``, the root
``merge: {late: correction}``. At any time anyone may be flushed, as a move does it, or be told that time has passed.
"""

from __future__ import annotations

import random
import struct

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import quality as q
from gateway.directory import Directory
from gateway.errors import FieldError
from tests.pipelines.scripts import S, operator, plain
from tests.pipelines.test_merge import BINS, MIN, POINTS, SAMPLES, STATS, T0, Node, bits, joined, partial
from tests.support.trials import trials

DAY = 86_400 * S
WINDOW = {"every": "1m", "stats": STATS, "partial": True, "late": "partial", "lateness": "5s", **BINS}
MERGE = {"stats": STATS, "partial": True, "late": "partial", "lateness": "5s"}
ROOT = {"stats": STATS, "late": "correction", "lateness": "5s"}
ACTS = st.lists(
    st.tuples(st.sampled_from(["flush", "tick", "tick", "move"]), st.integers(0, 5), st.integers(0, 200)), max_size=30
)


class Tree:
    """Leaves, inner nodes and the root; what a node lets go is at its parent at once."""

    def __init__(self, leaves, inner, chance):
        self.root = Node("merge", ROOT, knows=())
        self.nodes = [self.root]
        self.parents = {self.root: None}
        for at in range(inner + leaves):
            kind, mine = ("merge", MERGE) if at < inner else ("window", WINDOW)
            parent = self.nodes[chance.randint(0, min(at, inner))]
            node = Node(kind, mine, knows=POINTS if kind == "window" else ())
            self.nodes.append(node)
            self.parents[node] = parent
        self.leaves = self.nodes[inner + 1 :]
        self.results = {}
        self.given = []
        self.now = T0

    def up(self, node, samples):
        """What left a node goes up; of the root's results the newest word on each counts."""
        if node is self.root:
            self.results |= {
                (name, time): (value, word & ~q.HISTORICAL) for (name, time), (value, word) in bits(samples).items()
            }
        elif samples:
            self.up(self.parents[node], self.parents[node].give(samples))

    def act(self, what, node, seconds):
        if what == "flush":
            self.up(node, node.told(node.step.clock_stepped(0)))
        elif what == "move" and node is not self.root:
            # Another host goes on with the same part of the tree; the old one lets go what it has
            self.up(node, node.told(node.step.clock_stepped(0)))
            node.step = operator(*(("window", WINDOW) if node in self.leaves else ("merge", MERGE)), node.points)
        else:
            self.now += seconds * S
            self.up(node, node.told(node.step.tick(self.now)))

    def end(self):
        """All that is held goes up; each node before its parent."""
        for node in reversed(self.nodes):
            self.up(node, node.told(node.step.clock_stepped(0)))
        return self.results


def settled(results):
    return {key: (value, word & ~q.HISTORICAL) for key, (value, word) in results.items()}


@settings(max_examples=trials(60), deadline=None)
@given(samples=SAMPLES, seed=st.integers(0, 1 << 30), shape=st.tuples(st.integers(1, 5), st.integers(0, 3)))
def test_any_tree_and_any_cut_of_windows_end_in_the_bits_of_one_window(samples, seed, shape):
    chance = random.Random(seed)
    tree = Tree(*shape, chance)
    # Few points and many samples, so that there is much that comes late
    samples = samples + [(chance.choice(POINTS[:2]), T0 + chance.randrange(3 * MIN), 0.1 * at, 0) for at in range(150)]
    chance.shuffle(samples)
    while samples:
        leaf, many = chance.choice(tree.leaves), chance.randint(1, 12)
        tree.given += samples[:many]
        tree.up(leaf, leaf.give(samples[:many]))
        samples = samples[many:]
        for _ in range(chance.randint(0, 4)):
            tree.act(chance.choice(["tick"] * 8 + ["flush", "move"]), chance.choice(tree.nodes), chance.randint(0, 20))
    assert tree.end() == settled(bits(joined([partial(tree.given)])))


@settings(max_examples=trials(60), deadline=None)
@given(samples=SAMPLES, acts=ACTS, cut=st.integers(0, 30))
def test_sliding_windows_lose_nothing_either(samples, acts, cut):
    """Each sample is in all windows that it belongs to, also where some had closed and others had not."""
    options = WINDOW | {"slide": "20s", "stats": ["count", "sum", "max"], "bins": None}
    root = {"stats": ["count", "sum", "max"], "late": "correction", "lateness": "5s"}
    found = {}
    for cuts in (acts, []):
        leaf, end = Node("window", options), Node("merge", root, knows=())
        now, results = T0, {}
        for at in range(0, len(samples) + cut + 1, cut + 1):
            leaf.give(samples[at : at + cut + 1])
            for what, _, seconds in cuts[at : at + 2]:
                now += seconds * S
                out = leaf.step.clock_stepped(0) if what == "flush" else leaf.step.tick(now)
                end.give(leaf.told(out))
                results |= settled(bits(end.told(end.step.tick(now))))
        end.give(leaf.flush())
        found[bool(cuts)] = results | settled(bits(end.flush()))
    assert found.get(True, found[False]) == found[False]


def late_leaf():
    leaf = Node("window", {"every": "1m", "stats": ["count"], "partial": True, "late": "partial", "lateness": "0s"})
    leaf.give([(POINTS[0], T0 + S, 1.0, 0), (POINTS[0], T0 + MIN, 1.0, 0)])
    first = leaf.told(leaf.step.tick(T0))
    return leaf, first


def test_a_late_sample_is_one_more_partial_result_of_its_window():
    leaf, first = late_leaf()
    assert [(p.name, t, v) for p, t, v, _ in first] == [("m1/power#count", T0 + MIN, 1.0)]
    assert leaf.give([(POINTS[0], T0 + 2 * S, 1.0, 0)]) == []
    assert leaf.told(leaf.step.tick(T0)) == first
    assert leaf.step.counts.reasons == {"late": 1}
    assert leaf.step.counts.dropped == 0


def test_a_wild_date_moves_nothing_and_is_not_lost():
    leaf, _ = late_leaf()
    leaf.give([(POINTS[0], T0 + 3 * DAY, 1.0, 0)])
    assert leaf.told(leaf.step.tick(T0 + S)) == []
    assert leaf.step.counts.reasons == {"early": 1}
    assert [t for _, t, *_ in leaf.flush()] == [T0 + 2 * MIN, T0 + 3 * DAY + MIN]


def test_a_late_partial_result_goes_on_as_one_more():
    part = partial([(POINTS[0], T0, 1.0, 0)], stats=["count"], bins=None)
    node = Node("merge", {"stats": ["count"], "partial": True, "late": "partial", "lateness": "0s"}, knows=())
    node.give(part)
    assert [v for *_, v, _ in node.told(node.step.tick(T0))] == [1.0]
    node.give(part)
    node.give(part)
    assert [(p.name, v) for p, _, v, _ in node.told(node.step.tick(T0))] == [
        ("m1/power#count", 2.0),
        ("m1/power#parts", 2.0),
    ]
    assert node.step.counts.reasons == {"late": 2}


def part_at(ns):
    return partial([(POINTS[0], ns, 1.0, 0)], stats=["count"], bins=None)


def counts_of(node, now):
    return [(t, v, bool(word & q.HISTORICAL)) for _, t, v, word in node.told(node.step.tick(now))]


def test_a_late_partial_result_corrects_for_a_time():
    options = {"stats": ["count"], "late": "correction", "corrections": "1h", "lateness": "0s"}
    node = Node("merge", options, knows=())
    node.give(part_at(T0))
    assert counts_of(node, T0 + MIN) == [(T0 + MIN, 1.0, False)]
    node.give(part_at(T0))
    node.give(part_at(T0))
    assert counts_of(node, T0 + 2 * MIN) == [(T0 + MIN, 3.0, True)]
    node.give(part_at(T0 + 60 * MIN))
    assert counts_of(node, T0 + 61 * MIN) == [(T0 + 61 * MIN, 1.0, False)]
    node.give(part_at(T0 + MIN))
    node.give(part_at(T0))
    assert counts_of(node, T0 + 61 * MIN) == [(T0 + 2 * MIN, 1.0, False)]
    assert node.step.counts.reasons == {"late": 4, "corrected": 1, "too-late": 1}
    assert node.step.counts.dropped == 1
    assert node.step.counts.balanced or node.step.counts.samples_in == 0  # the runner counts what comes in


def test_one_source_with_a_wild_clock_takes_no_corrections_from_the_others():
    options = {"stats": ["count"], "late": "correction", "over": "all", "name": "all", "lateness": "0s"}
    node = Node("merge", options, knows=())
    node.give(part_at(T0 + 10_000 * DAY))
    node.give(part_at(T0 + 10_000 * DAY))
    node.step.tick(T0)
    for _ in range(2):
        node.give(part_at(T0))
    assert counts_of(node, T0 + S) == [(T0 + MIN, 2.0, False)]
    assert "too-late" not in node.step.counts.reasons


def test_what_is_kept_for_corrections_is_bounded_by_time():
    options = {"stats": ["count", "sum", "p50"], "late": "correction", "corrections": "1h", "lateness": "0s"}
    node = Node("merge", options, knows=())
    for minute in range(600):
        node.give(partial([(POINTS[0], T0 + minute * MIN, 1.0, 0)], stats=options["stats"], bins=None))
        node.step.tick(T0 + (minute + 1) * MIN)
    kept = node.step.snapshot()["kept"]
    assert len(kept) <= 12
    assert 60 <= sum(len(chunk["columns"]["point"]) for chunk in kept) <= 130


@settings(max_examples=trials(40), deadline=None)
@given(samples=SAMPLES, cut=st.integers(0, 400), ticks=st.integers(0, 3))
def test_a_merge_that_corrects_goes_on_from_a_snapshot(samples, cut, ticks):
    parts = [one for at in range(3) for one in partial(samples[at::3])]
    straight, broken = (Node("merge", ROOT, knows=()) for _ in range(2))
    cut %= len(parts) + 1
    for node in (straight, broken):
        node.give(parts[:cut])
        for tick in range(ticks):
            node.step.tick(T0 + tick * 3 * MIN)
    state = broken.step.snapshot()
    kept = plain(state)
    counts = broken.step.counts
    broken.step = operator("merge", ROOT, broken.points)
    broken.step.restore(state)
    broken.step.counts = counts
    assert plain(broken.step.snapshot()) == kept
    for node in (straight, broken):
        node.give(parts[cut:])
    assert plain(state) == kept
    assert bits(broken.flush()) == bits(straight.flush())


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("window", {"late": "partial"}),
        ("window", {"late": "correction", "partial": True}),
        ("merge", {"late": "partial"}),
        ("merge", {"late": "correction", "partial": True}),
    ],
)
def test_policies_that_do_not_fit_are_refused(kind, options):
    with pytest.raises(msgspec.ValidationError) as error:
        operator(kind, options, Directory())
    assert isinstance(error.value.__cause__, FieldError)
    assert error.value.__cause__.field == ("late",)


def test_a_time_for_corrections_of_nothing_is_refused():
    with pytest.raises(msgspec.ValidationError):
        operator("merge", {"corrections": 0}, Directory())


def test_integer_sums_are_exact_whatever_comes_late():
    """Counts and sums against plain Python integers."""
    leaf, end = (
        Node("window", WINDOW | {"stats": ["count", "sum"], "bins": None}),
        Node("merge", ROOT | {"stats": ["count", "sum"]}, knows=()),
    )
    values = [(at * 7919) % 1_000_003 for at in range(400)]
    results = {}
    for at, value in enumerate(values):
        time = T0 + (at * 37 % 180) * S
        leaf.give([(POINTS[1], time, value * 0.01, 0)])
        if at % 23 == 0:
            end.give(leaf.told(leaf.step.tick(T0 + at * S)))
            results |= bits(end.told(end.step.tick(T0 + at * S)))
    end.give(leaf.flush())
    results |= bits(end.flush())
    found = {}
    for (name, _), (value, _) in results.items():
        stat = name.partition("#")[2]
        found[stat] = found.get(stat, 0) + round(struct.unpack("<d", value)[0] * (1 if stat == "count" else 100))
    assert found == {"count": len(values), "sum": sum(values)}
