"""The explicit list of operators: the key of a step in YAML, and its options."""

from __future__ import annotations

from pipelines.base import OperatorConfig
from pipelines.operators.deadband import DeadbandConfig
from pipelines.operators.filter import FilterConfig
from pipelines.operators.limits import LimitsConfig
from pipelines.operators.scale import ScaleConfig
from pipelines.operators.window import WindowConfig

OPERATORS: dict[str, type[OperatorConfig]] = {
    "scale": ScaleConfig,
    "limits": LimitsConfig,
    "filter": FilterConfig,
    "deadband": DeadbandConfig,
    "window": WindowConfig,
}
