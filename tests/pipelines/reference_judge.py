"""The operators that judge, sample by sample in plain Python: oracle of the property tests, reference of the
benchmark. As tests/pipelines/reference.py; a sample is a tuple (point, time, value, quality). What a tick or a step
of the clock gives are samples too; state points are made in the directory as the operators do.
"""

from __future__ import annotations

import math
from collections import deque

from gateway.point import Kind
from gateway.quality import Reason, no_value
from pipelines.bounds import Bound
from tests.pipelines.reference_joined import CrossCheck, CtReversal
from tests.pipelines.reference_plain import INVALID, MAX_INT, MIN_INT, Plain, worse

OSCILLATORY, OLD_DATA, INCONSISTENT, SUBSTITUTED = 1 << 5, 1 << 7, 1 << 8, 1 << 10
HOUR_NS = 3_600_000_000_000
LARGEST = 1.7976931348623157e308
STALE = no_value(Reason.STALE)


class Order:
    """The newest usable sample of each point."""

    def __init__(self, points, *, states=False):
        self.last = {}
        self.points = points
        self.states = states
        self.judged = {}

    def follow(self, p, t, v, q):
        """Whether the sample is one to judge, and the one before it if there is one."""
        judged = self.judged.get(p)
        if judged is None:
            judged = self.judged[p] = self.states or self.points.point(p).kind is not Kind.STATE
        if not judged or q & 3 in {1, 2} or not math.isfinite(v):
            return False, None
        last = self.last.get(p)
        if last is not None:
            if t < last[0] - HOUR_NS:
                last = None
            elif t <= last[0]:
                return False, None
        self.last[p] = (max(t, MIN_INT + 1), v)
        return True, last


class Amount:
    """In the point's unit: a fixed part, and a share of a value."""

    def __init__(self, points, amount):
        self.points = points
        self.bound = None if amount is None else Bound.parse(amount)
        self.known = {}

    def of(self, p, beside):
        known = self.known.get(p)
        if known is None:
            known = self.known[p] = self._of(self.points.point(p))
        fixed, share = known
        return fixed + share * abs(beside) if share else fixed

    def _of(self, point):
        if self.bound is None:
            return math.inf, 0.0
        if self.bound.percent is None:
            return self.bound.absolute, 0.0
        share = self.bound.percent / 100
        if point.limits is not None and point.limits[1] - point.limits[0] < math.inf:
            return share * (point.limits[1] - point.limits[0]), 0.0
        return 0.0, share


class RateOfChange(Plain):
    def __init__(self, config, points):
        super().__init__(config, points)
        self.up = Amount(points, config.max if config.up is None else config.up)
        self.down = Amount(points, config.max if config.down is None else config.down)
        self.order = Order(points)

    def process(self, samples):
        out, follow = [], self.order.follow
        for sample in samples:
            p, t, v, _ = sample
            _, before = follow(*sample)
            if before is not None:
                rise, passed = v - before[1], (t - before[0]) / 1e9
                if rise > self.up.of(p, before[1]) * passed or -rise > self.down.of(p, before[1]) * passed:
                    self.suspect(sample, INCONSISTENT, out)
                    continue
            out.append(sample)
        return out

    def clock_stepped(self):
        self.order.last = {}
        return []


class FlatLine(Plain):
    def __init__(self, config, points):
        super().__init__(config, points)
        self.span = config.for_.ns
        self.band = Amount(points, config.band)
        self.order = Order(points)
        self.begun = {}

    def process(self, samples):
        out, follow, begun = [], self.order.follow, self.begun
        for sample in samples:
            p, t, v, _ = sample
            mine, before = follow(*sample)
            if mine:
                since = begun.get(p)
                if before is None or abs(v - since[1]) > min(self.band.of(p, since[1]), LARGEST):
                    begun[p] = (t, v)
                elif t - since[0] > self.span:
                    self.suspect(sample, OLD_DATA, out)
                    continue
            out.append(sample)
        return out

    def clock_stepped(self):
        self.order.last = {}
        return []


class Oscillation(Plain):
    def __init__(self, config, points):
        super().__init__(config, points)
        self.n, self.within = config.turns + 1, config.within.ns
        self.band = Amount(points, config.band)
        self.order = Order(points, states=True)
        self.sign, self.turned, self.states = {}, {}, {}

    def process(self, samples):
        out = []
        for sample in samples:
            mine, before = self.order.follow(*sample)
            if mine and self.oscillates(sample, before):
                self.suspect(sample, OSCILLATORY, out)
            else:
                out.append(sample)
        return out

    def oscillates(self, sample, before):
        p, t, v, _ = sample
        if before is None:
            self.sign[p] = 0
            self.turned[p] = deque(maxlen=self.n)
            self.states[p] = self.points.point(p).kind is Kind.STATE
            return False
        rise = v - before[1]
        turned = self.turned[p]
        if abs(rise) > (0.0 if self.states[p] else min(self.band.of(p, before[1]), LARGEST)):
            sign = 1 if rise > 0 else -1
            if self.sign[p] == -sign:
                turned.append(t)
            self.sign[p] = sign
        return len(turned) == self.n and t - turned[0] <= self.within

    def clock_stepped(self):
        self.order.last = {}
        return []


class Gap(Plain):
    def __init__(self, config, points):
        super().__init__(config, points)
        self.after = config.after.ns
        self.time, self.heard, self.fresh, self.gone = {}, {}, set(), set()

    def process(self, samples):
        out = []
        for sample in samples:
            p, t, _, _ = sample
            self.time[p] = t
            self.fresh.add(p)
            if p in self.gone:
                self.gone.discard(p)
                self.suspect(sample, OLD_DATA, out)
            else:
                out.append(sample)
        return out

    def tick(self, now):
        for p in self.fresh:
            self.heard[p] = now
        self.fresh.clear()
        out = []
        for p in sorted(self.heard):
            if p not in self.gone and now - self.heard[p] > self.after:
                self.gone.add(p)
                if self.config.tell:
                    out.append((p, min(self.time[p] + self.after, MAX_INT), STALE, INVALID | OLD_DATA))
        return out


def median(values, full):
    """The middle one, without the sign of a zero."""
    ordered = sorted(values)
    low, high = ordered[(len(ordered) - 1) // 2], ordered[len(ordered) // 2]
    return (low if full or low == high else 0.5 * low + 0.5 * high) + 0.0


class Spike(Plain):
    """Also the centred one."""

    def __init__(self, config, points):
        super().__init__(config, points)
        self.n, self.k, self.least = config.samples, config.k, config.least
        self.half = self.n // 2 if config.centred else 0
        within = None if config.within is None else config.within.ns
        self.span = within // 2 if config.centred and within is not None else within
        self.order = Order(points)
        self.past, self.floors = {}, {}
        self.held = {}

    def process(self, samples):
        if self.config.centred:
            return self.centred(samples)
        out = []
        for sample in samples:
            mine, before = self.order.follow(*sample)
            if not mine:
                out.append(sample)
                continue
            past = self.enter(sample, before)
            found, middle = self.judge(sample, list(past), sample)
            self.treat(sample, middle, out) if found else out.append(sample)
        return out

    def enter(self, sample, before):
        p = sample[0]
        if before is None:
            if p not in self.floors:
                least = self.config.min_deviation
                self.floors[p] = (self.points.point(p).resolution or 0.0) if least is None else least
            self.past[p] = deque(maxlen=self.n)
        past = self.past[p]
        past.append(sample)
        return past

    def judge(self, sample, window, candidate):
        p, t, v, _ = candidate
        if self.span is not None:
            window = [other for other in window if abs(other[1] - t) <= self.span]
        if len(window) < self.least:
            return False, 0.0
        full = len(window) == self.n
        values = [other[2] for other in window]
        middle = median(values, full)
        spread = median([abs(value - middle) for value in values], full)
        bound = self.k * 1.4826 * spread
        return not math.isnan(bound) and abs(v - middle) > max(bound, self.floors[p]), middle

    def treat(self, sample, middle, out):
        if self.config.action == "replace":
            p, t, _, q = sample
            out.append((p, t, middle, worse(q, INCONSISTENT | SUBSTITUTED)))
        else:
            self.suspect(sample, INCONSISTENT, out)

    # held until half a window has come: entries [sample, whether it waits, verdict, since]

    def centred(self, samples):
        out = []
        for sample in samples:
            p = sample[0]
            held = self.held.setdefault(p, [])
            mine, before = self.order.follow(*sample)
            held.append([sample, mine, None, None])
            self.queued += 1
            if mine:
                behind = [entry for entry in held if entry[1]]
                self.enter(sample, before)
                if len(behind) > self.half:
                    self.decide(behind[0], list(self.past[p]), self.n - 1 - self.half)
            self.release(held, out, lambda entry: not entry[1])
        return out

    def decide(self, entry, past, back):
        """``past`` ends with what came last."""
        entry[1] = False
        if any(other is entry[0] for other in past):
            place = next(i for i, other in enumerate(past) if other is entry[0])
            window = past[max(0, place - self.half) : place + self.half + 1]
            found, middle = self.judge(entry[0], window, entry[0])
            entry[2] = middle if found else None

    def release(self, held, out, goes):
        while held and goes(held[0]):
            sample, _, verdict, _ = held.pop(0)
            self.queued -= 1
            out.append(sample) if verdict is None else self.treat(sample, verdict, out)

    def tick(self, now):
        return self.give_up(lambda entry: now - entry[3] >= self.config.wait.ns, now)

    def give_up(self, goes, now):
        out = []
        for p in sorted(self.held):
            held = self.held[p]
            for entry in held:
                entry[3] = now if entry[3] is None else entry[3]
            past = list(self.past.get(p, ()))[-(self.n - 1) :]
            for entry in held:
                if goes(entry) and entry[1]:
                    self.decide(entry, past, None)
            self.release(held, out, lambda entry: goes(entry) or not entry[1])
        return out

    def clock_stepped(self):
        out = self.give_up(lambda entry: True, 0)
        self.order.last = {}
        return out


OPERATORS: dict[str, type] = {
    "rate_of_change": RateOfChange,
    "flat_line": FlatLine,
    "spike": Spike,
    "oscillation": Oscillation,
    "gap": Gap,
    "cross_check": CrossCheck,
    "ct_reversal": CtReversal,
}

# Of the two that join points one is enough: they are the same but for some arithmetic on rows
BENCH = [
    ("rate_of_change", {"max": 5.0}),
    ("flat_line", {"for": "10m"}),
    ("spike", {"samples": 9, "k": 4.0, "min_deviation": 2.0}),
    ("oscillation", {"turns": 10, "within": "1m", "band": 1.0}),
    ("gap", {"after": "60s"}),
    ("cross_check", {"sum": {"of": ["*/voltage"], "total": "*/voltage"}, "lateness": "5s"}),
]
