"""Who is in the core, and who of them should hold which partition. No I/O."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import msgspec

from gateway.network.advert import LIVES, Advert, decode
from gateway.network.carrier.base import Entry
from gateway.network.config import PARTITIONS, Tier


def owner(partition: int, members: Iterable[str]) -> str:
    """The member with the highest draw: when one comes or goes, only what it has moves. Empty without members."""
    return max(members, key=lambda name: (_draw(partition, name), name), default="")


def _draw(partition: int, name: str) -> bytes:
    return hashlib.blake2b(f"{partition}/{name}".encode(), digest_size=8).digest()


def shares(members: Iterable[str]) -> dict[int, str]:
    """The owner of each partition."""
    living = sorted(members)
    return {partition: owner(partition, living) for partition in range(PARTITIONS)}


@dataclass(slots=True)
class _Known:
    revision: int
    until_s: float
    lives_s: float


class Members:
    """The living nodes of the core, by what they say of themselves, on our own clock."""

    def __init__(self, me: str) -> None:
        self._me = me
        self._known: dict[str, _Known] = {}
        self._gone: dict[str, int] = {}
        """Members of whom nothing is left but their last advert, by its revision."""

    def hear(self, entries: Iterable[Entry], now_s: float) -> None:
        """Take adverts as they were written, and see who has taken his back."""
        for entry in entries:
            advert = None if entry.value is None else _advert(entry.value)
            if advert is None or advert.tier is not Tier.CORE:
                self._known.pop(entry.key, None)
                continue
            known = self._known.get(entry.key)
            if known is None or known.revision != entry.revision:
                lives_s = LIVES * advert.every_s
                self._known[entry.key] = _Known(entry.revision, now_s + lives_s, lives_s)

    def give_up(self, name: str) -> bool:
        """Nothing of a member lives: count it as gone until it says something new. Whether that is news."""
        known = self._known.get(name)
        if known is None or name == self._me or self._gone.get(name) == known.revision:
            return False
        self._gone[name] = known.revision
        return True

    def living(self, now_s: float) -> set[str]:
        """Their names, and our own in any case."""
        return {self._me} | {
            name
            for name, known in self._known.items()
            if now_s < known.until_s and self._gone.get(name) != known.revision
        }


def _advert(value: bytes) -> Advert | None:
    try:
        return decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


class Orphans:
    """How long partitions that somebody else should hold have been held by nobody."""

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self._since: dict[int, float] = {}

    def look(self, wanted: Mapping[int, str], holders: Mapping[int, str], now_s: float) -> set[str]:
        """Members that hold nothing while something waits for them for too long.

        Args:
            wanted: the owner of each partition.
            holders: who holds each that is held.
            now_s: the time.
        """
        active = set(holders.values())
        idle: set[str] = set()
        for partition, name in wanted.items():
            if partition in holders or name in active:
                self._since.pop(partition, None)
            elif now_s - self._since.setdefault(partition, now_s) > self._patience_s:
                idle.add(name)
        return idle
