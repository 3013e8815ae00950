"""Time: the wall clock anchored to the monotonic one, and a stream time that never jumps."""

from __future__ import annotations

import time
from collections.abc import Callable

SLEW_LIMIT_NS = 500_000_000
"""A difference below this is slewing by the time service and followed silently; above it is a step."""

Nanoseconds = Callable[[], int]


class Clock:
    """UTC for stamping samples and a monotonic stream time for ticks.

    ``now_ns`` is the wall clock as it was at the anchor plus what the monotonic clock has run since: it
    cannot jump between two calls. ``check`` compares the two; a small difference moves the anchor, a large
    one is a step, which is reported once and then followed.
    """

    def __init__(self, wall: Nanoseconds = time.time_ns, monotonic: Nanoseconds = time.monotonic_ns) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._offset = wall() - monotonic()
        self._stream_offset = self._offset
        self.steps = 0
        self.last_step_ns = 0

    def now_ns(self) -> int:
        """UTC ns since 1970."""
        return self._monotonic() + self._offset

    def stream_ns(self) -> int:
        """Stream time in ns: near the wall clock at the start, then monotonic whatever that one does."""
        return self._monotonic() + self._stream_offset

    def resume_after(self, last_stream_ns: int) -> None:
        """Continue a stream time that an earlier process left, so that it never goes back."""
        behind = last_stream_ns - self.stream_ns()
        if behind > 0:
            self._stream_offset += behind

    def check(self) -> int:
        """Follow the wall clock; the step in ns if it jumped, else 0."""
        difference = self._wall() - self.now_ns()
        self._offset += difference
        if abs(difference) < SLEW_LIMIT_NS:
            return 0
        self.steps += 1
        self.last_step_ns = difference
        return difference
