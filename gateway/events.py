"""What happened: the newest lines of the log, kept for whoever looks. Bounded, in memory; the log itself is journald's.

One line is logged when a link goes and one when it returns, one for a reload, one for an alert: the log is short, and
what is worth an event is worth a line.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator
from dataclasses import asdict, dataclass
from typing import Any, Final

KEPT: Final = 2000
"""Lines; the oldest give way."""
LONGEST: Final = 4096
"""Characters of a line that are kept."""
LOOK_S: Final = 0.2


@dataclass(frozen=True, slots=True)
class Event:
    """One line."""

    number: int
    """Counts from 1 since the daemon began."""
    time_ns: int
    level: str
    source: str
    """The logger."""
    text: str


class Events(logging.Handler):
    """Keeps the newest lines. Attach it to the root logger; may be fed by any thread."""

    def __init__(self, kept: int = KEPT) -> None:
        super().__init__()
        self._ring: deque[Event] = deque(maxlen=kept)
        self._last = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line; called under the handler's lock."""
        self._last += 1
        text = record.getMessage()[:LONGEST]
        self._ring.append(Event(self._last, int(record.created * 1e9), record.levelname.lower(), record.name, text))

    @property
    def last(self) -> int:
        """The number of the newest; 0 while there is none."""
        return self._last

    def after(self, number: int) -> list[Event]:
        """Those with a higher number, in order."""
        return [event for event in self._ring.copy() if event.number > number]

    async def events_verb(self, request: dict[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        """``{"verb": "events", "last": 20}``: the newest so many, then each as it comes.

        ``"follow": false`` ends behind those, with ``{"end": number of the newest}``.
        """
        seen = max(0, self._last - max(0, int(request.get("last", 20))))
        while True:
            for event in self.after(seen):
                seen = event.number
                yield {"event": asdict(event)}
            if not request.get("follow", True):
                yield {"end": seen}
                return
            await asyncio.sleep(LOOK_S)
