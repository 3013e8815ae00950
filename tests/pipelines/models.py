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


if __name__ == "__main__":
    save_model(mean4(), SHIPPED)
