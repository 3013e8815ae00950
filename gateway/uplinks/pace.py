"""How fast an uplink may be fed: a rate, a window over the backlog, a data budget. Nothing here does I/O."""

from __future__ import annotations

import datetime as dt
import math
from typing import Final

import msgspec

from gateway.uplinks.options import BudgetConfig, BudgetSpent, Period

BURST_S: Final = 1.0
"""What may go at once after a quiet time, as seconds of the rate."""


class TokenBucket:
    """So much a second on average. What is taken may exceed what is there: then the next has to wait for longer."""

    def __init__(self, rate: float, now: float) -> None:
        self.rate = rate
        self._most = rate * BURST_S
        self._level = self._most
        self._at = now

    def take(self, amount: float) -> None:
        """Use some."""
        self._level -= amount

    def wait_s(self, now: float, reserved: float = 0.0) -> float:
        """How long until something may go; 0 for now. ``reserved`` is about to be taken."""
        self._level = min(self._most, self._level + (now - self._at) * self.rate)
        self._at = now
        lacking = reserved - self._level
        return 0.0 if lacking < 0 else max(lacking / self.rate, 0.001)


class Rate:
    """How many a second lately: a mean that forgets over some seconds."""

    def __init__(self, now: float) -> None:
        self._per_s = 0.0
        self._at = now

    def add(self, amount: float, now: float) -> None:
        """Count some."""
        self._per_s = self.per_s(now) + amount / SMOOTH_S

    def per_s(self, now: float) -> float:
        """The rate now."""
        self._per_s *= math.exp(-(now - self._at) / SMOOTH_S)
        self._at = now
        return self._per_s


SMOOTH_S: Final = 5.0
SMALLEST: Final = 1.0
LARGEST: Final = 1000.0
FELT: Final = 1.5
"""How much longer what is live may take than the longest it takes in quiet times, before the backlog slows down."""
QUEUED_LOW: Final = 1.0
QUEUED_HIGH: Final = 3.0
"""Batches of the backlog that may queue somewhere on the way: fewer leave the link idle, more delay what is live."""
MEMORY_S: Final = 10.0
"""The shortest time holds for one to two of these, so that a link that became slower is learnt."""


class Window:
    """How many batches of the backlog may be in flight: found from the time that acknowledgements take.

    While the link is faster than what it is given, that time does not depend on the number in flight. What makes it
    longer queues, and ``number x (1 - shortest / time)`` batches do; the number is kept where a few queue. After L. S.
    Brakmo and L. L. Peterson, "TCP Vegas", 1995. It doubles a window at first, as there, and goes back to the half now
    and then, for the shortest time to be seen again.
    """

    def __init__(self, fixed: int | None = None) -> None:
        self._fixed = fixed
        self._quiet = self._spread = 0.0
        """Mean and mean deviation of the time that live batches take while there is no backlog, s."""
        self._slowed = -math.inf
        self.begin()

    def begin(self) -> None:
        """A new connection: what was learnt of the one before need not hold, but for what quiet times are like."""
        self.limit = float(self._fixed or SMALLEST)
        self._shortest = self._next_shortest = math.inf
        self._since = -math.inf
        self._sum = 0.0
        self._count = 0
        self._doubling = True

    def acknowledged(self, took_s: float, now: float) -> None:
        """A batch of the backlog was acknowledged after so long."""
        if self._fixed is not None:
            return
        self._next_shortest = min(self._next_shortest, took_s)
        if now - self._since > MEMORY_S:
            if not self._doubling:
                self.limit = max(SMALLEST, self.limit / 2)
            self._shortest, self._next_shortest, self._since = self._next_shortest, took_s, now
        self._sum += took_s
        self._count += 1
        if self._count >= self.limit:
            self._adapt(self._sum / self._count)
            self._sum, self._count = 0.0, 0

    def _adapt(self, took_s: float) -> None:
        """Once a window."""
        self._shortest = min(self._shortest, self._next_shortest)
        queued = self.limit * (1 - self._shortest / took_s) if took_s > 0 else 0.0
        if queued > QUEUED_HIGH:
            self._doubling = False
            self.limit = max(SMALLEST, self.limit - max(1.0, (queued - QUEUED_HIGH) / 2))
        elif queued < QUEUED_LOW:
            self.limit = min(LARGEST, self.limit * 2 if self._doubling else self.limit + 1)
        else:
            self._doubling = False

    def felt(self, took_s: float, now: float, *, quiet: bool) -> None:
        """A live batch was acknowledged so long after it was made, with no backlog in flight or with some."""
        if quiet:
            step = 1 / 64 if self._quiet else 1.0
            self._spread += (abs(took_s - self._quiet) * bool(self._quiet) - self._spread) * step
            self._quiet += (took_s - self._quiet) * step
            return
        slow = self._quiet > 0 and took_s > FELT * (self._quiet + 4 * self._spread)
        if self._fixed is None and slow and now - self._slowed > took_s:  # once for what was on its way together
            self.limit = max(SMALLEST, self.limit * 0.6)
            self._slowed, self._doubling = now, False


class Spent(msgspec.Struct):
    """What is kept of a budget over restarts."""

    since_ns: int
    """Begin of the period."""
    bytes: int


RESERVE: Final = 1000
"""A thousandth of the budget is written as spent before it is: a crash never makes the budget larger."""


class Budget:
    """Bytes that may be sent in a period, counted over restarts."""

    def __init__(self, config: BudgetConfig, saved: bytes | None, now_ns: int) -> None:
        self.config = config
        self._spent = _read(saved) or Spent(period_start_ns(config, now_ns), 0)
        self._written = self._spent.bytes
        self.turn(now_ns)

    @property
    def spent(self) -> int:
        """Bytes in this period."""
        return self._spent.bytes

    @property
    def exhausted(self) -> bool:
        """Whether all of it is spent."""
        return self._spent.bytes >= self.config.size

    @property
    def closed(self) -> bool:
        """Whether not everything may go."""
        return self.exhausted and self.config.when_spent is not BudgetSpent.GO_ON

    def turn(self, now_ns: int) -> bool:
        """Begin the next period if it is time; whether one began. A clock that was set back gives nothing back."""
        since = period_start_ns(self.config, now_ns)
        if since <= self._spent.since_ns:
            self._spent.since_ns = since
            return False
        self._spent = Spent(since, 0)
        self._written = 0
        return True

    def take(self, amount: int) -> bool:
        """Bytes were sent; whether that is to be written now."""
        self._spent.bytes += amount
        return self._spent.bytes >= self._written

    def saved(self, *, exactly: bool = False) -> bytes:
        """What to write: a little more than was spent, or exactly that."""
        reserve = 0 if exactly else max(1, self.config.size // RESERVE)
        self._written = self._spent.bytes + reserve
        return msgspec.json.encode(Spent(self._spent.since_ns, self._written))

    def next_ns(self) -> int:
        """When the next period begins."""
        return next_start_ns(self.config, self._spent.since_ns)

    def as_dict(self) -> dict[str, int | str | bool]:
        """For ``status``."""
        return {
            "size": int(self.config.size),
            "spent": self.spent,
            "left": max(0, self.config.size - self.spent),
            "per": str(self.config.per),
            "since_ns": self._spent.since_ns,
            "until_ns": self.next_ns(),
            "exhausted": self.exhausted,
        }


def _read(saved: bytes | None) -> Spent | None:
    try:
        return None if saved is None else msgspec.json.decode(saved, type=Spent)
    except msgspec.DecodeError:
        return None


_DAY = dt.timedelta(days=1)


def period_start_ns(config: BudgetConfig, now_ns: int) -> int:
    """When the period began that a time lies in, ns since 1970 UTC."""
    now = dt.datetime.fromtimestamp(now_ns // 1_000_000_000, dt.UTC)
    start = now.replace(hour=0, minute=0, second=0, microsecond=0)
    if config.per is Period.WEEK:
        start -= start.weekday() * _DAY
    elif config.per is Period.MONTH:
        if start.day < config.start:
            start = start.replace(day=1) - _DAY  # the last of the month before
        start = start.replace(day=config.start)
    return int(start.timestamp()) * 1_000_000_000


def next_start_ns(config: BudgetConfig, since_ns: int) -> int:
    """When the period after the one that began at ``since_ns`` begins."""
    since = dt.datetime.fromtimestamp(since_ns // 1_000_000_000, dt.UTC)
    days = {Period.DAY: 1, Period.WEEK: 7, Period.MONTH: 31}[config.per]
    later = since + days * _DAY
    return period_start_ns(config, int((later + _DAY / 2).timestamp()) * 1_000_000_000)
