"""Threads for the work of partitions, so that nothing of it blocks the event loop."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final, ParamSpec, TypeVar

MOST: Final = 4

P = ParamSpec("P")
R = TypeVar("R")


class Threads:
    """A few threads for all partitions; what one partition does is never cut in the middle."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(max(1, min(MOST, os.cpu_count() or 1)), "core")

    async def run(self, call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """The result of a call; a cancellation takes effect when the call has ended."""
        loop = asyncio.get_running_loop()
        working = loop.run_in_executor(self._pool, partial(call, *args, **kwargs))
        try:
            return await asyncio.shield(working)
        except asyncio.CancelledError:
            await asyncio.wait([working])
            if not working.cancelled():
                working.exception()  # fetched, so that the loop does not complain about it
            raise

    def close(self) -> None:
        """Let the threads end."""
        self._pool.shutdown(wait=False)
