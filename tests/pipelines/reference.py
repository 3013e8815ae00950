"""The five operators once more, sample by sample in plain Python: the oracle of the property tests and the
reference of the benchmark. A sample is a tuple (point, time, value, quality); ``samples`` is a list of them.

Written as somebody would write it who needs it to be right and reasonably quick, without numpy.
"""

from __future__ import annotations

import math
import struct
from math import isnan

from gateway.point import Kind, compile_glob
from gateway.quality import HISTORICAL, Reason, no_value
from pipelines.bounds import bound_of
from pipelines.operators.judge.limits import Action

INVALID, QUESTIONABLE, OUT_OF_RANGE, INACCURATE = 1, 3, 1 << 3, 1 << 9
DAY_NS = 86_400_000_000_000
MAX_INT = (1 << 63) - 1
MIN_INT = -MAX_INT - 1
NO_VALID = no_value(Reason.NO_VALID_SAMPLES)
NOT_A_NUMBER = no_value(Reason.NOT_A_NUMBER)


def invalid(quality: int) -> bool:
    return quality & 3 in {1, 2}


def reason(value: float) -> int:
    return struct.unpack("<Q", struct.pack("<d", value))[0] & 0xFFFF


def same(a: float, b: float) -> bool:
    """Equal values, or NaNs for the same reason."""
    return a == b or (isnan(a) and isnan(b) and reason(a) == reason(b))


class Scale:
    def __init__(self, config, points):
        self.config = config

    def process(self, samples):
        config = self.config
        if config.table is not None:
            return [s if invalid(s[3]) or isnan(s[2]) else self.looked_up(*s) for s in samples]
        if config.polynomial is not None:
            return [(p, t, v if invalid(q) or isnan(v) else self.polynomial(v), q) for p, t, v, q in samples]
        factor, offset = config.factor, config.offset
        return [(p, t, v if invalid(q) or isnan(v) else v * factor + offset, q) for p, t, v, q in samples]

    def polynomial(self, v):
        result = self.config.polynomial[-1]
        for coefficient in self.config.polynomial[-2::-1]:
            result = result * v + coefficient
        return result

    def looked_up(self, p, t, v, q):
        table, beyond = self.config.table, self.config.beyond
        if not table[0][0] <= v <= table[-1][0]:
            if beyond == "invalid":
                return p, t, NOT_A_NUMBER, q & ~3 | INVALID | OUT_OF_RANGE
            q = (q if q & 3 else q | QUESTIONABLE) | OUT_OF_RANGE
            if beyond == "clamp":
                return p, t, table[0][1] if v < table[0][0] else table[-1][1], q
        at = 0
        while at < len(table) - 2 and v >= table[at + 1][0]:
            at += 1
        (x0, y0), (x1, y1) = table[at], table[at + 1]
        if v == x1:
            return p, t, y1, q
        return p, t, y0 if y0 == y1 else y0 + (v - x0) * ((y1 - y0) / (x1 - x0)), q


class Limits:
    def __init__(self, config, points):
        self.points = points
        self.config = config
        self.dropped = 0

    def process(self, samples):
        config, points, out = self.config, self.points, []
        for sample in samples:
            p, t, v, q = sample
            own = points.point(p).limits if config.min is None or config.max is None else None
            low = config.min if config.min is not None else own[0] if own else -math.inf
            high = config.max if config.max is not None else own[1] if own else math.inf
            if low == -math.inf and high == math.inf:
                out.append(sample)
            elif isnan(v):
                if not invalid(q):
                    q = q & ~3 | INVALID
                    v = v if reason(v) else NOT_A_NUMBER
                out.append((p, t, v, q))
            elif low <= v <= high and abs(v) != math.inf:
                out.append(sample)
            elif config.action is Action.DROP:
                self.dropped += 1
            else:
                out.append((p, t, v, (q if q & 3 else q | QUESTIONABLE) | OUT_OF_RANGE))
        return out


class Filter:
    def __init__(self, config, points):
        self.points = points
        self.config = config

    def process(self, samples):
        def globs(given):
            return None if given is None else [compile_glob(g) for g in ([given] if isinstance(given, str) else given)]

        keep, drop = globs(self.config.keep), globs(self.config.drop)
        above, below, quality = self.config.above, self.config.below, self.config.quality
        out = []
        for sample in samples:
            p, _, v, q = sample
            name = self.points.name(p)
            if keep is not None and not any(g.match(name) for g in keep):
                continue
            if drop is not None and any(g.match(name) for g in drop):
                continue
            if (above is not None and not v > above) or (below is not None and not v < below):
                continue
            if (quality == "good" and q & 3) or (quality == "usable" and invalid(q)):
                continue
            out.append(sample)
        return out


class Deadband:
    def __init__(self, config, points):
        self.points = points
        bound = bound_of(config.absolute, config.percent, config.epsilon)
        self.absolute = bound.absolute
        self.share = None if bound.percent is None else bound.percent / 100
        self.silence = None if config.max_silence is None else config.max_silence.ns
        self.sent = {}
        self.bands = {}

    def band_of(self, p):
        """Fixed part, part relative to the last value sent."""
        point = self.points.point(p)
        if point.kind is Kind.STATE:
            return 0.0, 0.0
        if self.absolute is not None:
            return self.absolute, 0.0
        if point.limits is not None and point.limits[1] - point.limits[0] < math.inf:
            return self.share * (point.limits[1] - point.limits[0]), 0.0
        return 0.0, self.share

    def process(self, samples):
        sent, bands, silence, out = self.sent, self.bands, self.silence, []
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
            if (
                (q ^ last_q) & ~HISTORICAL
                or change > fixed + (relative * abs(last_v) if relative and abs(last_v) < math.inf else 0.0)
                or change == math.inf
                or ((isnan(v) or isnan(last_v)) and not same(v, last_v))
                or (silence is not None and t - last_t >= silence)
            ):
                sent[p] = sample
                out.append(sample)
        return out


class Cell:
    __slots__ = ("count", "first", "first_t", "flags", "last", "last_t", "max", "min", "rejected", "sum",
                 "values", "worst")  # fmt: skip

    def __init__(self):
        self.count = self.rejected = self.flags = self.worst = 0
        self.sum = 0.0
        self.min, self.max = math.inf, -math.inf
        self.first = self.last = self.first_t = self.last_t = None
        self.values = []


class Window:
    """``results`` are tuples (point name, time, value, quality)."""

    def __init__(self, config, points):
        self.points = points
        self.config = config
        self.every, self.lateness, self.stats = config.every.ns, config.lateness.ns, config.stats
        self.keep_values = any(stat.startswith("p") for stat in config.stats)
        self.cells = {}
        self.steps = {}
        self.dropped = {"late": 0, "early": 0}
        self.late = 0
        self.reset()

    def reset(self):
        self.newest, self.anchor, self.watermark, self.closed, self.ahead = {}, {}, {}, {}, {}

    def process(self, samples):
        every, late_rule, out = self.every, self.config.late, []
        newest, watermark, closed, cells, ahead = self.newest, self.watermark, self.closed, self.cells, self.ahead
        for sample in samples:
            p, t, v, q = sample
            mark = watermark.get(p)
            if mark is not None:
                wild = t > mark + DAY_NS
                if wild and not ahead.get(p, False):
                    ahead[p] = True
                    self.dropped["early"] += 1
                    continue
                ahead[p] = wild
            if t > newest.get(p, MIN_INT):
                newest[p] = t
            elif t == MIN_INT:
                newest.setdefault(p, MIN_INT + 1)
            number = t // every
            first_open = closed.get(p)
            if first_open is not None and number < first_open:
                self.late += 1
                if late_rule == "drop":
                    self.dropped["late"] += 1
                    continue
                if late_rule == "pass":
                    out.append(sample)
                    continue
                number = first_open
            cell = cells.get((p, number))
            if cell is None:
                cell = cells[p, number] = Cell()
                self.steps[p] = self.points.point(p).resolution
            self.add(cell, self.steps[p], t, v, q)
        return out

    def add(self, cell, step, t, v, q):
        if q:
            cell.flags |= q & ~3
            if q & 3 == QUESTIONABLE:
                cell.worst = 1
        if isnan(v) or invalid(q):
            cell.rejected += 1
            return
        cell.count += 1
        if step is None:
            cell.sum += v
        else:
            steps = v / step
            cell.sum += round(steps) if abs(steps) < math.inf else steps
        cell.min = min(cell.min, v)
        cell.max = max(cell.max, v)
        if cell.last_t is None or t >= cell.last_t:
            cell.last, cell.last_t = v, t
        if cell.first_t is None or t < cell.first_t:
            cell.first, cell.first_t = v, t
        if self.keep_values:
            cell.values.append(v)

    def tick(self, now):
        for p, newest in self.newest.items():
            anchor = self.anchor.get(p)
            if anchor is None or newest > anchor[0]:
                anchor = self.anchor[p] = (newest, now)
            mark = min(anchor[0] + now - anchor[1], MAX_INT)
            if mark > self.watermark.get(p, MIN_INT):
                self.watermark[p] = mark
        every, lateness = self.every, self.lateness
        return self.close([key for key in self.cells if self.watermark[key[0]] >= (key[1] + 1) * every + lateness])

    def clock_stepped(self):
        out = self.close(list(self.cells))
        self.reset()
        return out

    def close(self, keys):
        out = []
        for p, number in sorted(keys, key=lambda key: (key[1], key[0])):
            cell = self.cells.pop((p, number))
            self.closed[p] = max(number + 1, self.closed.get(p, number + 1))
            end = min((number + 1) * self.every, MAX_INT)
            name = self.points.name(p)
            for stat in self.stats:
                value, quality = self.result(cell, stat, self.steps[p] or 1)
                out.append((f"{name}#{stat}", end, value, quality))
        return out

    def result(self, cell, stat, step):
        quality = cell.flags
        if cell.rejected:
            quality |= QUESTIONABLE | INACCURATE
        elif cell.worst:
            quality |= QUESTIONABLE
        if stat == "count":
            return float(cell.count), quality
        if stat == "coverage":
            if self.config.expect is None:
                return cell.count / (cell.count + cell.rejected), quality
            return min(1.0, cell.count * (self.config.expect.ns / self.every)), quality
        if not cell.count:
            return NO_VALID, cell.flags | INVALID
        value = self.statistic(cell, stat, step)
        return (NOT_A_NUMBER, cell.flags | INVALID) if isnan(value) else (value, quality)

    def statistic(self, cell, stat, step):
        if stat == "sum":
            return cell.sum * step
        if stat == "mean":
            return cell.sum * step / cell.count
        if stat.startswith("p"):  # exact; the operator is within 1 %
            return sorted(cell.values)[math.floor(float(stat[1:]) / 100 * (cell.count - 1))]
        return getattr(cell, stat)


OPERATORS = {"scale": Scale, "limits": Limits, "filter": Filter, "deadband": Deadband, "window": Window}
