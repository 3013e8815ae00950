"""What a link carries, learnt from acknowledgements. Pure.

A link that is idle now and then tells nothing about its capacity: what was acknowledged is then what was made. So a
period is a *measurement* only if there was a backlog through all of it: never less waiting for an acknowledgement than
the link carries in half a second (and in twice the quickest acknowledgement lately, so that a long way is not
taken for a queue). Then the link was busy throughout, and what was acknowledged is what it carries. Long rows on a slow
link: periods are joined until :data:`ACKNOWLEDGED` rows are through.

Where there was no backlog the link carries at least what was acknowledged, and perhaps more. Whether it does is found
out carefully, by *probing*: after :data:`PATIENCE` calm periods, while bounds are wider than they would be on a better
link, the estimate is raised by a half, and up to fourfold as soon as that is used, as long as no backlog forms. The law
lets the rate follow at its slow gain, so that a link that carries no more shows this by a backlog of a second or so,
which ends the probe. Each one that finds nothing doubles the patience, up to :data:`LONGEST`. News shortens it: rows
that are acknowledged at more than twice the known rate, period after period. It may mean nothing, for many links let a
little through at once; then the probe finds nothing, and what is as quick is no news any more.

The configured bandwidth and the budget are upper bounds, whoever uses this takes the least of all. While the bandwidth
is what holds (a measurement within a tenth of it), the link itself is no limit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from gateway.budget.bursts import LEAST_S, Bursts, Point

BACKLOG_S: Final = 0.2
"""A backlog is what the link carries in so long, at least."""
FORMED_S: Final = 0.5
"""One that ends a probe, likewise."""
QUICKEST: Final = 2.0
"""And in so many of the quickest acknowledgements."""
ACKNOWLEDGED: Final = 2
"""Rows a measurement needs ..."""
JOINED: Final = 6
"""... unless so many periods have gone by."""
PATIENCE: Final = 12
LONGEST: Final = 36
PROBE: Final = 1.5
AGAIN: Final = 4.0
NEWS: Final = 2.0
"""How many times what is known rows have to be acknowledged at,"""
NEWS_PERIODS: Final = 3
"""and in so many periods on end, to be news."""
LEAP: Final = 10.0
"""What is probed then is what they let expect, but at most so many times what is known."""
SOONEST_S: Final = 0.005
"""No acknowledgement counts as quicker."""
FOUND: Final = 1.1
"""A measurement so much above the one before says that the probe has found something."""
UP: Final = 2.0
"""What bursts show is believed up to so many times of what is known, a period."""
MISLED: Final = 6
"""Periods after that in which a measurement that says less shows that bursts go faster than the link lasts."""
OWN_LIMIT: Final = 0.9
SUDDEN: Final = 0.8
"""Lower by more than this is believed at once; else half of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What was seen of a link in one period. Bytes are payload."""

    seconds: float
    acknowledged: float
    """Bytes."""
    rows: int
    """Acknowledged."""
    lowest: float
    """The least that waited for its acknowledgement at any moment, bytes."""
    standing: float = 0.0
    """What waited when the newest rows came, bytes."""
    quickest_s: float
    """The shortest time that an acknowledgement took lately."""
    quickest: float = 0.0
    """Bytes of the row that was acknowledged so soon."""
    first: float = math.inf
    """Bytes of the row that is on its way for longest, and of its head; infinite: none is."""
    served: float = 0.0
    """Bytes of rows that were on their way already when the one before was acknowledged ..."""
    served_s: float = 0.0
    """... and the time between the two."""
    points: tuple[Point, ...] = ()
    """Of bursts on an idle link, see :mod:`gateway.budget.bursts`."""


class Capacity:
    """The estimate of one link; infinite until there was a backlog."""

    def __init__(self) -> None:
        self.known = math.inf
        """Bytes a second."""
        self._before = math.inf
        """What the last measurement before a probe said, or what was carried in it without a backlog."""
        self._calm = 0
        self._patience = PATIENCE
        self._probing = self._grew = False
        """The latter: whether the probe has found something."""
        self._news = 0
        """Periods on end in which rows were acknowledged much faster than is known."""
        self._usual = self._quickest = 0.0
        """The rate of acknowledgements that is no news, and the highest while it was probed, bytes a second."""
        self._bursts = Bursts()
        self._raised = MISLED
        """Periods since bursts showed more than was known."""
        self._deaf = 0
        """Periods in which that is not believed any more."""
        self._rate = 0.0
        """Bytes a second that were acknowledged in the period before,"""
        self._sure = 0.0
        """and those that were surely carried in it."""
        self._seconds = self._bytes = 0.0
        self._rows = self._periods = 0

    @property
    def probing(self) -> bool:
        """Whether more is assumed than was shown."""
        return self._probing

    def look(self, seen: Seen, *, wanting: bool, own_limit: float = math.inf) -> float:
        """One period more; what the link carries, bytes a second.

        Args:
            seen: what was seen of it.
            wanting: whether more would be used if there was more: bounds are wider than they need be.
            own_limit: what the gateway itself lets through: the configured bandwidth, bytes a second.
        """
        if self._busy(seen):
            self._join(seen)
        else:
            self._seconds = self._bytes = 0.0
            self._rows = self._periods = 0
            if not self._shown(seen):
                self._idle(seen, wanting=wanting)
        self._rate = seen.acknowledged / seen.seconds
        self._sure = _surely(seen)
        if self.known >= OWN_LIMIT * own_limit:
            self.known = math.inf
        return self.known

    def _busy(self, seen: Seen) -> bool:
        rate = seen.acknowledged / seen.seconds
        if math.isinf(seen.first):  # what waits, waits for the gateway's own bandwidth or budget
            return False
        if not seen.rows:
            return seen.lowest > 0 and (self._periods > 0 or seen.lowest > FORMED_S * min(self.known, 1e12))
        return seen.lowest >= max(BACKLOG_S * rate, QUICKEST * (seen.quickest_s * rate - seen.quickest))

    def _join(self, seen: Seen) -> None:
        exact = seen.served_s > 0  # not so if rows go one by one, each after the acknowledgement of the one before
        if exact:
            self._seconds, self._bytes = seen.served_s, seen.served
        else:
            self._seconds += seen.seconds
            self._bytes += seen.acknowledged
        self._rows += seen.rows
        self._periods += 1
        if exact or self._rows >= ACKNOWLEDGED or self._periods >= JOINED:
            if self._bytes:
                self._measured(self._bytes / self._seconds)
            self._seconds = self._bytes = 0.0
            self._rows = self._periods = 0
        else:  # what is through, and at most all of the next row, is what was carried
            self.known = min(self.known, (seen.acknowledged + seen.first) / seen.seconds)

    def _measured(self, rate: float) -> None:
        self._calm = 0
        if rate < SUDDEN * self.known or rate > self.known / SUDDEN:
            self._bursts.forget()
        misled = self._raised < MISLED and rate < SUDDEN * self.known
        if misled:
            self._deaf = self._patience = min(LONGEST, 2 * self._patience)
        if self._probing:
            self._end_probe(found=self._grew or rate > FOUND * self._before)
            self.known = rate
        elif rate < SUDDEN * self.known or math.isinf(self.known):
            self._usual = self.known if misled else 0.0
            self.known = rate
        else:
            self.known += (rate - self.known) / 2
        self._before = self.known

    def _shown(self, seen: Seen) -> bool:
        """Without a backlog, but with bursts that show how fast the link works; whether there were any."""
        self._raised += 1
        self._deaf = max(0, self._deaf - 1)
        rate = self._bursts.learn(seen.points)
        if math.isinf(rate):  # but no row can have gone slower than its acknowledgement came
            rate = max((size / seconds for _, size, seconds in seen.points if seconds >= LEAST_S), default=0.0)
            if rate < FOUND * self.known:
                return False
        if self._deaf and rate > self.known:
            return False
        if rate > FOUND * self.known:
            self._raised = 0
        self.known = rate if math.isinf(self.known) else min(self.known + (rate - self.known) / 2, UP * self.known)
        self._before, self._probing, self._calm = self.known, False, 0
        return True

    def _idle(self, seen: Seen, *, wanting: bool) -> None:
        shown = min(_surely(seen), self._sure)  # what is acknowledged may have been sent in the period before
        standing, used = seen.standing, min(seen.acknowledged / seen.seconds, self._rate)
        if not self._probing and shown > self.known:
            self.known += (shown - self.known) / 2
        if math.isinf(self.known) or not wanting:
            self._calm = 0
            return
        self._calm += 1
        rate, news = self._look_for_news(seen)
        if self._probing and standing > FORMED_S * self._before:
            self._end_probe(found=self._grew)
            self._calm, self.known = 0, max(self._before, shown)
        elif self._probing and used >= 0.8 * self.known:
            self._before, self._grew, self._news = max(self._before, used), True, 0
            # As far as acknowledgements let expect, if they let expect anything
            self.known *= AGAIN if rate < self.known else min(AGAIN, max(PROBE, rate / self.known))
        elif news or (not self._probing and self._calm > self._patience):
            if not self._probing:
                self._probing, self._grew, self._before, self._quickest = True, False, self.known, rate
            self.known = min(LEAP * self.known, rate) if news else PROBE * self.known
            self._news = 0

    def _look_for_news(self, seen: Seen) -> tuple[float, bool]:
        """The least rate at which rows of the period were acknowledged, bytes a second (0: none); whether to act."""
        if not seen.points:
            return 0.0, False
        rate = min(size / max(SOONEST_S, seconds) for _, size, seconds in seen.points)
        self._quickest = max(self._quickest, rate)
        self._news = self._news + 1 if rate > NEWS * max(self.known, self._usual) else 0
        return rate, self._news >= NEWS_PERIODS

    def _end_probe(self, *, found: bool) -> None:
        self._probing, self._news = False, 0
        if found:
            self._patience = PATIENCE
        else:
            self._patience = min(LONGEST, 2 * self._patience)
            self._usual = max(self._usual, self._quickest)


def _surely(seen: Seen) -> float:
    """Bytes a second that the link carried in a period, whatever part of the first row had gone before it."""
    return seen.acknowledged * max(0, seen.rows - 1) / max(1, seen.rows) / seen.seconds
