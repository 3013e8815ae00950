"""``onpath decode --stats``: what frame messages cost, by part and by column."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import msgpack
import msgspec

from gateway.errors import PayloadError
from gateway.wire import columns
from gateway.wire.envelope import unseal


class Stats:
    """Counts bytes. Of version 1 the columns are not told apart."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._counts = Counter[str]()
        self._parts = Counter[str]()
        self._columns = Counter[str]()

    def message(self, message: Any) -> None:
        """A message, before it is decoded."""
        size = len(msgpack.packb(message)) if isinstance(message, dict) else 0
        match message:
            case {"points": _}:
                self._counts["directories"] += 1
                self._parts["directories"] += size
            case {"c": bytes(coded)} | {"columns": bytes(coded)}:
                self._parts["columns"] += len(coded)
                self._parts["record"] += size - len(coded)
                self._count_columns(coded)
            case _:
                self._parts["record"] += size

    def _count_columns(self, coded: bytes) -> None:
        try:
            self._columns.update(columns.sizes(unseal(coded)))
        except PayloadError:  # told where it is decoded
            return

    def take(self, record: dict[str, Any]) -> None:
        """A batch, as in the format ``json``."""
        self._counts["batches"] += 1
        self._counts["samples"] += len(record["samples"])
        self._counts["losses"] += "loss" in record
        self._parts["json"] += len(msgspec.json.encode(record))

    def end(self) -> None:
        """Print what was counted."""
        parts = dict(self._parts)
        as_json = parts.pop("json", 0)
        counts = {name: self._counts[name] for name in ("batches", "samples", "losses", "directories")}
        sizes = {
            "bytes": {**parts, "all": sum(parts.values()), "as json": as_json},
            "before compression": self._columns,
        }
        if self._as_json:
            print(json.dumps(counts | sizes))
            return
        print(", ".join(f"{number:,} {name}" for name, number in counts.items()))
        for title, listed in sizes.items():
            print(f"\n{title:<20}{'bytes':>14}{'a sample':>12}")
            for name, size in listed.items():
                share = f"{size / counts['samples']:.3f}" if counts["samples"] else ""
                print(f"  {name:<18}{size:>14,}{share:>12}")
