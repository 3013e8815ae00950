"""Looks for units that nobody has configured, beside polling and without being in its way."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import msgspec

from adapters.modbus.pdu import AnswerError, Request, read_request
from adapters.modbus.profile import available
from adapters.modbus.tools.findings import finding_of
from adapters.modbus.tools.scanning import describe, find_units
from adapters.modbus.unit_ranges import parse_units
from gateway.quality import Reason

if TYPE_CHECKING:
    from collections.abc import Collection

    from adapters.base import Context
    from adapters.modbus.config import ModbusConfig
    from adapters.modbus.place import Table
    from adapters.modbus.queue import Queue

SHARE: Final = 0.1
"""Part of the bus's time that exploring takes at most."""
AGAIN_S: Final = 3600.0
"""Who came since then is found at the next turn."""
_KEY: Final = "explored"


class _Progress(msgspec.Struct, frozen=True):
    """How far a turn has come, so that a new start goes on with it."""

    units: str
    next: int
    at_ns: int


class _Talk:
    """What the tools need of a session, through the adapter's own queue."""

    def __init__(self, queue: Queue, patience_s: float) -> None:
        self._queue = queue
        self._patience_s = patience_s
        self._loop = asyncio.get_running_loop()

    async def ask(self, request: Request, *, tries: int = 1) -> bytes:
        """See :meth:`adapters.modbus.tools.session.Session.ask`."""
        for left in reversed(range(tries)):
            began_s = self._loop.time()
            try:
                return (await self._queue.submit(request, patience_s=self._patience_s)).data
            except AnswerError as error:
                if not left or error.code not in {Reason.TIMEOUT, Reason.DEVICE_BUSY}:
                    raise
            finally:
                await self._queue.line.rest((self._loop.time() - began_s) * (1 / SHARE - 1))
        raise AssertionError("the last try returns or raises")

    async def read(self, unit: int, table: Table, address: int, count: int, *, tries: int = 1) -> bytes:
        """See :meth:`adapters.modbus.tools.session.Session.read`."""
        return await self.ask(read_request(unit, table, address, count), tries=tries)


async def explore(ctx: Context, config: ModbusConfig, queue: Queue, configured: Collection[int]) -> None:
    """Ask the units of ``discover`` who they are, again and again with an hour between, for ever.

    Raises:
        LinkError: the connection is gone.
    """
    units = parse_units(config.discover)
    profiles = list(available(config.profiles))
    talk = _Talk(queue, config.timeout)
    while True:
        progress = _recalled(ctx, config.discover)
        if progress.next >= len(units):
            elapsed_s = (ctx.now_ns() - progress.at_ns) / 1e9
            if 0 <= elapsed_s < AGAIN_S:
                await asyncio.sleep(AGAIN_S - elapsed_s)
            progress = _Progress(config.discover, 0, 0)
        for number in range(progress.next, len(units)):
            if units[number] not in configured:
                for found in await find_units(talk, [units[number]], lambda _what, _done, _total: None):
                    await describe(talk, found)
                    ctx.found(finding_of(config.url, ctx.name, found, profiles))
            _remember(ctx, config.discover, number + 1)


def _recalled(ctx: Context, units: str) -> _Progress:
    kept = ctx.recall(_KEY)
    if kept:
        try:
            progress = msgspec.json.decode(kept, type=_Progress)
        except msgspec.MsgspecError:
            pass  # of another version of this program: look again
        else:
            if progress.units == units:
                return progress
    return _Progress(units, 0, 0)


def _remember(ctx: Context, units: str, number: int) -> None:
    ctx.remember(_KEY, msgspec.json.encode(_Progress(units, number, ctx.now_ns())))
