"""Compression of bodies and files. No I/O."""

from __future__ import annotations

import enum
import gzip
from typing import Final

import zstandard

GZIP_LEVEL: Final = 6
ZSTD_LEVEL: Final = 3


class Compress(enum.StrEnum):
    """How something is compressed."""

    NONE = "none"
    GZIP = "gzip"
    ZSTD = "zstd"


ENDING: Final = {Compress.NONE: "", Compress.GZIP: ".gz", Compress.ZSTD: ".zst"}
"""What a file's name ends with."""


def compressed(raw: bytes, how: Compress) -> bytes:
    """Bytes compressed as a whole; several such back to back are read as one. Blocks: called in a thread."""
    match how:
        case Compress.GZIP:
            return gzip.compress(raw, GZIP_LEVEL, mtime=0)
        case Compress.ZSTD:
            return zstandard.ZstdCompressor(level=ZSTD_LEVEL).compress(raw)
        case Compress.NONE:
            return raw
