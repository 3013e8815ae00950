"""Bytes in an envelope: compressed where that is worth it, with a checksum that finds every flipped bit.

A byte 2 (the version), a byte for how the content is held (0: as it is, 1: one zstd frame that states its content's
size), the content, and a CRC-32 (as in zlib, little-endian) of all before it. Bytes that begin with 28 hex are of
version 1: a bare zstd frame with zstd's own checksum.
"""

from __future__ import annotations

import threading
import zlib
from typing import Final

import zstandard

from gateway.errors import PayloadError

VERSION: Final = 2
MAX_BYTES: Final = 1 << 28
_STORED, _ZSTD = 0, 1
_VERSION_1: Final = 0x28
"""The first byte of a zstd frame."""
_SMALL: Final = 40
"""Content that zstd need not be asked about: its own frame takes nine bytes."""
_OVERHEAD: Final = 6


class _Contexts(threading.local):
    """zstd's contexts, which are costly to make and belong to one thread at a time."""

    def __init__(self) -> None:
        self.compressors: dict[int, zstandard.ZstdCompressor] = {}
        self.decompressor = zstandard.ZstdDecompressor()


_CONTEXTS = _Contexts()


def seal(content: bytes | bytearray, level: int = 3) -> bytes:
    """The envelope of some content."""
    how, held = _STORED, content
    if len(content) > _SMALL:
        compressor = _CONTEXTS.compressors.get(level)
        if compressor is None:
            compressor = _CONTEXTS.compressors[level] = zstandard.ZstdCompressor(level=level)
        packed = compressor.compress(content)
        if len(packed) < len(content):
            how, held = _ZSTD, packed
    head = bytes((VERSION, how))
    return b"".join((head, held, zlib.crc32(held, zlib.crc32(head)).to_bytes(4, "little")))


def unseal(raw: bytes, most: int = MAX_BYTES) -> bytes:
    """The content of an envelope, of at most so many bytes; of version 1, too.

    Raises:
        PayloadError: ``damaged``, ``bad-version`` (a newer one), or ``bad-envelope``.
    """
    if raw[:1] == bytes((_VERSION_1,)):
        return _decompressed(raw, most)
    if raw[:1] != bytes((VERSION,)):
        if raw and raw[0] > VERSION:
            raise PayloadError("bad-version", f"bytes of version {raw[0]}; this one reads up to {VERSION}")
        raise PayloadError("bad-envelope", f"not an envelope: {raw[:8].hex() or 'no bytes'}")
    if len(raw) < _OVERHEAD or zlib.crc32(raw[:-4]) != int.from_bytes(raw[-4:], "little"):
        raise PayloadError("damaged", "the checksum is wrong")
    if raw[1] == _ZSTD:
        return _decompressed(raw[2:-4], most)
    if raw[1] != _STORED:
        raise PayloadError("bad-envelope", f"content held in way {raw[1]}")
    if len(raw) - _OVERHEAD > most:
        raise PayloadError("bad-envelope", f"content of {len(raw) - _OVERHEAD} bytes")
    return raw[2:-4]


def _decompressed(packed: bytes, most: int) -> bytes:
    try:
        size = zstandard.frame_content_size(packed)
        if not 0 < size <= most:  # looked at before a byte is reserved for it
            raise PayloadError("bad-envelope", f"content of {size} bytes")
        return _CONTEXTS.decompressor.decompress(packed, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise PayloadError("bad-envelope", str(error)) from error
