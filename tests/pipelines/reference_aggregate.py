"""Windows of all kinds and merging once more, sample by sample in plain Python: the oracle of the property tests and
the reference of the benchmark. A sample is a tuple (point, time, value, quality); results are (name, time, value,
quality). A window keeps its samples and computes when it closes.
"""

from __future__ import annotations

import math
import re
from math import isnan

from gateway.point import Kind
from pipelines.operators.aggregate.window_calendar import windows_of
from tests.pipelines.reference import DAY_NS, MAX_INT, MIN_INT, invalid
from tests.pipelines.reference_results import Results, S


class Clocks:
    """How far event time has come, row by row."""

    def __init__(self):
        self.newest, self.anchor, self.watermark, self.ahead = {}, {}, {}, {}

    def early(self, row, t):
        mark = self.watermark.get(row)
        if mark is None:
            return False
        wild = t > mark + DAY_NS
        first = wild and not self.ahead.get(row, False)
        self.ahead[row] = wild
        return first

    def see(self, row, t):
        if t > self.newest.get(row, MIN_INT):
            self.newest[row] = t
        elif t == MIN_INT:
            self.newest.setdefault(row, MIN_INT + 1)

    def tick(self, now):
        for row, newest in self.newest.items():
            anchor = self.anchor.get(row)
            if anchor is None or newest > anchor[0]:
                anchor = self.anchor[row] = (newest, now)
            mark = min(anchor[0] + now - anchor[1], MAX_INT)
            if mark > self.watermark.get(row, MIN_INT):
                self.watermark[row] = mark

    def mark(self, row, lateness):
        return max(self.watermark.get(row, MIN_INT), MIN_INT + lateness) - lateness


class Cell:
    __slots__ = ("covered", "integral", "samples", "states", "told")

    def __init__(self):
        self.samples, self.told = [], 0
        self.integral, self.covered, self.states = 0.0, 0, {}


class Window(Results):
    def __init__(self, config, points):
        self.config, self.points = config, points
        pane = config.slide or config.every
        self.panes = round(config.every.ns / pane.ns)
        self.utc = None if config.timezone or config.months else pane.ns
        self.windows = windows_of(config.timezone or "UTC", pane.ns, config.months or 0)
        self.ordered = config.ordered
        self.late_rule = str(config.late)
        self.names, self.cells = {}, {}
        self.last = (0, 0, 0)
        self.reasons, self.dropped = {}, {}
        self.reset()

    def reset(self):
        self.clocks = Clocks()
        self.closed, self.done, self.waiting, self.runs, self.holds = {}, {}, [], {}, {}

    # calendar

    def number(self, t):
        if self.utc:
            return t // self.utc
        start, end, number = self.last
        if not start <= t < end:
            number = int(self.windows.number(np_int(t))[0])
            self.last = self.start(number), self.end(number), number
        return number

    def start(self, number):
        return max(number * self.utc, MIN_INT) if self.utc else int(self.windows.start(np_int(number))[0])

    def end(self, number):
        return min((number + 1) * self.utc, MAX_INT) if self.utc else int(self.windows.end(np_int(number))[0])

    # samples

    def row(self, p):
        """The name of what the point counts for, None for nothing."""
        if p not in self.names:
            self.names[p] = group_of(self.points.point(p), self.config.over, self.config.name)
        return self.names[p]

    def count(self, reason, *, drop=False):
        self.reasons[reason] = self.reasons.get(reason, 0) + 1
        if drop:
            self.dropped[reason] = self.dropped.get(reason, 0) + 1

    def process(self, samples):
        clocks, out, runs = self.clocks, [], self.config.runs
        for sample in samples:
            p, t, _, _ = sample
            row = self.row(p)
            if row is None:
                out.append(sample)
                continue
            if clocks.early(row, t):
                self.count("early", drop=True)
                continue
            number = None if runs else self.number(t)
            late = t <= self.done.get(row, MIN_INT) if runs else number < self.closed.get(row, MIN_INT)
            clocks.see(row, t)
            if late:
                number = self.late(row, number, sample, out)
                if number is None:
                    continue
            if runs:
                self.waiting.append((row, *sample))
                continue
            cell = self.cells.get((row, number))
            if cell is None:
                cell = self.cells[row, number] = Cell()
            cell.samples.append(sample)
            if self.ordered and not late:
                if t <= self.done.get(row, MIN_INT):
                    self.count("out-of-order")
                else:
                    self.waiting.append((row, *sample))
        return out

    def late(self, row, number, sample, out):
        """The window that a late sample goes into, None for none."""
        rule = self.late_rule
        if rule == "drop":
            self.count("late", drop=True)
        elif rule == "pass":
            self.count("late")
            out.append(sample)
        elif rule == "next":
            self.count("late")
            return self.closed[row]
        else:
            self.count("late")
            if number >= self.number(self.clocks.mark(row, self.config.lateness.ns + self.config.corrections.ns)):
                return number
            self.count("too-late", drop=True)
        return None

    # time

    def tick(self, now):
        self.clocks.tick(now)
        marks = {row: self.clocks.mark(row, self.config.lateness.ns) for row in self.clocks.newest}
        self.settle(marks)
        if self.config.runs:
            due = {row: self.open_run(row, mark) for row, mark in marks.items()}
        else:
            due = {row: self.number(mark) for row, mark in marks.items()}
        return self.close(due)

    def clock_stepped(self):
        self.settle({row: self.clocks.mark(row, 0) for row in self.clocks.newest}, everything=True)
        due = {}
        for row, number in self.cells:
            due[row] = max(number + 1, due.get(row, number + 1))
        out = self.close(due, everything=True)
        self.reset()
        return out

    def close(self, due, *, everything=False):
        if self.panes > 1:
            return self.slide(due, everything)
        out = []
        for row, number in sorted(self.cells, key=lambda key: (key[1], self.order(key[0]))):
            cell = self.cells[row, number]
            if number < due.get(row, MIN_INT) and len(cell.samples) + (self.ordered and cell.covered > 0) > cell.told:
                again = number < self.closed.get(row, MIN_INT)
                if again:
                    self.count("corrected")
                cell.told = len(cell.samples)
                if not self.config.runs:
                    self.closed[row] = max(self.closed.get(row, MIN_INT), number + 1)
                out += self.results(row, number, number, [cell], again=again)
            if self.late_rule == "correction":
                keep = self.number(self.clocks.mark(row, self.config.lateness.ns + self.config.corrections.ns))
                if everything or number < keep:
                    del self.cells[row, number]
            elif number < due.get(row, MIN_INT):
                del self.cells[row, number]
        return out

    def slide(self, due, everything):
        jobs = {}
        for row, pane in self.cells:
            for window in range(max(pane, self.closed.get(row, MIN_INT)), min(pane + self.panes, due[row])):
                jobs.setdefault((window, self.order(row), row), []).append(pane)
        out = []
        for window, _, row in sorted(jobs):
            panes = sorted(jobs[window, self.order(row), row])
            out += self.results(row, window - self.panes + 1, window, [self.cells[row, pane] for pane in panes])
            self.closed[row] = max(self.closed.get(row, MIN_INT), window + 1)
        for row, pane in list(self.cells):
            if everything or pane + self.panes <= due[row]:
                del self.cells[row, pane]
        return out

    def order(self, row):
        if self.config.over is None:
            return self.points.find(row)
        names = (group_of(self.points.point(i), self.config.over, self.config.name) for i in range(len(self.points)))
        return [*dict.fromkeys(name for name in names if name is not None)].index(row)

    def open_run(self, row, mark):
        seen, last = self.runs.get(row, (0, MIN_INT))
        if self.config.count:
            return seen // self.config.count
        return seen + (mark - last > self.config.session.ns)

    def settle(self, marks, *, everything=False):
        if not self.ordered:
            return
        ripe = [item for item in self.waiting if everything or item[2] <= marks.get(item[0], MIN_INT)]
        self.waiting = [] if everything else [item for item in self.waiting if item[2] > marks.get(item[0], MIN_INT)]
        for row, mark in marks.items():
            self.done[row] = max(mark, self.done.get(row, MIN_INT))
        for row, p, t, v, quality in sorted(ripe, key=lambda item: item[2]):
            number = self.run_of(row, t) if self.config.runs else None
            if number is not None:
                self.cells.setdefault((row, number), Cell()).samples.append((p, t, v, quality))
            self.hold(p, row, number, t, v, usable=not isnan(v) and not invalid(quality))
        if not self.config.runs and {"wmean", "duration"} & set(self.config.stats):
            for p, (since, until, value, row, number) in list(self.holds.items()):
                mark = marks[row] if everything else self.start(self.number(marks[row]))
                if since < mark and since < until:
                    self.piece(p, row, number, value, since, min(mark, until))
                    self.holds[p] = (min(mark, until), until, value, row, number)

    def run_of(self, row, t):
        seen, last = self.runs.get(row, (0, MIN_INT))
        if self.config.count:
            self.runs[row] = (seen + 1, t)
            return seen // self.config.count
        seen += t - last > self.config.session.ns
        self.runs[row] = (seen, t)
        return seen

    def hold(self, p, row, number, t, v, *, usable):
        if p in self.holds:
            since, until, value, own_row, own = self.holds.pop(p)
            if min(until, t) > since and own == number:
                self.piece(p, own_row, own, value, since, min(until, t))
        if usable:
            until = MAX_INT
            if not self.config.runs:
                hold = self.config.hold
                until = min(t + hold.ns, MAX_INT) if hold else self.end(self.number(t))
            self.holds[p] = (t, until, v, row, number)

    def piece(self, p, row, number, value, begin, end):
        while begin < end:
            own, stop = (number, end) if number is not None else (self.number(begin), end)
            if number is None:
                stop = min(end, self.end(own))
            cell = self.cells.setdefault((row, own), Cell())
            cell.covered += stop - begin
            cell.integral += value * ((stop - begin) / S)
            text = self.text(p, value)
            if text is not None:
                cell.states[text] = cell.states.get(text, 0) + stop - begin
            begin = stop

    def text(self, p, value):
        if self.config.above is not None:
            return "above" if value > self.config.above else None
        if self.points.point(p).kind is not Kind.STATE:
            return None
        texts = self.points.states(p) or []
        if value == value // 1 and 0 <= value < len(texts):
            return texts[int(value)]
        return f"{value + 0.0:.9g}"


class Merge:
    """Adds partial results up by name and time; all in one go at the end of time."""

    def __init__(self, config, points):
        self.config, self.points, self.clocks = config, points, Clocks()
        self.held, self.closed, self.names = {}, {}, {}

    def process(self, samples):
        held, closed, names, out = self.held, self.closed, self.names, []
        for sample in samples:
            p, t, v, _ = sample
            if p not in names:
                base, _, stat = self.points.name(p).partition("#")
                row = group_of(self.points.point(p), self.config.over, self.config.name, base) if stat else None
                names[p] = (row, stat)
            row, stat = names[p]
            if row is None:
                out.append(sample)
                continue
            self.clocks.see(row, t)
            if t < closed.get(row, MIN_INT):
                continue
            cell = held.setdefault((row, t), {})
            if stat not in cell:
                cell[stat] = v
            elif stat == "min":
                cell[stat] = min(v, cell[stat])
            elif stat == "max":
                cell[stat] = max(v, cell[stat])
            else:
                cell[stat] += v
        return out

    def tick(self, now):
        self.clocks.tick(now)
        out = []
        for row, t in sorted(self.held, key=lambda key: key[1]):
            if t <= self.clocks.mark(row, self.config.lateness.ns):
                cell = self.held.pop((row, t))
                self.closed[row] = max(self.closed.get(row, MIN_INT), t + 1)
                out += [(f"{row}#{stat}", t, value, 0) for stat, value in self.results(cell)]
        return out

    def results(self, cell):
        count = cell.get("count", 0.0)
        slices = [v * unit_of(stat) for stat, v in cell.items() if stat.startswith("sum.")]
        total = sum(slices) if slices else math.nan
        for stat in self.config.stats:
            if stat == "count":
                yield stat, count
            elif not count:
                yield stat, math.nan
            else:
                yield stat, {"sum": total, "mean": total / count}.get(stat, cell.get(stat, math.nan))


def unit_of(stat):
    number, _, step = stat.partition(".")[2].partition("@")
    return 2.0 ** (26 * int(number)) * float(step or 1)


def np_int(number):
    import numpy as np

    return np.array([number], np.int64)


def group_of(point, over, name, base=None):
    base = point.name if base is None else base
    if over is None:
        return base
    if over == "all":
        return name
    if over == "device":
        return name.replace("{device}", base.split("/")[0])
    if over.startswith("label "):
        word = over.split()[1]
        return name.replace(f"{{{word}}}", point.labels[word]) if word in point.labels else None
    pattern = re.escape(over).replace(r"\*", "[^/#]*")
    match = re.fullmatch(re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/#]+)", pattern), base)
    if match is None:
        return None
    for word, text in match.groupdict().items():
        name = name.replace(f"{{{word}}}", text)
    return name


OPERATORS = {"window": Window, "merge": Merge}
BENCH = [
    ("window", {"every": "15m", "stats": ["count", "variance", "range", "max_time"]}),
    ("window", {"every": "15m", "slide": "1m", "stats": ["count", "mean", "max"]}),
    ("window", {"every": "15m", "align": "local", "timezone": "Europe/Berlin", "stats": ["count", "mean"]}),
    ("window", {"every": "15m", "stats": ["wmean"]}),
    ("window", {"session": "5m", "stats": ["count", "mean"]}),
    ("window", {"count": 100, "stats": ["mean", "max"]}),
    ("window", {"every": "15m", "stats": ["histogram"], "bins": {"from": 200, "to": 260, "count": 12}}),
    ("window", {"every": "15m", "stats": ["distinct"]}),
    ("window", {"every": "15m", "stats": ["count", "mean"], "over": "all", "name": "site/voltage"}),
    ("window", {"every": "15m", "stats": ["count", "mean"], "late": "correction"}),
    ("window", {"every": "15m", "stats": ["count", "mean", "p95"], "partial": True}),
]
