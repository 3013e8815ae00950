"""Plain operators over counters, lines and waveforms."""

from __future__ import annotations

import cmath
import math
from collections import Counter
from math import isnan

from gateway.point import compile_glob
from pipelines.operators.power.quantities import power_of, watt_hours, watts
from tests.pipelines.reference import INVALID, MAX_INT, MIN_INT, QUESTIONABLE
from tests.pipelines.reference_power_base import (
    INACCURATE,
    MISSING,
    NO_VALID,
    OUT_OF_RANGE,
    SEVERITY,
    Clocks,
    Ordered,
    divided,
    joined,
    sealed,
    usable,
    worse,
)
from tests.pipelines.reference_power_blocks import phase_of, word_of


class Energy(Ordered):
    """Readings are lists [value, time, moved, word, timed, odd]."""

    def __init__(self, config, points):
        super().__init__(config, points)
        self.last, self.before, self.open = {}, {}, {}
        self.every = config.every.ns if config.every else 0
        self.phase = phase_of(config.timezone, self.every) if self.every else 0

    def process(self, samples):
        if self.config.lifetime:
            self.reasons["lifetime-zero"] += sum(1 for s in samples if s[2] == 0)
            samples = [s for s in samples if s[2] != 0]
        return super().process(samples)

    def rate(self, p):
        point, rated = self.points.point(p), self.config.rated
        if isinstance(rated, str):
            unit = watt_hours(point.unit)
            rated = None if unit is None else power_of(rated) / unit
        return None if rated is None else rated / 3600, point.resolution or 0.0

    def step(self, p, a, b):
        """(delta, wrapped, reset, impossible, estimated) from reading a to b."""
        rate, resolution = self.rate(p)
        timed, gap = a[4], False
        possible = math.inf
        if timed:
            possible = rate * 1.5 * ((b[1] - a[2]) * 1e-9) + resolution
            gap = b[1] - a[1] > self.config.max_gap.ns
        delta = b[0] - a[0]
        if delta >= 0:
            return delta, False, False, delta > possible, gap or not timed
        rollover = self.config.rollover
        if rollover is not None and timed and 0 <= delta + rollover <= possible and a[0] <= rollover:
            return delta + rollover, True, False, False, gap
        reset = timed and 0 <= b[0] <= possible
        return (b[0] if reset else delta), False, reset, not reset, True

    def advance(self, p, samples, mark):
        out, name = [], self.points.name(p)
        for _, t, v, word in samples:
            if not usable(v, word):
                continue
            if self.rate(p)[0] is None:
                self.reasons["no-energy-unit"] += 1
                continue
            last, now = self.last.get(p), [v, t, t, word, True, False]
            if last is not None:
                if last[4] and last[0] == v:
                    now[2] = last[2]
                out += self.between(p, name, last, now)
                if last[4]:
                    self.before[p] = last
            self.last[p] = now
        return out

    def between(self, p, name, last, now):
        since = last[1] if last[4] else now[1] - 1
        word = joined(last[3], now[3])
        delta, wrapped, reset, odd, estimated = self.step(p, last, now)
        now[5] = impossible = odd
        before = self.before.get(p)
        if odd and last[5] and before is not None:
            longer = self.step(p, before, now)
            if not longer[2] and not longer[3]:
                delta, wrapped, reset, impossible, estimated = longer
                since = before[1]
        for kind, found in (("wrap", wrapped), ("reset", reset), ("implausible", impossible),
                            ("estimated", estimated and not impossible)):  # fmt: skip
            self.reasons[kind] += found
        if self.every:
            return self.share(p, name, since, now[1], delta, word, impossible, estimated)
        if impossible:
            return [(f"{name}#delta", now[1], NO_VALID, worse(word, INVALID, OUT_OF_RANGE))]
        return [sealed(f"{name}#delta", now[1], delta, worse(word, QUESTIONABLE, INACCURATE) if estimated else word)]

    def share(self, p, name, since, t, delta, word, impossible, estimated):
        cells = self.open.setdefault(p, {})
        first, final = (since + self.phase) // self.every, (t - 1 + self.phase) // self.every
        if final - first >= 1000:
            first = final
        for number in range(min(first, final), final + 1):
            begin = number * self.every - self.phase
            span = min(t, begin + self.every) - max(since, begin)
            cell = cells.setdefault(number, [0.0, 0, 0, False, False, False])
            if not impossible:
                cell[0] += delta if first == final else delta * (span / max(t - since, 1))
                cell[1] += span
            cell[2] |= word & ~3
            cell[3] |= SEVERITY[word & 3] > 0
            cell[4] |= estimated and not impossible
        settled = since if impossible else t
        closed = sorted(n for n in cells if n < (settled + self.phase) // self.every)
        return self.told(name, [(n, cells.pop(n)) for n in closed])

    def told(self, name, closed):
        out = []
        for number, cell in closed:
            end = (number + 1) * self.every - self.phase
            amount = cell[0] if cell[1] > 0 else NO_VALID
            out.append(sealed(f"{name}#delta", end, amount, word_of(cell, cell[1] < self.every)))
        return out

    def forget(self, p):
        self.before.pop(p, None)
        if p in self.last:
            self.last[p][4] = self.last[p][5] = False
        return self.told(self.points.name(p), sorted(self.open.pop(p, {}).items()))


class LineLoss:
    def __init__(self, config, points):
        self.config, self.points = config, points
        self.reasons = Counter()
        self.globs = [
            compile_glob(g) for g in ([config.children] if isinstance(config.children, str) else config.children)
        ]
        self.clocks, self.done, self.held = Clocks(), MIN_INT, {}

    def child(self, p):
        name = self.points.name(p)
        return name != self.config.head and any(glob.match(name) for glob in self.globs)

    def process(self, samples):
        passed, clocks = [], self.clocks
        known = {}
        for sample in samples:
            p, t, v, word = sample
            if p not in known:
                known[p] = self.child(p) or self.points.name(p) == self.config.head
            if not known[p] or self.config.keep:
                passed.append(sample)
            if not known[p]:
                continue
            if clocks.wild(p, t):
                self.reasons["early"] += 1
                continue
            clocks.see(p, t)
            if t <= self.done:
                self.reasons["late"] += 1
                continue
            self.held.setdefault(t, {})[p] = (v, word)
        return passed

    def tick(self, now):
        self.clocks.tick(now)
        head = self.points.find(self.config.head)
        marks = self.clocks.mark
        if marks:
            mark = marks[head] if head in marks else max(marks.values())
            self.done = max(self.done, mark - self.config.lateness.ns)
        return self.give(self.done)

    def clock_stepped(self):
        out = self.give(MAX_INT)
        self.clocks, self.done = Clocks(), MIN_INT
        return out

    def worth(self, unit):
        energy, power = watt_hours(unit), watts(unit)
        return ("energy", energy) if energy is not None else ("power", power)

    def give(self, due):
        head, out = self.points.find(self.config.head), []
        for t in sorted(t for t in self.held if t <= due):
            row = self.held.pop(t)
            if head not in row:
                continue
            value, word = row.pop(head)
            children = [p for p in range(len(self.points)) if self.child(p)]
            usables = [p for p in children if p in row and usable(*row[p])]
            words = joined(word, *(w for _, w in row.values()))
            loss = percent = MISSING
            if children and len(usables) == len(children) and usable(value, word):
                total = sum(self.scaled(head, p, row[p][0]) for p in usables)
                loss = value - total
                percent = 100 * loss / value if value else math.nan
                self.reasons["other-unit"] += isnan(total)
            else:
                self.reasons["incomplete"] += 1
            out.append(sealed(self.config.set, t, loss, words))
            out.append(sealed(f"{self.config.set}#percent", t, percent, words))
        return out

    def scaled(self, head, p, v):
        ours, theirs = self.points.point(head).unit, self.points.point(p).unit
        if ours == theirs:
            return v
        (kind, factor), (other, its) = self.worth(ours), self.worth(theirs)
        return v * (its / factor) if factor and its and kind == other else math.nan


class Thd(Ordered):
    """One transform line at a time; for bursts of points, not for vectors."""

    def __init__(self, config, points):
        super().__init__(config, points)
        self.n = round(config.rate / 5)
        self.pace = 1e9 / config.rate
        self.runs = {}

    def advance(self, p, samples, mark):
        out, run = [], self.runs.setdefault(p, [])
        for sample in samples:
            if not usable(sample[2], sample[3]):
                continue
            if run and abs(sample[1] - run[-1][1] - self.pace) > 0.1 * self.pace:
                self.reasons["incomplete-window"] += bool(run[len(run) // self.n * self.n :])
                run.clear()
            run.append(sample)
            if len(run) == self.n:
                out += self.window(p, run)
                run.clear()
        return out

    def window(self, p, run):
        n, c, name = self.n, self.config, self.points.name(p)
        values = [s[2] for s in run]
        periods = 10 if c.frequency == 50 else 12

        def power(line):
            turn = -2j * math.pi * line / n
            total = sum(v * cmath.exp(turn * k) for k, v in enumerate(values))
            return 2 * abs(total / n) ** 2

        sides = {"none": {0: 1.0}, "subgroup": {-1: 1.0, 0: 1.0, 1: 1.0}}.get(c.grouping.value)
        if sides is None:
            half = periods // 2
            sides = {away: 0.5 if abs(away) == half else 1.0 for away in range(-half, half + 1)}
        orders = [math.sqrt(sum(part * power(periods * h + away) for away, part in sides.items()))
                  for h in range(1, c.highest + 1)]  # fmt: skip
        rest = math.sqrt(sum(one * one for one in orders[1:]))
        word, end = joined(*(s[3] for s in run)), run[-1][1] + round(self.pace)
        told = [("#thd", 100 * divided(rest, orders[0])), ("#rms", math.sqrt(sum(v * v for v in values) / n)),
                ("#fundamental", orders[0])]  # fmt: skip
        told += [(f"#h{order}", 100 * divided(orders[order - 1], orders[0])) for order in c.orders]
        return [sealed(name + suffix, end, value, word) for suffix, value in told]

    def forget(self, p):
        self.reasons["incomplete-window"] += bool(self.runs.pop(p, []))
        return []
