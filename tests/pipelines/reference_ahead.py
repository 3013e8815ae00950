"""Forecast, anomaly and change_point once more, sample by sample in plain Python, as tests/pipelines/reference.py.

What an operator passes on has the point's id, what it makes itself the name of the derived point.
"""

from __future__ import annotations

import math
from types import SimpleNamespace

from gateway.point import Kind
from pipelines.operators.ahead.forecast import told
from pipelines.operators.judge.limits import Action
from tests.pipelines.reference import Window

QUESTIONABLE, OLD_DATA, INCONSISTENT = 3, 1 << 7, 1 << 8
MAX_INT = (1 << 63) - 1
LARGEST_SCORE = 1e6


def usable(v: float, q: int) -> bool:
    return math.isfinite(v) and q & 3 not in {1, 2}


def marked(q: int) -> int:
    return (q if q & 3 else q | QUESTIONABLE) | INCONSISTENT


class Judge:
    """What anomaly and change_point share: state by point, and what becomes of suspects."""

    suffix = ""

    def __init__(self, config, points):
        self.config = config
        self.points = points
        self.known = {}
        self.facts = {}
        self.dropped = 0

    def fact(self, p):
        point = self.points.point(p)
        floor = max(1e-300, (point.resolution or 0.0) / 12**0.5)
        fact = self.facts[p] = (point.kind is Kind.STATE, floor, point.name + self.suffix)
        return fact

    def process(self, samples):
        facts, act, out, made = self.facts, self.config.action, [], []
        for sample in samples:
            p, t, v, q = sample
            state, floor, name = facts.get(p) or self.fact(p)
            if state or not usable(v, q):
                out.append(sample)
                continue
            told, suspect = self.judge(p, v, floor)
            if told is not None:
                made.append((name, t, told, q))
            if not suspect or act is None:
                out.append(sample)
            elif act is Action.DROP:
                self.dropped += 1
            else:
                out.append((p, t, v, marked(q)))
        return out + made


class Anomaly(Judge):
    suffix = "#score"

    def judge(self, p, v, floor):
        config = self.config
        threshold = config.threshold
        score = (self.ewma if config.method == "ewma" else self.gaussian)(p, v, floor)
        if score is None:
            return None, False
        suspect = threshold is not None and score > threshold
        told = score if config.report == "all" or (config.report == "above" and suspect) else None
        return told, suspect

    def ewma(self, p, v, floor):
        count, mean, variance = self.known.get(p, (0, 0.0, 0.0))
        alpha = self.config.alpha
        away = v - mean
        score = min(abs(away) / max(math.sqrt(variance), floor), LARGEST_SCORE) if count >= self.config.grace else None
        new_mean = mean + alpha * away
        variance = (1 - alpha) * (variance + away * (alpha * away))
        if count and math.isfinite(new_mean) and math.isfinite(variance):
            self.known[p] = (count + 1, new_mean, variance)
        else:
            self.known[p] = (1, v, 0.0)
        return score

    def gaussian(self, p, v, floor):
        count, mean, spread = self.known.get(p, (0, 0.0, 0.0))
        away = v - mean
        score = None
        if count >= self.config.grace:
            score = min(abs(away) / max(math.sqrt(spread / (count - 1)), floor), LARGEST_SCORE)
        count += 1
        mean += away / count
        spread = max(spread + away * (v - mean), 0.0)
        self.known[p] = (count, mean, spread) if math.isfinite(mean) and math.isfinite(spread) else (1, v, 0.0)
        return score


class ChangePoint(Judge):
    suffix = "#change"

    def judge(self, p, v, floor):
        config = self.config
        count, mean, spread, up, down = self.known.get(p, (0, 0.0, 0.0, 0.0, 0.0))
        ready, change = count >= config.grace, None
        deviation = max(math.sqrt(spread / (count - 1)), floor) if ready else 0.0
        if config.method == "page_hinkley" or not ready:
            away = v - mean
            count += 1
            mean += away / count
            spread = max(spread + away * (v - mean), 0.0)
        if ready:
            away = v - mean
            if config.scale == "deviations":
                away /= deviation
            up = max(up + (away - config.drift), 0.0)
            down = max(down + (-away - config.drift), 0.0)
            change = 1.0 if up > config.threshold else -1.0 if down > config.threshold else None
        if change or not (math.isfinite(mean) and math.isfinite(spread)):
            count, mean, spread, up, down = 1, v, 0.0, 0.0, 0.0
        self.known[p] = (count, mean, spread, up, down)
        return change, change is not None


class Season:
    """What is known of one point: dicts over step numbers, everything ever seen."""

    def __init__(self, first):
        self.first = self.last = first
        self.value, self.word = {}, {}
        self.made, self.errors = {}, {}
        self.level, self.stage = None, 0


class Forecast:
    """Steps come from a plain window; the model is written down once more over dicts that forget nothing."""

    def __init__(self, config, points):
        self.config = config
        self.points = points
        self.stat = config.grid.value
        self.window = Window(
            SimpleNamespace(every=config.step, lateness=config.lateness, stats=[self.stat], late="drop", expect=None),
            points,
        )
        self.step_ns = config.step.ns
        self.m = config.season.ns // self.step_ns
        self.ahead = [(h.ns // self.step_ns, told(h)) for h in config.horizon]
        self.seasons = {}
        self.states = {}

    def process(self, samples):
        states, own, passed = self.states, [], []
        for sample in samples:
            p = sample[0]
            state = states.get(p)
            if state is None:
                state = states[p] = self.points.point(p).kind is Kind.STATE
            (passed if state else own).append(sample)
        self.window.process(own)
        return samples if self.config.keep else passed

    def tick(self, now):
        return self.steps(self.window.tick(now))

    def clock_stepped(self):
        return self.steps(self.window.clock_stepped())

    def steps(self, closed):
        out = []
        for name, end, value, word in closed:
            if math.isfinite(value):
                # The end may be that of int64, where the step has no end
                number = (end - 1) // self.step_ns
                out += self.step(name.removesuffix(f"#{self.stat}"), number, value, word)
        return out

    def step(self, name, n, y, word):
        season, m = self.seasons.get(name), self.m
        if season is not None and season.last - m <= n <= season.last:
            return []
        if season is None or n < season.last or n > season.last + m:
            season = self.seasons[name] = Season(n)
        for steps, _ in self.ahead:
            made = season.made.get((steps, n))
            if made is not None and math.isfinite(y - made):
                season.errors[steps, n] = abs(y - made)
        season.value[n], season.word[n] = y, word
        if self.config.method == "holt_winters" and not self.smooth(season, n, y):
            season = self.seasons[name] = Season(n)
        season.last = n
        return self.told(season, name, n, word)

    def smooth(self, season, n, y):
        """Whether all is finite."""
        config, m = self.config, self.m
        if season.level is not None:
            h, s = n - season.last, season.index.get(n % m, 0.0)
            expected = season.level + season.trend * h
            level = config.alpha * (y - s) + (1 - config.alpha) * expected
            season.trend = config.beta * ((level - season.level) / h) + (1 - config.beta) * season.trend
            season.level = level
            season.index[n % m] = config.gamma * (y - expected) + (1 - config.gamma) * s
        if n - season.first >= (season.stage + 1) * m - 1 and season.stage < (2 if config.beta else 1):
            self.begin(season, n)
        return season.level is None or all(
            map(math.isfinite, (season.level, season.trend, season.index.get(n % m, 0.0)))
        )

    def begin(self, season, n):
        m = self.m
        known = {k: v for k, v in season.value.items() if k > n - m}
        mean = sum(known.values()) / len(known)
        trend = (mean - season.mean) / m if season.stage else 0.0
        index = {k % m: v - (mean + trend * (k - (n - m + 1) - (m - 1) / 2)) for k, v in known.items()}
        level = mean + trend * (m - 1) / 2
        if math.isfinite(level) and math.isfinite(trend) and all(map(math.isfinite, index.values())):
            season.level, season.trend, season.index, season.mean = level, trend, index, mean
            season.stage += 1

    def told(self, season, name, n, word):
        out, m, step_ns = [], self.m, self.step_ns
        for steps, suffix in self.ahead:
            target = n + steps
            newest = target - m * math.ceil(steps / m)
            phase = max((k for k in season.value if k % m == target % m), default=None)
            value, quality = self.forecast(season, phase, steps, target, word)
            if value is not None and math.isfinite(value):
                season.made[steps, target] = value
                if phase < newest:
                    quality = (quality if quality & 3 else quality | QUESTIONABLE) | OLD_DATA
                at = target if self.config.stamp == "for" else n
                out.append((f"{name}#forecast.{suffix}", min((at + 1) * step_ns, MAX_INT), value, quality))
            out += self.wrong(season, name, n, word, steps, suffix)
        return out

    def forecast(self, season, phase, steps, target, word):
        if phase is None:
            return None, 0
        if self.config.method == "seasonal_naive":
            return season.value[phase], season.word[phase]
        if season.level is None:
            return None, 0
        joined = (word | season.word[phase]) & ~3 | max(word & 3, season.word[phase] & 3)
        return season.level + season.trend * steps + season.index.get(target % self.m, 0.0), joined

    def wrong(self, season, name, n, word, steps, suffix):
        recent = [k for k in range(n - self.m + 1, n + 1) if (steps, k) in season.errors]
        if not recent:
            return []
        total = sum(season.errors[steps, k] for k in recent)
        scale = sum(abs(season.value[k]) for k in recent)
        found = {"mae": total / len(recent), "wape": total / scale if scale else math.nan}
        time = min((n + 1) * self.step_ns, MAX_INT)
        return [
            (f"{name}#forecast.{suffix}.{error}", time, found[error], word)
            for error in self.config.errors
            if math.isfinite(found[error])
        ]


OPERATORS: dict[str, type] = {"forecast": Forecast, "anomaly": Anomaly, "change_point": ChangePoint}

BENCH = [
    ("forecast", {"season": "1m", "step": "5s", "horizon": ["5s", "1m"]}),
    ("forecast", {"season": "1m", "step": "5s", "horizon": ["5s", "1m"], "method": "holt_winters"}),
    ("anomaly", {"grace": 10, "threshold": 4.0}),
    ("anomaly", {"method": "gaussian", "grace": 10, "threshold": 4.0, "report": "none"}),
    ("change_point", {"grace": 10, "drift": 1.0, "threshold": 50.0}),
    ("change_point", {"grace": 10, "drift": 1.0, "threshold": 50.0, "method": "page_hinkley"}),
]
