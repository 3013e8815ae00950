"""Options of the uplink ``file``. Light."""

from __future__ import annotations

import enum
from importlib.util import find_spec
from pathlib import PurePath
from typing import TYPE_CHECKING, Annotated

import msgspec

from gateway.errors import FieldError
from gateway.units import Duration, Size
from gateway.uplinks.checks import check_template
from gateway.uplinks.compress import Compress
from gateway.uplinks.options import TimeFormat, UplinkConfig

if TYPE_CHECKING:
    from gateway.uplinks.base import Uplink


class FileFormat(enum.StrEnum):
    """What a file holds."""

    JSON = "json"
    """JSON lines: one object a batch."""
    FRAME = "frame"
    """Messages of the format ``frame`` back to back."""
    CSV = "csv"
    """One line a sample."""
    PARQUET = "parquet"
    """One row a sample, in typed columns."""


class CsvColumn(enum.StrEnum):
    """A column of ``csv``."""

    TIME = "time"
    POINT = "point"
    VALUE = "value"
    UNIT = "unit"
    QUALITY = "quality"
    REASON = "reason"
    PIPELINE = "pipeline"
    HISTORICAL = "historical"
    GATEWAY = "gateway"
    EPOCH = "epoch"
    SEQ = "seq"


DEFAULT_COLUMNS = tuple(CsvColumn)[:6]
WHOLE_FILES_S = 3600.0
"""``every`` of files that are only visible when they are complete, if it is left out."""


class FileUplinkConfig(UplinkConfig, frozen=True, kw_only=True, tag="file"):
    """Write batches to files.

    ``json`` and ``frame`` without compression are appended to the file at once. Everything else is written under a name
    that ends with ``.part`` and gets its own when it is complete; batches stay in the spool until then.
    """

    path: Annotated[str, msgspec.Meta(min_length=1)]
    """The file. May name ``{date}`` and ``{hour}`` (UTC), ``{gateway}`` and ``{uplink}``; a new file is begun when the
    date or hour changes."""
    format: FileFormat = FileFormat.JSON
    """``json``, ``frame``, ``csv`` or ``parquet``, which needs the extra ``parquet``."""
    time: TimeFormat = TimeFormat.RFC3339
    """How ``json`` and ``csv`` write times: ``rfc3339`` or ``ns``."""
    columns: tuple[CsvColumn, ...] = DEFAULT_COLUMNS
    """Columns of ``csv``: of ``time``, ``point``, ``value``, ``unit``, ``quality``, ``reason``, ``pipeline``,
    ``historical``, ``gateway``, ``epoch`` and ``seq``."""
    compress: Compress = Compress.NONE
    """Compression of ``json`` and ``csv``: ``none``, ``gzip`` or ``zstd``; the name then ends with ``.gz`` or ``.zst``.
    ``parquet`` and ``frame`` are compressed inside."""
    max_size: Size = Size(64 * 2**20)
    """A new file is begun when one has reached this."""
    every: Duration | None = None
    """A new file is begun when one is this old. Left out: 1h for files that are visible when complete, never for those
    that are appended to."""
    files: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] = 10
    """Complete files that are kept; ``0`` keeps none of those that are appended to, and is refused for others."""
    max_age: Duration | None = None
    """Complete files that are older are removed. Left out: no bound."""
    max_total: Size | None = None
    """Bytes of all complete files together; the oldest are removed beyond it. Left out: no bound."""

    def __post_init__(self) -> None:
        if self.format is FileFormat.PARQUET and find_spec("pyarrow") is None:
            raise FieldError("format", "parquet needs a library that is not installed: pip install 'onpath[parquet]'")
        check_template("path", self.path, _FIELDS)
        if PurePath(self.path).name in {"", ".", ".."}:
            raise FieldError("path", "is not the name of a file")
        if self.compress is not Compress.NONE and self.format not in {FileFormat.JSON, FileFormat.CSV}:
            raise FieldError("compress", f"{self.format} is compressed inside")
        if not self.columns or len(set(self.columns)) < len(self.columns):
            raise FieldError("columns", "at least one, and each once")
        for field in ("every", "max_age"):
            value = getattr(self, field)
            if value is not None and value <= 0:
                raise FieldError(field, "must be above 0")
        if self.max_size < 1:
            raise FieldError("max_size", "must be above 0")
        if self.whole and not self.files:
            raise FieldError("files", "at least 1: a file that is complete would be removed at once")

    @property
    def whole(self) -> bool:
        """Whether a file is visible only when it is complete."""
        return self.format in {FileFormat.CSV, FileFormat.PARQUET} or self.compress is not Compress.NONE

    @property
    def every_s(self) -> float | None:
        """The age at which a file is closed, in seconds."""
        return self.every if self.every is not None else WHOLE_FILES_S if self.whole else None

    def create(self) -> Uplink:
        """See the base class."""
        from gateway.uplinks.file import FileUplink

        return FileUplink(self)


_FIELDS = frozenset({"date", "hour", "gateway", "uplink"})
