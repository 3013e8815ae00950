"""A class for the step ``python``: values above ``high`` become ``high``, and how often that was is a point of its own.

It knows nothing of onpath: columns come in, columns go out. Copy it as a beginning.
"""

from __future__ import annotations

from typing import Any

import numpy as np


class Clip:
    """Counts by number of point; ``names[number]`` is the point's name."""

    def __init__(self, high: float = 100.0) -> None:
        self.high = high
        self.clipped: dict[int, int] = {}

    def process(self, columns: dict[str, Any], names: Any) -> dict[str, Any]:
        """The samples, none above the bound, and behind them a count for each one that was."""
        value = columns["value"]
        above = np.flatnonzero(value > self.high)
        out = {**columns, "value": np.minimum(value, self.high)}
        if not len(above):
            return out
        made, counts = [], []
        for number in columns["point"][above].tolist():
            self.clipped[number] = self.clipped.get(number, 0) + 1
            made.append(names.add(names[number] + "#clipped"))
            counts.append(self.clipped[number])
        quality = columns["quality"]
        return {
            "point": np.append(out["point"], made),
            "time": np.append(out["time"], columns["time"][above]),
            "value": np.append(out["value"], counts),
            "quality": np.append(quality, quality[above]),
        }

    def snapshot(self) -> dict[str, Any]:
        """What has to outlive a restart: numbers, texts, lists, dicts and arrays."""
        return {"points": list(self.clipped), "counts": list(self.clipped.values())}

    def restore(self, state: dict[str, Any]) -> None:
        """The inverse of ``snapshot``."""
        self.clipped = dict(zip(state["points"], state["counts"], strict=True))
