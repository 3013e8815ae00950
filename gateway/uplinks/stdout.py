"""Uplink to standard output."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading

from gateway.errors import LinkError
from gateway.uplinks.base import Uplink, UplinkContext
from gateway.uplinks.config import Format, StdoutUplinkConfig
from gateway.uplinks.streams import Recorder, write_all


class StdoutUplink(Uplink):
    """See :class:`StdoutUplinkConfig`. A batch is done when the pipe has taken it."""

    def __init__(self, config: StdoutUplinkConfig) -> None:
        self._config = config

    async def run(self, ctx: UplinkContext) -> None:
        """See the base class."""
        recorder = Recorder(ctx, framed=self._config.format is Format.FRAME, time=self._config.time)
        ctx.link(up=True)
        while True:
            batch = await ctx.next()
            record = recorder.record(batch)
            if error := await _printed(record):
                raise LinkError(f"standard output: {error.strerror}") from error
            ctx.stats.messages += 1
            ctx.stats.bytes += len(record)
            ctx.done(batch)


_printing = threading.Lock()


async def _printed(record: bytes) -> OSError | None:
    """Write to standard output; what went wrong, if anything.

    In a thread that nothing waits for: whoever reads our output may stop reading, and then a stop of the
    gateway may not hang on it.
    """
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[OSError | None] = loop.create_future()

    def settle(error: OSError | None) -> None:
        if not outcome.done():
            outcome.set_result(error)

    def work() -> None:
        error = _print(record)
        with contextlib.suppress(RuntimeError):  # the loop is closed: the process is ending
            loop.call_soon_threadsafe(settle, error)

    threading.Thread(target=work, name="stdout", daemon=True).start()
    return await outcome


def _print(record: bytes) -> OSError | None:
    with _printing:
        try:
            write_all(sys.stdout.fileno(), record)
        except OSError as error:
            return error
    return None
