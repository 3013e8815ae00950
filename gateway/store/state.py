"""Operators' state as bytes: nested dicts, lists, numbers, texts and numpy arrays. A pure codec."""

from __future__ import annotations

import re
from typing import Any

import msgpack
import numpy as np
import zstandard

from gateway.errors import PayloadError

_ARRAY = 1
_BIG_INT = 2
_KINDS = frozenset("biuf")
_DTYPE = re.compile(r"[<>|][biuf]\d{1,2}")  # numpy takes far more than that for a dtype, also whole structures
MAX_BYTES = 1 << 30


def encode(state: Any) -> bytes:
    """The bytes of a snapshot."""
    packed = msgpack.packb(state, default=_extension)
    return zstandard.ZstdCompressor(level=1, write_checksum=True).compress(packed)


def _extension(value: Any) -> Any:
    if isinstance(value, np.ndarray) and value.dtype.kind in _KINDS:
        head = msgpack.packb((value.dtype.str, value.shape))
        return msgpack.ExtType(_ARRAY, bytes((len(head),)) + head + np.ascontiguousarray(value).tobytes())
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, int):  # beyond 64 bits
        return msgpack.ExtType(_BIG_INT, str(value).encode())
    raise TypeError(f"a snapshot cannot hold {type(value).__name__}")


def decode(raw: bytes) -> Any:
    """The inverse of :func:`encode`. Arrays are fresh and writable.

    Raises:
        PayloadError: the bytes are damaged.
    """
    try:
        if not 0 < zstandard.frame_content_size(raw) <= MAX_BYTES:
            raise PayloadError("bad-state", "size")
        packed = zstandard.ZstdDecompressor().decompress(raw, max_output_size=MAX_BYTES)
        return msgpack.unpackb(packed, ext_hook=_from_extension, strict_map_key=False)
    except (zstandard.ZstdError, ValueError, TypeError, IndexError, msgpack.UnpackException) as error:
        raise PayloadError("bad-state", str(error)) from error


def _from_extension(code: int, body: bytes) -> Any:
    if code == _BIG_INT:
        return int(body)
    if code != _ARRAY:
        raise ValueError(f"extension {code}")
    dtype, shape = msgpack.unpackb(body[1 : 1 + body[0]])
    if not _DTYPE.fullmatch(dtype):
        raise ValueError(f"array of {dtype}")
    return np.frombuffer(body[1 + body[0] :], dtype).reshape(shape).copy()
