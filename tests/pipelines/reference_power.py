"""The power operators once more in plain Python: the oracle of their property tests, the reference of the benchmark.

As in :mod:`tests.pipelines.reference`: a sample is a tuple (point, time, value, quality); ``process`` gives samples,
``tick`` and ``clock_stepped`` give results as tuples (point name, time, value, quality).
"""

from __future__ import annotations

from tests.pipelines.reference_power_blocks import Demand, IntervalMean, SupplyQuality
from tests.pipelines.reference_power_joined import Outage, PowerFactor, StateOfCharge, TransformerLoad, Unbalance
from tests.pipelines.reference_power_meters import Energy, LineLoss, Thd

OPERATORS = {
    "energy": Energy,
    "demand": Demand,
    "interval_mean": IntervalMean,
    "power_factor": PowerFactor,
    "unbalance": Unbalance,
    "thd": Thd,
    "outage": Outage,
    "supply_quality": SupplyQuality,
    "line_loss": LineLoss,
    "transformer_load": TransformerLoad,
    "state_of_charge": StateOfCharge,
}
BENCH = [
    ("energy", {"rated": 1e9}),
    ("energy", {"rated": 1e9, "every": "1m"}),
    ("demand", {"block": "15m"}),
    ("demand", {"method": "sliding"}),
    ("interval_mean", {"every": "5m"}),
    ("supply_quality", {"nominal": 230.0}),
    ("power_factor", {"p": "*/voltage", "q": "*/voltage"}),
    ("unbalance", {"of": ["*/voltage", "*/voltage", "*/voltage"], "definition": "nema"}),
    ("unbalance", {"of": ["*/voltage", "*/voltage", "*/voltage"], "definition": "v2/v1"}),
    ("outage", {"of": ["*/voltage"], "nominal": 230.0}),
    ("line_loss", {"head": "m0/voltage", "children": "*/voltage", "set": "feeder/loss", "lateness": "5s"}),
    ("transformer_load", {"apparent": "*/voltage", "rated": 400.0, "ambient": "20"}),
    ("state_of_charge", {"current": "*/voltage", "capacity": 1e4, "initial": 50.0}),
]
"""Options for the benchmark, over its points ``m0/voltage`` ... once a second. ``thd`` needs another rate."""
