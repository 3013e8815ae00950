"""Swinging door and piecewise linear, sample by sample in plain Python; see tests/pipelines/reference_reduce.py."""

from __future__ import annotations

import math
import struct
from math import isnan

from gateway.point import Kind
from gateway.quality import HISTORICAL
from pipelines.bounds import bound_of

MAX_INT = (1 << 63) - 1
LARGEST = 1.7976931348623157e308
SHRINK = 1 - 2.0**-20


def bits(value: float) -> bytes:
    return struct.pack("<d", value)


class Slack:
    """How far a line may pass from a sample."""

    def __init__(self, config, points):
        self.points = points
        bound = bound_of(config.absolute, config.percent, config.epsilon)
        self.absolute = bound.absolute
        self.share = None if bound.percent is None else bound.percent / 100 * SHRINK
        self.known = {}

    def of(self, p):
        """Fixed part, share of the value, steepest slope."""
        known = self.known.get(p)
        if known is None:
            point = self.points.point(p)
            span = math.inf if point.limits is None else point.limits[1] - point.limits[0]
            if point.kind is Kind.STATE:
                known = 0.0, 0.0, 0.0
            elif self.absolute is not None:
                known = self.absolute * SHRINK, 0.0, LARGEST
            elif span < math.inf:
                known = self.share * span, 0.0, LARGEST
            else:
                known = 0.0, self.share, LARGEST
            self.known[p] = known
        return known


class Segment:
    """Since the last sample sent of a point: that one, the cone, and the sample held."""

    __slots__ = ("held", "high", "low", "mark", "time", "value", "word")

    def __init__(self, time, value, word, steepest):
        self.time, self.value, self.word = time, value, word
        self.low, self.high = -steepest, steepest
        self.held = self.mark = None


class SwingingDoor:
    def __init__(self, config, points):
        self.slack = Slack(config, points)
        self.silence = self.silence_of(config).ns
        self.segments = {}

    def silence_of(self, config):
        return config.max_silence

    def process(self, samples):
        segments, silence, out = self.segments, self.silence, []
        for sample in samples:
            p, t, v, q = sample
            fixed, share, steepest = self.slack.of(p)
            segment = segments.get(p)
            if segment is not None and not self.hold(segment, sample, fixed, share) and segment.held is not None:
                segment = self.close(segment, steepest, out)
                self.hold(segment, sample, fixed, share)
            if segment is None or segment.held is not sample:
                out.append(sample)
                segments[p] = Segment(t, v, q & ~HISTORICAL, steepest)
            elif t - segment.time >= silence:
                self.close(segment, steepest, out)
        return out

    def hold(self, segment, sample, fixed, share):
        _, t, v, q = sample
        dt = t - segment.time
        if q & ~HISTORICAL != segment.word or not 0 < dt <= MAX_INT:
            return False
        if segment.held is not None and t < segment.held[1]:
            return False
        dv = v - segment.value
        if isnan(dv) and bits(v) == bits(segment.value):
            dv = 0.0
        width = fixed
        if share:
            width = min(fixed + share * abs(v), LARGEST) if abs(v) < math.inf else 0.0
        if not self.fits(segment, dv / dt, (dv - width) / dt, (dv + width) / dt):
            return False
        segment.low, segment.high = max(segment.low, (dv - width) / dt), min(segment.high, (dv + width) / dt)
        segment.held = sample
        return True

    def fits(self, segment, slope, low, high):
        return segment.low <= slope <= segment.high

    def end(self, segment):
        return segment.held

    def close(self, segment, steepest, out):
        p, t, v, q = end = self.end(segment)
        out.append(end)
        self.segments[p] = segment = Segment(t, v, q & ~HISTORICAL, steepest)
        return segment

    def tick(self, now):
        out = []
        for p, segment in list(self.segments.items()):
            if segment.held is not None:
                if segment.mark is None:
                    segment.mark = now
                if now - segment.mark >= self.silence:
                    self.close(segment, self.slack.of(p)[2], out)
        return out

    def clock_stepped(self):
        out = [self.end(segment) for segment in self.segments.values() if segment.held is not None]
        self.segments.clear()
        return out


class PiecewiseLinear(SwingingDoor):
    def silence_of(self, config):
        return config.max_delay

    def fits(self, segment, slope, low, high):
        return low <= segment.high and segment.low <= high and low <= high

    def end(self, segment):
        p, t, v, q = segment.held
        dt = t - segment.time
        slope = (v - segment.value) / dt
        if slope < segment.low:
            v = segment.value + segment.low * dt
        elif slope > segment.high:
            v = segment.value + segment.high * dt
        else:
            return segment.held
        return p, t, min(max(v, -LARGEST), LARGEST) + 0.0, q
