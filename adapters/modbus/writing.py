"""Writes: once, before all polls, and believed when the device has been read.

A request that writes is never repeated: whether one that got no answer was carried out, nobody knows, and a
second "add 10" is not the first. So its state is UNKNOWN until a read shows what the device holds. The
device's "done" is not believed either, as many drop a write silently that they confirmed.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

from adapters.base import WriteResult, Written
from adapters.modbus.pdu import AnswerError, Request, read_request
from adapters.modbus.place import Table
from adapters.modbus.queue import Priority
from adapters.modbus.target import Target, sharing_turns
from adapters.modbus.write_pdu import write_coil, write_masked, write_registers
from gateway.errors import LinkError, PayloadError
from gateway.quality import Reason

if TYPE_CHECKING:
    from collections.abc import Sequence

    from adapters.base import Context
    from adapters.modbus.queue import Queue

_ACKNOWLEDGE, _TARGET_SILENT = 5, 0x0B
_NAMES = {_ACKNOWLEDGE: "acknowledge", 7: "negative-acknowledge", 8: "memory-parity-error"}


class _Echo(NamedTuple):
    """What the device said to a write: DONE, REFUSED or nothing to rely on, and why."""

    result: WriteResult
    why: str = ""
    exception: int = 0


class Writer:
    """Writes to the devices of one endpoint. :meth:`attach` it to each connection."""

    def __init__(self, targets: Sequence[Target]) -> None:
        self._targets = {target.name: target for target in sharing_turns(targets)}
        self._last: dict[str, bytes] = {}
        self._without_mask: set[int] = set()
        self._way: tuple[Context, Queue] | None = None

    def attach(self, ctx: Context, queue: Queue) -> None:
        """Write through this connection from now on."""
        self._way = ctx, queue

    def detach(self) -> None:
        """The connection is gone."""
        self._way = None

    async def write(self, name: str, value: float | str) -> Written:
        """See :meth:`adapters.base.Adapter.write`."""
        target = self._target(name)
        image = b"" if target.layout.factors else target.image(value)
        async with target.turn:
            ctx, _ = self._connection()
            if target.layout.factors:
                image = target.image(value, await self._before(target, target.request))
            echo = await self._change(target, image)
            written = await self._judged(target, image, echo)
        self._report(ctx, target, written)
        return written

    async def check(self, name: str) -> Written:
        """See :meth:`adapters.base.Adapter.check`."""
        target = self._target(name)
        self._connection()
        if name not in self._last:
            raise PayloadError("never-written", name)
        async with target.turn:
            return await self._read_back(target, self._last[name], "")

    def _target(self, name: str) -> Target:
        if name not in self._targets:
            raise PayloadError("not-writable", name)
        return self._targets[name]

    def _connection(self) -> tuple[Context, Queue]:
        if self._way is None:
            raise LinkError("not connected")
        return self._way

    async def _change(self, target: Target, image: bytes) -> _Echo:
        """Send what the point's options say."""
        unit, layout, options = target.device.unit, target.layout, target.options
        if layout.table.is_bits:
            code = 5 if options.function == "auto" else options.function
            request = write_coil(unit, layout.address, on=bool(image[0]), function=code)
            return await self._send(target, image, request)
        part = target.part(image)
        function: int = part.function if options.function == "auto" else options.function
        if function == 22:
            if not (options.read_modify_write and unit in self._without_mask):
                request = write_masked(unit, part.address, part.data, part.mask)
                echo = await self._send(target, image, request)
                if echo.exception != 1 or not options.read_modify_write:
                    return echo
                self._without_mask.add(unit)  # function 22 is unknown there: nothing was written
            function = 6
        if not part.whole:
            part = part.into(await self._before(target, read_request(unit, Table.HOLDING, part.address, part.count)))
        request = write_registers(unit, part.address, part.data, function=function)
        return await self._send(target, image, request)

    async def _before(self, target: Target, request: Request) -> bytes:
        """Registers that must be known before a write can be made."""
        try:
            return await self._submit(target, request)
        except AnswerError as error:
            raise PayloadError("not-written", f"what is there now cannot be read: {error}") from error

    async def _submit(self, target: Target, request: Request) -> bytes:
        """Send a request before all polls; whoever answers is not dead."""
        ctx, queue = self._connection()
        try:
            answer = await queue.submit(request, Priority.WRITE)
        except AnswerError as error:
            if error.exception and not error.silent:
                target.device.breaker.answered()
            raise
        ctx.stats.messages += 1
        target.device.breaker.answered()
        return answer.data

    async def _send(self, target: Target, image: bytes, request: Request) -> _Echo:
        """Send a write, once."""
        self._last[target.name] = image
        _, queue = self._connection()
        began = asyncio.get_running_loop().time()
        try:
            await self._submit(target, request)
        except AnswerError as error:
            refused = error.exception and error.exception not in {_ACKNOWLEDGE, _TARGET_SILENT}
            result = WriteResult.REFUSED if refused else WriteResult.UNKNOWN
            return _Echo(result, word_for(error), error.exception)
        except LinkError:
            if queue.line.sent_at < began:  # it never went out
                del self._last[target.name]
                raise
            return _Echo(WriteResult.UNKNOWN, Reason.LINK_DOWN.text)
        return _Echo(WriteResult.DONE)

    async def _judged(self, target: Target, image: bytes, echo: _Echo) -> Written:
        """The result of a write that was sent."""
        if echo.result is WriteResult.REFUSED or not target.options.verify:
            return Written(result=echo.result, sent=target.value(image), why=echo.why)
        await asyncio.sleep(target.options.settle)
        return await self._read_back(target, image, echo.why)

    async def _read_back(self, target: Target, image: bytes, why: str) -> Written:
        sent = target.value(image)
        try:
            seen = await self._submit(target, target.request)
        except (AnswerError, LinkError):
            return Written(result=WriteResult.UNKNOWN, sent=sent, why=why or "not-read")
        result = WriteResult.DONE if target.agrees(image, seen) else WriteResult.MISMATCH
        return Written(result=result, sent=sent, seen=target.value(seen), why=why)

    @staticmethod
    def _report(ctx: Context, target: Target, written: Written) -> None:
        shown = ctx.stats.devices.setdefault(target.device.name, {}).setdefault("writes", {})
        shown[written.result.value] = shown.get(written.result.value, 0) + 1
        why = f" ({written.why})" if written.why else ""
        seen = "" if written.seen is None else f", read back {written.seen}"
        ctx.log.info("%s: wrote %s: %s%s%s", target.name, written.sent, written.result, why, seen)


def word_for(error: AnswerError) -> str:
    """A countable word; the exceptions that telemetry puts together have their own here."""
    if error.code is Reason.OTHER_EXCEPTION and error.exception not in _NAMES:
        return f"exception-{error.exception}"
    return _NAMES.get(error.exception, error.reason)
