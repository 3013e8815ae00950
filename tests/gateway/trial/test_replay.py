"""The stream of time in a trial: the swift way gives what the exact way gives, and both what the daemon would."""

import itertools
import json
import math

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.directory import Directory
from gateway.engine import Group
from gateway.frame import Frame
from gateway.graph import Graph
from gateway.point import Point
from gateway.store.segments import Tick
from gateway.trial.replay import COARSE, SPAN_NS, TICK_NS, Replay, longest_span
from gateway.trial.simulate import apart
from gateway.trial.source import Matrix, Samples
from gateway.units import decode_quantity
from gateway.uplinks.config import TimeFormat
from gateway.wire.record import samples
from pipelines.registry import OPERATORS
from pipelines.runner import Step
from tests.pipelines.scripts import directory
from tests.support.build import config_of, engine_over, spooled

S = 1_000_000_000
START = 1_790_000_000 * S
WINDOW = "[{window: {every: 10s, stats: [count, sum], lateness: 2s}}]"
ENGINE = """
gateway: g
state: /nowhere
pipelines: {p: {from: ["**"], steps: [{window: {every: 15m, stats: [count, sum], lateness: 5s}}], to: [out]}}
uplinks: {out: {type: stdout}}
"""
NAMES = ("m1/power", "m1/voltage", "m2/power")


class Run:
    def __init__(self, steps, *, exact=False, growth=COARSE) -> None:
        pipelines = config_of(
            f"pipelines: {{p: {{from: '**', steps: {steps}, to: out}}}}\nuplinks: {{out: {{type: stdout}}}}"
        )
        self.directory = Directory()
        for name in NAMES:
            self.directory.add(Point(name=name, limits=(0, 100)))
        self.graph = Graph(apart(pipelines.pipelines), self.directory)
        self.out = []
        self.replay = Replay(self.graph, self.take, span_ns=TICK_NS if exact else SPAN_NS, growth=growth)

    def take(self, outputs) -> None:
        for _, _, frame in outputs:
            rows = samples(frame, self.directory, TimeFormat.NS)
            self.out += [(row["point"], row["time"], repr(row["value"]), row["quality"]) for row in rows]

    def feed(self, *rows) -> None:
        point, at, value = zip(*rows, strict=True)
        self.replay.feed(Samples(Frame.of(point, [START + int(t * S) for t in at], value)))

    def named(self, suffix):
        return [(t - START, float(v)) for name, t, v, _ in self.out if name == f"m1/power{suffix}"]


def test_windows_close_as_time_passes():
    run = Run(WINDOW)
    run.feed((0, 1, 5), (0, 2, 7))
    assert run.out == []
    run.replay.clock(11 * S)
    assert run.named("#sum") == [(10 * S, 12)]


def test_what_waits_is_let_go_at_the_end():
    run = Run(WINDOW)
    run.feed((0, 1, 5))
    run.replay.finish()
    assert run.named("#count") == [(10 * S, 1)]
    assert run.graph.queued == 0


def test_time_does_not_pass_where_nothing_waits():
    run = Run("[{deadband: {absolute: 0.5}}]")
    run.feed((0, 0, 1), (0, 86_400 * 300, 2))
    assert run.replay.ticks <= 3, "one behind each sample, and one before the second"
    assert len(run.out) == 2


@pytest.mark.parametrize("exact", [True, False])
def test_a_pause_is_ticked_through(exact):
    run = Run(WINDOW, exact=exact)
    run.feed((0, 0, 1), (1, 0, 1), (0, 1, 1), (0, 72_000, 2), (0, 72_001, 2))
    assert run.named("#sum") == [(10 * S, 2)]
    run.replay.finish()
    assert run.named("#sum")[1] == (72_010 * S, 4)
    assert run.replay.ticks < 100


@pytest.mark.parametrize("exact", [True, False])
def test_a_wild_date_is_one_as_in_the_daemon(exact):
    """No time passes because of it; and a second one in a row means that the clock was really set."""
    run = Run(WINDOW, exact=exact)
    run.feed((0, 0, 1), (0, 1, 1), (0, 86_400 * 3, 2), (0, 2, 4), (0, 3, 8))
    run.replay.finish()
    assert [value for _, value in run.named("#sum")] == [14]
    assert run.graph.status()["p"]["steps"][0]["reasons"] == {"early": 1}
    assert run.replay.disorder == 0


WINDOW_STEP = "[{window: {every: 15m, stats: [count, sum], lateness: 5s}}]"
RARE = [(0, 86_400.0 * 3 * n, n + 1.0) for n in range(12)]
BESIDE = sorted([*RARE, *((1, 7_200.0 * n, 1.0) for n in range(12 * 36))], key=lambda row: row[1])


@pytest.mark.parametrize("rows", [RARE, BESIDE], ids=["alone", "beside another"])
@pytest.mark.parametrize("exact", [True, False])
def test_a_rare_reporter_loses_nothing(rows, exact):
    """A sample in three days is no wild date: in the daemon a tick comes before it, however quiet it was."""
    run = Run(WINDOW_STEP, exact=exact)
    run.feed(*rows)
    run.replay.finish()
    assert [value for _, value in run.named("#sum")] == [value for *_, value in RARE]
    assert not run.graph.status()["p"]["steps"][0]["reasons"]


@pytest.mark.parametrize("rows", [RARE, BESIDE], ids=["alone", "beside another"])
def test_a_rare_reporter_loses_nothing_in_the_engine_either(tmp_path, rows):
    """Fed as the intake does: the tick of a quiet time, the sample, and ticks while windows wait for them."""
    engine = engine_over(tmp_path, config_of(ENGINE))
    for name in NAMES:
        engine.directory.add(Point(name=name))
    ticked = 0
    for point, at_s, value in rows:
        now = START + int(at_s * S)
        quiet = [Tick(now)] if now - ticked > 2 * TICK_NS else []
        engine.commit(Group([*quiet, Frame.of([point], [now], [value])], run=True), now)
        ticked = now
        while engine.graph.queued:
            ticked += 60 * S
            engine.commit(Group([Tick(ticked)], run=True), ticked)
    sums = engine.directory.find("m1/power#sum")
    found = [frame.take(frame.point == sums).value.tolist() for _, frame in spooled(engine)]
    status = engine.graph.status()["p"]["steps"][0]
    engine.store.close()
    assert list(itertools.chain.from_iterable(found)) == [value for *_, value in RARE]
    assert not status["reasons"]


def test_late_samples_are_late_as_in_the_daemon():
    """In order the swift way, and a chunk with disorder exactly."""
    run = Run(WINDOW)
    run.feed((0, 1, 5), (0, 30, 7), (0, 2, 9))
    run.replay.finish()
    assert run.named("#sum") == [(10 * S, 5), (40 * S, 7)]
    assert run.graph.status()["p"]["steps"][0]["reasons"] == {"late": 1}
    assert run.replay.disorder == 1


def test_disorder_within_a_quarter_of_a_second_is_none():
    run = Run(WINDOW, exact=True)
    run.feed((0, 9.9, 5), (0, 10.1, 7), (0, 9.95, 9))
    run.replay.finish()
    assert run.named("#sum") == [(10 * S, 14), (20 * S, 7)]


def test_a_step_of_the_wall_clock_moves_no_timer():
    run = Run(WINDOW, exact=True)
    run.feed((0, 1, 5))
    run.replay.step(3600 * S)
    assert run.named("#sum") == [(10 * S, 5)]
    run.feed((0, 3602, 7))
    run.replay.clock(2 * S)
    assert run.named("#sum") == [(10 * S, 5)], "two seconds, not an hour, went by"
    run.replay.clock(20 * S)
    assert run.named("#sum")[1] == (3610 * S, 7)


def test_rows_of_a_matrix_are_cut_like_single_samples():
    times = START + np.arange(50) * S
    values = np.arange(100.0).reshape(50, 2)
    both = []
    for exact in (True, False):
        run = Run(WINDOW, exact=exact)
        run.replay.feed(Matrix(times, np.array([0, 1], np.int32), values, values % 7 == 0))
        run.replay.finish()
        both.append(sorted(run.out))
    assert both[0] == both[1]
    assert len(both[0]) == 20


def test_ticks_never_go_back_and_follow_each_sample():
    seen = []
    run = Run(WINDOW, exact=True)
    tick = run.graph.tick
    run.graph.tick = lambda now: (seen.append(now), tick(now))[1]
    run.feed((0, 0.3, 1), (0, 0.31, 1), (0, 5, 1), (0, 4, 1))
    run.replay.clock(3 * S)
    assert seen == sorted(set(seen))
    assert START + TICK_NS * 2 in seen


ORDERED = st.lists(
    st.tuples(
        st.integers(0, len(NAMES) - 1),
        st.sampled_from([0, 0, 0.1, 1, 1, 1, 2, 7, 900, 50_000]),
        st.one_of(st.floats(-10, 110), st.sampled_from([0.0, 1.0, 50.0, math.nan])),
    ),
    min_size=1,
    max_size=40,
)
DIRECTORY = directory()


def operator_config(kind, options):
    return msgspec.convert(options, OPERATORS[kind], dec_hook=decode_quantity)


def span_of(kind, options):
    config = operator_config(kind, options)
    return longest_span(Step(kind, config, DIRECTORY, 0), config)


SWIFT = [
    (kind, json.dumps(options))
    for kind, config in OPERATORS.items()
    for options in config.EXAMPLES
    if span_of(kind, options) == SPAN_NS
]


@pytest.mark.parametrize(("kind", "options"), SWIFT)
@settings(max_examples=10, deadline=None)
@given(ORDERED)
def test_in_order_the_swift_way_gives_what_the_exact_way_gives(kind, options, moves):
    at = itertools.accumulate(gap for _, gap, _ in moves)
    rows = [(point, when, value) for (point, _, value), when in zip(moves, at, strict=True)]
    both = []
    for exact in (True, False):
        run = Run(f"[{{{kind}: {options}}}]", exact=exact)
        run.feed(*rows)
        run.replay.finish()
        both.append(sorted(run.out))
    assert both[0] == both[1]


def test_which_steps_need_every_tick():
    assert {"deadband", "limits", "scale", "filter", "window"} <= {kind for kind, _ in SWIFT}
    assert span_of("swinging_door", {"percent": 1.0, "max_silence": "160s"}) == 10 * S
    assert span_of("gap", OPERATORS["gap"].EXAMPLES[0]) == TICK_NS
