"""systemd's watchdog, fed only while the gateway makes progress: the loop turns and the store commits.

A full disk is waited for; a disk that cannot be written or synced is not fed for.
"""

from __future__ import annotations

import asyncio
import logging

from gateway import notify
from gateway.intake import Intake

log = logging.getLogger(__name__)


class Watchdog:
    """Feeds WATCHDOG=1. A loop that does not turn cannot feed, so its lag needs no measure of its own."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake

    async def run(self) -> None:
        """Feed at half the interval that systemd asked for; returns at once where it asked for none."""
        interval = notify.watchdog_interval_s()
        healthy = True
        while interval is not None:
            if self._intake.sound:
                notify.notify("WATCHDOG=1")
                healthy = True
            elif healthy:
                overdue = f"a commit is overdue by {self._intake.overdue_s:.0f} s"
                log.error("no progress: %s", self._intake.failure or overdue)
                healthy = False
            await asyncio.sleep(interval)
