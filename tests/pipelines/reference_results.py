"""What the plain reference makes of the samples of a closed window, see reference_aggregate.py."""

from __future__ import annotations

import math
from bisect import bisect_right
from fractions import Fraction
from math import isnan

from tests.pipelines.reference import HISTORICAL, INACCURATE, INVALID, NO_VALID, NOT_A_NUMBER, QUESTIONABLE, invalid

S = 1_000_000_000


class Results:
    """The half of a window that computes."""

    def results(self, row, first, last, cells, *, again=False):
        samples = [sample for cell in cells for sample in cell.samples]
        if self.config.runs:
            times = [t for _, t, _, _ in samples]
            begin, end = min(times), max(times)
        else:
            begin, end = self.start(first), self.end(last)
        length = self.utc * self.panes if self.utc and not self.config.runs else end - begin
        good = [(t, v, p) for p, t, v, quality in samples if not isnan(v) and not invalid(quality)]
        flags = HISTORICAL if again else 0
        worst = 0
        for _, _, v, quality in samples:
            flags |= quality & ~3
            worst = max(worst, 2 if isnan(v) or invalid(quality) else 1 if quality & 3 else 0)
        word = flags | (QUESTIONABLE if worst else 0) | (INACCURATE if len(good) < len(samples) else 0)
        out = []
        for stat in self.config.stats:
            for suffix, value, always in self.statistic(stat, good, samples, cells, length, worst):
                told, quality = value, word
                if value is None or (isnan(value) and not always):
                    told, quality = NO_VALID if value is None else NOT_A_NUMBER, flags | INVALID
                out.append((f"{row}#{suffix}", end, told, quality))
        return out

    def statistic(self, stat, good, samples, cells, length, worst):
        """Suffix, value (None for none) and whether a NaN is a value."""
        always = {
            "count": lambda: len(good),
            "validity": lambda: worst,
            "distinct": lambda: len({v for _, v, _ in good}),
            "coverage": lambda: self.coverage(good, samples, cells, length),
        }
        if stat in always:
            return [(stat, float(always[stat]()), True)]
        if stat == "histogram":
            return histogram([v for _, v, _ in good], self.config.edges)
        if stat == "duration":
            spans = {}
            for cell in cells:
                for text, ns in cell.states.items():
                    spans[text] = spans.get(text, 0) + ns
            return [(f"duration.{text}", spans[text] / S, True) for text in sorted(spans)]
        if stat == "wmean":
            covered = sum(cell.covered for cell in cells)
            return [(stat, sum(cell.integral for cell in cells) / (covered / S) if covered else None, False)]
        return [(stat, self.number_of(stat, good) if good else None, False)]

    def coverage(self, good, samples, cells, length):
        if self.config.expect is not None:
            return min(1.0, len(good) * (self.config.expect.ns / length))
        if self.config.over is None and {"wmean", "duration"} & set(self.config.stats):
            return min(1.0, sum(cell.covered for cell in cells) / max(length, 1))
        return len(good) / max(len(samples), 1)

    def number_of(self, stat, good):
        values = [v for _, v, _ in good]
        low, high = min(values), max(values)
        known = {
            "min": lambda: low,
            "max": lambda: high,
            "range": lambda: high - low,
            "min_time": lambda: float(min(t for t, v, _ in good if v == low)) / S,
            "max_time": lambda: float(min(t for t, v, _ in good if v == high)) / S,
            "first": lambda: min(good, key=lambda one: one[0])[1],
            "last": lambda: max(reversed(good), key=lambda one: one[0])[1],
        }
        if stat in known:
            return known[stat]()
        if stat.startswith("p"):  # exact; the operator is within its relative error
            return sorted(values)[math.floor(float(stat[1:]) / 100 * (len(values) - 1))]
        return self.moment(stat, good)

    def moment(self, stat, good):
        values = [v for _, v, _ in good]
        if any(math.isinf(v) for v in values):
            return sum(values) if stat in {"sum", "mean"} else math.nan
        steps = [self.points.point(p).resolution for _, _, p in good]
        exact = [Fraction(v) if not r else round(v / r) * Fraction(r) for v, r in zip(values, steps, strict=True)]
        total = sum(exact)
        if stat in {"sum", "mean"}:
            return overflowing(total) / (len(good) if stat == "mean" else 1)
        mean = total / len(exact)
        squared = overflowing(sum((x - mean) ** 2 for x in exact) / len(exact))
        return squared if stat == "variance" else math.sqrt(squared)


def overflowing(exact):
    try:
        return float(exact)
    except OverflowError:
        return math.copysign(math.inf, exact)


def histogram(values, edges):
    counts = [0] * (len(edges) + 1)
    for value in values:
        counts[bisect_right(edges, value)] += 1
    names = ["hist.below", *(f"hist.{at}" for at in range(len(edges) - 1)), "hist.above"]
    return [(name, float(count), True) for name, count in zip(names, counts, strict=True)]
