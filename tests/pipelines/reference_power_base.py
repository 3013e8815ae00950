"""What the plain power operators have in common: quality, watermarks, order, rows of several points."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter
from math import isfinite, isnan

from gateway.quality import Reason, no_value
from pipelines.operators.aligned_finder import pattern_of
from tests.pipelines.reference import DAY_NS, INVALID, MAX_INT, MIN_INT, QUESTIONABLE, invalid, reason

INACCURATE, OUT_OF_RANGE = 1 << 9, 1 << 3
FARTHEST = (1 << 62) - 1
NO_VALID, NOT_A_NUMBER, MISSING = map(no_value, (Reason.NO_VALID_SAMPLES, Reason.NOT_A_NUMBER, Reason.MISSING))
SEVERITY = (0, 3, 2, 1)
BY_SEVERITY = (0, QUESTIONABLE, 2, INVALID)


def usable(v, word):
    return isfinite(v) and not invalid(word)


def worse(word, validity, flags=0):
    return BY_SEVERITY[max(SEVERITY[word & 3], SEVERITY[validity])] | word & ~3 | flags


def joined(*words):
    flags = severity = 0
    for word in words:
        flags |= word & ~3
        severity = max(severity, SEVERITY[word & 3])
    return flags | BY_SEVERITY[severity]


def sealed(name, t, v, word):
    v = v if v != 0.0 else 0.0
    if isnan(v):
        v = v if reason(v) else NOT_A_NUMBER
        word = worse(word, INVALID)
    return name, t, v, word


def divided(a, b):
    if b:
        return a / b
    return math.nan if not a or isnan(a) else math.copysign(math.inf, a)


class Clocks:
    """Watermarks, as Window of the other reference has them."""

    def __init__(self):
        self.newest, self.anchor, self.mark, self.ahead = {}, {}, {}, {}

    def wild(self, key, t):
        """Whether a sample's date is wild; ``t`` is seen if it is not."""
        mark, wild = self.mark.get(key), False
        if mark is not None:
            far = t > mark + DAY_NS
            wild = far and not self.ahead.get(key, False)
            self.ahead[key] = far
        return wild or abs(t) > FARTHEST

    def see(self, key, t):
        if t > self.newest.get(key, MIN_INT):
            self.newest[key] = t

    def tick(self, now):
        for key, newest in self.newest.items():
            anchor = self.anchor.get(key)
            if anchor is None or newest > anchor[0]:
                anchor = self.anchor[key] = (newest, now)
            mark = min(anchor[0] + now - anchor[1], MAX_INT)
            if mark > self.mark.get(key, MIN_INT):
                self.mark[key] = mark


class Ordered:
    """Samples of each point in order of time, at ticks."""

    def __init__(self, config, points):
        self.config, self.points = config, points
        self.lateness = config.lateness.ns
        self.reasons = Counter()
        self.clocks, self.done, self.held = Clocks(), {}, {}

    def process(self, samples):
        clocks, done, held = self.clocks, self.done, self.held
        for sample in samples:
            p, t = sample[0], sample[1]
            if clocks.wild(p, t):
                self.reasons["early"] += 1
                continue
            clocks.see(p, t)
            if t <= done.get(p, MIN_INT):
                self.reasons["late"] += 1
                continue
            held.setdefault(p, []).append(sample)
        return samples if self.config.keep else []

    def tick(self, now):
        self.clocks.tick(now)
        out = []
        for p, mark in self.clocks.mark.items():
            self.done[p] = max(self.done.get(p, MIN_INT), mark - self.lateness)
            out += self.advance(p, self.ripe(p, self.done[p]), self.done[p])
        return out

    def clock_stepped(self):
        out = []
        for p in list(self.clocks.newest):
            rest = self.ripe(p, MAX_INT)
            mark = max([self.done.get(p, MIN_INT)] + [s[1] for s in rest])
            out += self.advance(p, rest, mark) + self.forget(p)
        self.clocks, self.done = Clocks(), {}
        return out

    def ripe(self, p, mark):
        """Samples up to ``mark``, in order, the last of each time."""
        held = self.held.get(p)
        if not held:
            return []
        self.held[p] = [s for s in held if s[1] > mark]
        latest = {s[1]: s for s in held if s[1] <= mark}
        return [latest[t] for t in sorted(latest)]


class Joined:
    """Rows of inputs by group: at each time at which any (or, without a gap, every) input has a sample."""

    def __init__(self, config, points, inputs):
        self.config, self.points, self.inputs = config, points, inputs
        self.patterns = [pattern_of(text) for text in inputs]
        self.reasons = Counter()
        self.clocks, self.done, self.slots = Clocks(), {}, {}
        self.held, self.kept = {}, {}

    def places(self, p):
        if p not in self.slots:
            matches = [(i, pattern.match(self.points.name(p))) for i, pattern in enumerate(self.patterns)]
            self.slots[p] = [("/".join(m.groups()) or ".", i) for i, m in matches if m]
        return self.slots[p]

    def process(self, samples):
        passed = []
        for sample in samples:
            p, t, v, word = sample
            places = self.places(p)
            if not places or self.config.keep:
                passed.append(sample)
            for group, i in places:
                if self.clocks.wild(group, t):
                    self.reasons["early"] += 1
                    continue
                self.clocks.see(group, t)
                if t <= self.done.get(group, MIN_INT):
                    self.reasons["late"] += 1
                    continue
                self.held.setdefault(group, [{} for _ in self.inputs])[i][t] = (v, word)
        return passed

    def tick(self, now):
        self.clocks.tick(now)
        out = []
        for group, mark in self.clocks.mark.items():
            self.done[group] = max(self.done.get(group, MIN_INT), mark - self.config.lateness.ns)
            out += self.results(group, self.rows(group, self.done[group]))
        return out + self.passed(now)

    def clock_stepped(self):
        out = []
        for group in list(self.clocks.newest):
            out += self.results(group, self.rows(group, MAX_INT))
        self.clocks, self.done, self.kept = Clocks(), {}, {}
        self.forget()
        return out

    def rows(self, group, due):
        held, gap, rows = self.held.get(group), self.config.max_gap.ns, []
        if held is None:
            return rows
        kept = self.kept.setdefault(group, [{} for _ in self.inputs])
        known = [dict(sorted({**kept[i], **held[i]}.items())) for i in range(len(self.inputs))]
        times = [list(one) for one in known]
        ripe = [[t for t in one if t <= due] for one in held]
        for t in sorted({t for one in ripe for t in one}):
            row = []
            for i in range(len(self.inputs)):
                at = bisect_right(times[i], t) - 1
                found = at >= 0 and times[i][at] >= t - gap
                row.append(known[i][times[i][at]] if found else (MISSING, INVALID))
            if gap or all(t in one for one in known):
                rows.append((t, row))
        for i, one in enumerate(held):
            if ripe[i]:
                last = max(ripe[i])
                kept[i] = {last: one[last]}
            held[i] = {t: s for t, s in one.items() if t > due}
        return rows

    def name(self, group, suffix=""):
        return self.config.set.replace("{device}", group) + suffix

    def passed(self, now):
        return []

    def forget(self):
        pass


def told(name, t, row, v):
    """The result of a row: without a value, and why, where an input has none."""
    for value, word in row:
        if not usable(value, word):
            v = value if isnan(value) and reason(value) else NO_VALID
            break
    return sealed(name, t, v, joined(*(word for _, word in row)))
