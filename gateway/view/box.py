"""The machine that the gateway runs on: processor, memory, disk. Asked in a thread, at most once a second."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import psutil

    from gateway.view.shapes import BoxRow

LEAST_S: Final = 0.9


class Box:
    """Figures of the machine; percentages are over the time since the look before."""

    def __init__(self, state: Path) -> None:
        self._state = state
        self._process: psutil.Process | None = None
        self._at_s = 0.0
        self._row: BoxRow | None = None
        self._turn = asyncio.Lock()

    async def look(self) -> BoxRow:
        """What it is now, or was within the last second."""
        async with self._turn:
            if self._row is not None and time.monotonic() - self._at_s < LEAST_S:
                return self._row
            self._row = row = await asyncio.to_thread(self._ask)
            self._at_s = time.monotonic()
            return row

    def _ask(self) -> BoxRow:
        import psutil

        if self._process is None:
            self._process = psutil.Process()
            began = time.monotonic() - (time.time() - self._process.create_time())
            used = sum(self._process.cpu_times()[:2])
            own = 100.0 * used / max(time.monotonic() - began, 1e-3)  # of its whole life: there is no look before
            self._process.cpu_percent()
            psutil.cpu_percent()
        else:
            own = self._process.cpu_percent()
        memory, disk = psutil.virtual_memory(), os.statvfs(self._state)
        return {
            "cpu_percent": psutil.cpu_percent(),
            "load1": round(os.getloadavg()[0], 2),
            "memory_bytes": memory.total - memory.available,
            "memory_total_bytes": memory.total,
            "disk_free_bytes": disk.f_bavail * disk.f_frsize,
            "disk_total_bytes": disk.f_blocks * disk.f_frsize,
            "own_cpu_percent": round(own, 1),
            "own_memory_bytes": self._process.memory_info().rss,
        }
