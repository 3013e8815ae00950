"""Whether anybody looks: what is shown is made only then, and for a while after, for who looks again."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator


class Attention:
    """Something that runs while it is held, or was looked at within the last ``keep_s``. Lives on the event loop."""

    def __init__(self, begin: Callable[[], None], end: Callable[[], None], keep_s: float) -> None:
        self._begin = begin
        self._end = end
        self._keep_s = keep_s
        self._held = 0
        self._until_s = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self.active = False

    def look(self) -> bool:
        """Somebody looks once; whether somebody did already."""
        before = self.active
        loop = asyncio.get_running_loop()
        self._until_s = loop.time() + self._keep_s
        self._wake()
        if self._timer is None:
            self._timer = loop.call_later(self._keep_s, self._check)
        return before

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Somebody looks while the block runs."""
        self._held += 1
        self._wake()
        try:
            yield
        finally:
            self._held -= 1
            self.look()

    def _wake(self) -> None:
        if not self.active:
            self.active = True
            self._begin()

    def _check(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = None
        left_s = self._until_s - loop.time()
        if self._held:
            return
        if left_s > 0:
            self._timer = loop.call_later(left_s, self._check)
        else:
            self.active = False
            self._end()
