"""The points of one device that share a period: what to ask for, and when."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from adapters.modbus.breaker import Breaker
from adapters.modbus.layout import Decoder, Layout
from adapters.modbus.pdu import Request, read_request
from adapters.modbus.planner import Limits, Read, Span, atoms, hull, plan

if TYPE_CHECKING:
    from collections.abc import Sequence

    from adapters.modbus.holes import Holes
    from gateway.frame import Ids

RECHECK_S = 60.0
"""How often one of the values that a device refuses is asked for again."""


@dataclass
class Device:
    """One device of the endpoint; ``up`` is None until something is known."""

    name: str
    unit: int
    breaker: Breaker
    up: bool | None = None
    missed: int = 0


@dataclass(frozen=True)
class Block:
    """One planned read with all that is needed to send it and to take its answer apart."""

    read: Read
    request: Request
    decoder: Decoder
    where: slice
    """Its part of the cycle's columns."""


@dataclass(frozen=True)
class Plan:
    """The reads of one cycle; ``ids`` [points] is the point column of the frame it makes."""

    ids: Ids
    blocks: tuple[Block, ...]
    dead: slice
    """Points that the device refuses; they are not asked for."""


class Group:
    """Points of one device and one period.

    Args:
        device: whose points they are.
        period_s: seconds between two cycles.
        layouts: how each value lies, [points].
        ids: the points' ids, [points].
        limits: what the device bears.
    """

    def __init__(
        self, device: Device, period_s: float, layouts: Sequence[Layout], ids: Sequence[int], limits: Limits
    ) -> None:
        self.device = device
        self.period_s = period_s
        self.ids = np.asarray(ids, np.int32)
        self.due = 0.0
        self.achieved_s = 0.0
        self.recheck_at = 0.0
        self.leads = True
        """Whether this is the device's fastest group, whose period is shown."""
        self._layouts = layouts
        self.spans = [Span(one.table, one.address, one.width) for one in layouts]
        self._limits = limits
        self._dead: set[int] = set()
        self._started = 0.0
        self.plan = self._planned()

    def _planned(self) -> Plan:
        alive = [i for i in range(len(self.spans)) if i not in self._dead]
        reads = plan([self.spans[i] for i in alive], self._limits)
        blocks: list[Block] = []
        order: list[int] = []
        for short in reads:
            read = Read(short.table, short.address, short.count, tuple(alive[i] for i in short.members))
            decoder = Decoder(self._layouts, read)
            request = read_request(self.device.unit, read.table, read.address, read.count)
            where = slice(len(order), len(order) + len(decoder))
            blocks.append(Block(read, request, decoder, where))
            order += decoder.order
        dead = slice(len(order), len(self.spans))
        return Plan(self.ids[order + sorted(self._dead)], tuple(blocks), dead)

    def learn(self, holes: Holes, now: float) -> None:
        """Plan around what the device does not have, for as long as the daemon runs."""
        self._dead |= holes.dead
        self._limits = Limits(self._limits.max_registers, self._limits.max_gap, {*self._limits.cuts, *holes.cuts})
        self.recheck_at = now + RECHECK_S
        self.plan = self._planned()

    def recheck(self, now: float) -> Request | None:
        """A request for one of the refused values, if it is time to ask again; another one each time."""
        if not self._dead or now < self.recheck_at:
            return None
        self.recheck_at = now + RECHECK_S
        table = self.spans[min(self._dead)].table
        refused = atoms(self.spans, (i for i in self._dead if self.spans[i].table is table))
        read = hull(self.spans, refused[int(now / RECHECK_S) % len(refused)])
        return read_request(self.device.unit, read.table, read.address, read.count)

    def forget(self) -> None:
        """A refused value is there after all (the device was starting, perhaps): plan as at first."""
        self._dead.clear()
        self._limits = Limits(self._limits.max_registers, self._limits.max_gap)
        self.plan = self._planned()

    def restart(self, due: float) -> None:
        """Begin anew with a first deadline: the time without a connection is no period."""
        self.due = due
        self._started = 0.0

    def start(self, now: float) -> None:
        """A cycle begins: keep the average of the period that is achieved."""
        if self._started:
            taken = now - self._started
            self.achieved_s = self.achieved_s * 0.9 + taken * 0.1 if self.achieved_s else taken
        self._started = now

    def advance(self, now: float) -> None:
        """Set the next deadline on the grid of the first one; those that passed are counted and skipped."""
        self.due += self.period_s
        if self.due < now:
            skipped = int((now - self.due) / self.period_s) + 1
            self.due += skipped * self.period_s
            self.device.missed += skipped


def stagger(groups: Sequence[Group], now: float) -> None:
    """First deadlines: spread over a second (or the period, if shorter), so that not all ask at once."""
    for i, group in enumerate(groups):
        group.restart(now + min(group.period_s, 1.0) * i / len(groups))
