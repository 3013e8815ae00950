"""Which error bounds were in force for which rows of the spool: written when they change, which is seldom."""

from __future__ import annotations

import bisect
from typing import Any

import apsw
import msgspec

from gateway.store.database import rows_of

Bounds = tuple[dict[str, Any], ...]


class BoundsTable:
    """From which row on which bounds hold, by uplink and pipeline. Writes inside the caller's transaction."""

    def __init__(self, db: apsw.Connection) -> None:
        self._db = db
        self._known: dict[tuple[str, str], tuple[list[int], list[Bounds]]] = {}

    def load(self) -> None:
        """Read what is there."""
        self._known = {}
        query = "SELECT uplink, pipeline, seq, bounds FROM bounds ORDER BY seq"
        for uplink, pipeline, seq, encoded in rows_of(self._db, query):
            self._remember(uplink, pipeline, seq, msgspec.json.decode(encoded, type=Bounds))

    def _remember(self, uplink: str, pipeline: str, seq: int, bounds: Bounds) -> None:
        seqs, found = self._known.setdefault((uplink, pipeline), ([], []))
        seqs.append(seq)
        found.append(bounds)

    def note(self, uplink: str, pipeline: str, seq: int, bounds: Bounds) -> None:
        """A row was written under these bounds."""
        known = self._known.get((uplink, pipeline))
        if bounds == (known[1][-1] if known else ()):
            return
        self._remember(uplink, pipeline, seq, bounds)
        row = (uplink, pipeline, seq, msgspec.json.encode(bounds))
        self._db.execute("INSERT INTO bounds VALUES (?, ?, ?, ?)", row)

    def at(self, uplink: str, pipeline: str, seq: int) -> Bounds:
        """The bounds that a row was written under."""
        known = self._known.get((uplink, pipeline))
        if known is None:
            return ()
        place = bisect.bisect_right(known[0], seq)
        return known[1][place - 1] if place else ()

    def trim(self, first: int) -> None:
        """Forget what concerns only rows before ``first``."""
        for (uplink, pipeline), (seqs, found) in self._known.items():
            gone = bisect.bisect_right(seqs, first) - 1
            if gone > 0:
                self._db.execute(
                    "DELETE FROM bounds WHERE uplink = ? AND pipeline = ? AND seq < ?", (uplink, pipeline, seqs[gone])
                )
                del seqs[:gone], found[:gone]
