"""Samples as ``onpath tap`` gets them, to a capture: ``frame`` messages back to back."""

from __future__ import annotations

from typing import Any, BinaryIO, Final

from gateway.batch import Batch
from gateway.directory import Directory
from gateway.frame import Frame
from gateway.point import Kind, Point
from gateway.quality import from_text
from gateway.trial.source import NOT_A_NUMBER, REASONS
from gateway.wire.message import FrameEncoder

GATEWAY: Final = "tap"


class Saving:
    """Writes answers of the verb ``tap``; each is one message, numbered from 1."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._directory = Directory(1 << 31)
        self._encoder = FrameEncoder(GATEWAY, self._directory)
        self._messages = 0
        self.samples = 0
        self.missed = 0
        """Samples that were too many to be shown."""

    def take(self, answer: dict[str, Any]) -> None:
        """One answer, ``{"samples": [...], "missed": n}`` with times in ns."""
        rows = answer["samples"]
        self.missed += answer.get("missed", 0)
        if not rows:
            return
        frame = Frame.of(
            [self._point(row) for row in rows],
            [row["time"] for row in rows],
            [self._value(row) for row in rows],
            [from_text(row["quality"]) for row in rows],
        )
        self._messages += 1
        message, announced = self._encoder.encode(Batch(self._messages, GATEWAY, 0, frame))
        self._file.write(b"".join([*(directory for _, directory in announced), message]))
        self._file.flush()
        self.samples += len(rows)

    def _point(self, row: dict[str, Any]) -> int:
        known = self._directory.find(row["point"])
        if isinstance(row["value"], str):
            return self._directory.add(Point(name=row["point"], kind=Kind.STATE))
        return self._directory.add(Point(name=row["point"])) if known is None else known

    def _value(self, row: dict[str, Any]) -> float:
        value = row["value"]
        if isinstance(value, str):
            point = self._directory.find(row["point"])
            assert point is not None
            return self._directory.state(point, value)
        return REASONS.get(row.get("reason", ""), NOT_A_NUMBER) if value is None else value
