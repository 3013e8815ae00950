"""The operator contract, over every operator of the registry with every example of its config.

A new operator is covered by being listed and having ``EXAMPLES``.
"""

from __future__ import annotations

import ast
import inspect

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import quality as q
from pipelines.bounds import Bound
from pipelines.registry import OPERATORS
from tests.pipelines.scripts import POINTS, Run, directory, frame_of, operator, plain, rows, scripts
from tests.support.trials import trials

CASES = [(kind, options) for kind, config in OPERATORS.items() for options in config.EXAMPLES]
every_operator = pytest.mark.parametrize(
    ("kind", "options"), CASES, ids=[f"{kind}-{at}" for at, (kind, _) in enumerate(CASES)]
)
ALONE = [(kind, options) for kind, options in CASES if not operator(kind, options, directory()).joins]
every_lone_operator = pytest.mark.parametrize(
    ("kind", "options"), ALONE, ids=[f"{kind}-{at}" for at, (kind, _) in enumerate(ALONE)]
)
STALE = np.float64(q.no_value(q.Reason.STALE)).tobytes()
"""What ``gap`` says of a silent point is a sample of that point, which never came."""
CUTS = st.lists(st.integers(0, 24), max_size=5)
quick = settings(max_examples=trials(15), deadline=None)


@pytest.mark.parametrize("kind", OPERATORS)
def test_every_operator_has_examples_and_a_documented_config(kind):
    config = OPERATORS[kind]
    assert config.EXAMPLES
    snippet = config.__doc__.split("Example::")[1]
    steps = yaml.safe_load(snippet)["steps"]
    for step in steps:
        assert list(step) == [kind]
        operator(kind, step[kind], directory())


@pytest.mark.parametrize("kind", OPERATORS)
def test_every_option_is_documented(kind):
    config = OPERATORS[kind]
    body = ast.parse(inspect.getsource(config)).body[0].body
    after = dict(zip(body, [*body[1:], None], strict=True))
    for node in body:
        if isinstance(node, ast.AnnAssign) and "ClassVar" not in ast.unparse(node.annotation):
            text = after[node]
            assert isinstance(text, ast.Expr), f"{kind}: {node.target.id} has no docstring"
            assert isinstance(text.value.value, str)


@every_operator
@quick
@given(script=scripts())
def test_never_raises_and_always_balances(kind, options, script):
    Run(kind, options).script(script)  # asserts the balance after each call; warnings are errors


@every_operator
@quick
@given(script=scripts())
def test_the_same_frames_and_ticks_give_the_same_bits(kind, options, script):
    assert Run(kind, options).script(script) == Run(kind, options).script(script)


@every_operator
@quick
@given(script=scripts(), cuts=CUTS)
def test_cutting_frames_elsewhere_changes_nothing(kind, options, script, cuts):
    whole, cut = Run(kind, options), Run(kind, options)
    assert _by_point(whole.script(script)) == _by_point(cut.script(script, cuts))
    assert whole.operator.counts.as_dict() == cut.operator.counts.as_dict()


def _by_point(parts):
    """Each part's samples grouped by point: an operator may order points within a frame as it likes."""
    return [sorted(part, key=lambda row: row[0]) for part in parts]


@every_operator
@quick
@given(script=scripts(), cuts=CUTS)
def test_order_within_a_point_is_kept(kind, options, script, cuts):
    run = Run(kind, options)
    outputs = run.script(script, cuts)
    for name in [point.name for point in POINTS]:
        came, at = [], 0  # what an operator held may leave in a later part, but not before it came
        for (samples, _, _), out in zip(script, outputs, strict=True):
            came += [sample[1] for sample in samples if run.points.name(sample[0]) == name]
            for time in [time for point, time, value, _ in out if point == name and value != STALE]:
                assert time in came[at:]
                # what ranks points goes by intervals of event time, which need not be the order of arrival
                at = 0 if run.operator.joins else came.index(time, at) + 1


@every_lone_operator
@quick
@given(script=scripts(), chosen=st.sets(st.integers(0, len(POINTS) - 1)))
def test_one_point_never_changes_another(kind, options, script, chosen):
    names = {POINTS[i].name for i in chosen}
    alone = [([s for s in samples if s[0] in chosen], pause, step) for samples, pause, step in script]
    together = [
        [row for row in part if row[0].partition("#")[0] in names] for part in Run(kind, options).script(script)
    ]
    assert _by_point(together) == _by_point(Run(kind, options).script(alone))


@every_operator
@quick
@given(script=scripts(), at=st.integers(0, 5), cut=st.integers(0, 24))
def test_snapshot_and_restore_anywhere(kind, options, script, at, cut):
    straight = Run(kind, options)
    expected = straight.script(script)
    run, found = Run(kind, options), []
    for number, (samples, pause, step) in enumerate(script):
        begun = []
        if number == at % len(script):
            cut %= len(samples) + 1
            begun = rows(run.process(samples[:cut]), run.points)
            samples, run = samples[cut:], run.moved()  # noqa: PLW2901 - what is left of this part
        found.append(begun + rows(run.part(samples, pause, step), run.points))
    assert _by_point(found) == _by_point(expected)
    assert run.operator.counts.as_dict() == straight.operator.counts.as_dict()


@every_operator
@quick
@given(before=scripts(), after=scripts())
def test_a_snapshot_is_plain_data_and_shares_nothing(kind, options, before, after):
    run = Run(kind, options)
    run.script(before)
    state = run.operator.snapshot()
    kept = plain(state)
    other = operator(kind, options, run.points)
    other.restore(state)
    assert plain(other.snapshot()) == kept
    run.script(after)
    other.process(run.outputs[0])
    assert plain(state) == kept


@every_operator
@quick
@given(script=scripts())
def test_input_columns_are_never_written_to(kind, options, script):
    run = Run(kind, options)
    for samples, _, _ in script:
        frame = frame_of(samples)
        for column in (frame.point, frame.time, frame.value, frame.quality):
            column.flags.writeable = False
        run.operator.process(frame)
        run.operator.tick(run.now)


@every_operator
def test_an_empty_frame_gives_an_empty_frame(kind, options):
    run = Run(kind, options)
    assert len(run.process([])) == 0
    assert len(run.part([], 0, step=False)) == 0


@every_operator
def test_any_quality_word(kind, options):
    run = Run(kind, options)
    for word in range(0, 1 << 16, 251):
        samples = [(0, 5, float(word), word), (1, 6, np.nan, word ^ 0xFFFF)]
        run.part([(p, run.now + t, v, q) for p, t, v, q in samples], 10**9, step=False)


@every_operator
@quick
@given(before=scripts(), after=scripts(), wider=st.booleans())
def test_a_bound_changed_at_run_time_is_in_force_and_in_the_snapshot(kind, options, before, after, wider):
    run = Run(kind, options)
    if run.operator.bound is None:
        with pytest.raises(NotImplementedError):
            run.operator.set_bound(Bound(absolute=1.0))
        return
    bound = Bound(percent=5.0) if wider else Bound(absolute=0.01)
    run.script(before)
    run.operator.set_bound(bound)
    assert run.operator.bound == bound
    other = run.moved()
    assert other.operator.bound == bound
    assert run.script(after) == other.script(after)
