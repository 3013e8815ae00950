"""Running one power operator over samples given by name, in seconds; what comes out likewise."""

from __future__ import annotations

import datetime as dt
import math
from zoneinfo import ZoneInfo

import msgspec

from gateway.directory import Directory
from gateway.frame import Frame, grouped
from gateway.point import Point
from gateway.quality import QUESTIONABLE
from gateway.units import decode_quantity
from pipelines.registry import OPERATORS

S = 1_000_000_000
T0 = 1_790_000_100 * S
"""2026-09-21 14:15:00 UTC, a Monday: a full quarter of an hour."""
DOUBTFUL = QUESTIONABLE | 1 << 9


def at(*date, zone="UTC"):
    """A date in ns."""
    return round(dt.datetime(*date, tzinfo=ZoneInfo(zone)).timestamp()) * S


class Case:
    """One operator and a directory of points ``name: unit`` (or ``name: Point``)."""

    def __init__(self, kind, options, points, start=T0):
        self.points = Directory()
        for name, unit in points.items():
            self.points.add(unit if isinstance(unit, Point) else Point(name=name, unit=unit))
        config = msgspec.convert(options, OPERATORS[kind], dec_hook=decode_quantity)
        self.operator = config.create(self.points)
        self.start = self.now = start

    def feed(self, *samples, tick=True):
        """Samples (name, seconds, value[, quality]); the results that come with the tick at the newest of them."""
        if samples:
            columns = [
                (self.points.find(name), self.start + round(t * S), v, *(more or [0])) for name, t, v, *more in samples
            ]
            frame = grouped(Frame.of(*map(list, zip(*columns, strict=True))))
            self.operator.counts.samples_in += len(frame)
            out = self.operator.process(frame)
            self.operator.counts.samples_out += len(out)
            self.now = max(self.now, *(c[1] for c in columns))
        return self.tick(0) if tick else []

    def tick(self, seconds):
        """What comes when so much time passes."""
        before = self.told(self.operator.tick(self.now))
        self.now += round(seconds * S)
        return before + self.told(self.operator.tick(self.now))

    def series(self, name, times, values):
        """Feed one point's samples in portions with ticks, then let an hour pass; all results."""
        out, samples = [], [(name, t, v) for t, v in zip(times, values, strict=True)]
        for i in range(0, len(samples), 500):
            out += self.feed(*samples[i : i + 500])
        return out + self.tick(3600)

    def told(self, frame):
        """(name, seconds, value, quality), None for no value."""
        assert self.operator.counts.balanced
        return [
            (self.points.name(p), (t - self.start) / S, None if math.isnan(v) else v, w)
            for p, t, v, w in zip(
                frame.point.tolist(), frame.time.tolist(), frame.value.tolist(), frame.quality.tolist(), strict=True
            )
        ]


def of(results, suffix):
    """(seconds, value, quality) of the results whose name ends so."""
    return [(t, v, w) for name, t, v, w in results if name.endswith(suffix)]
