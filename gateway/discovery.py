"""What was found and is not configured: a bounded table, and what of it may join by itself.

Adapters say what they find (:meth:`adapters.base.Context.found`). Kinds that the user trusts
(``discovery.accept``) join at run time, up to a bound; what joined is kept in the state folder and is part
of the configuration from then on, as if it stood in the YAML, which always wins.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from gateway.finding import Finding

log = logging.getLogger(__name__)

KEPT: Final = 1000
"""Findings in the table; the one not seen for longest gives way."""
MAX_BYTES: Final = 64 * 1024
"""A finding whose proposal is larger is not kept: a device may not fill the memory."""


@dataclass(slots=True)
class Known:
    """A finding and what became of it."""

    finding: Finding
    adapter: str
    first_ns: int
    last_ns: int
    seen: int = 1
    joined: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        facts: dict[str, Any] = msgspec.to_builtins(self.finding)
        return facts | {
            "key": self.finding.key,
            "adapter": self.adapter,
            "first_ns": self.first_ns,
            "last_ns": self.last_ns,
            "seen": self.seen,
            "joined": self.joined,
        }


class Findings:
    """The table of findings, and those that have joined."""

    def __init__(self, joined: bytes | None = None) -> None:
        self._known: dict[str, Known] = {}
        self.joined: dict[str, Finding] = _restored(joined)
        self._refused = False

    def add(self, adapter: str, finding: Finding, now_ns: int) -> Known | None:
        """Note it; None if it is too large to be kept."""
        known = self._known.pop(finding.key, None)
        if known is not None and known.finding == finding:
            known.last_ns, known.seen = now_ns, known.seen + 1
        else:
            if len(msgspec.json.encode(finding)) > MAX_BYTES:
                return None
            first, seen = (known.first_ns, known.seen + 1) if known else (now_ns, 1)
            known = Known(finding, adapter, first, now_ns, seen)
        known.joined = finding.key in self.joined
        self._known[finding.key] = known  # the newest stands last
        if len(self._known) > KEPT:
            self._known.pop(next(iter(self._known)))
        return known

    def rows(self) -> list[dict[str, Any]]:
        """All of them, the newest last."""
        return [known.as_dict() for known in self._known.values()]

    def may_join(self, known: Known, accept: Iterable[str], limit: int) -> bool:
        """Whether it joins by itself now; says once that the bound is reached."""
        finding = known.finding
        if known.joined or finding.taken or not finding.config or finding.kind not in accept:
            return False
        if len(self.joined) < limit:
            return True
        if not self._refused:
            self._refused = True
            log.warning("discovery: %d devices have joined, which is the bound; not taken: %s", limit, finding.key)
        return False

    def find(self, key: str) -> Known | None:
        """The finding of a key."""
        return self._known.get(key)

    def join(self, known: Known) -> None:
        """It is part of the configuration now."""
        known.joined = True
        self.joined[known.finding.key] = known.finding

    def leave(self, keys: Iterable[str]) -> None:
        """What cannot be part of the configuration, or stands in it by now."""
        for key in keys:
            self.joined.pop(key, None)
            if key in self._known:
                self._known[key].joined = False

    def encoded(self) -> bytes:
        """What has joined, for the state folder."""
        return msgspec.json.encode(list(self.joined.values()))


def _restored(encoded: bytes | None) -> dict[str, Finding]:
    if encoded is None:
        return {}
    try:
        found = msgspec.json.decode(encoded, type=list[Finding])
    except (msgspec.DecodeError, UnicodeDecodeError):
        log.warning("discovery: what had joined cannot be read and is forgotten")
        return {}
    return {finding.key: finding for finding in found}
