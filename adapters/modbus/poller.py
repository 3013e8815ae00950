"""Asks groups when they are due and makes a frame of each cycle."""

from __future__ import annotations

import asyncio
import heapq
from functools import partial
from math import inf
from typing import TYPE_CHECKING

import numpy as np

from adapters.modbus.asker import Asker
from adapters.modbus.breaker import TRIES
from adapters.modbus.group import Block, Device, Group, stagger
from adapters.modbus.pdu import AnswerError, quality_of
from adapters.modbus.search import search
from gateway.errors import TooManyPointsError
from gateway.frame import Frame, Ids
from gateway.quality import Reason, no_value

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable, Sequence

    from adapters.base import Context
    from adapters.modbus.queue import Answer, Queue

_SEARCHES = 8  # reads of one cycle whose refusal may be looked into
_UNREACHABLE = {Reason.GATEWAY_PATH_UNAVAILABLE, Reason.UNIT_SUSPENDED}
_REFUSALS = {Reason.ILLEGAL_DATA_ADDRESS, Reason.ILLEGAL_DATA_VALUE}
_NO_ANSWERS = {Reason.TIMEOUT, Reason.MALFORMED_ANSWER}


class _Cycle:
    """The columns of a cycle while they fill."""

    def __init__(self, ids: Ids) -> None:
        n = len(ids)
        self.ids = ids
        self.time = np.empty(n, np.int64)
        self.value = np.empty(n, np.float64)
        self.quality = np.zeros(n, np.uint16)
        self.answered = False
        """Whether the unit said anything."""
        self.why = Reason.NONE
        """Why it did not, when it first did not."""
        self.suspect: Block | None = None
        """A read that the unit refuses, or does not answer though it answers others."""

    def fail(self, where: slice, code: Reason, time_ns: int) -> None:
        """No values for these points, because of ``code``."""
        self.time[where] = time_ns
        self.value[where] = no_value(code)
        self.quality[where] = quality_of(code)

    def frame(self) -> Frame:
        return Frame(self.ids, self.time, self.value, self.quality)


class Poller:
    """Polls through one connection until it goes.

    Args:
        ctx: the gateway's side.
        groups: what to poll; they keep what was learned from one connection to the next.
        timeout_s: how long the line waits for an answer.
    """

    def __init__(self, ctx: Context, groups: Sequence[Group], timeout_s: float) -> None:
        self._ctx = ctx
        self._groups = groups
        self._timeout_s = timeout_s
        self._loop = asyncio.get_running_loop()
        self._heap: list[tuple[float, int, Group]] = []
        self._queue: Queue
        self._asker: Asker

    async def run(self, queue: Queue) -> None:
        """Poll until cancelled; as many groups at once as the queue has slots.

        Raises:
            LinkError: the connection is gone, or nobody has answered for long.
        """
        devices = (group.device for group in self._groups)
        self._queue, self._asker = queue, Asker(self._ctx, queue, devices, self._timeout_s)
        stagger(self._groups, self._loop.time())
        self._heap = [(group.due, i, group) for i, group in enumerate(self._groups)]
        heapq.heapify(self._heap)
        workers = min(queue.slots, len(self._groups))
        await (self._work() if workers == 1 else _all(self._work() for _ in range(workers)))

    async def _work(self) -> None:
        """Serve one group after the other; a group is never served twice at once."""
        due, i, group = heapq.heappop(self._heap)
        while True:
            wait = due - self._loop.time()
            if wait > 0:
                await self._queue.line.rest(wait)
            group.start(self._loop.time())
            await self._ctx.emit(await self._cycle(group))
            group.advance(self._loop.time())
            self._report(group)
            due, i, group = heapq.heappushpop(self._heap, (group.due, i, group))

    async def _cycle(self, group: Group) -> Frame:
        """Ask for everything in the group's plan; look into a refusal of a read."""
        group.renew()
        probed = group.device.breaker.suspended
        if not await self._awake(group):
            cycle = _Cycle(group.plan.ids)
            cycle.fail(slice(None), Reason.UNIT_SUSPENDED, self._ctx.now_ns())
            self._tell(group.device, up=False, why=Reason.UNIT_SUSPENDED)
            await asyncio.sleep(0)  # a cycle without requests lets others run all the same
            return cycle.frame()
        request = group.recheck(self._loop.time())
        if request is not None and await self._asker.refusal(group.device, request) is None:
            group.forget()
        for _ in range(_SEARCHES):
            cycle = await self._fill(group)
            self._suspect(group, cycle, heard=probed or cycle.answered)
            if cycle.suspect is None or not await search(self._ctx.log, self._asker, group, cycle.suspect.read):
                break
        return cycle.frame()

    async def _awake(self, group: Group) -> bool:
        """Whether to ask the unit for all there is; of a suspended one the shortest read is a probe."""
        if not group.device.breaker.suspended:
            return True
        pause = self._heap[0][0] - self._loop.time() if self._heap else inf
        if not self._asker.may_ask(group.device, pause):
            return False
        probe = group.probe()
        if probe is not None:
            await self._asker.refusal(group.device, probe)
        return not group.device.breaker.suspended

    async def _fill(self, group: Group) -> _Cycle:
        """Read all blocks."""
        cycle = _Cycle(group.plan.ids)
        blocks = group.plan.blocks
        if self._queue.slots == 1 or len(blocks) == 1:
            for block in blocks:
                await self._read(group, block, cycle)
        else:
            await _all(self._read(group, block, cycle) for block in blocks)
        if group.plan.dead.start < group.plan.dead.stop:
            cycle.fail(group.plan.dead, Reason.ILLEGAL_DATA_ADDRESS, self._ctx.now_ns())
        if cycle.answered or cycle.why is not Reason.NONE:
            self._tell(group.device, up=cycle.answered, why=cycle.why)
        return cycle

    def _suspect(self, group: Group, cycle: _Cycle, *, heard: bool) -> None:
        """A read that goes unanswered again and again, of a unit that is heard, may be at fault itself."""
        if group.quiet and heard and cycle.suspect is None and self._loop.time() >= group.search_at:
            often = (block for block in group.plan.blocks if group.quiet[block.read] >= TRIES)
            cycle.suspect = next(often, None)

    async def _read(self, group: Group, block: Block, cycle: _Cycle) -> None:
        """Ask for one block, and take its answer apart."""
        device = group.device
        if device.breaker.suspended:
            cycle.fail(block.where, Reason.UNIT_SUSPENDED, self._ctx.now_ns())
            return
        try:
            answer = await self._asker.ask(device, block.request)
        except AnswerError as error:
            self._failed(group, block, cycle, error)
            return
        cycle.answered = True
        if group.quiet:
            del group.quiet[block.read]
        states = partial(self._state, cycle.ids[block.where])
        block.decoder.decode(answer.data, cycle.value[block.where], cycle.quality[block.where], states)
        cycle.time[block.where] = self._at(answer)

    def _at(self, answer: Answer) -> int:
        """The time in the middle of request and answer, UTC ns."""
        ago_s = self._loop.time() - (answer.sent_s + answer.received_s) / 2
        return self._ctx.now_ns() - int(ago_s * 1e9)

    def _failed(self, group: Group, block: Block, cycle: _Cycle, error: AnswerError) -> None:
        cycle.fail(block.where, error.code, self._ctx.now_ns())
        if error.code in _NO_ANSWERS:
            group.quiet[block.read] += 1
        else:
            del group.quiet[block.read]  # of a Counter: fine if it is not there
        if error.code in _REFUSALS and (len(block.read.members) > 1 or error.code is Reason.ILLEGAL_DATA_ADDRESS):
            cycle.suspect = block  # "illegal value", of one value, is no matter of the read
        if not (error.silent or error.code in _UNREACHABLE):
            cycle.answered = True
        elif cycle.why is Reason.NONE:
            cycle.why = error.code

    def _state(self, ids: Ids, position: int, text: str) -> float:
        try:
            return self._ctx.points.state(int(ids[position]), text)
        except TooManyPointsError:
            self._ctx.stats.reasons["too-many-states"] += 1
            return no_value(Reason.REFUSED)

    def _tell(self, device: Device, *, up: bool, why: Reason) -> None:
        if device.up is not up:
            device.up = up
            self._ctx.link(device.name, up=up, detail="" if up else why.text)

    def _report(self, group: Group) -> None:
        shown = self._ctx.stats.devices.setdefault(group.device.name, {})
        shown["missed"] = group.device.missed
        if group.leads:
            shown["period_asked_s"] = group.period_s
            shown["period_achieved_s"] = round(group.achieved_s, 6)


async def _all(jobs: Iterable[Coroutine[None, None, None]]) -> None:
    """Run jobs at once; the first that fails ends the others."""
    tasks = [asyncio.ensure_future(job) for job in jobs]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def link_down(groups: Sequence[Group], now_ns: int) -> Frame:
    """One bad sample for every point: the connection is gone."""
    cycle = _Cycle(np.concatenate([group.ids for group in groups]))
    cycle.fail(slice(None), Reason.LINK_DOWN, now_ns)
    return cycle.frame()
