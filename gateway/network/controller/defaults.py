"""What is assumed of operators until they have run somewhere: how much they let through, and what they cost. Data.

Selectivities are middles of what the benchmarks and the demo's series show (docs/benchmarks.md, docs/operators.md), to
be replaced by what is measured as soon as there is any.
"""

from __future__ import annotations

from typing import Final

JSON_BYTES: Final = 40.0
"""Of a raw sample as JSON, without point names: what all is compared with."""
SAMPLE_BYTES: Final = 4.0
"""Of a sample in the format ``frame``: 2.7 for profiles of 15 minutes, more in small batches."""
PARTIAL_BYTES: Final = 8.0
"""Of one figure of a partial result: wider numbers, and few alike in a batch."""
RATE: Final = 0.1
"""Samples a second of a point of which nothing was heard yet."""
PASSES: Final[dict[str, float]] = {
    "filter": 0.5,
    "select": 0.5,
    "deadband": 0.15,
    "swinging_door": 0.1,
    "piecewise_linear": 0.1,
    "dedup": 0.3,
    "narrowband": 0.2,
    "sample": 0.1,
    "throttle": 0.2,
    "rate_limit": 0.8,
    "top_k": 0.2,
    "window": 0.02,
    "energy": 0.02,
    "demand": 0.02,
    "interval_mean": 0.02,
    "line_loss": 0.2,
    "supply_quality": 0.05,
    "transformer_load": 0.2,
    "forecast": 0.1,
}
"""Samples out for each that comes in; of all others 1."""
COST_US: Final[dict[str, float]] = {
    "window": 0.15,
    "merge": 0.3,
    "swinging_door": 0.3,
    "piecewise_linear": 0.5,
    "top_k": 0.3,
    "forecast": 0.5,
    "anomaly": 0.5,
    "infer": 20.0,
    "python": 5.0,
}
"""µs of CPU a sample on the reference machine; of all others :data:`ANY_US`."""
ANY_US: Final = 0.05
FIGURES: Final[dict[str, int]] = {
    "count": 1, "sum": 3, "mean": 4, "min": 1, "max": 1, "range": 2, "variance": 9, "stddev": 9, "coverage": 2,
    "histogram": 60,
}  # fmt: skip
"""How many figures a partial result has for a statistic: exact sums travel as slices. Quantiles: as a histogram."""
CPU_PRICE: Final = {"access": 1e6, "aggregation": 1e6, "core": 2e6}
"""Units of cost a core-second by tier: a microsecond of a gateway's CPU costs as much as a byte on a link of price 1,
and twice as much in the core, which all share."""
LINK_PART: Final = 0.85
"""Of a link's capacity that is planned with: the rest lets a backlog drain."""
HOP_S: Final = 0.15
"""From a node's commit to its parent's, beside the link's round trip."""
