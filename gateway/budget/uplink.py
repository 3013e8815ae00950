"""One uplink's control: each period from what was counted to the bounds it wants and the rungs that are taken.

Independent of what kind of uplink it is: it needs what was counted, what waits, and what the gateway itself allows.

Rows put aside (rung ``summarise``) do not count as waiting, nor do they once they may go again: they go behind all
else, as far as the link has room, which the law leaves.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from gateway.budget.capacity import Capacity, Seen
from gateway.budget.config import AdaptConfig, Rung
from gateway.budget.ladder import Ladder, Stage
from gateway.budget.law import Law
from gateway.budget.meter import Counted, Rows
from gateway.budget.payload import Payload
from gateway.budget.steps import Found, Movable
from pipelines.bounds import Bound

SMOOTH: Final = 0.1
"""How much a period says of the rate of what cannot be moved."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """What one period showed. Bytes are those of rows on disk, but for ``sent``, ``bandwidth`` and ``budget``."""

    seconds: float
    counted: Counted
    sent: int
    """Payload bytes, repetitions included."""
    waiting: Mapping[str, Rows]
    """What is not acknowledged, by pipeline."""
    bandwidth: float = math.inf
    """The configured one, bytes a second."""
    budget: float = math.inf
    """What is left of the period's budget by what is left of the period, bytes a second."""


class Kept(msgspec.Struct, frozen=True):
    """What outlives a restart."""

    height: int = 0
    released: dict[str, Rows] = {}
    shed_after: dict[str, int] = {}


@dataclass(slots=True)
class Aside:
    """Pipelines of which nothing is sent, and bytes of others of which nothing was."""

    now: frozenset[str] = frozenset()
    released: dict[str, Rows] = field(default_factory=dict)
    """What waited when the pipeline might go again, or as much of it as still waits."""

    def turn(self, now: frozenset[str], waiting: Mapping[str, Rows]) -> None:
        """Other pipelines are put aside from here on."""
        for name in self.now - now:
            self.released[name] = waiting.get(name, Rows())
        for name in now:
            self.released.pop(name, None)
        self.now = now

    def waiting(self, waiting: Mapping[str, Rows]) -> Rows:
        """What waits and counts."""
        self.released = {n: left for n, was in self.released.items() if (left := min(was, waiting.get(n, Rows())))[0]}
        total = Rows()
        for name, (size, rows) in waiting.items():
            if name not in self.now:
                aside = self.released.get(name, Rows())
                total = total.plus(size - aside.size, rows - aside.rows)
        return total


class LinkControl:
    """See the module. Pure: knows no clock and does no I/O."""

    def __init__(self, config: AdaptConfig, saved: bytes | None = None) -> None:
        kept = _read(saved)
        self.config = config
        self.law = Law()
        self.capacity = Capacity()
        self.ladder = Ladder(kept.height)
        self.aside = Aside(released=dict(kept.released))
        self.shed_after = dict(kept.shed_after)
        """By pipeline: what is given up has higher seqs."""
        self.found = Found()
        self.stages: list[Stage] = []
        self.changes = 0
        """Bounds that were changed."""
        self.shed = 0
        """Samples given up."""
        self.made = self.waiting = self.carried = 0.0
        """Payload bytes a second; payload bytes; payload bytes a second."""
        self.payload = Payload()
        self._fixed: float | None = None
        """Payload bytes a second of what cannot be moved, smoothed."""
        self._begun = False

    def meet(self, found: Found, stages: list[Stage]) -> None:
        """The steps and pipelines before the uplink, which a reload may have changed."""
        self.found, self.stages = found, stages
        self.ladder.height = min(self.ladder.height, len(stages))
        self._set_range()
        if not self._begun:  # go on where a process before was
            self._begun = True
            self.law.s = max((step.in_force for step in found.movable), default=0.0)
            self._set_range()

    def _set_range(self) -> None:
        thinned = self.of(Rung.THIN)
        low = min((step.low.s for step in self.found.movable), default=0.0)
        high = max((step.end(thinned=step.pipeline in thinned).s for step in self.found.movable), default=0.0)
        self.law.range(low, high)

    @property
    def taken(self) -> list[Stage]:
        """The stages that are taken."""
        return self.stages[: self.ladder.height]

    def of(self, rung: Rung) -> frozenset[str]:
        """The pipelines for which a rung is taken."""
        return frozenset(name for stage in self.taken if stage.rung is rung for name in stage.pipelines)

    @property
    def summarised(self) -> frozenset[str]:
        """Pipelines of which summaries are sent."""
        return self.of(Rung.SUMMARISE)

    @property
    def level(self) -> int | None:
        """The level of zstd, if it is not the usual one."""
        return self.config.level if any(stage.rung is Rung.CODEC for stage in self.taken) else None

    def look(self, period: Period) -> int:
        """One period; by how many rungs the ladder was climbed: 1, 0 or -1."""
        counted, seconds = period.counted, period.seconds
        self.payload.learn(counted.handed.size, counted.handed.rows, period.sent)
        payload = self.payload.of
        self.made = self._moved_and_fixed(counted.made, seconds)
        self.aside.waiting(period.waiting)
        self.waiting = payload(*counted.standing)
        seen = Seen(
            seconds=seconds,
            acknowledged=payload(*counted.acknowledged),
            rows=counted.acknowledged.rows,
            lowest=payload(*counted.lowest),
            standing=self.waiting,
            quickest_s=counted.quickest_s,
            quickest=payload(counted.quickest, 1),
            first=payload(counted.first, 1) if counted.first else math.inf,
            served=payload(*counted.served),
            served_s=counted.served_s,
            points=tuple((began, payload(*rows), seconds) for began, rows, seconds in counted.points),
        )
        wanting = self.law.s > self.law.low + 0.01 or self.ladder.height > 0
        link = self.capacity.look(seen, wanting=wanting, own_limit=min(period.bandwidth, period.budget))
        self.carried = min(link, period.bandwidth, period.budget)
        self.law.step(self.made, self.carried, self.waiting, self.config.drain)
        return self._climb(period.waiting)

    def _moved_and_fixed(self, made: Mapping[str, Rows], seconds: float) -> float:
        """Payload bytes a second that are made for the link, where pipelines that cannot be moved count smoothed.

        A total that comes once a minute is no reason to widen bounds in one period of the minute.
        """
        movable = {step.pipeline for step in self.found.movable}
        rates = {name: self.payload.of(*rows) / seconds for name, rows in made.items() if name not in self.aside.now}
        fixed = sum(rate for name, rate in rates.items() if name not in movable)
        self._fixed = fixed if self._fixed is None else self._fixed + SMOOTH * (fixed - self._fixed)
        return sum(rate for name, rate in rates.items() if name in movable) + self._fixed

    def _climb(self, waiting: Mapping[str, Rows]) -> int:
        law = self.law
        by = self.ladder.look(len(self.stages), at_end=law.at_end, made=self.made, target=law.target)
        if by:
            self._set_range()
            self.aside.turn(self.summarised | self.of(Rung.SHED), waiting)
        if by < 0:
            law.s = law.high  # what comes back comes at the widest bounds, and then slowly more exactly
        return by

    def wishes(self) -> dict[tuple[str, str], tuple[Movable, Bound]]:
        """The bound that each step should have, by pipeline and the step's key."""
        thinned = self.of(Rung.THIN)
        return {
            step.place: (step, step.wish(self.law.s, thinned=step.pipeline in thinned)) for step in self.found.movable
        }

    def saved(self) -> bytes:
        """What to remember."""
        return msgspec.json.encode(Kept(self.ladder.height, dict(self.aside.released), dict(self.shed_after)))

    def as_dict(self) -> dict[str, Any]:
        """For ``status``: plain JSON types. Rates in payload bytes a second; null: not known, or no limit."""
        thinned = self.of(Rung.THIN)
        return {
            "widening": round(self.law.widening, 3),
            "carried": _finite(self.carried),
            "target": _finite(self.law.target),
            "made": _finite(self.made),
            "waiting": _finite(self.waiting),
            "probing": self.capacity.probing,
            "rung": str(self.taken[-1].rung) if self.taken else "",
            "height": self.ladder.height,
            "rungs": [{"rung": str(stage.rung), "pipelines": list(stage.pipelines)} for stage in self.stages],
            "put_aside": sorted(self.aside.now),
            "changes": self.changes,
            "shed": self.shed,
            "steps": [
                {
                    "step": step.name,
                    "configured": str(step.base),
                    "bound": str(step.step.operator.bound),
                    "max": str(step.end(thinned=step.pipeline in thinned).bound),
                }
                for step in self.found.movable
            ],
            "left_alone": [{"step": name, "why": why} for name, why in self.found.left],
        }


def _finite(number: float) -> float | None:
    return round(number, 1) if math.isfinite(number) else None


def _read(saved: bytes | None) -> Kept:
    try:
        return Kept() if saved is None else msgspec.json.decode(saved, type=Kept)
    except msgspec.DecodeError:
        return Kept()
