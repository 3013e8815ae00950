"""The judges of several points, sample by sample in plain Python; see reference_judge.py."""

from __future__ import annotations

import math

from gateway.point import Kind, Point, compile_glob
from tests.pipelines.reference_plain import Plain
from tests.pipelines.reference_rows import Rows

INCONSISTENT = 1 << 8


class Joined(Plain):
    """Holds everything until the tick that is ``wait`` behind the one behind its arrival."""

    flags = INCONSISTENT
    report = True

    def __init__(self, config, points, rules):
        super().__init__(config, points)
        self.gap = config.max_gap.ns
        self.wait = config.lateness.ns + self.gap
        self.rules = rules
        self.rows = [Rows(points, rule.inputs, config.lateness.ns, self.gap) for rule in rules]
        self.patterns = [compile_glob(pattern) for rule in rules for pattern in rule.inputs]
        self.marks = [compile_glob("**")]
        self.held, self.told, self.own = [], {}, {}

    def process(self, samples):
        out = []
        for sample in samples:
            own = self.own.get(sample[0])
            if own is None:
                name = self.points.name(sample[0])
                own = self.own[sample[0]] = any(pattern.match(name) for pattern in self.patterns)
            if own:
                for rows in self.rows:
                    rows.add(sample)
            if own and self.config.hold:
                self.held.append([None, sample, False])
            else:
                out.append(sample)
        return out

    def tick(self, now):
        for entry in reversed(self.held):
            if entry[0] is not None:
                break
            entry[0] = now
        out = self.judge([rows.tick(now) for rows in self.rows])
        n = 0
        while n < len(self.held) and now - self.held[n][0] >= self.wait:
            n += 1
        return out + self.release(n)

    def clock_stepped(self):
        out = self.judge([rows.flush() for rows in self.rows])
        for rule in self.rules:
            rule.reset()
        return out + self.release(len(self.held))

    def judge(self, found):
        out = []
        for rule, rows in zip(self.rules, found, strict=True):
            for text, time, inputs in rows:
                if any(one is None or one[3] & 3 in {1, 2} or not math.isfinite(one[2]) for one in inputs):
                    continue
                suspects, state = rule.judge(text, time, [one[2] for one in inputs])
                self.mark([inputs[i][0] for i in suspects], time)
                if state is not None and self.told.get((rule.name, text)) != state:
                    self.told[rule.name, text] = state
                    name = rule.name if text == "." else f"{text}/{rule.name}"
                    p = self.points.make(Point(name=name, kind=Kind.STATE))
                    out.append((p, time, self.points.state(p, state), 0))
        return out if self.report else []

    def mark(self, suspects, time):
        for p in suspects:
            if any(glob.match(self.points.name(p)) for glob in self.marks):
                times = [t for _, (other, t, _, _), _ in self.held if other == p and time - self.gap <= t <= time]
                for entry in self.held if times else ():
                    if entry[1][0] == p and entry[1][1] == max(times):
                        entry[2] = True

    def release(self, n):
        out = []
        for _, sample, suspect in self.held[:n]:
            self.suspect(sample, self.flags, out) if suspect else out.append(sample)
        del self.held[:n]
        return out


class Check:
    """One of cross_check."""

    def __init__(self, name, check):
        self.name, self.check, self.inputs = f"check#{name}", check, check.inputs
        self.kind = type(check).__name__

    def sides(self, x):
        if self.kind == "SumCheck":
            return sum(x[1:-1], x[0]), x[-1]
        if self.kind == "EqualCheck":
            left, right = self.check.formulas
            named = dict(zip(self.inputs, x, strict=True))
            return tuple(float(side([[named[name]] for name in side.names])[0]) for side in (left, right))
        if self.check.pf is None:
            return max(abs(x[2]), abs(x[0] * x[1])), abs(x[0] * x[1])
        return x[0] * x[1] * x[2], x[3]

    def judge(self, text, time, x):
        left, right = self.sides(x)
        if not math.isfinite(left) or not math.isfinite(right):
            return [], None
        allowed = max(self.check.absolute, self.check.percent / 100 * max(abs(left), abs(right)))
        violated = abs(left - right) > allowed
        return (range(len(x)), "violated") if violated else ([], "ok")

    def reset(self):
        pass


class CrossCheck(Joined):
    def __init__(self, config, points):
        super().__init__(config, points, [Check(name, check) for name, check in config.named()])
        marks = [config.marks] if isinstance(config.marks, str) else config.marks
        self.marks = [compile_glob(glob) for glob in marks]
        self.report = config.report


class Reversal:
    """The one of ct_reversal."""

    name = "ct#reversed"

    def __init__(self, config):
        self.config, self.inputs = config, config.phases
        self.sign = -1.0 if config.load == "generator" else 1.0
        names = [phase.rpartition("/")[2] for phase in self.inputs]
        self.names = names if len(set(names)) == len(names) else [str(i + 1) for i in range(len(names))]
        self.since = {}

    def judge(self, text, time, x):
        least, found = self.config.min_power, []
        right = any(value * self.sign > least for value in x)
        for i, value in enumerate(x):
            if right and value * self.sign < -least:
                if time - self.since.setdefault((text, i), time) >= self.config.for_.ns:
                    found.append(i)
            else:
                self.since.pop((text, i), None)
        return found, "+".join(self.names[i] for i in found) or "ok"

    def reset(self):
        self.since = {}


class CtReversal(Joined):
    def __init__(self, config, points):
        super().__init__(config, points, [Reversal(config)])
