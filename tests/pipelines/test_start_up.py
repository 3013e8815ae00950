"""The list of operators is light: what only a running operator needs is imported when one is created."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {
    "datasketches",
    "onnxruntime",
    "multiprocessing",
    "pipelines.operators.aggregate.window_cells",
    "pipelines.operators.aggregate.window_operator",
    "pipelines.operators.aggregate.merge_operator",
    "pipelines.operators.ahead.forecast_models",
    "pipelines.operators.ahead.infer_model",
    "pipelines.operators.own.python_host",
}


@pytest.mark.parametrize("module", ["pipelines.registry", "gateway.config"])
def test_options_come_without_the_machinery(module):
    told = f"import sys, {module}; print(*sys.modules)"
    loaded = set(
        subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True).stdout.split()
    )
    assert module in loaded
    assert not loaded & HEAVY
