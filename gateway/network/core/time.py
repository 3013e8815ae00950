"""A partition's time while one worker has it: it never jumps, whatever the worker's clock says."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from gateway.clock import PLAUSIBLE_NS

if TYPE_CHECKING:
    from collections.abc import Callable

GAP_NS: Final = 3600 * 10**9
"""So much at most a partition's time goes on at once when another worker takes it."""


class PartitionTime:
    """Goes on where the worker before left it, and at most twice as fast as time itself.

    A clock that is wrong may belong to any worker. One that is ahead must not carry the time of all groups away, so
    that what comes is too late for good; and once it was ahead, the next worker's time must not stand still.

    Args:
        stream_ns: the partition's newest tick; 0: there was none.
        wall_ns: UTC, as this worker has it.
        monotonic_ns: any clock that only grows.
    """

    def __init__(self, stream_ns: int, wall_ns: int, monotonic_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._monotonic_ns = monotonic_ns
        self._since_ns = monotonic_ns()
        known = stream_ns > PLAUSIBLE_NS
        self._base_ns = stream_ns + min(max(wall_ns - stream_ns, 0), GAP_NS) if known else wall_ns
        self._behind_ns = max(wall_ns - self._base_ns, 0)

    def now_ns(self) -> int:
        """The partition's time."""
        elapsed_ns = self._monotonic_ns() - self._since_ns
        return self._base_ns + elapsed_ns + min(self._behind_ns, elapsed_ns)
