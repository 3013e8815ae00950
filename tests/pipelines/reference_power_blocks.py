"""Plain operators over blocks of time: interval means, demand, quality of supply."""

from __future__ import annotations

import datetime as dt
import math
from math import isfinite, isnan
from zoneinfo import ZoneInfo

from tests.pipelines.reference import QUESTIONABLE
from tests.pipelines.reference_power_base import INACCURATE, NO_VALID, Ordered, joined, sealed, usable, worse


class Integral:
    """Blocks of one point: number to [amount, covered ns, flags, doubtful, rejected, noted]."""

    def __init__(self, every, phase, hold, square):
        self.every, self.phase, self.hold, self.square = every, phase, hold, square
        self.blocks, self.last = {}, None

    def number(self, t):
        return (t + self.phase) // self.every

    def end(self, number):
        return (number + 1) * self.every - self.phase

    def block(self, number):
        return self.blocks.setdefault(number, [0.0, 0, 0, False, False, False])

    def advance(self, samples, mark, lost):
        """Take samples; the blocks that ended, in order."""
        first_open = self.number(mark)
        cut = first_open * self.every - self.phase
        for _, t, v, word in samples:
            self.count(t)
            ok = usable(v, word)
            if not ok:
                block = self.block(self.number(t))
                block[2] |= word & ~3
                block[4] = True
            noted = ok and lost is not None and v < lost
            self.last = [t, v, word, t, ok, noted]
        self.count(cut)
        if self.last is not None:
            self.last[3] = max(self.last[3], cut)
        return [(n, self.blocks.pop(n)) for n in sorted(n for n in self.blocks if n < first_open)]

    def count(self, until):
        """Count the last sample up to a time."""
        if self.last is None or not self.last[4]:
            return
        t, v, word, start, _, noted = self.last
        until = min(until, t + self.hold)
        while start < until:
            number = self.number(start)
            stop = min(until, self.end(number))
            block = self.block(number)
            block[0] += (v * v if self.square else v) * ((stop - start) * 1e-9)
            block[1] += stop - start
            block[2] |= word & ~3
            block[3] |= word & 3 == QUESTIONABLE
            block[5] |= noted
            start = stop

    def clear(self):
        rest, self.blocks, self.last = sorted(self.blocks.items()), {}, None
        return rest


def word_of(block, partial):
    _, _, flags, doubtful, rejected, _ = block
    word = flags | (QUESTIONABLE if partial or doubtful or rejected else 0)
    return word | (INACCURATE if partial or rejected else 0)


def mean_of(block, *, square=False):
    mean = block[0] / (block[1] * 1e-9) if block[1] else NO_VALID
    return math.sqrt(mean) if square and not isnan(mean) else mean


def phase_of(zone, every):
    offset = dt.datetime(2025, 1, 1, tzinfo=ZoneInfo(zone)).utcoffset()
    return int(offset.total_seconds()) * 10**9 % every


def local(zone, t):
    return dt.datetime.fromtimestamp(t // 10**9, ZoneInfo(zone)).date()


def period_of(zone, t, period):
    day = local(zone, t)
    if period == "day":
        return day.toordinal()
    return (day.toordinal() - 1) // 7 if period == "week" else day.year * 12 + day.month - 1


def period_end(zone, number, period):
    if period == "month":
        day = dt.date((number + 1) // 12, (number + 1) % 12 + 1, 1)
    else:
        day = dt.date.fromordinal(number + 1 if period == "day" else number * 7 + 8)
    return int(dt.datetime.combine(day, dt.time(), ZoneInfo(zone)).timestamp()) * 10**9


class Blocks(Ordered):
    """An operator over blocks."""

    square, lost = False, None

    def __init__(self, config, points):
        super().__init__(config, points)
        self.integrals = {}

    def integral(self, p):
        if p not in self.integrals:
            phase = phase_of(self.config.timezone, self.every)
            self.integrals[p] = Integral(self.every, phase, self.config.max_gap.ns, self.square)
        return self.integrals[p]

    def advance(self, p, samples, mark):
        if not samples and p not in self.integrals:
            return []
        closed = self.integral(p).advance(samples, mark, self.lost)
        return self.results(p, closed) if closed else []

    def forget(self, p):
        return self.results(p, self.integral(p).clear())


class IntervalMean(Blocks):
    def __init__(self, config, points):
        self.every, self.square = config.every.ns, config.of == "rms"
        super().__init__(config, points)

    def results(self, p, closed):
        out, name = [], self.points.name(p)
        for number, block in closed:
            end, coverage = self.integral(p).end(number), block[1] / self.every
            word = word_of(block, coverage < self.config.coverage)
            out.append(sealed(f"{name}#mean", end, mean_of(block, square=self.square), word))
            out.append(sealed(f"{name}#coverage", end, coverage, word))
        return out


class Demand(Blocks):
    def __init__(self, config, points):
        self.every = config.step
        super().__init__(config, points)
        self.parts = config.block.ns // config.step
        self.kept, self.maximum = {}, {}

    def results(self, p, closed):
        out, name, kept = [], self.points.name(p), self.kept.setdefault(p, {})
        for number, part in closed:
            kept[number] = part
            end = self.integral(p).end(number)
            block = [0.0, 0, 0, False, False, False]
            for back in range(self.parts):
                other = kept.get(number - back)
                if other is not None:
                    block = [block[0] + other[0], block[1] + other[1], block[2] | other[2],
                             block[3] | other[3], block[4] | other[4], False]  # fmt: skip
            partial = block[1] < self.config.coverage * self.config.block.ns
            demand = mean_of(block)
            sample = sealed(f"{name}#demand", end, demand, word_of(block, partial))
            out.append(sample)
            period = period_of(self.config.timezone, end - 1, self.config.period)
            top = self.maximum.get(p)
            if not partial and isfinite(demand) and (top is None or top[1] != period or demand > top[0]):
                self.maximum[p] = (demand, period)
                out.append((f"{name}#demand_max", *sample[1:]))
        if kept:
            newest = max(kept)
            self.kept[p] = {n: part for n, part in kept.items() if n > newest - self.parts + 1}
        return out

    def forget(self, p):
        out = super().forget(p)
        self.kept.pop(p, None)
        return out


class Event:
    """One kind of event of one point; ``sign`` turns swells into sags."""

    def __init__(self, out, back, gap, sign):
        self.out, self.back, self.gap, self.sign = sign * out, sign * back, gap, sign
        self.open = None

    def take(self, t, v, word):
        """The event that this sample ends: (start, end, extreme, word)."""
        value = v * self.sign
        if self.open is None:
            if value < self.out:
                self.open = [t, value, word, t]
            return None
        start, extreme, words, before = self.open
        if t - before > self.gap:
            word = worse(word, QUESTIONABLE, INACCURATE)
        words = joined(words, word)
        if value >= self.back and not value < self.out:
            self.open = None
            return start, t, self.sign * extreme, words
        self.open = [start, min(extreme, value), words, t]
        return None


class SupplyQuality(Blocks):
    square, every = True, 600 * 10**9

    def __init__(self, config, points):
        super().__init__(config, points)
        self.lost = config.interruption * config.nominal
        self.events, self.tally = {}, {}

    def events_of(self, p):
        if p not in self.events:
            c = self.config
            out, back, gap = c.sag * c.nominal, (c.sag + c.hysteresis) * c.nominal, c.max_gap.ns
            over, under = c.swell * c.nominal, (c.swell - c.hysteresis) * c.nominal
            self.events[p] = (Event(out, back, gap, 1.0), Event(over, under, gap, -1.0))
        return self.events[p]

    def advance(self, p, samples, mark):
        out, name = [], self.points.name(p)
        for _, t, v, word in samples:
            if not usable(v, word):
                continue
            for kind, event in zip(("sag", "swell"), self.events_of(p), strict=True):
                ended = event.take(t, v, word)
                if ended:
                    start, end, extreme, words = ended
                    told = "interruption" if kind == "sag" and extreme < self.lost else kind
                    out.append(sealed(f"{name}#{told}", end, extreme, words))
                    out.append(sealed(f"{name}#{told}_duration", end, (end - start) * 1e-9, words))
        return out + super().advance(p, samples, mark)

    def results(self, p, closed):
        out, name, config = [], self.points.name(p), self.config
        for number, block in closed:
            end = self.integral(p).end(number)
            partial = block[1] < config.coverage * self.every
            value = mean_of(block, square=True)
            out.append(sealed(f"{name}#u10", end, value, word_of(block, partial)))
            out += self.count(p, name, end, value / config.nominal, not partial and isfinite(value)
                              and not (block[3] or block[4] or block[5]))  # fmt: skip
        return out

    def count(self, p, name, end, value, good):
        zone, kind, out = self.config.timezone, self.config.period, []
        period = period_of(zone, end - 1, kind)
        tally = self.tally.get(p)
        if tally is not None and tally[0] != period:
            over, begin = period_end(zone, tally[0], kind), period_end(zone, tally[0] - 1, kind)
            _, count, near, far = tally
            whole = count * self.every >= self.config.coverage * (over - begin)
            word = 0 if whole else QUESTIONABLE | INACCURATE
            share = near / count if count else math.nan
            out.append(sealed(f"{name}#within", over, share, word))
            yes = float(share >= 0.95 and not far) if count else math.nan
            out.append(sealed(f"{name}#compliant", over, yes, word))
        if tally is None or tally[0] != period:
            tally = (period, 0, 0, 0)
        near, far = abs(value - 1) <= 0.10, value < 0.85 or value > 1.10
        self.tally[p] = (period, tally[1] + good, tally[2] + (good and near), tally[3] + (good and far))
        return out

    def forget(self, p):
        self.events.pop(p, None)
        return super().forget(p)
