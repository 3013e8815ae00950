"""The task that keeps all uplinks with ``adapt:`` to what their links carry.

A change of a bound goes the journaled way that a person's goes (:meth:`gateway.intake.Intake.rebound`), so that a
replay is exact and each batch says which bound was in force; it is made when it differs by more than :data:`NOTICED`.
Of a step before several uplinks the widest bound wins that one of them wishes, but never beyond what any of them
allows. While a link is down nothing changes: what waits, waits on disk. What is changed is remembered, and set back
when nobody wishes it any more, such as after ``adapt:`` was taken out of the configuration.
"""

from __future__ import annotations

import asyncio
import logging
import math
from typing import TYPE_CHECKING, Final

import msgspec

from gateway.budget.config import Rung
from gateway.budget.limits import width
from gateway.budget.meter import Rows
from gateway.budget.shedding import shed
from gateway.budget.stages import stages_before
from gateway.budget.steps import is_own, steps_before
from gateway.budget.summaries import SUMMARY
from gateway.budget.uplink import LinkControl, Period
from gateway.errors import StoreError
from gateway.store.segments import Rebound
from pipelines.bounds import Bound
from pipelines.operators.reduce.valve import OPEN, SHUT, Valve

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.budget.steps import Movable
    from gateway.graph import Graph
    from gateway.inside import Inside
    from gateway.intake import Intake
    from gateway.links import UplinkLink
    from pipelines.runner import Step

log = logging.getLogger(__name__)

NOTICED: Final = 0.05
"""ln of the least change of a bound that is made."""
LOOK_S: Final = 1.0
"""How often it is looked whether a period is over, or an uplink has come, at most."""
SHORTEST_S: Final = 60.0
"""Of a period's budget: the end of it is not divided by less."""
_OWNER: Final = "link budget"
"""No adapter can have this name."""
_MOVED: Final = "moved"
_KEPT: Final = "onpath.adapt"
"""The key under which an uplink's rungs are remembered, beside what the uplink itself remembers."""


class LinkBudgets:
    """See the module. Lives on the event loop; all that is counted of an uplink is in its meter."""

    def __init__(self, inside: Inside) -> None:
        self._inside = inside
        self._loop = asyncio.get_running_loop()
        self._looked: dict[str, tuple[float, int]] = {}
        """When, and how many bytes had been sent, by uplink."""
        self._graph: Graph | None = None
        self._moved: set[tuple[str, str]] | None = None
        """Steps whose bounds may not be the configured ones."""

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(self._pause_s())
            try:
                await self.look()
            except StoreError as error:
                log.debug("no control of link budgets while the store fails: %s", error)

    def _pause_s(self) -> float:
        asked = [float(adapt.every) for link in self._links() if (adapt := link.config.adapt)]
        return min([LOOK_S, *asked])

    def _links(self) -> Iterator[UplinkLink]:
        yield from (link for link in self._inside.uplinks.values() if link.meter is not None)

    async def look(self) -> None:
        """Look at all uplinks whose period is over, and change the bounds and valves that have to be.

        Raises:
            StoreError: nothing can be journaled just now.
        """
        graph = self._inside.intake.engine.graph
        links, begun = list(self._links()), False
        for link in links:
            if link.control is None or graph is not self._graph:
                begun |= link.control is None
                self._meet(link, graph)
        self._graph = graph
        due = [link for link in links if self._due(link)]
        for link in due:
            await self._period(link)
        if due or begun or self._moved is None or (self._moved and not links):
            await self._settle(graph, links)

    def _meet(self, link: UplinkLink, graph: Graph) -> None:
        adapt = link.config.adapt
        assert adapt is not None
        if link.control is None:
            link.control = LinkControl(adapt, link.recall(_KEPT))
            self._looked[link.name] = (self._loop.time(), link.stats.bytes)
        found = steps_before(graph, link.name, adapt)
        link.control.meet(found, stages_before(graph, link.name, link.config, found))
        self._apply_rungs(link, link.control)

    def _due(self, link: UplinkLink) -> bool:
        adapt = link.config.adapt
        return adapt is not None and self._loop.time() - self._looked[link.name][0] >= 0.95 * adapt.every

    async def _period(self, link: UplinkLink) -> None:
        control, meter, intake = link.control, link.meter, self._inside.intake
        assert control is not None
        assert meter is not None
        waiting = _without(await intake.on_store(_waiting, intake, link.name), meter.done)
        now, sent = self._loop.time(), link.stats.bytes
        (since, sent_before), self._looked[link.name] = self._looked[link.name], (now, sent)
        counted = meter.take(control.aside.waiting(waiting))
        if link.stats.link != "up":
            return
        bandwidth, budget = link.config.bandwidth, link.feed.gate.budget
        left = math.inf
        if budget is not None:
            until_s = (budget.next_ns() - self._inside.clock.now_ns()) / 1e9
            left = max(0, budget.config.size - budget.spent) / max(SHORTEST_S, until_s)
        climbed = control.look(
            Period(
                seconds=max(now - since, 1e-3),
                counted=counted,
                sent=sent - sent_before,
                waiting=waiting,
                bandwidth=math.inf if bandwidth is None else float(bandwidth),
                budget=left,
            )
        )
        if climbed:
            self._note(link, control, climbed)
        await self._shed(link, control)

    def _note(self, link: UplinkLink, control: LinkControl, climbed: int) -> None:
        stage = control.taken[-1] if climbed > 0 else control.stages[control.ladder.height]
        of = f" for {', '.join(stage.pipelines)}" if stage.pipelines else ""
        what = "wider bounds do not suffice, now" if climbed > 0 else "there is room again, no more"
        link.log.info("uplink %s: %s %s%s", link.name, what, stage.rung, of)
        newest = self._inside.intake.engine.store.spool.newest
        control.shed_after = {name: control.shed_after.get(name, newest) for name in control.of(Rung.SHED)}
        self._apply_rungs(link, control)
        link.remember(_KEPT, control.saved())

    def _apply_rungs(self, link: UplinkLink, control: LinkControl) -> None:
        control.aside.now = control.summarised | control.of(Rung.SHED)
        link.put_aside(control.aside.now)

    async def _shed(self, link: UplinkLink, control: LinkControl) -> None:
        for name, after in control.shed_after.items():
            control.shed += await shed(self._inside.intake, link.name, name, after)

    async def _settle(self, graph: Graph, links: list[UplinkLink]) -> None:
        """Give each step the bound that is wished, or the configured one back."""
        steps = dict(_all_steps(graph))
        wishes = _widest(links)
        wanted = {place: (bound, step.base) for place, (step, bound) in wishes.items() if place in steps}
        for place in self._recall() - wanted.keys():
            if place in steps and (base := steps[place].configured) is not None:
                wanted[place] = base, base
        changes = [
            (place, bound)
            for place, (bound, base) in wanted.items()
            if differs(steps[place].operator.bound, bound, exactly=bound == base)
        ]
        moved = {place for place, (bound, base) in wanted.items() if base not in (bound, steps[place].operator.bound)}
        self._remember(moved | {place for place, _ in changes})
        changes += list(_valves(graph, links))
        self._inside.intake.engine.store.spool.levels = {
            link.name: level for link in links if link.control is not None and (level := link.control.level) is not None
        }
        if changes:
            await self._change(changes)
        for link in links:
            if link.control is not None:
                mine = {step.place for step in link.control.found.movable}
                link.control.changes += sum(place in mine for place, _ in changes)

    async def _change(self, changes: list[tuple[tuple[str, str], Bound]]) -> None:
        rebound = self._inside.intake.rebound
        tasks = [rebound(Rebound(pipeline, key, bound)) for (pipeline, key), bound in changes]
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(result, BaseException):
                raise result

    def _recall(self) -> set[tuple[str, str]]:
        if self._moved is None:
            saved = self._inside.intake.memory.get((_OWNER, _MOVED))
            try:
                self._moved = set() if saved is None else set(msgspec.json.decode(saved, type=list[tuple[str, str]]))
            except msgspec.DecodeError:
                self._moved = set()
        return self._moved

    def _remember(self, moved: set[tuple[str, str]]) -> None:
        if moved != self._moved or not moved:
            known = self._inside.intake.memory.get((_OWNER, _MOVED))
            if moved or known is not None:
                self._inside.intake.remember(_OWNER, _MOVED, msgspec.json.encode(sorted(moved)))
            self._moved = moved


def _waiting(intake: Intake, uplink: str) -> dict[str, Rows]:
    counts = intake.engine.store.spool.counts
    gauges = {name: counts.stream(uplink, name) for name in counts.pipelines(uplink)}
    return {name: Rows(gauge.bytes, gauge.rows) for name, gauge in gauges.items()}


def _without(waiting: dict[str, Rows], done: Rows) -> dict[str, Rows]:
    """Without the rows that the other side has and that nobody has taken off the disk yet; spread over all."""
    total = sum(rows.size for rows in waiting.values())
    parts = {name: rows.size / total if total else 0.0 for name, rows in waiting.items()}
    return {
        name: rows.plus(-round(done.size * parts[name]), -round(done.rows * parts[name]))
        for name, rows in waiting.items()
    }


def _widest(links: list[UplinkLink]) -> dict[tuple[str, str], tuple[Movable, Bound]]:
    """Of all wishes for a step the widest, within what each of those uplinks allows."""
    found: dict[tuple[str, str], tuple[Movable, Bound]] = {}
    most: dict[tuple[str, str], Bound] = {}
    for link in links:
        if link.control is None:
            continue
        thinned = link.control.of(Rung.THIN)
        for place, (step, bound) in link.control.wishes().items():
            end = step.end(thinned=step.pipeline in thinned).bound
            most[place] = min((most.get(place, end), end), key=width)
            before = found.get(place)
            if before is None or width(bound) > width(before[1]):
                found[place] = step, bound
    return {place: (step, min((bound, most[place]), key=width)) for place, (step, bound) in found.items()}


def _all_steps(graph: Graph) -> Iterator[tuple[tuple[str, str], Step]]:
    for name, pipeline in graph.pipelines.items():
        for step in pipeline.steps:
            if step.lossy and not is_own(name):
                yield (name, step.key), step


def differs(now: Bound | None, wanted: Bound, *, exactly: bool) -> bool:
    """Whether a bound is to be changed: if it is not exactly the one that is wanted, or not nearly."""
    if now is None or now == wanted or exactly:
        return now is not None and now != wanted
    if (now.percent is None) != (wanted.percent is None) or not width(now) or not width(wanted):
        return True
    return abs(math.log(width(wanted) / width(now))) > NOTICED


def _valves(graph: Graph, links: list[UplinkLink]) -> Iterator[tuple[tuple[str, str], Bound]]:
    """Valves of summaries that are to be opened or shut."""
    opened = {SUMMARY + name for link in links if link.control is not None for name in link.control.summarised}
    for name, pipeline in graph.pipelines.items():
        if name.startswith(SUMMARY):
            for step in pipeline.steps:
                wanted = OPEN if name in opened else SHUT
                if isinstance(step.operator, Valve) and step.operator.bound != wanted:
                    yield (name, step.key), wanted
