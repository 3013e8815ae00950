"""Models over windows of points: what they are fed with, what becomes of it, and what is refused."""

from __future__ import annotations

import math
import random
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, save_model

from gateway import quality as q
from gateway.directory import Directory
from gateway.errors import FieldError
from gateway.frame import Frame
from gateway.point import Point
from pipelines.operators.ahead.infer_model import Model, ModelError, Window
from tests.pipelines.models import SHIPPED, mean4, model
from tests.pipelines.scripts import Run, S
from tests.pipelines.test_operators import config_of
from tests.support.malformed import inputs as mutated
from tests.support.trials import trials

T0 = 1_790_000_000 * S
DEVICES = ("a", "b", "c")
MEAN4 = {
    "model": str(SHIPPED),
    "inputs": {"x": {"points": ["*/u", "*/i"], "window": 4, "every": "1s"}},
    "outputs": {"y": {"set": "*/load", "unit": "W"}},
    "max_gap": "0",
    "lateness": "2s",
}


def test_the_shipped_model_is_what_its_script_makes():
    assert SHIPPED.read_bytes() == mean4().SerializeToString()
    assert SHIPPED.stat().st_size < 2048


def directory():
    points = Directory()
    for device in DEVICES:
        points.add(Point(name=f"{device}/u", unit="V"))
        points.add(Point(name=f"{device}/i", unit="A"))
    return points


class Fed(Run):
    """A run over the points of the devices; ``samples`` are (name, second, value[, quality])."""

    def __init__(self, options):
        super().__init__("infer", options, directory())

    def give(self, samples, tick_at=None):
        frame = [(self.points.find(n), T0 + round(t * S), v, *(w or [0])) for n, t, v, *w in samples]
        out = [self.process(frame)]
        if tick_at is not None:
            out += [self._count(0, self.operator.tick, T0 + round((tick_at + more) * S)) for more in (0, 10)]
        return [
            (self.points.name(p), (t - T0) / S, v, word)
            for part in out
            for p, t, v, word in zip(*(getattr(part, c).tolist() for c in COLUMNS), strict=True)
            if self.points.name(p)[-1] not in "ui"
        ]


COLUMNS = ("point", "time", "value", "quality")


def ramp(device, seconds, factor=1.0):
    return [(f"{device}/{which}", t, factor * t, q.GOOD) for t in range(seconds) for which in "ui"]


def test_full_windows_are_run_and_stamped_with_their_newest_time():
    run = Fed(MEAN4)
    found = run.give(ramp("a", 6), tick_at=6)
    assert found == [
        ("a/load", 3, pytest.approx((0 + 1 + 4 + 9) / 4), 0),
        ("a/load", 4, pytest.approx((1 + 4 + 9 + 16) / 4), 0),
        ("a/load", 5, pytest.approx((4 + 9 + 16 + 25) / 4), 0),
    ]
    assert run.points.point(run.points.find("a/load")).unit == "W"
    counts = run.operator.counts
    assert (counts.samples_out, counts.derived, counts.aggregated, counts.queued) == (0, 12 + 3, 12, 0)


def test_all_devices_go_in_one_batch_and_none_sees_another():
    run = Fed(MEAN4)
    found = run.give([row for n, device in enumerate(DEVICES) for row in ramp(device, 5, n + 1.0)], tick_at=5)
    assert {(name, time): value for name, time, value, _ in found} == {
        (f"{device}/load", time): pytest.approx((n + 1) ** 2 * sum(t * t for t in range(time - 3, time + 1)) / 4)
        for n, device in enumerate(DEVICES)
        for time in (3, 4)
    }


VALUE = st.one_of(st.floats(-100, 100, width=32), st.just(None), st.sampled_from([math.nan, math.inf]))


@settings(max_examples=trials(60), deadline=None)
@given(series=st.lists(st.tuples(VALUE, VALUE, st.sampled_from([0, 0, q.INVALID, q.QUESTIONABLE | q.TEST])), min_size=4,
    max_size=14), chance=st.randoms(use_true_random=False))  # fmt: skip
def test_against_a_plain_window(series, chance):
    samples = [("a/u", t, u, w) for t, (u, _, w) in enumerate(series) if u is not None]
    samples += [("a/i", t, i, 0) for t, (_, i, _) in enumerate(series) if i is not None]
    chance.shuffle(samples)
    run = Fed(MEAN4)
    found = []
    for at in range(0, len(samples), 5):
        found += run.give(samples[at : at + 5])
    found += run.give([], tick_at=len(series))
    assert found == list(plain(series))


def plain(series):
    """Rows with neither input are not there and make a hole; any bad value costs the result its value."""
    for end in range(3, len(series)):
        window = series[end - 3 : end + 1]
        if any(u is None and i is None for u, i, _ in window):
            continue
        bad = [
            value is None or not math.isfinite(value) or word == q.INVALID
            for u, i, w in window
            for value, word in ((u, w), (i, 0))
        ]
        words = [(q.INVALID if value is None else word) for u, i, w in window for value, word in ((u, w), (i, 0))]
        if any(bad):
            yield "a/load", end, pytest.approx(math.nan, nan_ok=True), q.worst([*words, q.INVALID])
        else:
            mean = sum(np.float32(u) * np.float32(i) for u, i, _ in window) / 4
            yield "a/load", end, pytest.approx(float(mean), rel=1e-4, abs=1e-2), q.worst(words)


def saved(tmp_path, made, name="m.onnx"):
    save_model(made, tmp_path / name)
    return str(tmp_path / name)


def weighted(shape, weights):
    """y = the sum of weights times x."""
    return model(
        [
            helper.make_node("Mul", ["x", "w"], ["p"]),
            helper.make_node("Flatten", ["p"], ["f"]),
            helper.make_node("ReduceSum", ["f", "axes"], ["y"], keepdims=1),
        ],
        [("x", shape)],
        [("y", ["n", 1])],
        [("w", np.asarray(weights, np.float32)), ("axes", np.array([1]))],
    )


@pytest.mark.parametrize(
    ("shape", "weights", "layout"),
    [
        (["n", 2, 2], [[1, 100], [10, 1000]], "time"),
        (["n", 2, 2], [[1, 10], [100, 1000]], "points"),
        (["n", 4], [1, 100, 10, 1000], "time"),
        (["n", "t", "p"], [[1, 100], [10, 1000]], "time"),
        ([1, 2, 2], [[1, 100], [10, 1000]], "time"),
    ],
)
def test_layouts(tmp_path, shape, weights, layout):
    given = {"points": ["*/u", "*/i"], "window": 2, "every": "1s", "layout": layout}
    run = Fed({**MEAN4, "model": saved(tmp_path, weighted(shape, weights)), "inputs": {"x": given}})
    found = run.give([("a/u", 0, 1.0), ("a/i", 0, 3.0), ("a/u", 1, 2.0), ("a/i", 1, 4.0)], tick_at=1)
    assert found == [("a/load", 1, 4321.0, 0)]


def two_inputs():
    return model(
        [
            helper.make_node("ReduceSum", ["slow", "axes"], ["a"], keepdims=0),
            helper.make_node("ReduceSum", ["fast", "axes"], ["b"], keepdims=0),
            helper.make_node("Concat", ["a", "b"], ["y"], axis=1),
        ],
        [("slow", ["n", 3, 1]), ("fast", ["n", 2, 1])],
        [("y", ["n", 2])],
        [("axes", np.array([1]))],
    )


def test_inputs_of_different_paces_and_an_output_of_several_numbers(tmp_path):
    run = Fed(
        {
            "model": saved(tmp_path, two_inputs()),
            "inputs": {
                "slow": {"points": ["*/u"], "window": 3, "every": "2s"},
                "fast": {"points": ["*/i"], "window": 2, "every": "1s"},
            },
            "outputs": {"y": {"set": ["*/slow", "*/fast"]}},
            "run": "2s",
            "max_gap": "0",
        }
    )
    assert run.give(ramp("b", 7), tick_at=6) == [
        ("b/slow", 4, 0 + 2 + 4, 0),
        ("b/slow", 6, 2 + 4 + 6, 0),
        ("b/fast", 4, 3 + 4, 0),
        ("b/fast", 6, 5 + 6, 0),
    ]


def picky():
    """Fails where x is no index of a table of three: y = table[int(x)]."""
    return model(
        [
            helper.make_node("Cast", ["x"], ["k"], to=TensorProto.INT64),
            helper.make_node("Gather", ["table", "k"], ["y"], axis=0),
        ],
        [("x", ["n", 1])],
        [("y", ["n", 1], TensorProto.INT64)],
        [("table", np.array([7, 8, 9]))],
    )


def test_a_model_that_fails_costs_its_rows_and_no_others(tmp_path, caplog):
    run = Fed(
        {
            "model": saved(tmp_path, picky()),
            "inputs": {"x": {"points": ["*/u"]}},
            "outputs": {"y": {"set": "*/found"}},
            "max_gap": "0",
        }
    )
    found = run.give([("a/u", t, value) for t, value in enumerate([0.0, 2.0, 55.0, 1.0])], tick_at=4)
    assert [value for _, _, value, _ in found] == [7, 9, pytest.approx(math.nan, nan_ok=True), 8]
    assert [word for *_, word in found] == [0, 0, q.INVALID, 0]
    assert run.operator.counts.reasons == {"model-error": 1}
    assert len(caplog.records) == 1


def test_a_result_that_is_no_number_is_invalid(tmp_path):
    made = model([helper.make_node("Log", ["x"], ["y"])], [("x", ["n", 1])], [("y", ["n", 1])])
    options = {"inputs": {"x": {"points": ["*/u"]}}, "outputs": {"y": {"set": "*/log"}}, "max_gap": "0"}
    run = Fed({"model": saved(tmp_path, made), **options})
    found = run.give([("a/u", 0, -1.0), ("a/u", 1, 1.0)], tick_at=2)
    assert [word for *_, word in found] == [q.INVALID, 0]


def test_a_model_that_has_gone_since_costs_its_results(tmp_path):
    path = saved(tmp_path, mean4())
    run = Fed({**MEAN4, "model": path})
    Path(path).unlink()
    found = run.give(ramp("a", 5), tick_at=5)
    assert [word for *_, word in found] == [q.INVALID] * 2
    assert run.operator.counts.reasons == {"model-error": 2}


def test_a_long_backlog_gives_the_same_as_live(tmp_path):
    chance = np.random.default_rng(2)
    value = chance.normal(0, 10, (3000, 2)).astype(np.float32).astype(float)
    samples = [(f"a/{which}", t, value[t, k]) for t in range(3000) for k, which in enumerate("ui")]
    at_once = Fed(MEAN4).give(samples, tick_at=3000)
    live = Fed(MEAN4)
    found = []
    for t in range(0, 3000, 100):
        found += live.give(samples[2 * t : 2 * t + 200])
        out = live._count(0, live.operator.tick, T0 + t * S)
        found += zip((out.time - T0) // S, out.value.tolist(), strict=True)
    assert len(at_once) == 2997
    for (time_live, value_live), (_, time_once, value_once, _) in zip(found, at_once, strict=False):
        assert (time_live, value_live) == (time_once, pytest.approx(value_once, rel=1e-4, abs=1e-2))
    assert len(found) > 2800


def test_the_missing_extra_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(FieldError, match=r"pip install 'onpath\[infer\]'") as caught:
        refused(MEAN4)
    assert caught.value.field == ("model",)


def refused(options):
    try:
        config_of("infer", options)
    except msgspec.ValidationError as error:
        raise error.__cause__ from None


def x(**options):
    return {"inputs": {"x": {"points": ["*/u", "*/i"], "window": 4, "every": "1s", **options}}}


@pytest.mark.parametrize(
    ("options", "field", "message"),
    [
        ({"model": "/nowhere.onnx"}, ("model",), "no file"),
        ({"model": "nowhere.onnx"}, ("model",), "absolute path"),
        (x(window=5), ("inputs",), r"takes batch x 4 x 2, but the window is batch x 5 x 2"),
        (x(points=["*/u"]), ("inputs",), r"batch x 4 x 1"),
        (x(layout="points"), ("inputs",), r"batch x 2 x 4"),
        ({"inputs": {"z": {"points": ["*/u"]}}}, ("inputs",), r"has the inputs x \(tensor\(float\), batch x 4 x 2\)"),
        ({"outputs": {"z": {"set": "*/z"}}}, ("outputs",), "no output z; it has y"),
        ({"outputs": {"y": {"set": ["*/a", "*/b"]}}}, ("outputs",), "not 2 number"),
        ({"outputs": {"y": {"set": "load"}}}, ("outputs", "y", "set"), r"with 1 \*"),
        ({"outputs": {"y": {"set": "*/a b"}}}, ("outputs", "y", "set"), "must be a point's name"),
        ({"outputs": {"y": {"set": []}}}, ("outputs", "y", "set"), "needs a name"),
        ({"outputs": {}}, ("outputs",), "at least one"),
        ({"inputs": {}}, ("inputs",), "needs the inputs"),
        (x(points=["*/u", "*/*/i"]), ("inputs",), r"as many \*"),
        (x(points=[]), ("inputs", "x"), "needs points"),
        (x(window=0), ("inputs", "x"), "at least 1"),
        (x(every="0"), ("inputs", "x", "every"), "1ms"),
        (x(window=20_000), ("inputs", "x", "window"), "reaches back"),
        ({"run": "1500ms"}, ("run",), "multiple"),
        ({"fill": "linear"}, ("max_gap",), "longer than 0"),
        ({"max_gap": "1w 1s"}, ("max_gap",), "at most"),
        ({"lateness": "8d"}, ("lateness",), "7d"),
        ({"timeout": "11s"}, ("timeout",), "1ms to 10s"),
    ],
)
def test_what_does_not_fit_is_refused_at_check_time(options, field, message):
    with pytest.raises(FieldError, match=message) as caught:
        refused({**MEAN4, **options})
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (model([helper.make_node("Identity", ["x"], ["y"])], [("x", ["n", 1], TensorProto.INT64)],
            [("y", ["n", 1], TensorProto.INT64)]), "floating-point"),
        (model([helper.make_node("Cast", ["x"], ["y"], to=TensorProto.STRING)], [("x", ["n", 1])],
            [("y", ["n", 1], TensorProto.STRING)]), "tensors of numbers"),
        (model([helper.make_node("Identity", ["x"], ["y"])], [("x", [3, 1])], [("y", [3, 1])]), "batch, open or 1"),
        (model([helper.make_node("ReduceSum", ["x"], ["y"], keepdims=0)], [("x", ["n", "k", "j"])], [("y", [])]),
            None),
    ],
)  # fmt: skip
def test_models_that_cannot_be_used(tmp_path, made, message):
    options = {"inputs": {"x": {"points": ["*/u"]}}, "outputs": {"y": {"set": "*/y"}}}
    options = {"model": saved(tmp_path, made), **options}
    if message is None:  # one number for any batch: used window by window
        assert not config_of("infer", options).load().batches
        return
    with pytest.raises(FieldError, match=message):
        refused(options)


def test_any_bytes_are_a_model_or_a_named_error(tmp_path):
    chance, refusals = random.Random(5), 0
    file = tmp_path / "m.onnx"
    for data in mutated([mean4().SerializeToString(), chance.randbytes(100), b""], 300):
        file.write_bytes(data)
        try:
            Model(str(file), {"x": Window(4, 2, points_first=False)}, {"y": 1})
        except ModelError as error:
            assert str(error)
            refusals += 1
    assert refusals > 100


def test_values_beyond_float32_are_no_numbers():
    run = Fed(MEAN4)
    found = run.give([(f"a/{which}", t, 1e300) for t in range(4) for which in "ui"], tick_at=4)
    assert [word & q.VALIDITY for *_, word in found] == [q.QUESTIONABLE]


def test_the_inputs_pass_as_they_are():
    run = Fed(MEAN4)
    frame = Frame.of([0, 1], T0, [1.0, 2.0], [0, q.QUESTIONABLE])
    assert run.operator.process(frame) == frame
    silent = Fed({**MEAN4, "keep": False})
    assert len(silent.operator.process(frame)) == 0
