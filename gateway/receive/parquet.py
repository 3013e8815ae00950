"""A receiver's output as Parquet: a folder of files, each whole before anything in it is acknowledged.

One row a sample. A file is written when it has :data:`MAX_ROWS`, when its time is over, or when the source has fallen
silent, which may mean that the broker waits for acknowledgements: brokers let few batches be on their way.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from gateway import quality as q
from gateway.errors import OnpathError
from gateway.wire.receive import Received

MAX_ROWS: Final = 1_000_000
QUIET_S: Final = 0.5
_TEXT = pa.dictionary(pa.int32(), pa.string())
SCHEMA: Final = pa.schema(
    [
        ("gateway", _TEXT),
        ("epoch", pa.int64()),
        ("seq", pa.int64()),
        ("pipeline", _TEXT),
        ("historical", pa.bool_()),
        ("point", _TEXT),
        ("unit", _TEXT),
        ("time", pa.timestamp("ns", tz="UTC")),
        ("value", pa.float64()),
        ("text", _TEXT),
        ("quality", _TEXT),
        ("reason", _TEXT),
        ("lost", pa.int64()),
    ]
)
"""A loss marker is a row without point: ``time`` is that of the last sample lost, ``lost`` how many, ``reason`` why."""


class ParquetFolder:
    """See :class:`gateway.receive.output.Output`. Its position is the number of the newest file.

    Raises:
        OnpathError: the folder cannot be used.
    """

    line = None

    def __init__(self, folder: Path, position: str, every_s: float) -> None:
        self._folder = folder
        self._every_s = every_s
        self._number = int(position or 0)
        self._tables: list[pa.Table] = []
        self._rows = 0
        self._since = 0.0
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for path in folder.glob("part-*.parquet*"):
                if path.suffix != ".parquet" or _number(path) > self._number:
                    path.unlink()
        except OSError as error:
            raise OnpathError(f"{folder}: {error.strerror}") from error

    def batch(self, received: Received) -> None:
        """See the protocol."""
        if not self._tables:
            self._since = time.monotonic()
        table = table_of(received)
        self._rows += table.num_rows
        self._tables.append(table)

    def due(self, idle_s: float) -> bool:
        """See the protocol."""
        if not self._tables:
            return True
        return self._rows >= MAX_ROWS or idle_s >= QUIET_S or time.monotonic() - self._since >= self._every_s

    def sync(self) -> str:
        """See the protocol.

        Raises:
            OnpathError: the disk does not take it.
        """
        if self._tables:
            path = self._folder / f"part-{self._number + 1:08d}.parquet"
            draft = path.with_suffix(".parquet.new")
            try:
                with draft.open("wb") as file:
                    whole = pa.concat_tables(self._tables).unify_dictionaries()
                    pq.write_table(whole, file, compression="zstd")
                    file.flush()
                    os.fsync(file.fileno())
                draft.replace(path)
                handle = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
                try:
                    os.fsync(handle)
                finally:
                    os.close(handle)
            except OSError as error:
                raise OnpathError(f"{path}: {error.strerror or error}") from error
            self._number += 1
            self._tables, self._rows = [], 0
        return str(self._number)

    def close(self) -> None:
        """See the protocol."""


def _number(path: Path) -> int:
    digits = path.name.removeprefix("part-").partition(".")[0]
    return int(digits) if digits.isdecimal() else 0


def table_of(received: Received) -> pa.Table:
    """The samples of a batch as rows of :data:`SCHEMA`."""
    batch, frame = received.batch, received.batch.frame
    if batch.loss is not None:
        loss = batch.loss
        row = {
            "gateway": received.gateway, "epoch": batch.epoch, "seq": batch.seq, "pipeline": batch.pipeline,
            "historical": batch.historical, "time": loss.last_ns, "reason": loss.reason, "lost": loss.count,
        }  # fmt: skip
        return pa.table({name: _one(row.get(name), SCHEMA.field(name).type) for name in SCHEMA.names}, schema=SCHEMA)
    n = len(frame)
    present, place = np.unique(frame.point, return_inverse=True)
    facts = [received.points[point] for point in present.tolist()]
    empty = np.isnan(frame.value)
    reasons = q.reason_codes(frame.value)
    codes, which = np.unique(reasons, return_inverse=True)
    words, word = np.unique(frame.quality, return_inverse=True)
    columns = {
        "gateway": _same(received.gateway, n),
        "epoch": pa.array(np.full(n, batch.epoch, np.int64)),
        "seq": pa.array(np.full(n, batch.seq, np.int64)),
        "pipeline": _same(batch.pipeline, n),
        "historical": pa.array(np.full(n, batch.historical)),
        "point": _coded(place, [one["name"] for one in facts]),
        "unit": _coded(place, [one.get("unit", "") for one in facts]),
        "time": pa.array(frame.time, pa.timestamp("ns", tz="UTC")),
        "value": pa.array(frame.value, mask=empty),
        "text": _texts(received, place, facts),
        "quality": _coded(word, [q.to_text(one) for one in words.tolist()]),
        "reason": _coded(which, [q.reason_text(code) if code else "" for code in codes.tolist()]),
        "lost": pa.nulls(n, pa.int64()),
    }
    return pa.table(columns, schema=SCHEMA)


def _one(value: Any, kind: pa.DataType) -> pa.Array:
    if kind == _TEXT:
        return pa.array([value], pa.string()).dictionary_encode()
    return pa.array([value], kind)


def _same(text: str, n: int) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(n, np.int32)), pa.array([text]))


def _coded(index: np.ndarray[Any, Any], texts: list[str]) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(index.astype(np.int32)), pa.array(texts, pa.string()))


def _texts(received: Received, place: np.ndarray[Any, Any], facts: list[dict[str, Any]]) -> pa.DictionaryArray:
    """What the values of states stand for; null for all other points."""
    frame = received.batch.frame
    index = np.full(len(frame), -1, np.int64)
    texts: list[str] = []
    for number, one in enumerate(facts):
        states = one.get("states")
        if states:
            own = place == number
            with np.errstate(invalid="ignore"):
                code = np.where((frame.value >= 0) & (frame.value < len(states)), frame.value, -1).astype(np.int64)
            index[own & (code >= 0)] = code[own & (code >= 0)] + len(texts)
            texts += states
    codes = pa.array(index.astype(np.int32), mask=index < 0)
    return pa.DictionaryArray.from_arrays(codes, pa.array(texts, pa.string()))
