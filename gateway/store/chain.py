"""What links the rows of the spool: each names the one before it of its uplink and pipeline.

``seq`` counts over all uplinks, so that holes in it mean nothing. A chain is the rows of one uplink and pipeline; its
number and the seq of the row before travel with each batch. A receiver that has every row which another one names has
them all. Part of the spool: called inside the caller's transaction.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import apsw

from gateway.batch import Link
from gateway.store.database import rows_of


@dataclass
class Chains:
    """The newest row of each chain, also of those whose rows are all gone."""

    db: apsw.Connection
    _links: dict[tuple[str, str], Link] = field(default_factory=dict)

    def load(self) -> None:
        """Learn what is there."""
        query = "SELECT uplink, pipeline, number, seq FROM chain"
        self._links = {(uplink, name): (number, seq) for uplink, name, number, seq in rows_of(self.db, query)}

    def next(self, uplink: str, pipeline: str) -> Link:
        """What the next row of an uplink and pipeline says."""
        link = self._links.get((uplink, pipeline))
        if link is None:
            self.db.execute("INSERT INTO chain (uplink, pipeline, seq) VALUES (?, ?, 0)", (uplink, pipeline))
            link = self._links[uplink, pipeline] = (self.db.last_insert_rowid(), 0)
        return link

    def add(self, uplink: str, pipeline: str, seq: int) -> None:
        """That row was written under this seq."""
        number, _ = self._links[uplink, pipeline]
        self._links[uplink, pipeline] = (number, seq)
        self.db.execute("UPDATE chain SET seq = ? WHERE number = ?", (seq, number))

    def link(self, uplink: str, pipeline: str, prev: int | None) -> Link | None:
        """What a row says that was read back; None for one of before there were chains."""
        return None if prev is None else (self.next(uplink, pipeline)[0], prev)
