"""Batches as Parquet: one row a sample, typed columns. Needs the extra ``parquet``."""

from __future__ import annotations

from typing import Any, BinaryIO, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from gateway import quality
from gateway.batch import Batch
from gateway.directory import Directory
from gateway.frame import EMPTY, Frame, concat
from gateway.uplinks.base import UplinkContext
from gateway.uplinks.file_sinks import LOSS, Sink, loss_text

ROWS: Final = 1 << 17
"""Rows of a row group; bounds the memory of who writes and who reads."""
_TEXT: Final = pa.dictionary(pa.int32(), pa.string())
SCHEMA: Final = pa.schema([
    pa.field("time", pa.timestamp("ns", tz="UTC"), nullable=False),
    pa.field("point", _TEXT, nullable=False),
    pa.field("value", pa.float64()),
    pa.field("text", _TEXT),
    pa.field("unit", _TEXT, nullable=False),
    pa.field("quality", pa.uint16(), nullable=False),
    pa.field("reason", _TEXT),
    pa.field("pipeline", _TEXT, nullable=False),
    pa.field("historical", pa.bool_(), nullable=False),
    pa.field("epoch", pa.int64(), nullable=False),
    pa.field("seq", pa.int64(), nullable=False),
])  # fmt: skip
"""``value`` is null where there is none, and ``reason`` says why; for a state it is the code, and ``text`` the word."""


class ParquetSink(Sink):
    """Row groups of a bounded size."""

    def __init__(self, raw: BinaryIO, ctx: UplinkContext) -> None:
        self._raw = raw
        self._directory: Directory = ctx.directory
        schema = SCHEMA.with_metadata({"onpath.gateway": ctx.gateway})
        self._writer = pq.ParquetWriter(raw, schema, compression="zstd")
        self._batches: list[Batch] = []
        self._rows = 0

    def write(self, batches: list[Batch]) -> None:
        """See the base class."""
        for batch in batches:
            self._batches.append(batch)
            self._rows += 1 if batch.loss is not None else len(batch.frame)
            if self._rows >= ROWS:
                self._flush()

    def size(self) -> int:
        """See the base class. What waits is taken as eight bytes a row."""
        return self._raw.tell() + 8 * self._rows

    def close(self) -> None:
        """See the base class."""
        self._flush()
        self._writer.close()

    def abandon(self) -> None:
        """See the base class."""
        self._batches = []
        if self._writer.is_open:
            self._writer.close()

    def _flush(self) -> None:
        with_samples = [batch for batch in self._batches if batch.loss is None]
        if with_samples:
            self._writer.write_table(_table(with_samples, self._directory), row_group_size=ROWS * 2)
        if losses := [_loss_row(batch) for batch in self._batches if batch.loss is not None]:
            self._writer.write_table(pa.Table.from_pylist(losses, SCHEMA))
        self._batches, self._rows = [], 0


def _table(batches: list[Batch], directory: Directory) -> pa.Table:
    frame = concat(batch.frame for batch in batches) if batches else EMPTY
    lengths = [len(batch.frame) for batch in batches]
    points, codes = np.unique(frame.point, return_inverse=True)
    names = [directory.name(point) for point in points.tolist()]
    units, unit_codes = np.unique([directory.point(point).unit for point in points.tolist()], return_inverse=True)
    pipelines, pipeline_codes = np.unique([batch.pipeline for batch in batches], return_inverse=True)
    columns: list[Any] = [
        pa.array(frame.time, pa.timestamp("ns", tz="UTC")),
        _dictionary(codes, names),
        pa.array(frame.value, mask=np.isnan(frame.value)),
        _states(frame, points.tolist(), directory),
        _dictionary(unit_codes[codes], units.tolist()),
        pa.array(frame.quality),
        _reasons(frame),
        _dictionary(np.repeat(pipeline_codes, lengths), pipelines.tolist()),
        pa.array(np.repeat([batch.historical for batch in batches], lengths)),
        pa.array(np.repeat(np.array([batch.epoch for batch in batches], np.int64), lengths)),
        pa.array(np.repeat(np.array([batch.seq for batch in batches], np.int64), lengths)),
    ]
    return pa.Table.from_arrays(columns, schema=SCHEMA)


def _dictionary(codes: Any, texts: list[str], missing: Any = None) -> pa.DictionaryArray:
    indices = pa.array(np.asarray(codes).astype(np.int32), mask=missing)
    return pa.DictionaryArray.from_arrays(indices, pa.array(texts, pa.string()))


def _states(frame: Frame, points: list[int], directory: Directory) -> pa.DictionaryArray:
    """The words of states, null elsewhere."""
    words: list[str] = []
    codes = np.full(len(frame), -1, np.int32)
    for point in points:
        texts = directory.states(point)
        if texts:
            own = frame.point == point
            value = np.where(own, frame.value, np.nan)
            known = own & (value >= 0) & (value < len(texts)) & (value == np.floor(value))
            codes[known] = len(words) + value[known].astype(np.int32)
            words += texts
    return _dictionary(np.maximum(codes, 0), words, codes < 0)


def _reasons(frame: Frame) -> pa.DictionaryArray:
    """Why values are missing, null elsewhere."""
    missing = np.isnan(frame.value)
    found, codes = np.unique(quality.reason_codes(frame.value), return_inverse=True)
    plain = quality.Reason.NOT_A_NUMBER.text
    texts = [quality.reason_text(code) if code else plain for code in found.tolist()]
    return _dictionary(codes, texts, ~missing)


def _loss_row(batch: Batch) -> dict[str, Any]:
    assert batch.loss is not None
    return {
        "time": batch.loss.last_ns,
        "point": LOSS,
        "value": float(batch.loss.count),
        "unit": "",
        "quality": quality.INVALID,
        "reason": loss_text(batch),
        "pipeline": batch.pipeline,
        "historical": batch.historical,
        "epoch": batch.epoch,
        "seq": batch.seq,
    }
