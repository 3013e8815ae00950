"""Whatever the plan does while data flow, what comes out in the core is what one window over everything gives."""

import random
from collections import Counter

import numpy as np
import pytest

from gateway.directory import Directory
from gateway.frame import Frame, concat
from gateway.graph import Graph
from gateway.network.chain import chain_of
from gateway.network.compile import Role, pipelines_of
from gateway.network.config import Tier
from gateway.network.names import TRANSIT, stage_of
from gateway.network.reading import service_of
from gateway.point import Point
from tests.gateway.network.growing import Core, part
from tests.gateway.network.growing import Node as Grown

S = 1_000_000_000
START = 1_700_000_000
WINDOWS = 12
EVERY = 5
SERVICE = f"""
service: total
inputs: {{points: "*/power"}}
steps:
  - scale: {{factor: 1}}
  - window:
      every: {EVERY}s
      stats: [count, sum, min, max, mean, p50]
      over: label site
      name: "{{site}}/power"
      lateness: 1s
"""
CHAIN = chain_of(service_of(SERVICE).config)


class Node:
    """Its pipelines, and what it has for its parent."""

    def __init__(self, name, tier, parent=None, cut=None):
        self.name, self.tier, self.parent = name, tier, parent
        self.directory = Directory()
        self.graph = Graph({}, self.directory)
        self.box = []
        """(due, pipeline, frame in this node's ids) on its way up."""
        self.turn(len(CHAIN) if cut is None else cut)

    def turn(self, cut, now=0, delay=0):
        role = Role(self.name, "north", self.tier)
        fresh = Graph(pipelines_of(CHAIN, 1, role, cut, "up"), self.directory)
        outputs = fresh.succeed(self.graph)
        self.graph = fresh
        self.send(outputs, now + delay)

    def send(self, outputs, due):
        self.box += [(due, pipeline, frame) for _, pipeline, frame in outputs if len(frame)]

    def deliver(self, now):
        """What is due goes to the parent."""
        due = [one for one in self.box if one[0] <= now]
        self.box = [one for one in self.box if one[0] > now]
        for _, pipeline, frame in due:
            own = self.parent.directory
            ids = {}
            for point in np.unique(frame.point).tolist():
                like = self.directory.point(point)
                name = f"{TRANSIT}{pipeline}/{like.name}"
                ids[point] = own.add(Point(name=name, unit=like.unit, resolution=like.resolution, merge=like.merge,
                                           labels=like.labels))  # fmt: skip
            mapped = frame.replace(point=np.array([ids[p] for p in frame.point.tolist()], np.int32))
            self.parent.send(self.parent.graph.process(mapped), now)


def network(shape, rng):
    core = Node("core", Tier.CORE)
    inner = [Node(f"agg{n}", Tier.AGGREGATION, core, rng.choice([0, 1, 2, 3])) for n in range(shape[1])]
    edge = [
        Node(f"h{n}", Tier.ACCESS, inner[n % len(inner)] if inner else core, 0)
        for n in range(shape[0])
    ]  # fmt: skip
    return core, inner, edge


def results(core):
    """The newest result of each point and time."""
    found = {}
    frame = concat([frame for _, _, frame in core.box])
    for point, time, value in zip(frame.point.tolist(), frame.time.tolist(), frame.value.tolist(), strict=True):
        found[core.directory.name(point), time // S] = value
    return found


def run(shape, seed, *, moves):
    rng = random.Random(seed)
    core, inner, edge = network(shape, rng)
    nodes = [*edge, *inner, core]
    readings = np.random.default_rng(7)
    ids = [[node.directory.add(Point(name=f"m{n}/power", unit="W", resolution=0.1)) for n in range(3)] for node in edge]
    for second in range(WINDOWS * EVERY):
        now = START + second
        for node, points in zip(edge, ids, strict=True):
            # what the readings are does not depend on the tree
            values = np.round(readings.uniform(0, 5000, 3), 1)
            frame = Frame.of(points, now * S, values)
            node.send(node.graph.process(frame), now + rng.choice([0, 0, 0, 2, 20]) * moves)
        for node in nodes[:-1]:
            if moves and rng.random() < 0.1:
                node.turn(rng.randrange(len(CHAIN) - 1), now, rng.choice([0, 3, 30]))
        for node in nodes:
            node.send(node.graph.tick(now * S), now + (rng.choice([0, 0, 5]) * moves if node is not core else 0))
            if node.parent:
                node.deliver(now)
    for later in range(0, 600, 5):
        now = START + WINDOWS * EVERY + later
        for node in nodes:
            node.send(node.graph.tick(now * S), now)
            if node.parent:
                node.deliver(now)
    assert not any(node.box for node in nodes[:-1])
    return results(core)


@pytest.fixture(scope="module")
def expected():
    """Four gateways, three meters each, straight to the core."""
    return run((4, 0), 1, moves=False)


def test_the_expected_is_complete(expected):
    counts = [value for (name, _), value in expected.items() if name == "north/power#count"]
    assert counts == [4 * 3 * EVERY] * WINDOWS
    assert len(expected) == 6 * WINDOWS


@pytest.mark.parametrize("shape", [(4, 0), (4, 1), (4, 2), (4, 4)])
@pytest.mark.parametrize("seed", range(6))
def test_moves_delays_and_trees_of_any_shape_change_no_bit(shape, seed, expected):
    assert run(shape, seed, moves=True) == expected


VERSIONS = {("total", version): f"# version {version}\n{SERVICE}" for version in range(1, 4)}
UNREADABLE = "service: total\nsteps: [{a-step-of-tomorrow: {}}]\n"
"""A version that this onpath cannot run, which the node below can."""


def grown(versions):
    directories = {}
    core = Core(directories, versions)
    inner = [Grown(f"agg{n}", "aggregation", core, directories) for n in range(2)]
    edge = [Grown(f"h{n}", "access", inner[n % 2], directories) for n in range(4)]
    return core, inner, edge


def disturb(node, rng, epoch, now, *, inner):
    """Tell a node something else, or kill it."""
    what = rng.random()
    version = max([1, *(one.version for one in node.applied.services.values())])
    if what < 0.15:
        version = min(version + 1, 3)
    elif what < 0.3:
        node.restart()
        return
    elif what < 0.5 and inner:
        node.told(epoch, {}, now)  # what was its own drains
        return
    elif what < 0.6 and inner:
        node.passed(now, 7200)  # and has run out by its clock
        return
    yaml = UNREADABLE if inner and rng.random() < 0.15 else VERSIONS["total", version]
    node.told(epoch, {"total": part("total", version, rng.randrange(len(CHAIN) - 1), yaml, epoch)}, now)


@pytest.mark.parametrize("seed", [*range(5), 116])
def test_kills_versions_and_parents_that_know_less_lose_and_double_nothing(seed):
    rng = random.Random(seed)
    core, inner, edge = grown(VERSIONS)
    ids = [[node.directory.add(Point(name=f"m{n}/power", unit="W", resolution=1.0)) for n in range(2)] for node in edge]
    for node in edge:
        node.told(1, {"total": part("total", 1, rng.randrange(4), VERSIONS["total", 1], 1)}, START)
    count, total, epoch = Counter(), Counter(), 1
    for second in range(WINDOWS * EVERY):
        now = START + second
        for node, points in zip(edge, ids, strict=True):
            values = [float(rng.randrange(5000)) for _ in points]
            time = now - rng.choice([0, 0, 0, 7])
            end = (time // EVERY + 1) * EVERY
            count[end] += len(points)
            total[end] += sum(values)
            node.take(Frame.of(points, time * S, values), now + rng.choice([0, 0, 0, 2, 20]))
        for node in (*edge, *inner):
            if rng.random() < 0.08:
                epoch += 1
                disturb(node, rng, epoch, now, inner=node in inner)
            if node in edge and rng.random() < 0.02:
                node.parent = rng.choice([*inner, core])
            node.tick(now, now + rng.choice([0, 0, 5]))
            node.deliver(now, rng)
        if rng.random() < 0.1:
            core.restart()
        core.tick(now)
    for later in range(0, 600, 5):
        now = START + WINDOWS * EVERY + later
        for node in (*edge, *inner):
            node.tick(now, now)
            node.deliver(now, rng)
        core.tick(now)
    assert (core.total("#count"), core.total("#sum")) == (count, total), dict(core.machine.counts)


SWITCHES = {2: START + 20, 3: START + 40}
"""From when on samples are a version's; nodes hear of it some seconds before."""
SCALED = {("total", v): text.replace("factor: 1", f"factor: {v}") for (_, v), text in VERSIONS.items()}


def readings(edge, ids, rng, now):
    """What each access node takes: the node, the time, the values; the time may be of a version before."""
    for node, points in zip(edge, ids, strict=True):
        time = now - rng.choice([0, 0, 0, 7, 15])
        values = [float(rng.randrange(5000)) for _ in points]
        node.take(Frame.of(points, time * S, values), now + rng.choice([0, 0, 0, 2, 20]))
        yield time, values


def version_at(time):
    return 1 + sum(time >= since for since in SWITCHES.values())


@pytest.mark.parametrize("seed", range(4))
def test_each_window_is_of_one_version_whole_however_late_its_samples(seed):
    rng = random.Random(seed)
    core, inner, edge = grown(SCALED)
    nodes = (*edge, *inner)
    ids = [[node.directory.add(Point(name=f"m{n}/power", unit="W", resolution=1.0)) for n in range(2)] for node in edge]

    def tell(node, version, epoch, now):
        text, since = SCALED["total", version], SWITCHES.get(version, 0)
        node.told(epoch, {"total": part("total", version, rng.randrange(4), text, epoch, since=since)}, now)

    known = dict.fromkeys(nodes, 1)
    for node in nodes:
        tell(node, 1, 1, START)
    expected, epoch = Counter(), 1
    for second in range(WINDOWS * EVERY):
        now = START + second
        for time, values in readings(edge, ids, rng, now):
            key = (time // EVERY + 1) * EVERY, version_at(time)
            expected["north/power#count", *key] += len(values)
            expected["north/power#sum", *key] += version_at(time) * sum(values)
        for node in nodes:
            newest = version_at(now + rng.choice([1, 2, 3]))  # nobody hears of it too late
            if rng.random() < 0.08 or known[node] < newest:
                epoch, known[node] = epoch + 1, max(known[node], newest)
                tell(node, known[node], epoch, now)
            if rng.random() < 0.03:
                node.restart()
            node.tick(now, now + rng.choice([0, 0, 5]))
            node.deliver(now, rng)
        core.tick(now)
    for later in range(0, 600, 5):
        now = START + WINDOWS * EVERY + later
        for node in nodes:
            node.tick(now, now)
            node.deliver(now, rng)
        core.tick(now)
    found = {
        (name, time, stage_of(pipeline).version): value
        for (pipeline, name, time), value in core.results.items()
        if name.endswith(("#count", "#sum"))
    }
    assert found == expected, "no window is given by two versions"
