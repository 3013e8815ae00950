"""The pipeline runner: selection, steps in order, the balance, failing operators, reloads and snapshots."""

from __future__ import annotations

import logging

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.frame import EMPTY, Frame, concat
from gateway.point import Point
from pipelines.base import Operator, OperatorConfig
from pipelines.registry import OPERATORS
from pipelines.runner import Pipeline, told
from tests.support.build import directory_of
from tests.support.trials import trials

NAMES = ("m1/power", "m1/voltage", "m2/power", "s1/temp")


class Hold(Operator):
    """Holds what comes until a tick lets it go; adds a derived sample to each tick that found something."""

    def __init__(self, config: HoldConfig) -> None:
        super().__init__()
        self.config = config
        self.held: list[Frame] = []
        self.calls: list[str] = []

    def process(self, frame: Frame) -> Frame:
        self.calls.append("process")
        if self.config.fails and (frame.value == 13).any():
            self.counts.filtered += 1  # one was judged before it broke
            raise ZeroDivisionError
        self.held.append(frame)
        self.counts.queued += len(frame)
        return EMPTY

    def tick(self, now_ns: int) -> Frame:
        self.calls.append("tick")
        if self.config.fails and now_ns == 13:
            self.counts.derived += 1
            raise ZeroDivisionError
        return self._let_go()

    def clock_stepped(self, delta_ns: int) -> Frame:
        return self._let_go()

    def _let_go(self) -> Frame:
        if not self.held:
            return EMPTY
        self.counts.queued = 0
        self.counts.derived += 1
        out, self.held = concat([*self.held, Frame.of([0], 0, [1000.0])]), []
        return out

    def snapshot(self):
        held = concat(self.held)
        return {"point": held.point, "time": held.time, "value": held.value, "quality": held.quality}

    def restore(self, state):
        held = Frame(state["point"], state["time"], state["value"], state["quality"])
        self.held = [held] if len(held) else []


class HoldConfig(OperatorConfig, frozen=True, kw_only=True):
    fails: bool = False
    mark: int = 0

    def create(self, points):
        return Hold(self)


def scale(factor=1.0, points="**"):
    return "scale", OPERATORS["scale"](factor=factor, points=points)


def hold(**options):
    return "hold", HoldConfig(**options)


def pipeline(*steps, select=("**",), directory=None) -> Pipeline:
    return Pipeline("p", select, steps, directory or directory_of(*NAMES))


def frame(*values, points=None) -> Frame:
    ids = points or [n % len(NAMES) for n in range(len(values))]
    return Frame.of(ids, list(range(len(values))), list(values))


def values(out: Frame) -> list[float]:
    return out.value.tolist()


def check_balance(made: Pipeline) -> None:
    status = made.status()
    gone = sum(status[key] for key in ("out", "filtered", "aggregated", "dropped", "queued"))
    assert status["in"] + status["derived"] == gone, status
    assert all(step.operator.counts.balanced for step in made.steps)


def test_no_steps_pass_everything_on():
    made = pipeline()
    whole = frame(1.0, 2.0)
    assert made.process(whole) is whole
    assert made.process(EMPTY) is EMPTY
    assert made.tick(5) is EMPTY
    assert (made.samples_in, made.samples_out) == (2, 2)


def test_select_takes_the_points_of_the_globs_also_those_that_appear_later():
    directory = directory_of(*NAMES)
    made = pipeline(select=("*/power", "s1/**"), directory=directory)
    whole = frame(0.0, 1.0, 2.0, 3.0)
    assert values(made.select(whole)) == [0.0, 2.0, 3.0]
    late = directory.add(Point(name="m9/power"))
    assert values(made.select(frame(1.0, 2.0, points=[late, 1]))) == [1.0]
    only = frame(5.0, points=[0])
    assert made.select(only) is only


def test_steps_run_in_order_and_see_their_points_only():
    made = pipeline(scale(10.0, "*/power"), scale(2.0), scale(100.0, "nothing/*"))
    out = made.process(frame(1.0, 2.0, 3.0, 4.0))
    assert sorted(values(out)) == [4.0, 8.0, 20.0, 60.0]
    assert [step.operator.counts.samples_in for step in made.steps] == [2, 4, 0]
    check_balance(made)


def test_what_a_tick_lets_go_runs_through_the_steps_behind():
    made = pipeline(hold(), scale(2.0), hold(mark=1))
    assert made.process(frame(1.0, 2.0)) is EMPTY
    check_balance(made)
    assert values(made.tick(1)) == [2.0, 4.0, 2000.0, 1000.0]
    assert made.steps[0].operator.calls == ["process", "tick"]
    assert made.steps[2].operator.calls == ["process", "tick"]
    check_balance(made)
    assert made.queued == 0


def test_flush_of_one_step():
    made = pipeline(hold(), scale(2.0))
    made.process(frame(1.0))
    assert values(made.flush_step(0)) == [2.0, 2000.0]
    check_balance(made)


def test_a_step_that_fails_costs_its_samples_counted_and_nothing_else(caplog):
    caplog.set_level(logging.ERROR)
    made = pipeline(hold(fails=True, points="*/power"))
    assert values(made.process(frame(13.0, 2.0, 3.0, 4.0))) == [2.0, 4.0]
    check_balance(made)
    step = made.steps[0]
    assert step.operator.counts.reasons["operator-error"] == 1  # the other was counted before it broke
    made.process(frame(13.0))
    assert step.failures == 2
    assert caplog.text.count("step hold failed") == 1
    made.process(frame(5.0))
    assert values(made.tick(1)) == [5.0, 1000.0]
    check_balance(made)


def test_a_tick_that_fails_keeps_the_balance():
    made = pipeline(hold(fails=True))
    made.process(frame(1.0))
    assert made.tick(13) is EMPTY
    check_balance(made)
    assert values(made.tick(14)) == [1.0, 1000.0]
    check_balance(made)


STEPS = st.lists(
    st.sampled_from([hold(), hold(mark=1), hold(fails=True), scale(2.0), scale(3.0, "m1/*"), hold(points="*/power")]),
    max_size=4,
)
ACTS = st.lists(st.one_of(st.lists(st.sampled_from([1.0, 13.0]), max_size=6), st.integers(12, 14)), max_size=12)


def act(made: Pipeline, what) -> Frame:
    return made.tick(what) if isinstance(what, int) else made.process(made.select(frame(*what)))


@settings(max_examples=trials(60), deadline=None)
@given(STEPS, STEPS, ACTS, ACTS)
def test_the_balance_outlives_a_reload(before, after, first, then):
    """As the graph exchanges pipelines: flush what goes, adopt what stays."""
    directory = directory_of(*NAMES)
    old = pipeline(*before, directory=directory)
    for what in first:
        act(old, what)
    new = pipeline(*after, directory=directory)
    kept = new.kept_of(old)
    for index, step in enumerate(old.steps):
        if step.key not in kept:
            old.flush_step(index)
    new.adopt(old)
    assert {id(step) for step in new.steps if step.key in kept} <= {id(step) for step in old.steps}
    assert (new.samples_in, new.samples_out) == (old.samples_in, old.samples_out)
    check_totals(new)
    for what in then:
        act(new, what)
    check_totals(new)


def check_totals(made: Pipeline) -> None:
    status = made.status()
    gone = sum(status[key] for key in ("out", "filtered", "aggregated", "dropped", "queued"))
    assert status["in"] + status["derived"] == gone, status


@settings(max_examples=trials(60), deadline=None)
@given(STEPS, ACTS, ACTS)
def test_snapshot_and_restore_anywhere_gives_the_same_output(steps, first, then):
    one = pipeline(*steps)
    for what in first:
        act(one, what)
    two = pipeline(*steps)
    assert two.restore(one.snapshot()) == {step.key for step in one.steps}
    assert two.status() == one.status()
    for what in then:
        assert act(one, what) == act(two, what)
    assert two.status() == one.status()


@settings(max_examples=trials(60), deadline=None)
@given(STEPS, STEPS, ACTS)
def test_restore_into_other_steps_counts_what_was_held_as_dropped(before, after, acts):
    """The configuration changed while the gateway was stopped."""
    old = pipeline(*before)
    for what in acts:
        act(old, what)
    new = pipeline(*after)
    kept = new.restore(old.snapshot())
    assert kept == {step.key for step in new.steps} & {step.key for step in old.steps}
    assert new.status()["queued"] == new.queued
    check_totals(new)


def test_renew_begins_unknown_steps_afresh_and_keeps_the_balance():
    made = pipeline(hold(), hold(mark=1))
    made.process(frame(1.0, 2.0))
    made.tick(1)
    made.process(frame(3.0))
    first, second = (step.operator for step in made.steps)
    made.renew({made.steps[1].key})
    assert made.steps[0].operator is not first
    assert made.steps[1].operator is second
    assert made.status()["dropped"] == 1
    assert values(made.tick(2)) == []
    check_totals(made)


def test_steps_alike_are_told_apart_by_their_number():
    made = pipeline(scale(2.0), scale(2.0), scale(3.0))
    keys = [step.key for step in made.steps]
    assert len(set(keys)) == 3
    assert keys[0].startswith("0:scale:")
    assert keys[1] == "1" + keys[0][1:]
    assert pipeline(scale(3.0), scale(2.0)).kept_of(made) == {keys[0], keys[2]}


def test_told_names_what_differs_from_the_defaults():
    assert told(HoldConfig()) == ""
    assert told(HoldConfig(mark=5, points="a/*")) in {"points='a/*', mark=5", "mark=5, points='a/*'"}


def test_status_has_every_step_by_its_name():
    made = pipeline(scale(2.0), hold())
    made.process(frame(1.0))
    status = made.status()
    assert [(step["step"], step["in"], step["out"], step["queued"]) for step in status["steps"]] == [
        ("scale", 1, 1, 0),
        ("hold", 1, 0, 1),
    ]
    assert (status["in"], status["out"], status["queued"]) == (1, 0, 1)
    assert np.isscalar(status["in"])
