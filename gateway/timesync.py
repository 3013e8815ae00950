"""Whether the clock can be believed: what adjtimex(2) or systemd-timesyncd say, and what becomes of samples if not."""

from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np

from gateway.frame import Frame
from gateway.quality import CLOCK_NOT_SYNCHRONISED

_TIME_ERROR = 5
_TIMEX_BYTES = 512
"""More than ``struct timex`` has anywhere; all zeros asks and changes nothing."""
_TIMESYNCD = Path("/run/systemd/timesync/synchronized")
OURS_NS = 60_000_000_000
"""A sample stamped this near to our own time was stamped by us, or by one who is as wrong."""


def kernel_synchronised() -> bool | None:
    """True or False as the kernel says; None where it may not be asked (``ProtectClock=``) and nobody else says so."""
    libc = ctypes.CDLL(None, use_errno=True)
    state = libc.adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))
    if state >= 0:
        return bool(state != _TIME_ERROR)
    return True if _TIMESYNCD.exists() else None


def in_doubt(frame: Frame, now_ns: int) -> Frame:
    """The same, with the samples flagged whose time is that of our own clock, which is not to be believed."""
    ours = np.abs(frame.time - now_ns) < OURS_NS
    flags = np.where(ours, np.uint16(CLOCK_NOT_SYNCHRONISED), np.uint16(0))
    return Frame(frame.point, frame.time, frame.value, frame.quality | flags)
