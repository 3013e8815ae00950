"""Keeps adapters and uplinks running: retries with jitter, one log line when a link goes and one when it returns."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable

from gateway.errors import LinkError

log = logging.getLogger(__name__)

FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 30.0
STEADY_S = 10.0
"""A run that lasted this long had a working link: the next pause begins small again."""


def pause_s(failures: int, chance: Callable[[], float] = random.random, longest_s: float = LONGEST_PAUSE_S) -> float:
    """Full jitter: anywhere between nothing and a bound that doubles with each failure, up to ``longest_s``, in s.

    Source: M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
    """
    return chance() * min(longest_s, FIRST_PAUSE_S * 2.0 ** min(failures, 30))


class LinkState:
    """Whether a link is up, told to the log when it changes and only then."""

    def __init__(self, what: str, on_change: Callable[[str], None]) -> None:
        self._what = what
        self._on_change = on_change
        self.up: bool | None = None
        self.detail = ""

    def set(self, *, up: bool, detail: str = "") -> None:
        """Note the state; one line for each change."""
        self.detail = detail
        if self.up is up:
            return
        if up:
            log.info("%s: link up%s", self._what, f" ({detail})" if detail else "")
        else:
            log.warning("%s: link down%s", self._what, f": {detail}" if detail else "")
        self.up = up
        self._on_change("up" if up else "down")


async def supervise(
    what: str, run: Callable[[], Awaitable[None]], link: LinkState, longest_s: float = LONGEST_PAUSE_S
) -> None:
    """Run for ever; after an error, pause and run again, for ``longest_s`` at most. Ends by cancellation only."""
    loop = asyncio.get_running_loop()
    failures = 0
    told: type[Exception] | None = None
    while True:
        began = loop.time()
        try:
            await run()
            reason = "ended by itself"
        except (LinkError, OSError, EOFError) as error:
            reason = str(error) or type(error).__name__
        # Broad on purpose, the only one here: a defect in one plug-in may not end the others, and what
        # it did not foresee is met with what helps most often, a fresh start.
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            if link.up or type(error) is not told:
                log.exception("%s failed", what)
            told = type(error)
        link.set(up=False, detail=reason)
        failures = 1 if loop.time() - began > STEADY_S else failures + 1
        await asyncio.sleep(pause_s(failures, longest_s=longest_s))
