"""Circuit breakers, so that a dead unit does not take the time of the others. Pure.

A time-out alone does not say who is silent: the unit, or the gateway before it. Exception 0x0B does (the
unit), 0x0A too (the gateway's own path). So a unit is judged by itself as long as another one behind the
same endpoint answers; when none does, the endpoint is under suspicion: then nobody's probes are cut short,
and the first unit that answers again has all others asked at once.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

TRIES = 3
"""Silent requests in a row after which a unit is suspended."""
LONGEST_S = 60.0
PATIENCE = 4
"""A unit under suspicion is given so many times the slowest answer of late, if others wait behind it."""
LEAST_S = 0.02
"""Shortest such patience."""
FULL = 16
"""Every so many probes one waits for the whole time-out: a unit may have become slow."""
SHARE = 0.01
"""Part of the line's time that probes of suspended units may take from units that answer."""
OVERDUE_S = 10.0
"""A probe waits so long for a pause between other requests; then it goes out anyway."""


class Breaker:
    """Whether a unit may be asked. Times are seconds on any monotonic clock.

    After :data:`TRIES` requests in a row without an answer the unit is suspended; then a single request
    probes it after five times the time-out, and after twice as long each time, up to a minute.
    """

    def __init__(self, timeout_s: float) -> None:
        self.suspended = False
        self.slowest_s = 0.0
        """The slowest answer of late; 0 if there was none ever."""
        self.silences = 0
        """Requests in a row without an answer."""
        self._first_s = min(5 * timeout_s, LONGEST_S)
        self._interval_s = 0.0
        self._probe_at = 0.0

    def may_ask(self, now: float) -> bool:
        """Whether a request may go out; of a suspended unit only when a probe is due."""
        return not self.suspended or now >= self._probe_at

    def overdue_s(self, now: float) -> float:
        """For how long a probe has been due."""
        return now - self._probe_at

    def answered(self, took_s: float = 0.0) -> None:
        """The unit is there; an exception is an answer too."""
        self.suspended = False
        self.silences = 0
        self._interval_s = 0.0
        self.took(took_s)

    def took(self, seconds: float) -> None:
        """Somebody answered for the unit after this time: itself, or its gateway with exception 0x0B."""
        self.slowest_s = max(seconds, 0.99 * self.slowest_s)

    def silent(self, now: float) -> None:
        """A request got no answer."""
        self.silences += 1
        if self.silences >= TRIES:
            self.suspended = True
            self._interval_s = min(2 * self._interval_s or self._first_s, LONGEST_S)
            self._probe_at = now + self._interval_s

    def hasten(self) -> None:
        """Probe a suspended unit at the next chance: what kept it silent may be over."""
        if self.suspended:
            self._probe_at = -inf
            self._interval_s = 0.0


class Ward:
    """The units of one endpoint: what a silent one may cost the others.

    Args:
        breakers: one a unit.
        timeout_s: how long a unit in good health is waited for.
    """

    def __init__(self, breakers: Collection[Breaker], timeout_s: float) -> None:
        self._breakers = breakers
        self._timeout_s = timeout_s
        self._probe_at = 0.0

    def _healthy(self, but: Breaker) -> bool:
        """Whether a unit other than ``but`` answers."""
        return any(one is not but and one.slowest_s and not one.silences for one in self._breakers)

    @property
    def all_suspended(self) -> bool:
        """Whether nobody answers: then it is the connection or the gateway, rather than the units."""
        return all(one.suspended for one in self._breakers)

    def patience_s(self, breaker: Breaker) -> float | None:
        """How long to wait for a unit, None for the whole time-out: what a unit in good health always gets."""
        silences = breaker.silences
        if not silences or (silences >= FULL and silences % FULL == 0) or not self._healthy(breaker):
            return None
        slowest = max(one.slowest_s for one in self._breakers if one is breaker or not one.silences)
        patience = max(PATIENCE * slowest, LEAST_S)
        return patience if patience < self._timeout_s else None

    def may_ask(self, breaker: Breaker, now: float, pause_s: float) -> bool:
        """Whether a unit may be asked now.

        Args:
            breaker: the unit's.
            now: the time.
            pause_s: until the next request to anybody else is due.
        """
        if not breaker.suspended:
            return True
        if not breaker.may_ask(now):
            return False
        if not self._healthy(breaker):
            return True
        if now < self._probe_at:
            return False
        return pause_s >= (self.patience_s(breaker) or self._timeout_s) or breaker.overdue_s(now) >= OVERDUE_S

    def spent(self, breaker: Breaker, now: float, took_s: float) -> None:
        """A probe took so long and got no answer."""
        if self._healthy(breaker):
            self._probe_at = now + min(took_s / SHARE, LONGEST_S)

    def answered(self, breaker: Breaker, took_s: float) -> None:
        """A unit answered. If nobody did before, the others are probed at once: it was the gateway."""
        if breaker.suspended and self.all_suspended:
            for one in self._breakers:
                one.hasten()
        breaker.answered(took_s)
