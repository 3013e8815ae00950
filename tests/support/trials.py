"""How often tests try what goes by chance: a quarter of their number in everyday runs.

``ONPATH_TRIALS`` says another part in percent: 100 for all, more to search longer. ``make torture`` sets it.
"""

from __future__ import annotations

import os

PERCENT = int(os.environ.get("ONPATH_TRIALS", "25"))


def trials(full: int) -> int:
    """How many of ``full`` trials are made here; a few in any case."""
    return max(full * PERCENT // 100, min(full, 6))
