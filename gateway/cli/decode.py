"""``onpath decode``: frame messages to JSON lines."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from gateway.errors import OnpathError, PayloadError
from gateway.uplinks.config import TimeFormat
from gateway.uplinks.decode import FrameDecoder, messages


def decode_files(files: list[Path], *, ns: bool) -> None:
    """Decode files of frame messages, back to back, or standard input; print one JSON object a batch."""
    decoder = FrameDecoder(TimeFormat.NS if ns else TimeFormat.RFC3339)
    failed = 0
    for name, stream in _streams(files):
        failed += _decode(name, stream, decoder)
    if failed:
        raise OnpathError(f"{failed} message(s) could not be decoded")


def _streams(files: list[Path]) -> Iterator[tuple[str, BinaryIO]]:
    if not files:
        yield "standard input", sys.stdin.buffer
    for path in files:
        try:
            with path.open("rb") as stream:
                yield str(path), stream
        except OSError as error:
            raise OnpathError(f"{path}: {error.strerror}") from error


def _decode(name: str, stream: BinaryIO, decoder: FrameDecoder) -> int:
    failed = 0
    found: Iterator[Any] = messages(stream)
    while True:
        try:
            record = decoder.decode(next(found))
        except StopIteration:
            return failed
        except PayloadError as error:
            failed += 1
            print(f"{name}: {error}", file=sys.stderr)
            if error.reason == "bad-stream":
                return failed
        else:
            if record is not None:
                sys.stdout.buffer.write(msgspec.json.encode(record) + b"\n")
