"""The operators that reduce, sample by sample in plain Python: oracle of the property tests, reference of the
benchmark. As tests/pipelines/reference.py; a sample is a tuple (point, time, value, quality).
"""

from __future__ import annotations

import math
from bisect import bisect_right
from math import isnan

from gateway.point import Kind
from gateway.quality import HISTORICAL
from pipelines.bounds import bound_of
from pipelines.operators.reduce.deadband import DeadbandConfig
from tests.pipelines import reference
from tests.pipelines.reference_lines import PiecewiseLinear, SwingingDoor

TENS = [float(f"1e{power}") for power in range(-290, 291)]


class Deadband(reference.Deadband):
    """That of the other module, with its later options."""

    def __init__(self, config, points):
        super().__init__(config, points)
        self.of_value = config.percent_of == "value"
        self.previous = config.previous
        self.held = {}

    def band_of(self, p):
        if self.of_value and self.share is not None and self.points.point(p).kind is not Kind.STATE:
            return 0.0, self.share
        return super().band_of(p)

    def process(self, samples):
        sent, bands, silence, held, out = self.sent, self.bands, self.silence, self.held, []
        for sample in samples:
            p, t, v, q = sample
            last = sent.get(p)
            if last is None:
                bands[p] = self.band_of(p)
                sent[p] = sample
                out.append(sample)
                continue
            _, last_t, last_v, last_q = last
            fixed, relative = bands[p]
            change = abs(v - last_v)
            news = (
                (q ^ last_q) & ~HISTORICAL
                or change > fixed + (relative * abs(last_v) if relative and abs(last_v) < math.inf else 0.0)
                or change == math.inf
                or ((isnan(v) or isnan(last_v)) and not reference.same(v, last_v))
            )
            if news or (silence is not None and t - last_t >= silence):
                before = held.pop(p, None)
                if news and before is not None:
                    out.append(before)
                sent[p] = sample
                out.append(sample)
            elif self.previous:
                held[p] = sample
        return out

    def clock_stepped(self):
        self.held.clear()
        return []


class Dedup(reference.Deadband):
    def __init__(self, config, points):
        super().__init__(DeadbandConfig(absolute=0.0, max_silence=config.window), points)


class Round:
    def __init__(self, config, points):
        self.points = points
        self.config = config
        self.bound = None if config.epsilon is None else bound_of(None, None, config.epsilon)
        self.known = {}

    def process(self, samples):
        out = []
        for p, t, v, q in samples:
            if p not in self.known:
                self.known[p] = self.step_of(self.points.point(p))
            step = self.known[p]
            if step is None or (q and reference.invalid(q)):
                out.append((p, t, v, q))
            else:
                out.append((p, t, self.rounded(v, *(step or self.digits(v))), q))
        return out

    def step_of(self, point):
        """The step as numerator and denominator; None: there is none; (): by the value."""
        if point.kind is Kind.STATE:
            return None
        if self.bound is None:
            step = self.config.step if self.config.step is not None else point.resolution
        elif self.bound.absolute is not None:
            step = 2 * self.bound.absolute
        else:
            span = math.inf if point.limits is None else point.limits[1] - point.limits[0]
            if span == math.inf:
                return ()
            step = 2 * self.bound.percent / 100 * span
        if step is None or not 1e-290 < step < 1e290:
            return None
        whole = round(1 / step)
        return (1.0, float(whole)) if step < 1 and abs(1 / whole - step) <= 2**-52 * step else (step, 1.0)

    def digits(self, v):
        """The largest power of ten that keeps the bound."""
        at = bisect_right(TENS, 2 * (self.bound.percent / 100) * abs(v)) - 1 if abs(v) < math.inf else -1
        return (0.0, 1.0) if at < 0 else (TENS[max(at, 290)], TENS[max(580 - at, 290)])

    def rounded(self, v, numerator, denominator):
        steps = v * denominator / numerator if numerator else math.nan
        if not abs(steps) < 2**52:
            return v
        rounded = round(steps) * numerator / denominator + 0.0
        return rounded if abs(rounded) < math.inf else v


class Sample:
    def __init__(self, config, points):
        self.nth, self.last = config.nth, config.keep == "last"
        self.every = config.every and config.every.ns
        self.seen, self.number, self.held, self.mark = {}, {}, {}, {}

    def process(self, samples):
        out = []
        for sample in samples:
            p, t = sample[:2]
            if self.nth:
                seen = self.seen.get(p, 0)
                if not seen:
                    out.append(sample)
                self.seen[p] = (seen + 1) % self.nth
                continue
            number = t // self.every
            begins = self.number.get(p) != number
            self.number[p] = number
            if not self.last:
                if begins:
                    out.append(sample)
                continue
            if begins and p in self.held:
                out.append(self.held[p])
            self.held[p] = sample
            self.mark.pop(p, None)
        return out

    def tick(self, now):
        out = []
        for p in list(self.held):
            if now - self.mark.setdefault(p, now) >= self.every:
                out.append(self.held.pop(p))
                del self.mark[p]
        return out

    def clock_stepped(self):
        out = list(self.held.values())
        for known in (self.held, self.mark, self.number):
            known.clear()
        return out


class Throttle:
    def __init__(self, config, points):
        self.interval, self.flush = config.interval.ns, config.flush
        self.sent, self.held, self.mark = {}, {}, {}

    def process(self, samples):
        out = []
        for sample in samples:
            p, t = sample[:2]
            sent = self.sent.get(p)
            if sent is None or abs(t - sent) >= self.interval:
                self.sent[p] = t
                self.held.pop(p, None)
                self.mark.pop(p, None)
                out.append(sample)
            elif self.flush:
                self.held[p] = sample
        return out

    def tick(self, now):
        out = []
        for p in list(self.held):
            if now - self.mark.setdefault(p, now) >= self.interval:
                out.append(self.held.pop(p))
                self.sent[p] = out[-1][1]
                del self.mark[p]
        return out

    def clock_stepped(self):
        out = list(self.held.values())
        for known in (self.held, self.mark, self.sent):
            known.clear()
        return out


class RateLimit:
    def __init__(self, config, points):
        self.points = points
        self.rate, self.rule, self.shared = config.rate, config.rule, config.per == "pipeline"
        self.burst = float(config.burst or max(1, math.floor(config.rate)))
        self.credit, self.held, self.last, self.turn = {}, [], None, 0

    def process(self, samples):
        self.held += samples
        return []

    def tick(self, now):
        passed = 0.0 if self.last is None else (now - self.last) / 1e9
        self.last = now
        for p, credit in self.credit.items():
            self.credit[p] = min(credit + passed * self.rate, self.burst)
        return self.clock_stepped()

    def clock_stepped(self):
        held, self.held = self.held, []
        if not held:
            return []
        self.turn = (self.turn + 0x9E3779B1) % 2**32
        groups = {}
        for at, sample in enumerate(held):
            groups.setdefault(None if self.shared else sample[0], []).append((sample, at))
        chosen = {at for p, group in groups.items() for at in self.choose(p, group)}
        return [sample for at, sample in enumerate(held) if at in chosen]

    def choose(self, p, group):
        n, size = len(group), max(len(self.points), 1)
        credit = self.credit.get(p, self.burst)
        k = min(math.floor(credit), n)
        self.credit[p] = credit - k
        thin = self.rule == "thin"
        if thin:
            group = sorted(group, key=lambda row: row[0][:2])
        else:
            group = sorted(group, key=lambda row: (row[0][1], (row[0][0] + self.turn) % size))
        phase = self.turn * n // 2**32 if self.shared else 0
        if thin:
            group = [row for r, row in enumerate(group) if ((r + 1) * k + phase) // n > (r * k + phase) // n]
        elif self.rule == "drop_newest":
            group = group[:k]
        else:
            group = group[n - k :]
        return [at for _, at in group]


class TopK:
    """Without the clocks of points: for samples that are neither late nor early (see the test)."""

    def __init__(self, config, points):
        self.config = config
        self.every, self.lateness = config.every.ns, config.lateness.ns
        self.cells, self.anchor, self.newest, self.closed = {}, None, None, None
        self.watermark = 0

    def process(self, samples):
        for sample in samples:
            p, t, v, q = sample
            number = t // self.every
            if self.closed is not None and number < self.closed:
                continue
            self.newest = t if self.newest is None else max(t, self.newest)
            if abs(v) < math.inf and not reference.invalid(q):
                self.cells.setdefault(number, {}).setdefault(p, []).append(sample)
        return []

    def tick(self, now):
        if self.newest is None:
            return []
        if self.anchor is None or self.newest > self.anchor[0]:
            self.anchor = self.newest, now
        self.watermark = max(self.watermark, self.anchor[0] + now - self.anchor[1])
        over = (self.watermark - self.lateness) // self.every
        return self.close([number for number in self.cells if number < over])

    def clock_stepped(self):
        out = self.close(list(self.cells))
        self.newest = self.anchor = self.closed = None
        self.watermark = 0
        return out

    def close(self, numbers):
        out = []
        for number in sorted(numbers):
            ranked = []
            for p, samples in self.cells.pop(number).items():
                values = [v for _, _, v, _ in samples]
                if self.config.by == "value":
                    score, chosen = max(values), samples[values.index(max(values))]
                elif self.config.by == "lowest":
                    score, chosen = -min(values), samples[values.index(min(values))]
                else:
                    score, chosen = max(values) - min(values), max(reversed(samples), key=lambda sample: sample[1])
                ranked.append((-score, p, chosen))
            out += [chosen for _, _, chosen in sorted(ranked)[: self.config.k]]
            self.closed = max(number + 1, self.closed or number + 1)
        return out


class Narrowband:
    def __init__(self, config, points):
        self.points, self.config = points, config
        self.least = 2 / (config.span + 1)
        self.known, self.states = {}, {}

    def process(self, samples):
        config, known, out = self.config, self.known, []
        inside_passes = config.keep == "inside"
        for sample in samples:
            p, _, v, q = sample
            if not abs(v) < math.inf or (q and reference.invalid(q)) or self.is_state(p):
                out.append(sample)
                continue
            mean, variance, seen, row = known.get(p, (0.0, 0.0, 0, 0))
            away = v - mean
            outlier = seen >= config.warmup and abs(away) > max(math.sqrt(variance) * config.sigmas, config.floor)
            if outlier:
                row += 1
            else:
                weight = max(1 / (seen + 1), self.least)
                variance = (variance + away * (away * weight)) * (1 - weight)
                mean, row = mean + away * weight, 0
            if inside_passes != outlier or seen < config.warmup:
                out.append(sample)
            if not outlier:
                seen += 1
            if row >= config.warmup or not variance < math.inf:
                mean, variance, seen, row = v, 0.0, 1, 0
            known[p] = mean, variance, min(seen, config.warmup + config.span), row
        return out

    def is_state(self, p):
        state = self.states.get(p)
        if state is None:
            state = self.states[p] = self.points.point(p).kind is Kind.STATE
        return state


OPERATORS: dict[str, type] = {
    "deadband": Deadband,
    "dedup": Dedup,
    "narrowband": Narrowband,
    "piecewise_linear": PiecewiseLinear,
    "rate_limit": RateLimit,
    "round": Round,
    "sample": Sample,
    "swinging_door": SwingingDoor,
    "throttle": Throttle,
    "top_k": TopK,
}

BENCH = [
    ("deadband", {"percent": 0.2, "max_silence": "60s", "previous": True}),
    ("swinging_door", {"absolute": 0.6, "max_silence": "60s"}),
    ("piecewise_linear", {"absolute": 0.6, "max_delay": "60s"}),
    ("dedup", {"window": "60s"}),
    ("round", {"step": 0.1}),
    ("sample", {"every": "10s"}),
    ("sample", {"every": "10s", "keep": "last"}),
    ("throttle", {"interval": "10s"}),
    ("rate_limit", {"rate": 2.0, "burst": 100}),
    ("rate_limit", {"rate": 2000.0, "burst": 100_000, "per": "pipeline"}),
    ("top_k", {"k": 10, "every": "10s"}),
    ("narrowband", {"sigmas": 3.0}),
]
