"""Asks groups when they are due, one request at a time, and makes a frame of each cycle."""

from __future__ import annotations

import asyncio
import heapq
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from adapters.modbus.group import Block, Device, Group, stagger
from adapters.modbus.holes import Holes, find_holes
from adapters.modbus.pdu import AnswerError, Request, quality_of, read_request
from gateway.errors import LinkError, TooManyPointsError
from gateway.frame import Frame, Ids
from gateway.quality import Reason, no_value

if TYPE_CHECKING:
    from collections.abc import Sequence

    from adapters.base import Context
    from adapters.modbus.line import Line
    from adapters.modbus.planner import Read

SILENCE_S = 300.0
"""With all units suspended for so long the connection itself is suspect, and made anew."""
_SEARCHES = 8  # reads of one cycle in which holes may be searched for
_UNREACHABLE = {Reason.GATEWAY_PATH_UNAVAILABLE, Reason.GATEWAY_TARGET_FAILED}


class _Cycle:
    """The columns of a cycle while they fill."""

    def __init__(self, ids: Ids) -> None:
        n = len(ids)
        self.ids = ids
        self.time = np.empty(n, np.int64)
        self.value = np.empty(n, np.float64)
        self.quality = np.zeros(n, np.uint16)

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
    """

    def __init__(self, ctx: Context, groups: Sequence[Group]) -> None:
        self._ctx = ctx
        self._groups = groups
        self._loop = asyncio.get_running_loop()
        self._late = 0
        self._answered_at = 0.0
        self._line: Line

    async def run(self, line: Line) -> None:
        """Poll until cancelled.

        Raises:
            LinkError: the connection is gone, or nobody has answered for long.
        """
        self._line, self._late = line, 0
        self._answered_at = self._loop.time()
        stagger(self._groups, self._answered_at)
        queue = [(group.due, i, group) for i, group in enumerate(self._groups)]
        heapq.heapify(queue)
        while True:
            due, i, group = queue[0]
            wait = due - self._loop.time()
            if wait > 0:
                await line.rest(wait)
            group.start(self._loop.time())
            await self._ctx.emit(await self._cycle(group))
            group.advance(self._loop.time())
            self._report(group)
            heapq.heapreplace(queue, (group.due, i, group))

    async def _cycle(self, group: Group) -> Frame:
        """Ask for everything in the group's plan; search for holes when a read is refused."""
        request = group.recheck(self._loop.time())
        if request is not None and await self._refusal(group.device, request) is None:
            group.forget()
        for _ in range(_SEARCHES):
            cycle = _Cycle(group.plan.ids)
            refused = await self._fill(group, cycle)
            if refused is None or not await self._search(group, refused.read):
                break
        return cycle.frame()

    async def _fill(self, group: Group, cycle: _Cycle) -> Block | None:
        """Read all blocks into ``cycle``; a block that was refused with exception 2, if there was one."""
        refused, why, answered = None, Reason.NONE, False
        for block in group.plan.blocks:
            try:
                data, time_ns = await self._ask(group.device, block.request)
            except AnswerError as error:
                cycle.fail(block.where, error.code, self._ctx.now_ns())
                if error.code is Reason.ILLEGAL_DATA_ADDRESS:
                    refused = block
                if error.silent or error.code in {*_UNREACHABLE, Reason.UNIT_SUSPENDED}:
                    why = error.code if why is Reason.NONE else why
                else:
                    answered = True
                continue
            answered = True
            ids = cycle.ids[block.where]
            states = partial(self._state, ids)
            block.decoder.decode(data, cycle.value[block.where], cycle.quality[block.where], states)
            cycle.time[block.where] = time_ns
        if group.plan.dead.start < group.plan.dead.stop:
            cycle.fail(group.plan.dead, Reason.ILLEGAL_DATA_ADDRESS, self._ctx.now_ns())
        if answered or why is not Reason.NONE:
            self._tell(group.device, up=answered, why=why)
        return refused

    async def _ask(self, device: Device, request: Request) -> tuple[bytes, int]:
        """The data of an answer and the time in the middle of request and answer, UTC ns."""
        breaker, line, stats = device.breaker, self._line, self._ctx.stats
        if not breaker.may_ask(self._loop.time()):
            await asyncio.sleep(0)  # a cycle without requests lets others run all the same
            raise AnswerError(Reason.UNIT_SUSPENDED)
        try:
            data = await line.exchange(request)
        except AnswerError as error:
            stats.reasons[error.reason] += 1
            if error.silent:
                breaker.silent(self._loop.time())
                self._check_silence()
            elif error.code is not Reason.MALFORMED_ANSWER:
                self._hear(device)
            if not error.silent or error.code is Reason.GATEWAY_TARGET_FAILED:
                stats.messages += 1
            raise
        finally:
            if line.framing.late != self._late:
                stats.reasons["late-answer"] += line.framing.late - self._late
                self._late = line.framing.late
        half_ns = int((self._loop.time() - line.sent_at) * 5e8)
        stats.messages += 1
        self._hear(device)
        return data, self._ctx.now_ns() - half_ns

    def _hear(self, device: Device) -> None:
        device.breaker.answered()
        self._answered_at = self._loop.time()

    def _check_silence(self) -> None:
        """A half-dead converter answers again after a new connection."""
        silent_s = self._loop.time() - self._answered_at
        if silent_s > SILENCE_S and all(group.device.breaker.suspended for group in self._groups):
            raise LinkError(f"no unit has answered for {silent_s:.0f} s")

    async def _refusal(self, device: Device, request: Request) -> Reason | None:
        """Why the device does not answer a request with data, or None if it does."""
        try:
            await self._ask(device, request)
        except AnswerError as error:
            return error.code
        return None

    async def _search(self, group: Group, read: Read) -> bool:
        """Find the holes in a refused read and plan around them; whether any were found."""
        device = group.device

        async def readable(part: Read) -> bool:
            request = read_request(device.unit, part.table, part.address, part.count)
            refusal = await self._refusal(device, request)
            if refusal in {None, Reason.ILLEGAL_DATA_ADDRESS}:
                return refusal is None
            raise AnswerError(refusal or Reason.NONE)

        try:
            holes = await find_holes(group.spans, read, readable)
        except AnswerError:
            holes = Holes()  # the device says something else now: search when it refuses again
        if holes:
            group.learn(holes, self._loop.time())
            self._ctx.log.info(
                "%s: refuses %s:%d to %d; left out: %s",
                device.name,
                read.table,
                read.address,
                read.address + read.count - 1,
                ", ".join(f"{group.spans[i].table}:{group.spans[i].address}" for i in sorted(holes.dead))
                or "nothing, but read in parts",
            )
        return bool(holes)

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


def link_down(groups: Sequence[Group], now_ns: int) -> Frame:
    """One bad sample for every point: the connection is gone."""
    cycle = _Cycle(np.concatenate([group.ids for group in groups]))
    cycle.fail(slice(None), Reason.LINK_DOWN, now_ns)
    return cycle.frame()
