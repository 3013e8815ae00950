"""Commits that may wait for the disk (``store.flash``), so that flash memory lasts longer.

While every uplink is up and takes what there is, most rows of the spool are written, sent, acknowledged and deleted
within a second, and nobody needs them on disk. So a commit leaves SQLite's transaction open, and only one in
``window`` ends it: then the journal of that time is written, and of the spool what has not been delivered. The price
is stated: what was acknowledged within the window is not on disk, and a kill or a power cut loses it, unless it is
upstream already. When a link is down, every commit is on disk as without the option.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from gateway.frame import Frame
from gateway.missed import Missed
from gateway.store.config import FlashConfig
from gateway.store.segments import Segment

REASON = "flash-window"


class Lazy:
    """What is committed and not on disk. Lives on the event loop; times are the loop's."""

    def __init__(self, config: FlashConfig | None) -> None:
        self._window_s = 0.0 if config is None else float(config.window)
        self.steady: Callable[[], bool] = lambda: False
        """Whether every uplink is up."""
        self.open = False
        self._synced_at = float("-inf")
        self._unsynced = Missed()

    def due(self, now: float) -> bool:
        """Whether the next commit must be on disk."""
        return not self._window_s or now - self._synced_at >= self._window_s or not self.steady()

    def note(self, segments: Sequence[Segment], now: float, *, synced: bool) -> None:
        """A commit succeeded."""
        if synced:
            self.end(now)
            return
        self.open = True
        for segment in segments:
            if isinstance(segment, Frame):
                self._unsynced.add(segment, REASON)

    def end(self, now: float) -> Missed:
        """All that was open is on disk, or gone; what it was."""
        self.open = False
        self._synced_at = now
        unsynced, self._unsynced = self._unsynced, Missed()
        return unsynced

    def as_dict(self, now: float) -> dict[str, Any]:
        """For ``status``: how old what is not on disk may be, in seconds."""
        return {"unsynced_s": round(now - self._synced_at, 3) if self.open else 0.0}
