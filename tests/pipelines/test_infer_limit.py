"""Models that are slow, or never end: what all wait for them is bounded."""

from __future__ import annotations

import time

import pytest
from onnx import helper

from gateway import quality as q
from gateway.errors import FieldError
from tests.pipelines.models import counting, multiplying
from tests.pipelines.test_infer import Fed, refused, saved

SLOW = {"inputs": {"x": {"points": ["*/u"]}}, "outputs": {"y": {"set": "*/y"}}, "max_gap": "0", "timeout": "200ms"}
ENDLESS = 1e12


def test_a_model_that_does_not_end_is_ended_and_then_rests(tmp_path, caplog):
    run = Fed({**SLOW, "model": saved(tmp_path, counting())})
    assert run.give([("a/u", 0, 3.0)], tick_at=1) == [("a/y", 0, 6.0, 0)]
    begun = time.monotonic()
    found = run.give([("a/u", 20, ENDLESS), ("a/u", 21, 3.0)], tick_at=22)
    found += run.give([("a/u", 40, 3.0)], tick_at=41)
    assert time.monotonic() - begun < 60, "and not a million hours"
    assert [word for *_, word in found] == [q.INVALID] * 3
    assert run.operator.counts.reasons == {"model-timeout": 2, "model-resting": 1}
    assert [record.message for record in caplog.records] == [
        f"step infer: {tmp_path / 'm.onnx'}: a run takes longer than 0.2 s and was ended"
    ]
    second = 60
    while found[-1][-1] == q.INVALID:  # ends with the rest
        time.sleep(0.1)
        found = run.give([("a/u", second, 5.0)], tick_at=second + 1)
        second += 20
    assert found[-1][2:] == (10.0, 0)


def test_a_single_node_that_nothing_can_end_is_not_waited_for(tmp_path):
    run = Fed({**SLOW, "model": saved(tmp_path, multiplying()), "timeout": "1ms"})
    assert [word for *_, word in run.give([("a/u", 0, 2500.0)], tick_at=1)] == [q.INVALID]
    assert [word for *_, word in run.give([("a/u", 20, 2.0)], tick_at=21)] == [q.INVALID]
    assert run.operator.counts.reasons == {"model-timeout": 1, "model-resting": 1}


def test_a_model_that_is_too_slow_from_the_start_is_refused(tmp_path):
    constant = helper.make_node("Constant", [], ["a"], value_float=ENDLESS)
    made = counting()
    made.graph.node[0].CopyFrom(helper.make_node("Add", ["x", "a"], ["most"]))
    made.graph.node.insert(0, constant)
    made.graph.node.insert(2, helper.make_node("ReduceMax", ["most"], ["top"], keepdims=0))
    made.graph.node[3].input[0] = "top"
    with pytest.raises(FieldError, match="takes longer than") as caught:
        refused({**SLOW, "model": saved(tmp_path, made), "timeout": "1ms"})
    assert caught.value.field == ("model",)


def test_windows_of_a_model_without_batches_share_the_limit(tmp_path):
    made = counting()
    made.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    run = Fed({**SLOW, "model": saved(tmp_path, made), "timeout": "100ms"})
    turns = 20_000.0  # some ms each
    found = run.give([("a/u", second, turns) for second in range(1000)], tick_at=1000)
    assert set(run.operator.counts.reasons) == {"model-timeout", "model-resting"}
    assert run.operator.counts.reasons.total() == len(found) == 1000
