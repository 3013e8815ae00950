"""Counters and how fast they grow. Looking costs what there are adapters, pipelines and uplinks; between looks nothing.

A rate is over the interval since the look before: a second while somebody follows, else however long ago that was; the
first look is over the time since the daemon began.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from gateway.inside import Inside

LEAST_S: Final = 0.9
"""Looks closer together than this share one interval."""

Key = tuple[str, str, str]
"""(kind, name, what): ``("uplink", "cloud", "bytes")``."""


class Tally:
    """What adapters, pipelines, their steps and uplinks have counted."""

    def __init__(self, inside: Inside) -> None:
        self._inside = inside
        self._before: dict[Key, float] = {key: count for key, count in self._read() if key[0] in {"pipeline", "step"}}
        """Pipelines go on counting where the process before left off: that is not ours."""
        self._at_s = inside.began
        self.totals: dict[Key, float] = {}
        """Since the daemon began, also across reloads."""
        self.rates: dict[Key, float] = {}
        self.interval_s = 0.0

    def look(self, *, now: bool = False) -> bool:
        """Count up to this moment; whether that began a new interval. ``now``: however short it is."""
        now_s = asyncio.get_running_loop().time()
        if now_s - self._at_s < LEAST_S and not now:
            return False
        self.interval_s = max(now_s - self._at_s, 1e-3)
        self._at_s = now_s
        counts = dict(self._read())
        self.rates = {}
        for key, count in counts.items():
            before = self._before.get(key, 0.0)
            grown = count - before if count >= before else count  # below: it began anew
            self.totals[key] = self.totals.get(key, 0.0) + grown
            self.rates[key] = grown / self.interval_s
        self._before = counts
        return True

    def rate(self, kind: str, name: str, what: str) -> float:
        """Growth a second."""
        return self.rates.get((kind, name, what), 0.0)

    def rate_of(self, kind: str, what: str) -> float:
        """Growth a second of all of a kind together."""
        return sum(rate for (one, _, thing), rate in self.rates.items() if one == kind and thing == what)

    def total_of(self, kind: str, what: str) -> int:
        """What all of a kind have counted since the daemon began, up to the last look."""
        return int(sum(count for (one, _, thing), count in self.totals.items() if one == kind and thing == what))

    def _read(self) -> Iterator[tuple[Key, float]]:
        inside = self._inside
        for name, adapter in inside.adapters.items():
            yield ("adapter", name, "samples"), adapter.stats.samples
        for name, uplink in inside.uplinks.items():
            yield ("uplink", name, "samples"), uplink.stats.samples
            yield ("uplink", name, "bytes"), uplink.stats.bytes
        for name, pipeline in inside.intake.engine.graph.pipelines.items():
            yield ("pipeline", name, "in"), pipeline.samples_in
            yield ("pipeline", name, "out"), pipeline.samples_out
            for step in pipeline.steps:
                yield ("step", name, step.key), step.spent_ns
