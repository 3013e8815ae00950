"""The rule of :mod:`pipelines.operators.reduce.doors` in plain numbers, for one point."""

from __future__ import annotations

import struct
import sys
from typing import TYPE_CHECKING, Final, NamedTuple

from gateway import quality as q

if TYPE_CHECKING:
    from collections.abc import Iterable

UNSEEN: Final = -1
"""The quality word of a point of which nothing was sent yet; differs from every real one."""
NOTHING: Final = -1
"""The quality of what is held where nothing is."""
UNMARKED: Final = -(1 << 63)
"""No tick has found anything held since the anchor was sent."""
_LIVE_WORD: Final = 0xFFFF ^ q.HISTORICAL
_INT64_MAX: Final = (1 << 63) - 1
_LARGEST: Final = sys.float_info.max


class Sample(NamedTuple):
    """A sample, and how far from it a line may pass."""

    time: int
    value: float
    quality: int
    width: float


class Door:
    """The state of one point."""

    __slots__ = (
        "anchor",
        "held",
        "held_quality",
        "held_time",
        "high",
        "low",
        "mark",
        "out",
        "steepest",
        "time",
        "word",
    )

    def __init__(self, floats: list[float], integers: list[int], steepest: float) -> None:
        self.anchor, self.low, self.high, self.held = floats
        self.time, self.held_time, self.word, self.held_quality, self.mark = integers
        self.steepest = steepest
        self.out: list[tuple[int, float, int]] = []
        """Time, value and quality of what was sent."""

    def floats(self) -> list[float]:
        """As the constructor takes them."""
        return [self.anchor, self.low, self.high, self.held]

    def integers(self) -> list[int]:
        """As the constructor takes them."""
        return [self.time, self.held_time, self.word, self.held_quality, self.mark]

    def walk(self, samples: Iterable[Sample], silence_ns: int, *, touch: bool) -> None:
        """Take samples in turn; ``silence_ns`` is 0 for no bound."""
        for sample in samples:
            if not self._hold(sample, touch=touch):
                if self.held_quality >= 0:
                    self._end(touch=touch)
                    if not self._hold(sample, touch=touch):
                        self._send(sample)
                else:
                    self._send(sample)
            if silence_ns and self.held_time - self.time >= silence_ns:
                self._end(touch=touch)

    def _hold(self, sample: Sample, *, touch: bool) -> bool:
        """Hold the sample if it fits."""
        time, value, quality, width = sample
        dt = time - self.time
        if quality & _LIVE_WORD != self.word or time < self.held_time or not 0 < dt <= _INT64_MAX:
            return False
        dv = value - self.anchor
        if dv != dv and _bits(value) == _bits(self.anchor):  # noqa: PLR0124 - a NaN, quicker than by a call
            dv = 0.0
        low, high = (dv - width) / dt, (dv + width) / dt
        if touch:
            if not self.low <= dv / dt <= self.high:
                return False
            low, high = max(self.low, low), min(self.high, high)
        else:
            # In this order a NaN stays one.
            low, high = max(low, self.low), min(high, self.high)
            if not low <= high:
                return False
        self.low, self.high, self.held, self.held_time, self.held_quality = low, high, value, time, quality
        return True

    def _end(self, *, touch: bool) -> None:
        """Send what ends the segment; the next one begins there."""
        value = (
            self.held if touch else end_value(self.anchor, self.low, self.high, self.held, self.held_time - self.time)
        )
        self.out.append((self.held_time, value, self.held_quality))
        self._begin(value)

    def _send(self, sample: Sample) -> None:
        """Send a sample that fits nowhere."""
        self.out.append((sample.time, sample.value, sample.quality))
        self.held_time, self.word = sample.time, sample.quality & _LIVE_WORD
        self._begin(sample.value)

    def _begin(self, value: float) -> None:
        self.anchor, self.time = value, self.held_time
        self.low, self.high = -self.steepest, self.steepest
        self.held_quality, self.mark = NOTHING, UNMARKED


def _bits(value: float) -> bytes:
    return struct.pack("<d", value)


def end_value(anchor: float, low: float, high: float, held: float, dt: int) -> float:
    """The value nearest to ``held`` on a line within the cone."""
    slope = (held - anchor) / dt
    if slope < low:
        line = anchor + low * dt
    elif slope > high:
        line = anchor + high * dt
    else:
        return held
    return min(max(line, -_LARGEST), _LARGEST) + 0.0  # no negative zero
