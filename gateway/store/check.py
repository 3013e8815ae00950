"""Checksums of rows: a bit that flips on an unattended box must not become another point, time or epoch."""

from __future__ import annotations

import zlib


def crc_of(*values: str | int | bytes | None) -> int:
    """CRC-32 of what a row says, its columns in order; a text, a number and bytes never look alike."""
    crc = 0
    for value in values:
        if isinstance(value, bytes):
            crc = zlib.crc32(value, zlib.crc32(b"b%d:" % len(value), crc))
        else:
            crc = zlib.crc32(f"{type(value).__name__}:{value}\0".encode(), crc)
    return crc


def intact(crc: int | None, *values: str | int | bytes | None) -> bool:
    """Whether a row is what was written; one without a checksum was written by format 1 and is believed."""
    return crc is None or crc == crc_of(*values)


def numbered(number: int, row: bytes) -> int:
    """``crc_of(number, row)``, for tables of which every start reads all rows."""
    return zlib.crc32(row, zlib.crc32(b"b%d:" % len(row), zlib.crc32(b"int:%d\0" % number)))
