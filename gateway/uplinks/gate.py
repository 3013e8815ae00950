"""What may go just now: the limits on an uplink's feed, put together. Knows clocks, does no I/O."""

from __future__ import annotations

import time
from collections.abc import Callable

from gateway.uplinks.options import BudgetSpent, UplinkConfig
from gateway.uplinks.pace import Budget, TokenBucket, Window

LONGEST_PAUSE_S = 60.0
"""While something waits, the limits are looked at this often, at least."""


class Gate:
    """Bandwidth, budget, and rate and window of the backlog.

    Args:
        config: the uplink's options; without limits if left out.
        sent: payload bytes that the uplink has sent so far.
        saved: the budget as it was written last.
        now_ns: the wall clock.
        save: where the budget is written.
    """

    def __init__(
        self,
        config: UplinkConfig | None = None,
        sent: Callable[[], int] = lambda: 0,
        saved: bytes | None = None,
        now_ns: Callable[[], int] = time.time_ns,
        save: Callable[[bytes], None] = lambda _: None,
    ) -> None:
        config = UplinkConfig() if config is None else config
        now = time.monotonic()
        self._sent, self._now_ns, self._save = sent, now_ns, save
        self._counted = sent()
        self._bandwidth = None if config.bandwidth is None else TokenBucket(config.bandwidth, now)
        self._rate = None if config.backlog.rate is None else TokenBucket(config.backlog.rate, now)
        self._important = len(config.priority)
        self.budget = None if config.budget is None else Budget(config.budget, saved, now_ns())
        self.window = Window(config.backlog.in_flight)
        self._reserved = 0.0
        """Bytes that are about to be sent, as far as can be told."""
        self._grows = 1.0
        """Bytes sent to bytes of the rows, lately."""
        self._rows = 0
        self.backlog_samples = 0
        self.shut: int | None = None
        """The rank of what is put aside: nothing of it goes."""

    def live(self, rank: int) -> bool:
        """Whether a live row of this rank may go now."""
        return self.open(rank) and self._bandwidth_s() == 0

    def backlog(self, rank: int, in_flight: int) -> bool:
        """Whether a row of the backlog may go now, with so many of them in flight."""
        return in_flight < int(self.window.limit) and self.live(rank) and self._rate_s() == 0

    def open(self, rank: int) -> bool:
        """Whether the budget lets rows of this rank go, and they are not put aside."""
        self.count()
        if rank == self.shut:
            return False
        if self.budget is None or not self.budget.closed:
            return True
        return self.budget.config.when_spent is BudgetSpent.PRIORITY and rank < self._important

    def _bandwidth_s(self) -> float:
        return 0.0 if self._bandwidth is None else self._bandwidth.wait_s(time.monotonic(), self._reserved)

    def _rate_s(self) -> float:
        return 0.0 if self._rate is None else self._rate.wait_s(time.monotonic())

    def pause_s(self) -> float | None:
        """How long until something that waits in memory may go; None: when something else happens."""
        if self._bandwidth is None and self._rate is None and self.budget is None:
            return None
        waits = [wait for wait in (self._bandwidth_s(), self._rate_s()) if wait > 0]
        return min([LONGEST_PAUSE_S, *waits])

    def handed(self, size: int, samples: int, *, backlog: bool) -> None:
        """A row of so many bytes was handed out."""
        if backlog:
            self.backlog_samples += samples
            if self._rate is not None:
                self._rate.take(samples)
        if self._bandwidth is not None:
            self._rows += size
            self._reserved += size * self._grows

    def acknowledged(self, took_s: float, *, backlog: bool) -> None:
        """A row was done, so long after it was handed out."""
        self.count()
        self._reserved = 0.0
        if backlog:
            self.window.acknowledged(took_s, time.monotonic())

    def felt(self, took_s: float, *, quiet: bool) -> None:
        """A live row was done, so long after it was written."""
        self.window.felt(took_s, time.monotonic(), quiet=quiet)

    def begin(self) -> None:
        """Nothing is in flight any more."""
        self.count()
        self._reserved = 0.0
        self._rows = 0
        self.window.begin()

    def count(self) -> None:
        """Take note of what was sent."""
        total = self._sent()
        amount, self._counted = total - self._counted, total
        if self.budget is not None and (self.budget.turn(self._now_ns()) or (amount and self.budget.take(amount))):
            self._save(self.budget.saved())
        if amount and self._bandwidth is not None:
            self._bandwidth.take(amount)
            if self._rows:
                self._grows += (min(20.0, amount / self._rows) - self._grows) / 8
            self._reserved = 0.0  # what was handed out together is sent together
            self._rows = 0

    def close(self) -> None:
        """The uplink stops: write what was spent, exactly."""
        self.count()
        if self.budget is not None:
            self._save(self.budget.saved(exactly=True))
