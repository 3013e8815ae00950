"""The step behind alerts: against a plain model, sample by sample, and the operator contract."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import quality as q
from gateway.point import compile_glob
from gateway.units import Duration
from pipelines.operators.judge.alert import AWAY_NS, CALM_NS, HOUR_NS, AlertStepConfig
from pipelines.operators.judge.alert_columns import BACK_NS
from pipelines.operators.judge.alert_told import LEVELS
from tests.pipelines.scripts import DAY, START_NS, Run, S, directory, frame_of, plain, rows, scripts
from tests.support.trials import trials

CASES = {
    "above": {"above": 300.0},
    "hysteresis": {"above": 100.0, "below": 5.0, "hysteresis": 4.0, "level": 3},
    "held": {"above": 1.0, "for_": Duration(2), "clear_after": Duration(1)},
    "at-once-and-late": {"below": 1.0, "clear_after": Duration(3)},
    "late-and-at-once": {"equals": 1.0, "for_": Duration(1)},
    "invalid": {"invalid": True, "level": 1},
    "suspect": {"suspect": True, "above": 300.0},
    "differs": {"differs": 0.0, "watch": ["m1/*"]},
    "absent": {"absent": Duration(3)},
    "absent-or-high": {"absent": Duration(2), "above": 5.0, "for_": Duration(1)},
    "often": {"above": 1.0, "max_per_hour": 2},
    "often-held": {"above": 1.0, "max_per_hour": 1, "for_": Duration(1)},
}
every_case = pytest.mark.parametrize("case", CASES)
CUTS = st.lists(st.integers(0, 24), max_size=5)
quick = settings(max_examples=trials(20), deadline=None)
MAX = (1 << 63) - 1


class AlertRun(Run):
    """The operator with the counting of the runner."""

    def __init__(self, case, points=None) -> None:
        self.kind = self.options = case
        self.points = points or directory()
        self.config = AlertStepConfig(rule="r", text="{point}", **(CASES[case] if isinstance(case, str) else case))
        self.operator = self.config.create(self.points)
        self.now = START_NS
        self.outputs = []

    def moved(self):
        other = AlertRun(self.kind, self.points)
        other.now = self.now
        other.operator.restore(self.operator.snapshot())
        other.operator.counts.restore(self.operator.counts.as_dict())
        return other


class Model:
    """One rule over one point, as a person would write it down."""

    def __init__(self, name, config) -> None:
        self.name, self.c = name, config
        self.newest = -(1 << 63)
        self.held = self.gone = False
        self.shown, self.told = 0, -(1 << 63)
        self.since = self.heard = None  # None: the next tick
        self.turned = 0
        self.raises, self.counting = 0, 0
        self.value = 0.0, 0

    @property
    def on(self):
        return self.held or self.gone

    def verdict(self, value, quality):
        c, good = self.c, not math.isnan(value) and quality & 3 not in {1, 2}
        says = []
        if c.above is not None and good:
            says.append(1 if value > c.above else 0 if value > c.above - c.hysteresis else -1)
        if c.below is not None and good:
            says.append(1 if value < c.below else 0 if value < c.below + c.hysteresis else -1)
        if c.equals is not None and good:
            says.append(1 if value == c.equals else -1)
        if c.differs is not None and good:
            says.append(1 if value != c.differs else -1)
        by_value = any(x is not None for x in (c.above, c.below, c.equals, c.differs))
        if not good and (c.invalid or c.suspect):
            return 1, good
        if c.suspect and quality & 3:
            return 1, good
        if not good:
            return 0, good
        return max(says) if by_value else -1, good

    def sample(self, time, value, quality, now):
        if time < self.newest and (self.newest - time <= BACK_NS or quality & q.HISTORICAL):
            return []
        self.newest, was = time, self.on
        verdict, good = self.verdict(value, quality)
        self.held = verdict > 0 if verdict else self.held
        if good:
            self.gone = False
            self.heard = now or None
        if self.on != was:
            self.since, self.turned = None, time
        self.value = value, quality
        if self.on and not self.shown and not self.c.for_:
            return self.rise(time, now)
        if not self.on and self.shown and not self.c.clear_after and not self.stuck:
            return self.tell(0, time)
        return []

    @property
    def stuck(self):
        return bool(self.c.max_per_hour) and self.raises >= self.c.max_per_hour

    def rise(self, time, now):
        if now - self.counting >= HOUR_NS:
            self.raises, self.counting = 0, now
        self.raises += 1
        return self.tell(self.c.level, time)

    def tell(self, level, time):
        self.told, self.shown = self.told if 0 < self.told - time <= BACK_NS else time, level
        return [(self.told, level, self.value)]

    def span(self):
        return max(self.c.clear_after.ns, CALM_NS) if self.stuck else self.c.clear_after.ns

    def tick(self, now, away):
        absent = self.c.absent.ns if self.c.absent is not None else None
        if away and not self.gone:
            self.heard = now
        if away and self.on != bool(self.shown):
            self.since = now
        if absent is not None:
            self.heard = now if self.heard is None else self.heard
            if not self.gone and now - self.heard >= absent:
                if not self.held:
                    self.since, self.turned = now, min(self.newest, MAX - absent) + absent
                self.gone = True
        self.since = now if self.since is None else self.since
        lasted = now - self.since
        if self.on and not self.shown and (self.gone or lasted >= self.c.for_.ns):
            wait = 0 if self.gone else self.c.for_.ns
            return self.rise(min(self.turned, MAX - wait) + wait, now)
        if not self.on and self.shown and lasted >= self.span():
            return self.tell(0, min(self.turned, MAX - self.span()) + self.span())
        return []

    def due(self):
        found = []
        if self.on and not self.shown:
            found.append(self.since + self.c.for_.ns)
        if not self.on and self.shown:
            found.append(self.since + self.span())
        if self.c.absent is not None and not self.gone:
            found.append(self.heard + self.c.absent.ns)
        return min(found, default=None)

    def flush(self):
        return self.tell(0, self.newest) if self.shown else []


def modelled(script, config):
    """What each part of a script tells: {point: [(time, level, value)]}."""
    points = directory()
    globs = [compile_glob(glob) for glob in config.watch or ["**"]]
    models: dict[int, Model] = {}
    now, tick, due, out = START_NS, 0, None, []
    for samples, pause, step in script:
        told: dict[str, list] = {}
        for point, time, value, quality in samples:
            if any(glob.match(points.name(point)) for glob in globs):
                model = models.setdefault(point, Model(points.name(point), config))
                told.setdefault(model.name, []).extend(model.sample(time, value, quality, tick))
        now += pause
        if step and not pause:
            for model in models.values():
                told.setdefault(model.name, []).extend(model.flush())
            models, due = {}, None
        tick = now
        away = due is not None and now - due > AWAY_NS
        for model in models.values():
            told.setdefault(model.name, []).extend(model.tick(now, away))
        due = min((d for model in models.values() if (d := model.due()) is not None), default=None)
        out.append({name: found for name, found in told.items() if found})
    return out


def told_by(run, script, cuts=()):
    """The same of the operator; asserts that the value stands beside each state."""
    out = []
    for part in script:
        frame = run.part(*part, cuts)
        found: dict[str, list] = {}
        names = [run.points.name(point) for point in frame.point.tolist()]
        assert [name + "#value" for name in names[::2]] == names[1::2]
        assert (frame.time[::2] == frame.time[1::2]).all()
        for at in range(0, len(frame), 2):
            watched = names[at].removeprefix("alert/r/")
            state = int(frame.value[at]), frame.value[at + 1], int(frame.quality[at + 1])
            found.setdefault(watched, []).append((int(frame.time[at]), state[0], state[1:]))
        out.append(found)
    return out


def bits(told):
    """Values by their bits: a NaN has a reason."""
    return [
        {name: [(t, level, np.float64(v).tobytes(), w) for t, level, (v, w) in found] for name, found in part.items()}
        for part in told
    ]


@every_case
@quick
@given(script=scripts())
def test_it_does_what_the_model_does(case, script):
    run = AlertRun(case)
    assert bits(told_by(run, script)) == bits(modelled(script, run.config))


@every_case
@quick
@given(script=scripts(), cuts=CUTS)
def test_cutting_frames_elsewhere_changes_nothing(case, script, cuts):
    whole, cut = AlertRun(case), AlertRun(case)
    assert bits(told_by(whole, script)) == bits(told_by(cut, script, cuts))
    assert whole.operator.counts.as_dict() == cut.operator.counts.as_dict()


@every_case
@quick
@given(script=scripts(), at=st.integers(0, 5))
def test_snapshot_and_restore_anywhere(case, script, at):
    expected = bits(told_by(AlertRun(case), script))
    run, found = AlertRun(case), []
    for number, part in enumerate(script):
        if number == at % len(script):
            run = run.moved()
        found += bits(told_by(run, [part]))
    assert found == expected


@every_case
@quick
@given(before=scripts(), after=scripts())
def test_a_snapshot_is_plain_data_and_shares_nothing(case, before, after):
    run = AlertRun(case)
    run.script(before)
    state = run.operator.snapshot()
    kept = plain(state)
    other = AlertRun(case, run.points)
    other.operator.restore(state)
    assert plain(other.operator.snapshot()) == kept
    run.script(after)
    other.script(after)
    assert plain(state) == kept


@every_case
@quick
@given(script=scripts())
def test_input_columns_are_never_written_to(case, script):
    run = AlertRun(case)
    for samples, _, _ in script:
        frame = frame_of(samples)
        for column in (frame.point, frame.time, frame.value, frame.quality):
            column.flags.writeable = False
        run.operator.process(frame)
        run.operator.tick(run.now)


@pytest.fixture
def run():
    """A rule on voltages with a ``for``, as in the field."""
    return AlertRun({"above": 250.0, "hysteresis": 5.0, "for_": Duration(2), "clear_after": Duration(2), "level": 3})


def level_of(run, frame):
    return [LEVELS[int(value)] for name, _, value, _ in _read(run, frame) if not name.endswith("#value")]


def _read(run, frame):
    return [(name, time, np.frombuffer(value)[0], word) for name, time, value, word in rows(frame, run.points)]


def test_a_ramp_is_raised_once_and_cleared_below_the_hysteresis(run):
    levels = []
    for n, volts in enumerate([240, 251, 252, 248, 251, 247, 246, 244, 243, 242, 241]):
        levels += level_of(run, run.part([(0, START_NS + n * S, float(volts), 0)], S, step=False))
    assert levels == ["critical", "quiet"]


def test_what_is_told_says_what_it_is_of(run):
    run.part([(0, START_NS, 260.0, 0)], S, step=False)
    run.part([], S, step=False)
    out = run.part([(0, START_NS + 3 * S, 261.0, q.QUESTIONABLE)], S, step=False)
    assert [(name, value, word) for name, _, value, word in _read(run, out)] == [
        ("alert/r/m1/voltage", 3.0, 0),
        ("alert/r/m1/voltage#value", 261.0, q.QUESTIONABLE),
    ]
    point = run.points.point(int(out.point[0]))
    assert point.labels == {"rule": "r", "point": "m1/voltage", "severity": "critical", "text": "{point}"}
    assert run.points.states(int(out.point[0])) == list(LEVELS)
    assert run.points.point(int(out.point[1])).unit == "V"
    assert run.operator.open()[0].raised


def test_a_rule_that_is_edited_knows_what_it_has_raised(run):
    for n in range(4):
        run.part([(0, START_NS + n * S, 260.0, 0)], S, step=False)
    assert [one.raised for one in run.operator.open()] == [True]
    edited = AlertRun({"above": 255.0, "level": 2}, run.points)
    edited.now = run.now
    edited.operator.restore(run.operator.snapshot())
    assert edited.config.identity == run.config.identity == "r"
    assert level_of(edited, edited.part([], S, step=False)) == ["warning"], "the severity changed, and is told"
    assert level_of(edited, edited.part([(0, START_NS + 9 * S, 260.0, 0)], S, step=False)) == []
    assert level_of(edited, edited.part([(0, START_NS + 10 * S, 250.0, 0)], S, step=False)) == ["quiet"]


def test_a_rule_that_is_taken_out_clears_what_it_has_raised(run):
    for n in range(4):
        run.part([(0, START_NS + n * S, 260.0, 0), (4, START_NS + n * S, 100.0, 0)], S, step=False)
    assert level_of(run, run.operator.clock_stepped(5)) == []
    assert level_of(run, run.operator.clock_stepped(0)) == ["quiet"]


def test_a_value_that_swings_is_told_so_often_and_then_stays():
    run = AlertRun({"above": 250.0, "max_per_hour": 3})
    levels = []
    for n in range(60):
        levels += level_of(run, run.part([(0, START_NS + n * S, 240.0 + 20 * (n % 2), 0)], S, step=False))
    assert levels == ["warning", "quiet"] * 2 + ["warning"]
    for n in range(60, 60 + 660, 10):
        levels += level_of(run, run.part([(0, START_NS + n * S, 240.0, 0)], 10 * S, step=False))
    assert levels[5:] == ["quiet"]


def test_when_the_gateway_was_away_nobody_was_absent_for_that():
    run = AlertRun({"absent": Duration(5)})
    run.part([(0, START_NS, 1.0, 0)], S, step=False)
    assert run.operator.due_ns == START_NS + S + 5 * S
    assert level_of(run, run.part([], DAY, step=False)) == []
    assert run.operator.due_ns == run.now + 5 * S
    assert level_of(run, run.part([], 6 * S, step=False)) == ["warning"]
    assert run.operator.due_ns is None
    assert level_of(run, run.part([(0, START_NS + DAY, 1.0, 0)], S, step=False)) == ["quiet"]
    assert run.operator.due_ns is not None


def test_texts_of_states():
    run = AlertRun({"equals": "fault"})
    code = run.points.state(3, "ok"), run.points.state(3, "fault")
    assert level_of(run, run.part([(3, START_NS, code[0], 0)], S, step=False)) == []
    assert level_of(run, run.part([(3, START_NS + 1, code[1], 0)], S, step=False)) == ["warning"]
    out = run.part([(3, START_NS + 2, code[0], 0)], S, step=False)
    assert level_of(run, out) == ["quiet"]
    assert run.points.states(int(out.point[1])) == ["ok", "fault"]


def test_the_options_of_the_step_are_a_struct_like_others():
    assert msgspec.structs.fields(AlertStepConfig)
