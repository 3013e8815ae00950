"""Frame messages back to back in a stream: files, pipes, what was captured. A leaf."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterator
from io import BytesIO
from typing import Any, BinaryIO

import msgpack

from gateway.errors import PayloadError

MAX_MESSAGE = 1 << 28


def messages(stream: BinaryIO) -> Iterator[Any]:
    """Msgpack objects back to back in a stream.

    Raises:
        PayloadError: ``bad-stream``; what follows cannot be told apart any more.
    """
    counted = _Counted(stream)
    unpacker = msgpack.Unpacker(counted, strict_map_key=False, max_buffer_size=MAX_MESSAGE)
    while True:
        end = unpacker.tell()
        try:
            message = next(unpacker)
        except StopIteration:
            if counted.taken > end:
                raise PayloadError("bad-stream", f"cut short after byte {end}") from None
            return
        except (ValueError, TypeError, msgpack.UnpackException) as error:
            raise PayloadError("bad-stream", str(error) or type(error).__name__) from error
        yield message


def texts(stream: BinaryIO, coding: str) -> Iterator[Any]:
    """Messages written as words of ``hex`` or ``base64`` with white space between them, such as one a line.

    Raises:
        PayloadError: ``bad-stream``, for a word that is not written so, or whose messages end before their end.
    """
    number = 0
    for line in stream:
        for word in line.split():
            number += 1
            try:
                raw = bytes.fromhex(word.decode("ascii")) if coding == "hex" else b64decode(word, validate=True)
            except ValueError:
                raise PayloadError("bad-stream", f"word {number} is not {coding}: {word[:20]!r}") from None
            yield from messages(BytesIO(raw))


class _Counted:
    """A stream that knows how much was read of it; a pipe cannot tell by itself."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.taken = 0

    def read(self, size: int) -> bytes:
        raw = self._stream.read(size)
        self.taken += len(raw)
        return raw
