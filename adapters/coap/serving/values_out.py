"""Latest values as payloads: text, or SenML packs (RFC 8428) in JSON and CBOR. Pure.

A record has the point's name with ``:`` for ``#``, its UCUM unit, its source time and its value, or the text
of a state. A value that is invalid is left out of its record; ``q`` (our own label, which others ignore) has
the quality where it is not good.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any, Final

import cbor2
import msgspec

from adapters.base import Latest
from gateway import quality

TEXT: Final = 0
"""The Content-Format of plain text."""

_FIRST = re.compile(r"[A-Za-z0-9]")
_OTHER = re.compile(r"[^A-Za-z0-9\-:./_]")
_CBOR = {"bn": -2, "bver": -1, "n": 0, "u": 1, "v": 2, "vs": 3, "t": 6}


def is_usable(row: Latest) -> bool:
    """Whether there is a value, and it is not invalid."""
    return row.quality & quality.VALIDITY in {quality.GOOD, quality.QUESTIONABLE} and math.isfinite(row.value)


def encode_text(row: Latest) -> bytes:
    """The value, or why there is none."""
    if not is_usable(row):
        return f"no value: {quality.to_text(row.quality)}".encode()
    return (row.text if row.text is not None else _number(row.value)).encode()


def _number(value: float) -> str:
    return str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)


def encode_pack(rows: Sequence[Latest], base_name: str = "", *, cbor: bool = False) -> bytes:
    """A pack with a record for each row; one of a base name alone if there is none."""
    records = [_record(row) for row in rows] or [{}]
    if base_name:
        records[0] = {"bn": base_name} | records[0]
    if not cbor:
        return msgspec.json.encode(records)
    return cbor2.dumps([{_CBOR.get(label, label): value for label, value in record.items()} for record in records])


def _record(row: Latest) -> dict[str, Any]:
    name = _OTHER.sub("-", row.name.replace("#", ":"))
    record: dict[str, Any] = {"n": name if _FIRST.match(name) else f"0{name}"}
    if row.unit and row.text is None:
        record["u"] = row.unit
    if is_usable(row):
        record["vs" if row.text is not None else "v"] = row.text if row.text is not None else _plain(row.value)
    record["t"] = round(row.time_ns / 1e9, 6)
    if row.quality:
        record["q"] = quality.to_text(row.quality)
    return record


def _plain(value: float) -> float | int:
    """Whole numbers without a fraction: fewer bytes, the same value."""
    return int(value) if value.is_integer() and abs(value) < 2**53 else value
