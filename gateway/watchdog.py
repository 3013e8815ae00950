"""systemd's watchdog, fed only while the gateway makes progress: the loop turns and the store commits."""

from __future__ import annotations

import asyncio
import logging

from gateway import notify
from gateway.intake import Intake

log = logging.getLogger(__name__)

STUCK_S = 15.0
"""A commit that was due this long ago means that the disk or the store's thread hangs."""


class Watchdog:
    """Feeds WATCHDOG=1. A loop that does not turn cannot feed, so its lag needs no measure of its own."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake

    async def run(self) -> None:
        """Feed at half the interval that systemd asked for; returns at once where it asked for none."""
        interval = notify.watchdog_interval_s()
        healthy = True
        while interval is not None:
            if self._intake.overdue_s < STUCK_S:
                notify.notify("WATCHDOG=1")
                healthy = True
            elif healthy:
                log.error("no progress: a commit is overdue by %.0f s", self._intake.overdue_s)
                healthy = False
            await asyncio.sleep(interval)
