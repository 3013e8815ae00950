"""What the spool holds, counted: by uplink and pipeline, without reading it. Written with the rows that it counts."""

from __future__ import annotations

from dataclasses import dataclass

import apsw
import msgspec

from gateway.store.check import crc_of, intact
from gateway.store.database import rows_of

_KEY = "spool_gauges"


@dataclass
class Gauge:
    """Rows, their bytes and samples."""

    rows: int = 0
    bytes: int = 0
    samples: int = 0

    def add(self, rows: int, size: int, samples: int) -> None:
        """Count more, or with negative numbers less."""
        self.rows += rows
        self.bytes += size
        self.samples += samples


class Written(msgspec.Struct, frozen=True):
    """The counts as they are on disk."""

    newest: int
    """The highest seq at that time: counts of another time are not believed."""
    rows: list[tuple[str, str, bool, int, int, int]]
    """Uplink, pipeline, whether it is kept after its delivery, rows, bytes and samples."""


class Gauges:
    """Counts by (uplink, pipeline), of what waits and of what is kept after its delivery."""

    def __init__(self) -> None:
        self.waiting: dict[tuple[str, str], Gauge] = {}
        self.kept: dict[tuple[str, str], Gauge] = {}
        self.uplinks: dict[str, Gauge] = {}
        """What waits in all, by uplink."""
        self.kept_bytes: dict[str, int] = {}
        self._dirty = False

    def stream(self, uplink: str, pipeline: str) -> Gauge:
        """What waits of one pipeline."""
        return self.waiting.setdefault((uplink, pipeline), Gauge())

    def pipelines(self, uplink: str) -> list[str]:
        """Those of which something waits."""
        return [pipeline for (name, pipeline), gauge in self.waiting.items() if name == uplink and gauge.rows]

    def wait(self, uplink: str, pipeline: str, rows: int, size: int, samples: int) -> None:
        """Rows wait, or with negative numbers wait no more."""
        self.stream(uplink, pipeline).add(rows, size, samples)
        self.uplinks.setdefault(uplink, Gauge()).add(rows, size, samples)
        self._dirty = True

    def keep(self, uplink: str, pipeline: str, rows: int, size: int, samples: int) -> None:
        """Rows are kept after their delivery, or with negative numbers no more."""
        self.kept.setdefault((uplink, pipeline), Gauge()).add(rows, size, samples)
        self.kept_bytes[uplink] = self.kept_bytes.get(uplink, 0) + size
        self._dirty = True

    def load(self, db: apsw.Connection, newest: int) -> None:
        """Take what was written with the rows; counts them where that is missing or of another time."""
        self.__init__()  # type: ignore[misc]  # begin again
        written = written_in(db)
        if written is None or written.newest != newest:
            counted = rows_of(
                db,
                "SELECT uplink, pipeline, delivered_ns IS NOT NULL, count(*), sum(bytes), sum(samples) FROM spool "
                "GROUP BY 1, 2, 3",
            )
            written = Written(newest, [(up, name, bool(kept), *sums) for up, name, kept, *sums in counted])
        for uplink, pipeline, kept, *sums in written.rows:
            (self.keep if kept else self.wait)(uplink, pipeline, *sums)
        self._dirty = False

    def write(self, db: apsw.Connection, newest: int) -> None:
        """Write what changed; part of the caller's transaction. In a row that changes with each commit anyway."""
        if not self._dirty:
            return
        self._dirty = False
        rows = [
            (uplink, pipeline, kept, gauge.rows, gauge.bytes, gauge.samples)
            for kept, gauges in ((False, self.waiting), (True, self.kept))
            for (uplink, pipeline), gauge in gauges.items()
            if gauge.rows
        ]
        value = msgspec.msgpack.encode(Written(newest, rows))
        query = "INSERT OR REPLACE INTO meta (key, value, crc) VALUES (?, ?, ?)"
        db.execute(query, (_KEY, value, crc_of(_KEY, value)))


def written_in(db: apsw.Connection) -> Written | None:
    """What was written last, if that can be believed."""
    for value, crc in rows_of(db, "SELECT value, crc FROM meta WHERE key = ?", (_KEY,)):
        try:
            return msgspec.msgpack.decode(value, type=Written) if intact(crc, _KEY, value) else None
        except (msgspec.DecodeError, TypeError):
            return None
    return None
