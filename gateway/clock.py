"""Time: the wall clock anchored to the monotonic one, and a stream time that never jumps."""

from __future__ import annotations

import enum
import time
from collections.abc import Callable

from gateway.timesync import kernel_synchronised

SLEW_LIMIT_NS = 500_000_000
"""A difference below this is slewing by the time service and followed silently; above it is a step."""

PLAUSIBLE_NS = 1_704_067_200_000_000_000
"""2024-01-01: a clock before that was never set."""
LARGE_STEP_NS = 60_000_000_000
"""A step from which on the clock is in doubt until the kernel says that it is synchronised."""
BEHIND_NS = 86_400_000_000_000
AHEAD_NS = 366 * 86_400_000_000_000
"""How far from where the process before left off a clock may be at a start without being in doubt."""
ASK_NS = 10_000_000_000

Nanoseconds = Callable[[], int]


class ClockTrust(enum.StrEnum):
    """When the wall clock is believed."""

    PLAUSIBLE = "plausible"
    """Unless it was never set, stepped by more than a minute, or began a year ahead or a day behind of where the
    process before left off; until the kernel says that it is synchronised."""
    SYNCHRONISED = "synchronised"
    """Only while the kernel says that it is synchronised."""


class Clock:
    """UTC for stamping samples and a monotonic stream time for ticks.

    ``now_ns`` is the wall clock as it was at the anchor plus what the monotonic clock has run since: it
    cannot jump between two calls. ``check`` compares the two; a small difference moves the anchor, a large
    one is a step, which is reported once and then followed.
    """

    def __init__(
        self,
        wall: Nanoseconds = time.time_ns,
        monotonic: Nanoseconds = time.monotonic_ns,
        synchronised: Callable[[], bool | None] = kernel_synchronised,
        trust: ClockTrust = ClockTrust.PLAUSIBLE,
    ) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._ask = synchronised
        self._asked_at = monotonic()
        self.trust = trust
        self.synchronised = synchronised()
        """What the kernel says; None if nobody knows."""
        self._stepped = False
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
        if last_stream_ns and not -AHEAD_NS < behind < BEHIND_NS:
            self._stepped = True
        if behind > 0:
            self._stream_offset += behind

    @property
    def trusted(self) -> bool:
        """Whether times of this clock are to be believed: what was stamped by it, and how old something is."""
        if self.trust is ClockTrust.SYNCHRONISED:
            return self.synchronised is True
        return self.synchronised is True or (self.now_ns() >= PLAUSIBLE_NS and not self._stepped)

    def check(self) -> int:
        """Follow the wall clock; the step in ns if it jumped, else 0."""
        difference = self._wall() - self.now_ns()
        self._offset += difference
        stepped = abs(difference) >= SLEW_LIMIT_NS
        if stepped or self._monotonic() - self._asked_at > ASK_NS:
            self._asked_at = self._monotonic()
            self.synchronised = self._ask()
            self._stepped = self.synchronised is not True and (self._stepped or abs(difference) >= LARGE_STEP_NS)
        if not stepped:
            return 0
        self.steps += 1
        self.last_step_ns = difference
        return difference

    def status(self) -> dict[str, int | bool | None]:
        """For ``status``: plain JSON types."""
        return {
            "steps": self.steps,
            "last_step_ns": self.last_step_ns,
            "synchronised": self.synchronised,
            "trusted": self.trusted,
        }
