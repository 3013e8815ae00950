"""A store that fails: why, since when, what waits for it, and what was let go meanwhile."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from gateway.errors import StoreError
from gateway.frame import Frame
from gateway.group import LetGo, OpenGroup
from gateway.missed import Missed
from gateway.store.database import StoreFullError, StoreReadOnlyError

log = logging.getLogger(__name__)

ATTEMPTS = 3
"""How often a group is written, each time to a store that was opened anew, before it is given up."""
TELL_S = 60.0
"""How often a store that still fails is told of in the log."""


class Outage:
    """Lives on the event loop. There is one, and it is over whenever ``failure`` is None."""

    def __init__(self) -> None:
        self.failure: StoreError | None = None
        """Why nothing can be made durable, while that is so."""
        self.cause: StoreError | None = None
        """What must be mended before the store is used again."""
        self.held: OpenGroup | None = None
        """The group that failed; perhaps it is on disk all the same."""
        self.failures = 0
        self.lost_samples = 0
        """Samples that the store could not take and that cannot be asked again."""
        self._missed = Missed()
        self._began_at = self.attempted_at = self._told_at = 0.0
        self._told = ""

    def begin(self, error: StoreError) -> None:
        """Nothing more is written: the pipelines may have run ahead of the disk."""
        self.failure = self.cause = error
        self.failures += 1
        self._began_at = self.attempted_at = self._told_at = asyncio.get_running_loop().time()
        self._told = str(error)
        log.error("the store failed, nothing is acknowledged until it works again: %s", error)

    def attempt(self) -> Missed:
        """The store is opened once more; what is to be told then."""
        self.attempted_at = asyncio.get_running_loop().time()
        missed, self._missed = self._missed, Missed()
        return missed

    def go_on(self, again: StoreError, missed: Missed) -> None:
        """It still fails, and nothing was told."""
        missed.join(self._missed)
        self._missed = missed
        self.failure = again
        if self.cause is None or isinstance(self.cause, StoreFullError):
            self.cause = again  # the first one that is more than a lack of room says what must be renewed
        if str(again) != self._told or self.attempted_at - self._told_at > TELL_S:
            log.error("the store still fails: %s", again)
            self._told_at, self._told = self.attempted_at, str(again)

    def end(self) -> OpenGroup | None:
        """The store works again; the group that failed."""
        log.warning("the store works again", extra={"lost_samples": self.lost_samples})
        self.failure = self.cause = None
        held, self.held = self.held, None
        return held

    def hold(self, group: OpenGroup, error: StoreError) -> None:
        """Keep a group that failed, unless it is the group that the store cannot take."""
        if not isinstance(error, StoreFullError):
            group.attempts += 1
        if group.attempts < ATTEMPTS:
            self.held = group
            return
        for segment in group.segments:
            if isinstance(segment, Frame):
                self.let_go(segment, error)
        group.fail(error)

    def let_go(self, frame: Frame, error: StoreError) -> LetGo:
        """Samples that nobody can take: counted, and told when the store is back."""
        self._missed.add(frame, error.reason)
        self.lost_samples += len(frame)
        return LetGo(error)

    def forget(self, unsynced: Missed) -> None:
        """These had been taken, and were to be written later: they may be gone."""
        self.lost_samples += unsynced.samples
        self._missed.join(unsynced)

    def give_up(self) -> None:
        """The gateway stops while the store fails."""
        if self.held is not None:
            self.held.fail(self.failure or StoreError("the gateway stopped"))
            log.error("the gateway stops before the store works again: %d samples are lost", self.held.samples)

    def patient(self, limit_s: float) -> bool:
        """Whether all that is missing is room on a disk, which the store goes on asking for."""
        waiting_s = asyncio.get_running_loop().time() - self.attempted_at
        return isinstance(self.failure, (StoreFullError, StoreReadOnlyError)) and waiting_s < limit_s

    def as_dict(self) -> dict[str, Any]:
        """For ``status``: plain JSON types."""
        failure = self.failure
        failing_s = asyncio.get_running_loop().time() - self._began_at if failure else 0.0
        return {
            "failure": failure.reason if failure else None,
            "detail": str(failure) if failure else "",
            "failing_s": round(failing_s, 3),
            "failures": self.failures,
            "lost_samples": self.lost_samples,
        }
