"""Names of wire messages that are durable, so that a repetition after a crash is not taken twice.

An MQTT broker repeats a QoS 1 message whose PUBACK it did not see: killed between the commit and the
PUBACK, the gateway gets again what its journal holds. The adapter names each message by a number; the
numbers are committed with the frame, and a repetition that is known is acknowledged and not emitted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import apsw
import numpy as np

from adapters.base import Tokens
from gateway.frame import Mask
from gateway.store.database import rows_of

KEPT = 1 << 16
"""Tokens kept an adapter: no broker has more messages in flight on one connection (packet ids have 16 bits)."""

FEW = 8
"""Tokens that are compared one by one, which is faster than to sort all that are known."""


@dataclass
class TokenTable:
    """Tokens on disk. Writing methods run inside the caller's transaction."""

    db: apsw.Connection

    def append(self, position: int, tokens: Iterable[tuple[str, Tokens]]) -> None:
        """Write the tokens of one commit."""
        together: dict[str, list[bytes]] = {}
        for adapter, numbers in tokens:
            together.setdefault(adapter, []).append(numbers.astype("<u8").tobytes())
        rows = [(adapter, position, b"".join(parts)) for adapter, parts in together.items()]
        if rows:
            self.db.executemany("INSERT INTO received VALUES (?, ?, ?)", rows)

    def read(self) -> dict[str, list[Tokens]]:
        """Arrays of tokens by adapter, oldest first."""
        found: dict[str, list[Tokens]] = {}
        for adapter, raw in rows_of(self.db, "SELECT adapter, tokens FROM received ORDER BY rowid"):
            found.setdefault(adapter, []).append(np.frombuffer(raw, "<u8"))
        return found

    def trim(self) -> None:
        """Forget all but the newest :data:`KEPT` of each adapter."""
        adapters = [name for (name,) in rows_of(self.db, "SELECT DISTINCT adapter FROM received")]
        for adapter in adapters:
            kept = 0
            query = "SELECT position, length(tokens) / 8 FROM received WHERE adapter = ? ORDER BY position DESC"
            for position, count in rows_of(self.db, query, (adapter,)):
                kept += count
                if kept >= KEPT:
                    self.db.execute("DELETE FROM received WHERE adapter = ? AND position < ?", (adapter, position))
                    break


class RecentTokens:
    """Tokens in memory, by adapter, bounded."""

    def __init__(self, found: Mapping[str, Sequence[Tokens]]) -> None:
        self._recent: dict[str, deque[Tokens]] = {}
        self._counts: dict[str, int] = {}
        for adapter, arrays in found.items():
            self.add(adapter, np.concatenate(arrays))

    def add(self, adapter: str, tokens: Tokens) -> None:
        """These are durable."""
        recent = self._recent.setdefault(adapter, deque())
        recent.append(tokens)
        count = self._counts.get(adapter, 0) + len(tokens)
        while count - len(recent[0]) >= KEPT:
            count -= len(recent.popleft())
        self._counts[adapter] = count

    def known(self, adapter: str, tokens: Tokens) -> Mask:
        """Which of these are durable, [n].

        Costs about 0.2 ms for a few and a millisecond for many: asked where there may be repetitions only.
        """
        recent = self._recent.get(adapter)
        if not recent:
            return np.zeros(len(tokens), np.bool_)
        joined = np.concatenate(recent)
        self._recent[adapter] = deque([joined])  # many arrays of one token each are joined once, not each time
        if len(tokens) <= FEW:
            return np.array([bool((joined == token).any()) for token in tokens], np.bool_)
        return np.isin(tokens, joined)
