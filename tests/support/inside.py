"""The daemon inside the test's own process, for what looks at it from within."""

from __future__ import annotations

import asyncio
import textwrap
from contextlib import asynccontextmanager
from pathlib import Path

from gateway.daemon import Daemon


@asynccontextmanager
async def inside(folder: Path, config: str):
    """A running daemon, stopped in order at the end."""
    path = folder / "onpath.yaml"
    path.write_text(f"gateway: g1\nstate: {folder / 'state'}\n" + textwrap.dedent(config))
    daemon = Daemon(path, {})
    task = asyncio.create_task(daemon.run(), name="daemon")
    try:
        await until(lambda: task.done() or (folder / "state" / "control.sock").exists())
        if task.done():
            task.result()
        yield daemon
    finally:
        daemon._stop.set()
        await task


async def until(condition, timeout_s: float = 20.0) -> None:
    """Wait until ``condition()`` holds."""
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.02)
