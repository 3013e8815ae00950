"""How samples are cut into rows of the spool. A leaf of the store."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from gateway.frame import Frame

MAX_ROW: Final = 2000
"""Samples a row, at most: keeps a message well below what brokers accept."""


def cut(frame: Frame) -> Iterator[Frame]:
    """Parts of at most :data:`MAX_ROW` samples."""
    if len(frame) <= MAX_ROW:
        yield from [frame] if len(frame) else []
        return
    for start in range(0, len(frame), MAX_ROW):
        yield frame.take(slice(start, start + MAX_ROW))


def span(frame: Frame) -> tuple[int, int]:
    """The first and the last source time in ns, of a frame that has samples."""
    return int(frame.time.min()), int(frame.time.max())
