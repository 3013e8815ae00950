"""Rows of several points, one sample after the other: what pipelines/operators/aligned.py does, in plain Python."""

from __future__ import annotations

import re

DAY_NS = 86_400_000_000_000
FARTHEST_NS = 1 << 62
MAX_INT = (1 << 63) - 1
MIN_INT = -MAX_INT - 1


class Group:
    __slots__ = ("ahead", "anchor", "done", "held", "kept", "newest", "watermark")

    def __init__(self):
        self.done = MIN_INT
        self.kept = {}
        self.reset()

    def reset(self):
        self.newest = self.anchor = self.watermark = None
        self.ahead = False
        self.held = []


class Rows:
    """Rows (text of the group, time, samples or None) of inputs that all have a ``*``, or all have none."""

    def __init__(self, points, inputs, lateness, gap):
        self.points, self.lateness, self.gap = points, lateness, gap
        parts = [re.split(r"(\*)", text) for text in inputs]
        self.patterns = [re.compile("".join("([^/#]*)" if p == "*" else re.escape(p) for p in part)) for part in parts]
        self.slots, self.groups = {}, {}

    def add(self, sample):
        p, t, _, _ = sample
        if p not in self.slots:
            name = self.points.name(p)
            found = [(i, pattern.fullmatch(name)) for i, pattern in enumerate(self.patterns)]
            self.slots[p] = [("/".join(m.groups()) or ".", i) for i, m in found if m]
        for text, i in self.slots[p]:
            group = self.groups.get(text)
            if group is None:
                group = self.groups[text] = Group()
            before = group.ahead
            group.ahead = group.watermark is not None and t > group.watermark + DAY_NS
            if abs(t) > FARTHEST_NS or (group.ahead and not before):
                continue
            if group.newest is None or t > group.newest:
                group.newest = t
            if t > group.done:
                group.held.append((t, i, sample))

    def tick(self, now):
        for group in self.groups.values():
            if group.newest is None:
                continue
            if group.anchor is None or group.newest > group.anchor[0]:
                group.anchor = (group.newest, now)
            mark = group.anchor[0] + max(now - group.anchor[1], 0)
            group.watermark = mark if group.watermark is None else max(mark, group.watermark)
        out = []
        for text, group in self.groups.items():
            if group.watermark is not None:
                out += self.give(text, group, group.watermark - self.lateness)
        return out

    def flush(self):
        out = []
        for text, group in self.groups.items():
            out += self.give(text, group, MAX_INT)
            group.kept, group.done = {}, MIN_INT
            group.reset()
        return out

    def give(self, text, group, due):
        ripe = sorted([entry for entry in group.held if entry[0] <= due], key=lambda entry: entry[0])
        group.held = [entry for entry in group.held if entry[0] > due]
        group.done = max(group.done, due)
        rows, at = [], 0
        while at < len(ripe):
            time = ripe[at][0]
            if not self.gap:
                group.kept = {}
            while at < len(ripe) and ripe[at][0] == time:
                group.kept[ripe[at][1]] = ripe[at][2]
                at += 1
            inputs = [group.kept.get(i) for i in range(len(self.patterns))]
            inputs = [None if one is None or one[1] < time - self.gap else one for one in inputs]
            if self.gap or None not in inputs:
                rows.append((text, time, inputs))
        return rows
