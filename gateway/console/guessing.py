"""Guessing passwords is made slow: who was wrong a few times has to wait, twice as long each time.

Counted by the address of the other side; of IPv6 by its /64, for that is what one customer gets.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Final

FREE: Final = 4
"""Wrong passwords that cost nothing."""
FIRST_S: Final = 1.0
LONGEST_S: Final = 300.0
FORGOTTEN_S: Final = 1800.0
MOST: Final = 10_000
"""Addresses that are remembered; beyond that all others share one."""


@dataclass(slots=True)
class _Guesser:
    wrong: int = 0
    last_s: float = 0.0


class Guessing:
    """Who was wrong how often. ``now_s`` is of a monotonic clock."""

    def __init__(self) -> None:
        self._known: dict[str, _Guesser] = {}

    def wait_s(self, address: str, now_s: float) -> float:
        """How long this address has to wait before it may try; 0: not at all."""
        known = self._known.get(self._key(address))
        if known is None or known.wrong < FREE:
            return 0.0
        pause_s = min(LONGEST_S, FIRST_S * 2.0 ** min(known.wrong - FREE, 30))
        return max(0.0, known.last_s + pause_s - now_s)

    def wrong(self, address: str, now_s: float) -> None:
        """It was wrong."""
        key = self._key(address)
        if key not in self._known:
            self._known = {one: seen for one, seen in self._known.items() if now_s - seen.last_s < FORGOTTEN_S}
        known = self._known.setdefault(key, _Guesser())
        known.wrong, known.last_s = known.wrong + 1, now_s

    def right(self, address: str) -> None:
        """It was right."""
        self._known.pop(self._key(address), None)

    def _key(self, address: str) -> str:
        try:
            found = ipaddress.ip_address(address)
        except ValueError:
            return ""
        if found.version == 6:
            mapped = found.ipv4_mapped
            key = str(mapped or ipaddress.ip_network((found, 64), strict=False))
        else:
            key = str(found)
        return key if key in self._known or len(self._known) < MOST else ""
