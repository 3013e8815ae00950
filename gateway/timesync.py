"""Whether the kernel says that its clock is synchronised: adjtimex(2), or what systemd-timesyncd leaves behind."""

from __future__ import annotations

import ctypes
from pathlib import Path

_TIME_ERROR = 5
_TIMEX_BYTES = 512
"""More than ``struct timex`` has anywhere; all zeros asks and changes nothing."""
_TIMESYNCD = Path("/run/systemd/timesync/synchronized")


def kernel_synchronised() -> bool | None:
    """True or False as the kernel says; None where it may not be asked (``ProtectClock=``) and nobody else says so."""
    libc = ctypes.CDLL(None, use_errno=True)
    state = libc.adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))
    if state >= 0:
        return bool(state != _TIME_ERROR)
    return True if _TIMESYNCD.exists() else None
