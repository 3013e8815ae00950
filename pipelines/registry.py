"""The explicit list of operators: the key of a step in YAML, and its options."""

from __future__ import annotations

from pipelines.base import OperatorConfig
from pipelines.operators.deadband import DeadbandConfig
from pipelines.operators.filter import FilterConfig
from pipelines.operators.limits import LimitsConfig
from pipelines.operators.piecewise_linear import PiecewiseLinearConfig
from pipelines.operators.scale import ScaleConfig
from pipelines.operators.swinging_door import SwingingDoorConfig
from pipelines.operators.window import WindowConfig

OPERATORS: dict[str, type[OperatorConfig]] = {
    "scale": ScaleConfig,
    "limits": LimitsConfig,
    "filter": FilterConfig,
    "deadband": DeadbandConfig,
    "swinging_door": SwingingDoorConfig,
    "piecewise_linear": PiecewiseLinearConfig,
    "window": WindowConfig,
}
