"""What is written into a file that is complete at once: lines, compressed or not, and CSV."""

from __future__ import annotations

import abc
import csv
import gzip
import io
from collections.abc import Callable
from itertools import repeat
from typing import IO, Any, BinaryIO, Final

import numpy as np
import zstandard

from gateway import quality
from gateway.batch import Batch
from gateway.frame import Times
from gateway.uplinks.base import UplinkContext
from gateway.uplinks.compress import GZIP_LEVEL, ZSTD_LEVEL, Compress
from gateway.uplinks.file_config import CsvColumn, FileFormat, FileUplinkConfig
from gateway.uplinks.streams import Recorder
from gateway.wire.record import TimeFormat, samples

LOSS: Final = "onpath/loss"
"""The point under which tables tell of losses: at the last time that is concerned, with the count as value."""


class Sink(abc.ABC):
    """A file's content. Methods block: called in a thread."""

    @abc.abstractmethod
    def write(self, batches: list[Batch]) -> None:
        """Take batches, in any order."""

    @abc.abstractmethod
    def size(self) -> int:
        """Bytes so far, about."""

    @abc.abstractmethod
    def close(self) -> None:
        """Write what belongs at the end; the file itself stays open."""

    def abandon(self) -> None:
        """Let go of it; the file will be removed."""
        self.close()


def open_sink(config: FileUplinkConfig, ctx: UplinkContext, raw: BinaryIO) -> Sink:
    """The sink for these options."""
    match config.format:
        case FileFormat.PARQUET:
            from gateway.uplinks.file_parquet import ParquetSink

            return ParquetSink(raw, ctx)
        case FileFormat.CSV:
            table = CsvLines(config.columns, config.time, ctx)
            return LineSink(raw, config.compress, table.lines, table.header())
    recorder = Recorder(ctx, framed=config.format is FileFormat.FRAME, time=config.time)
    return LineSink(raw, config.compress, recorder.record)


class LineSink(Sink):
    """Lines one after the other, compressed as one stream."""

    def __init__(self, raw: BinaryIO, how: Compress, lines: Callable[[Batch], bytes], header: bytes = b"") -> None:
        self._raw = raw
        self._lines = lines
        self._out: IO[bytes] | BinaryIO | Any = raw
        if how is Compress.GZIP:
            self._out = gzip.GzipFile(fileobj=raw, mode="wb", compresslevel=GZIP_LEVEL, mtime=0)
        elif how is Compress.ZSTD:
            self._out = zstandard.ZstdCompressor(level=ZSTD_LEVEL).stream_writer(raw, closefd=False)
        self._out.write(header)

    def write(self, batches: list[Batch]) -> None:
        """See the base class."""
        self._out.write(b"".join(map(self._lines, batches)))

    def size(self) -> int:
        """See the base class."""
        return self._raw.tell()

    def close(self) -> None:
        """See the base class."""
        if self._out is not self._raw:
            self._out.close()


class CsvLines:
    """One line a sample (RFC 4180), grouped as a batch is."""

    def __init__(self, columns: tuple[CsvColumn, ...], time: TimeFormat, ctx: UplinkContext) -> None:
        self._columns = columns
        self._time = time
        self._ctx = ctx

    def header(self) -> bytes:
        """The first line."""
        return _written([self._columns])

    def lines(self, batch: Batch) -> bytes:
        """The lines of a batch."""
        columns = self._loss(batch) if batch.loss is not None else self._samples(batch)
        n = len(columns[CsvColumn.TIME])
        always = {
            CsvColumn.PIPELINE: batch.pipeline,
            CsvColumn.HISTORICAL: int(batch.historical),
            CsvColumn.GATEWAY: self._ctx.gateway,
            CsvColumn.EPOCH: batch.epoch,
            CsvColumn.SEQ: batch.seq,
        }
        wanted = [columns[name] if name in columns else repeat(always[name], n) for name in self._columns]
        return _written(zip(*wanted, strict=True))

    def _samples(self, batch: Batch) -> dict[CsvColumn, list[Any]]:
        directory = self._ctx.directory
        rows = samples(batch.frame, directory, TimeFormat.NS)
        units = {point: directory.point(point).unit for point in np.unique(batch.frame.point).tolist()}
        return {
            CsvColumn.TIME: times(batch.frame.time, self._time),
            CsvColumn.POINT: [row["point"] for row in rows],
            CsvColumn.VALUE: [row["value"] for row in rows],
            CsvColumn.UNIT: [units[point] for point in batch.frame.point.tolist()],
            CsvColumn.QUALITY: [row["quality"] for row in rows],
            CsvColumn.REASON: [row.get("reason") for row in rows],
        }

    def _loss(self, batch: Batch) -> dict[CsvColumn, list[Any]]:
        assert batch.loss is not None
        return {
            CsvColumn.TIME: times(np.array([batch.loss.last_ns], np.int64), self._time),
            CsvColumn.POINT: [LOSS],
            CsvColumn.VALUE: [batch.loss.count],
            CsvColumn.UNIT: [""],
            CsvColumn.QUALITY: [quality.to_text(quality.INVALID)],
            CsvColumn.REASON: [loss_text(batch)],
        }


def loss_text(batch: Batch) -> str:
    """Why, and since when."""
    assert batch.loss is not None
    (since,) = times(np.array([batch.loss.first_ns], np.int64), TimeFormat.RFC3339)
    return f"{batch.loss.reason} since {since}"


def times(column: Times, how: TimeFormat) -> list[Any]:
    """Times as ``json`` writes them."""
    if how is TimeFormat.NS:
        return list(column.tolist())
    texts = np.datetime_as_string((column // 1_000_000).astype("datetime64[ms]"), unit="ms")
    return [f"{text}Z" for text in texts.tolist()]


def _written(rows: Any) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()
