"""The points of one device that share a period: what to ask for, and when."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from adapters.modbus.breaker import Breaker
from adapters.modbus.layout import Decoder, Layout
from adapters.modbus.learn import RELEARN_S, Learned
from adapters.modbus.pdu import Request, read_request
from adapters.modbus.place import Table
from adapters.modbus.planner import Limits, Read, atoms, hull, plan

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
    """Deadlines that passed without a cycle."""
    retries: int = 0
    """How often an unanswered read is asked again at once."""
    learned: Learned = field(default_factory=Learned)


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
        self.spans = [one.span for one in layouts]
        self.quiet: Counter[Read] = Counter()
        """Reads that were not answered, or with nonsense, and how often in a row."""
        self.search_at = 0.0
        """Earliest time to look into them."""
        self._limits = limits
        self._dead: set[int] = set()
        self._doubted = Table.HOLDING
        self._relearn_at = 0.0
        self._started = 0.0
        self._plan()

    def _plan(self) -> None:
        """Plan with what is known of the unit."""
        learned = self.device.learned
        self._version = learned.version
        self._dead = learned.dead(self.spans)
        self.quiet.clear()
        self.plan = self._planned(learned.limits(self._limits))

    def _planned(self, limits: Limits) -> Plan:
        alive = [i for i in range(len(self.spans)) if i not in self._dead]
        blocks: list[Block] = []
        order: list[int] = []
        for short in plan([self.spans[i] for i in alive], limits):
            read = replace(short, members=tuple(alive[i] for i in short.members))
            decoder = Decoder(self._layouts, read)
            request = self.request(read)
            where = slice(len(order), len(order) + len(decoder))
            blocks.append(Block(read, request, decoder, where))
            order += decoder.order
        dead = slice(len(order), len(self.spans))
        return Plan(self.ids[order + sorted(self._dead)], tuple(blocks), dead)

    def request(self, read: Read) -> Request:
        """What goes over the wire for a read."""
        return read_request(self.device.unit, read.table, read.address, read.count)

    def told(self) -> list[dict[str, Any]]:
        """The reads of a cycle as plain JSON types, with the ids of the points that each brings."""
        return [
            {
                "table": block.read.table.value,
                "address": block.read.address,
                "count": block.read.count,
                "every_s": self.period_s,
                "points": self.plan.ids[block.where].tolist(),
                "places": [[self.spans[i].address, self.spans[i].width] for i in block.decoder.order],
            }
            for block in self.plan.blocks
        ]

    def renew(self) -> None:
        """Plan anew if another group of the unit has learned something."""
        if self._version != self.device.learned.version:
            self._plan()

    def learn(self, holes: Holes, now: float) -> None:
        """Plan around what the device does not have or bear, now and after a restart."""
        self.device.learned.add(self.spans, holes)
        self.recheck_at = now + RECHECK_S
        self._relearn_at = now + RELEARN_S
        self._plan()

    def probe(self) -> Request | None:
        """The shortest request of the plan, to see whether the unit is there; None if there is none."""
        if not self.plan.blocks:
            return None
        first = self.plan.blocks[0].read
        return self.request(hull(self.spans, atoms(self.spans, first.members)[0]))

    def recheck(self, now: float) -> Request | None:
        """A request for something that was refused once, if it is time to ask again; another one each time."""
        if now < self.recheck_at:
            return None
        self.recheck_at = now + RECHECK_S
        if self._dead:
            self._doubted = self.spans[min(self._dead)].table
            refused = atoms(self.spans, (i for i in self._dead if self.spans[i].table is self._doubted))
            return self.request(hull(self.spans, refused[int(now / RECHECK_S) % len(refused)]))
        if now < self._relearn_at:
            return None
        self._relearn_at = now + RELEARN_S
        tables = {span.table for span in self.spans}
        table = next((one for one in Table if one in tables and self.device.learned.facts(one).most), None)
        if table is None:
            return None
        self._doubted = table
        address, count = self.device.learned.facts(table).refused
        return read_request(self.device.unit, table, address, count)

    def forget(self) -> None:
        """What was refused is answered now (the device was starting, perhaps): plan as at first."""
        self.device.learned.forget(self._doubted)
        self._plan()

    def restart(self, due: float) -> None:
        """Begin anew with a first deadline: the time without a connection is no period."""
        self.due = due
        self._started = 0.0
        self.recheck_at = self.recheck_at or due + RECHECK_S
        self._relearn_at = self._relearn_at or due + RELEARN_S

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
