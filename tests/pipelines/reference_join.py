"""What joins points by time, sample by sample in plain Python; see reference_shape.py."""

from __future__ import annotations

import bisect
import math
import operator
import re
from math import isnan

from gateway.point import Kind
from gateway.quality import Reason, no_value, worst
from tests.pipelines.reference import DAY_NS, INVALID, MAX_INT, MIN_INT, NO_VALID, NOT_A_NUMBER, QUESTIONABLE, invalid
from tests.pipelines.reference import reason as reason_of
from tests.pipelines.reference_formula import valued

OVERFLOW = 1 << 2
MISSING = no_value(Reason.MISSING)
FARTHEST = 1 << 62


def bad(q):
    return q & ~3 | INVALID


def pattern_of(glob):
    """A glob of single stars, each a group."""
    return re.compile("([^/#]*)".join(map(re.escape, glob.split("*"))) + r"\Z")


class Rows:
    """Rows of inputs by event time: what :mod:`pipelines.operators.aligned` does, a sample at a time."""

    def __init__(self, points, inputs, mode, lateness, max_gap, grid=0):
        self.points, self.mode, self.gap, self.grid = points, mode, max_gap, grid
        self.inputs = [(text.count("*"), pattern_of(text)) for text in inputs]
        self.grouping = any(n for n, _ in self.inputs)
        self.wait = lateness + (max_gap if mode == "linear" else 0)
        self.slots = {}
        self.late = 0
        self.reset()

    def reset(self):
        self.newest, self.anchor, self.watermark, self.ahead, self.done = {}, {}, {}, {}, {}
        self.waiting, self.kept = {}, {}

    def slots_of(self, p):
        if p not in self.slots:
            name = self.points.name(p)
            found = [(n, number, pattern.match(name)) for number, (n, pattern) in enumerate(self.inputs)]
            self.slots[p] = [
                (None if self.grouping and not n else "/".join(match.groups()) or ".", number)
                for n, number, match in found
                if match
            ]
        return self.slots[p]

    def add(self, p, t, v, q):
        """Whether it is an input, and whether it waits."""
        mine = self.slots_of(p)
        waits = False
        for slot in mine:
            group = slot[0]
            ahead = group in self.watermark and t > min(self.watermark[group], MAX_INT - DAY_NS) + DAY_NS
            early = ahead and not self.ahead.get(group)
            self.ahead[group] = ahead
            if early or abs(t) > FARTHEST:
                continue
            late = t <= self.done.get(group, MIN_INT)
            self.newest[group] = max(self.newest.get(group, t), t)
            if late:
                self.late += 1
            else:
                self.waiting.setdefault(slot, []).append((t, v, q))
                waits = True
        return bool(mine), waits

    def tick(self, now):
        for group, newest in self.newest.items():
            if group not in self.anchor or newest > self.anchor[group][0]:
                self.anchor[group] = newest, now
            at, since = self.anchor[group]
            self.watermark[group] = max(self.watermark.get(group, MIN_INT), at + now - since)
        return self.give({group: mark - self.wait for group, mark in self.watermark.items()})

    def flush(self):
        due = {}
        for (group, _), held in self.waiting.items():
            due[group] = max(due.get(group, MIN_INT), *(t for t, *_ in held))
        rows = self.give(due)
        self.reset()
        return rows

    def give(self, due):
        if self.grouping:
            others = [mark for group, mark in due.items() if group is not None]
            if others:
                due[None] = min(others)
        everything = {slot: ([self.kept[slot]] if slot in self.kept else []) for slot in {*self.kept, *self.waiting}}
        for slot, held in self.waiting.items():
            everything[slot] = sorted(everything[slot] + held, key=operator.itemgetter(0))
        rows = []
        for group, mark in due.items():
            if group is not None:
                for t in sorted(self.times(group, mark, everything)):
                    row = [self.value(everything.get(self.slot(group, n), []), t) for n in range(len(self.inputs))]
                    if self.mode != "exact" or None not in row:
                        rows.append((group, t, [(MISSING, INVALID) if one is None else one for one in row]))
        self.forget(due)
        return rows

    def slot(self, group, number):
        return (None if self.grouping and not self.inputs[number][0] else group), number

    def times(self, group, mark, everything):
        if self.grid:
            times = set()
            own = [t for (g, _), samples in everything.items() if g == group for t, *_ in samples]
            first = max(self.done.get(group, MIN_INT) // self.grid + 1, MIN_INT)
            for t in own:
                for n in range(max(-(-t // self.grid), first), min((t + self.gap) // self.grid, mark // self.grid) + 1):
                    times.add(n * self.grid)
            return times
        return {t for (g, _), held in self.waiting.items() if g == group for t, *_ in held if t <= mark}

    def value(self, samples, t):
        at = bisect.bisect_right(samples, t, key=operator.itemgetter(0)) - 1
        if at >= 0 and samples[at][0] >= t - (self.gap if self.mode == "last" else 0):
            return samples[at][1:]
        if self.mode != "linear" or at < 0 or at + 1 == len(samples):
            return None
        (t0, v0, q0), (t1, v1, q1) = samples[at : at + 2]
        if t1 - t0 > self.gap:
            return None
        return v0 + (v1 - v0) * ((t - t0) / (t1 - t0)), worst([q0, q1])

    def forget(self, due):
        for slot, held in list(self.waiting.items()):
            ripe = [s for s in held if s[0] <= due.get(slot[0], MIN_INT)]
            left = [s for s in held if s[0] > due.get(slot[0], MIN_INT)]
            if ripe and self.mode != "exact":
                before = [self.kept[slot]] if slot in self.kept else []
                self.kept[slot] = max(reversed(before + ripe), key=operator.itemgetter(0))  # of two the later
            if left:
                self.waiting[slot] = left
            else:
                del self.waiting[slot]
        for group, mark in due.items():
            self.done[group] = max(mark, self.done.get(group, MIN_INT))


def named(pattern, group):
    left = iter((group or "").split("/"))
    return re.sub(r"\*", lambda _: next(left), pattern)


class Joining:
    """What passes is told by process, results by tick."""

    def process(self, samples):
        keep, out, points = self.config.keep, [], self.points
        for p, t, v, q in samples:
            mine, _ = self.rows.add(p, t, v, q)
            if keep or not mine:
                out.append((points.name(p), t, v, q))
        return out

    def tick(self, now):
        return self.results(self.rows.tick(now))

    def clock_stepped(self):
        return self.results(self.rows.flush())


class Expression(Joining):
    def __init__(self, config, points):
        self.config, self.points = config, points
        self.formula = config.formula()
        gap = config.max_gap.ns if config.max_gap else 0
        self.rows = Rows(points, self.formula.names, config.align.value, config.lateness.ns, gap)

    def results(self, rows):
        return [(named(self.config.set, group), t, *self.result(row)) for group, t, row in rows]

    def result(self, row):
        quality = worst([q for _, q in row])
        for v, q in row:
            if isnan(v) or invalid(q):
                return v if isnan(v) and reason_of(v) else NO_VALID, bad(quality)
        value = valued(self.formula.tree, [v for v, _ in row])
        if isnan(value):
            return NOT_A_NUMBER, bad(quality)
        if math.isinf(value) and not any(math.isinf(v) for v, _ in row):
            return value, (quality if quality & 3 else quality | QUESTIONABLE) | OVERFLOW
        return value, quality


class Join(Joining):
    def __init__(self, config, points):
        self.config, self.points = config, points
        self.linear = config.how == "linear"
        self.suffix = config.suffix or {10**9: "#1s", 5 * 10**8: "#500ms", 2 * 10**9: "#2s"}[config.every.ns]
        gap = config.max_gap.ns
        self.rows = Rows(points, config.inputs, config.how.value, config.lateness.ns, gap, config.every.ns)
        self.skipped = 0

    def process(self, samples):
        if not self.linear:
            return super().process(samples)
        out = []
        for sample in samples:
            if self.points.point(sample[0]).kind is Kind.STATE:
                self.skipped += 1
                out.append((self.points.name(sample[0]), *sample[1:]))
            else:
                out += super().process([sample])
        return out

    def results(self, rows):
        out = []
        for group, t, row in rows:
            if all(isnan(v) and reason_of(v) == Reason.MISSING for v, _ in row):
                continue
            if self.config.complete and any(isnan(v) or invalid(q) for v, q in row):
                continue
            for pattern, (v, q) in zip(self.config.inputs, row, strict=True):
                name = named(pattern, group)
                if self.points.find(name) is not None:
                    told = (v if reason_of(v) else NOT_A_NUMBER, bad(q)) if isnan(v) else (v, q)
                    out.append((name + self.suffix, t, *told))
        return out
