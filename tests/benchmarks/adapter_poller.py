"""The Modbus adapter alone, decoding as fast as devices answer: ``adapter_poller PORT DEVICES PROFILES``.

Says ``polling`` after the first frames; ends at the next line, or at the end of its input.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

import uvloop

from gateway.config import load
from tests.benchmarks.child import say, told
from tests.benchmarks.modbus import adapter
from tests.support.context import RecordingContext, running


class Counting(RecordingContext):
    """Counts samples and keeps none."""

    async def emit(self, frame, tokens=None):
        receipt = await super().emit(frame, tokens)
        self.frames.clear()
        self.receipts.clear()
        return receipt


async def main(port: int, devices: int, profiles: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "onpath.yaml"
        path.write_text(adapter(port, profiles, devices, "1ms"))
        config = load(path, {}).adapters["meters"]
    ctx = Counting(limit=1_000_000)
    async with running(config.create(), ctx):
        over = asyncio.create_task(told())
        await ctx.until(lambda: ctx.stats.samples, 30)
        say("polling")
        await over


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])))
