"""The explicit list of operators: the key of a step in YAML, and its options."""

from __future__ import annotations

from pipelines.base import OperatorConfig
from pipelines.operators.anomaly import AnomalyConfig
from pipelines.operators.bits import BitsConfig
from pipelines.operators.change_point import ChangePointConfig
from pipelines.operators.convert import ConvertConfig
from pipelines.operators.cross_check import CrossCheckConfig
from pipelines.operators.ct_reversal import CtReversalConfig
from pipelines.operators.deadband import DeadbandConfig
from pipelines.operators.dedup import DedupConfig
from pipelines.operators.enum_states import EnumConfig
from pipelines.operators.expression import ExpressionConfig
from pipelines.operators.filter import FilterConfig
from pipelines.operators.flat_line import FlatLineConfig
from pipelines.operators.forecast import ForecastConfig
from pipelines.operators.gap import GapConfig
from pipelines.operators.infer import InferConfig
from pipelines.operators.join import JoinConfig
from pipelines.operators.label import LabelConfig
from pipelines.operators.limits import LimitsConfig
from pipelines.operators.merge import MergeConfig
from pipelines.operators.narrowband import NarrowbandConfig
from pipelines.operators.oscillation import OscillationConfig
from pipelines.operators.piecewise_linear import PiecewiseLinearConfig
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
from pipelines.operators.python import PythonConfig
from pipelines.operators.rate_limit import RateLimitConfig
from pipelines.operators.rate_of_change import RateOfChangeConfig
from pipelines.operators.rename import RenameConfig
from pipelines.operators.round import RoundConfig
from pipelines.operators.sample import SampleConfig
from pipelines.operators.scale import ScaleConfig
from pipelines.operators.select_points import SelectConfig
from pipelines.operators.spike import SpikeConfig
from pipelines.operators.split import SplitConfig
from pipelines.operators.swinging_door import SwingingDoorConfig
from pipelines.operators.throttle import ThrottleConfig
from pipelines.operators.top_k import TopKConfig
from pipelines.operators.window import WindowConfig

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
