"""A circuit breaker for one unit, so that a dead one does not take the time of the others. Pure."""

from __future__ import annotations

TRIES = 3
"""Silent requests in a row after which a unit is suspended."""
LONGEST_S = 60.0


class Breaker:
    """Whether a unit may be asked. Times are seconds on any monotonic clock.

    After :data:`TRIES` requests in a row without an answer the unit is suspended; then a single request
    probes it after five times the time-out, and after twice as long each time, up to a minute.
    """

    def __init__(self, timeout_s: float) -> None:
        self.suspended = False
        self._first_s = min(5 * timeout_s, LONGEST_S)
        self._silent = 0
        self._interval_s = 0.0
        self._probe_at = 0.0

    def may_ask(self, now: float) -> bool:
        """Whether a request may go out; of a suspended unit only when a probe is due."""
        return not self.suspended or now >= self._probe_at

    def answered(self) -> None:
        """The unit is there; an exception is an answer too."""
        self.suspended = False
        self._silent = 0
        self._interval_s = 0.0

    def silent(self, now: float) -> None:
        """A request got no answer."""
        self._silent += 1
        if self._silent >= TRIES:
            self.suspended = True
            self._interval_s = min(2 * self._interval_s or self._first_s, LONGEST_S)
            self._probe_at = now + self._interval_s
