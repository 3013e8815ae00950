"""Finds out what SunSpec devices have, while the rest of the endpoint is polled; see :mod:`adapters.modbus.sunspec`.

A chain that was found is kept in the adapter's memory, so that a restart polls at once; each new connection
checks marker, ids and lengths, and follows the chain anew if they have changed.

    sunspec/DEVICE   ->   JSON {config, chain}
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec

from adapters.modbus.pdu import AnswerError, read_request
from adapters.modbus.place import Table
from adapters.modbus.profile import is_chosen
from adapters.modbus.sunspec import BASES, Chain, SunSpecError, holds, scan
from adapters.modbus.sunspec_points import Map, map_of

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable, Mapping

    from adapters.base import Context
    from adapters.modbus.config import ModbusDevice, ModbusPoint
    from adapters.modbus.queue import Queue

LONGEST_S = 60.0
"""A device without an answer, or without a chain, is asked again after five time-outs, then ever later."""
_IDLE_S = 3600.0


class _Kept(msgspec.Struct, frozen=True):
    """What is remembered of a device; ``config`` says what it was configured to be."""

    config: str
    chain: Chain


class Sought:
    """A SunSpec device of the endpoint.

    Args:
        name: of the device.
        options: what the user says of it.
        url: of its endpoint.
        max_registers: of one read.
    """

    def __init__(self, name: str, options: ModbusDevice, url: str, max_registers: int) -> None:
        self.name = name
        self.unit = options.unit
        self.bases = BASES if options.base is None else (options.base,)
        self.chain: Chain | None = None
        self.checked = False
        """Whether the chain was seen on this connection."""
        self.due = 0.0
        self.wait_s = 0.0
        self.map = Map()
        self._only = options.only
        self._max_registers = max_registers
        self._config = f"{url} {options.unit} {options.base}"

    @property
    def points(self) -> Mapping[str, ModbusPoint]:
        """The points that the device has, as far as they are wanted."""
        return {name: point for name, point in self.map.points.items() if is_chosen(name, self._only)}

    def recall(self, ctx: Context) -> None:
        """Take what an earlier run has found, if the device is configured as it was then."""
        kept = ctx.recall(f"sunspec/{self.name}")
        if not kept:
            return
        try:
            known = msgspec.json.decode(kept, type=_Kept)
        except msgspec.MsgspecError:
            return  # of another version of this program: look again
        if known.config == self._config:
            self.chain, self.map = known.chain, map_of(known.chain, self._max_registers)

    async def take(self, ctx: Context, chain: Chain) -> None:
        """Keep a chain that was found. Model definitions are files: they are read beside the loop."""
        self.chain, self.map = chain, await asyncio.to_thread(map_of, chain, self._max_registers)
        ctx.remember(f"sunspec/{self.name}", msgspec.json.encode(_Kept(self._config, chain)))
        ctx.log.info(
            "%s: SunSpec at %d, models %s%s%s",
            self.name,
            chain.base,
            ", ".join(str(model.id) for model in chain.models) or "none",
            f"; without a definition: {', '.join(map(str, self.map.unknown))}" if self.map.unknown else "",
            f"; too far from their scale factors: {', '.join(self.map.too_wide)}" if self.map.too_wide else "",
        )
        for glob in self._only:
            if not any(is_chosen(name, [glob]) for name in self.map.points):
                ctx.log.warning("%s: has no point %r, which only asks for", self.name, glob)


class Seeker:
    """Looks for chains through one connection until it goes.

    Args:
        ctx: the gateway's side.
        queue: the way to the endpoint.
        timeout_s: how long the line waits for an answer.
        sought: the devices; they keep what was found from one connection to the next.
    """

    def __init__(self, ctx: Context, queue: Queue, timeout_s: float, sought: Iterable[Sought]) -> None:
        self._ctx = ctx
        self._queue = queue
        self._first_wait_s = min(5 * timeout_s, LONGEST_S)
        self._loop = asyncio.get_running_loop()
        self._sought = tuple(sought)
        for one in self._sought:
            one.checked, one.due, one.wait_s = False, 0.0, 0.0

    async def beside(self, polling: Coroutine[None, None, None] | None) -> Sought:
        """Poll until a device has said what it has, new or changed: that device.

        Raises:
            LinkError: the connection is gone.
        """
        seeking = asyncio.create_task(self._next(), name="SunSpec discovery")
        tasks = {seeking} if polling is None else {seeking, asyncio.create_task(polling, name="polling")}
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done - {seeking}:
                task.result()  # polling ends only by an error
            return await seeking
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _next(self) -> Sought:
        while True:
            pending = [one for one in self._sought if not one.checked]
            for one in pending:
                if one.due <= self._loop.time() and await self._changed(one):
                    return one
            waits = [one.due - self._loop.time() for one in pending if not one.checked]
            await self._queue.line.rest(min([_IDLE_S, *(max(wait, 0.01) for wait in waits)]))

    async def _changed(self, one: Sought) -> bool:
        """Ask a device; whether it has something else than what is known."""

        async def read(address: int, count: int) -> bytes:
            return await self._read(one.unit, address, count)

        try:
            if one.chain is not None and await holds(read, one.chain):
                one.checked = True
                return False
            chain = await scan(read, one.bases)
        except (SunSpecError, AnswerError) as error:
            self._put_off(one, error)
            return False
        one.checked = True
        if chain == one.chain:
            return False
        await one.take(self._ctx, chain)
        return True

    async def _read(self, unit: int, address: int, count: int) -> bytes:
        stats = self._ctx.stats
        try:
            answer = await self._queue.submit(read_request(unit, Table.HOLDING, address, count))
        except AnswerError as error:
            stats.reasons[error.reason] += 1
            stats.messages += not error.silent
            raise
        stats.messages += 1
        return answer.data

    def _put_off(self, one: Sought, error: SunSpecError | AnswerError) -> None:
        one.wait_s = min(2 * one.wait_s or self._first_wait_s, LONGEST_S)
        one.due = self._loop.time() + one.wait_s
        if isinstance(error, SunSpecError):
            self._ctx.stats.reasons[error.reason] += 1
        if one.chain is None:
            self._ctx.link(one.name, up=False, detail=str(error))
