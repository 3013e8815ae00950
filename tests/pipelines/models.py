"""Tiny models, made by the package onnx; ``python -m tests.pipelines.models`` writes the one that is shipped."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper, save_model

SHIPPED = Path(__file__).parents[2] / "pipelines/examples/mean4.onnx"


def model(nodes, inputs, outputs, constants=()):
    """A model; inputs and outputs are (name, shape[, type])."""

    def described(given):
        name, shape, *kind = given
        return helper.make_tensor_value_info(name, kind[0] if kind else TensorProto.FLOAT, shape)

    initial = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants]
    graph = helper.make_graph(nodes, "g", list(map(described, inputs)), list(map(described, outputs)), initial)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], producer_name="onpath")
    made.ir_version = 8
    return made


def mean4():
    """y = the mean over four times of u * i: the mean load; batch x 4 x 2 to batch."""
    return model(
        [
            helper.make_node("ReduceProd", ["x"], ["p"], axes=[2], keepdims=0),
            helper.make_node("ReduceMean", ["p"], ["y"], axes=[1], keepdims=0),
        ],
        [("x", ["batch", 4, 2])],
        [("y", ["batch"])],
    )


def counting():
    """y = x + 1, added as often as the greatest x says: as slow as you like, and one node in all."""
    scalar = helper.make_tensor_value_info
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Add", ["sum", "one"], ["more"])],
        "body",
        [scalar("turn", TensorProto.INT64, []), scalar("go", TensorProto.BOOL, []), scalar("sum", 1, None)],
        [scalar("on", TensorProto.BOOL, []), scalar("more", 1, None)],
        [numpy_helper.from_array(np.float32(1), "one")],
    )
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["most"], keepdims=0),
        helper.make_node("Cast", ["most"], ["turns"], to=TensorProto.INT64),
        helper.make_node("Loop", ["turns", "", "x"], ["y"], body=body),
    ]
    return model(nodes, [("x", ["n", 1])], [("y", ["n", 1])])


def multiplying():
    """y = x, by way of one product of two matrices with as many rows as x says: a single node that nothing can end."""
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["most"], keepdims=0),
        helper.make_node("Cast", ["most"], ["rows"], to=TensorProto.INT64),
        helper.make_node("Unsqueeze", ["rows", "first"], ["shape1"]),
        helper.make_node("Concat", ["shape1", "shape1"], ["shape"], axis=0),
        helper.make_node("ConstantOfShape", ["shape"], ["a"]),
        helper.make_node("MatMul", ["a", "a"], ["b"]),
        helper.make_node("ReduceSum", ["b"], ["c"], keepdims=0),
        helper.make_node("Add", ["x", "c"], ["y"]),
    ]
    return model(nodes, [("x", ["n", 1])], [("y", ["n", 1])], [("first", np.array([0]))])


if __name__ == "__main__":
    save_model(mean4(), SHIPPED)
