"""The explicit list of operators: the key of a step in YAML, and its options."""

from __future__ import annotations

from pipelines.base import OperatorConfig
from pipelines.operators.aggregate.merge import MergeConfig
from pipelines.operators.aggregate.window import WindowConfig
from pipelines.operators.ahead.anomaly import AnomalyConfig
from pipelines.operators.ahead.change_point import ChangePointConfig
from pipelines.operators.ahead.forecast import ForecastConfig
from pipelines.operators.ahead.infer import InferConfig
from pipelines.operators.judge.cross_check import CrossCheckConfig
from pipelines.operators.judge.ct_reversal import CtReversalConfig
from pipelines.operators.judge.flat_line import FlatLineConfig
from pipelines.operators.judge.gap import GapConfig
from pipelines.operators.judge.limits import LimitsConfig
from pipelines.operators.judge.oscillation import OscillationConfig
from pipelines.operators.judge.rate_of_change import RateOfChangeConfig
from pipelines.operators.judge.spike import SpikeConfig
from pipelines.operators.own.python import PythonConfig
from pipelines.operators.power.demand import DemandConfig
from pipelines.operators.power.energy import EnergyConfig
from pipelines.operators.power.interval_mean import IntervalMeanConfig
from pipelines.operators.power.line_loss import LineLossConfig
from pipelines.operators.power.outage import OutageConfig
from pipelines.operators.power.power_factor import PowerFactorConfig
from pipelines.operators.power.state_of_charge import StateOfChargeConfig
from pipelines.operators.power.supply_quality import SupplyQualityConfig
from pipelines.operators.power.thd import ThdConfig
from pipelines.operators.power.transformer_load import TransformerLoadConfig
from pipelines.operators.power.unbalance import UnbalanceConfig
from pipelines.operators.reduce.deadband import DeadbandConfig
from pipelines.operators.reduce.dedup import DedupConfig
from pipelines.operators.reduce.narrowband import NarrowbandConfig
from pipelines.operators.reduce.piecewise_linear import PiecewiseLinearConfig
from pipelines.operators.reduce.rate_limit import RateLimitConfig
from pipelines.operators.reduce.round import RoundConfig
from pipelines.operators.reduce.sample import SampleConfig
from pipelines.operators.reduce.swinging_door import SwingingDoorConfig
from pipelines.operators.reduce.throttle import ThrottleConfig
from pipelines.operators.reduce.top_k import TopKConfig
from pipelines.operators.shape.bits import BitsConfig
from pipelines.operators.shape.convert import ConvertConfig
from pipelines.operators.shape.enum_states import EnumConfig
from pipelines.operators.shape.expression import ExpressionConfig
from pipelines.operators.shape.filter import FilterConfig
from pipelines.operators.shape.join import JoinConfig
from pipelines.operators.shape.label import LabelConfig
from pipelines.operators.shape.rename import RenameConfig
from pipelines.operators.shape.scale import ScaleConfig
from pipelines.operators.shape.select_points import SelectConfig
from pipelines.operators.shape.split import SplitConfig

OPERATORS: dict[str, type[OperatorConfig]] = {
    "scale": ScaleConfig,
    "enum": EnumConfig,
    "bits": BitsConfig,
    "convert": ConvertConfig,
    "rename": RenameConfig,
    "label": LabelConfig,
    "select": SelectConfig,
    "split": SplitConfig,
    "expression": ExpressionConfig,
    "join": JoinConfig,
    "limits": LimitsConfig,
    "rate_of_change": RateOfChangeConfig,
    "flat_line": FlatLineConfig,
    "spike": SpikeConfig,
    "oscillation": OscillationConfig,
    "gap": GapConfig,
    "cross_check": CrossCheckConfig,
    "ct_reversal": CtReversalConfig,
    "filter": FilterConfig,
    "deadband": DeadbandConfig,
    "swinging_door": SwingingDoorConfig,
    "piecewise_linear": PiecewiseLinearConfig,
    "dedup": DedupConfig,
    "round": RoundConfig,
    "sample": SampleConfig,
    "throttle": ThrottleConfig,
    "rate_limit": RateLimitConfig,
    "top_k": TopKConfig,
    "narrowband": NarrowbandConfig,
    "window": WindowConfig,
    "merge": MergeConfig,
    "energy": EnergyConfig,
    "demand": DemandConfig,
    "interval_mean": IntervalMeanConfig,
    "power_factor": PowerFactorConfig,
    "unbalance": UnbalanceConfig,
    "thd": ThdConfig,
    "outage": OutageConfig,
    "supply_quality": SupplyQualityConfig,
    "line_loss": LineLossConfig,
    "transformer_load": TransformerLoadConfig,
    "state_of_charge": StateOfChargeConfig,
    "forecast": ForecastConfig,
    "anomaly": AnomalyConfig,
    "change_point": ChangePointConfig,
    "infer": InferConfig,
    "python": PythonConfig,
}
