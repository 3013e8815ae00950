"""How late the event loop is: what a blocked loop costs everybody."""

from __future__ import annotations

from collections import deque
from typing import Final

WINDOW_S: Final = 60.0


class Lag:
    """The longest of the last minute."""

    def __init__(self) -> None:
        self._late: deque[tuple[float, float]] = deque()
        """(time, lag), each larger than all behind it."""

    def note(self, now_s: float, late_s: float) -> None:
        """A timer fired so late."""
        while self._late and self._late[-1][1] <= late_s:
            self._late.pop()
        self._late.append((now_s, max(0.0, late_s)))
        while self._late[0][0] < now_s - WINDOW_S:
            self._late.popleft()

    @property
    def longest_s(self) -> float:
        """0 before the first."""
        return self._late[0][1] if self._late else 0.0
