"""How the messages of one subscription become samples; one class a kind of payload.

A plan keeps a row of point ids for each device (or topic) it has seen. ``frame`` takes any number of
messages at once, in order, and gives one frame; a message that cannot be read costs only itself.
"""

from __future__ import annotations

import abc
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from adapters.mqtt.columns import ABSENT
from adapters.mqtt.topics import fill
from gateway.errors import PayloadError, TooManyPointsError
from gateway.frame import Frame, Index, Mask, Times
from gateway.point import Point, PointOptions

if TYPE_CHECKING:
    from adapters.base import Points
    from adapters.mqtt.subscribe import Subscribe

NAME = re.compile(r"[A-Za-z0-9_.\-]{1,128}\Z")
MAX_TEXT: Final = 256
"""Characters of a state's text; a longer one is no state."""
NO_ROOM: Final = -1
"""Stands for the id of a point that the directory did not take."""
IGNORED: Final = -2
"""Stands for a row or point that is left out because of its name."""
BROKEN: Final = (ValueError, RecursionError)
"""What msgspec raises on bytes that are not JSON, not UTF-8, or nested without end."""

_decode = msgspec.json.Decoder().decode


class Plan(abc.ABC):
    """A subscription at work."""

    def __init__(self, options: Subscribe, points: Points, reasons: Counter[str]) -> None:
        self.options = options
        self.points = points
        self.reasons = reasons

    @abc.abstractmethod
    def add_row(self, parts: dict[str, str], payload: bytes) -> int:
        """A row for a topic seen first, from its named parts; its index, or :data:`IGNORED`.

        Raises:
            PayloadError: the topic cannot name points.
        """

    @abc.abstractmethod
    def frame(self, payloads: Sequence[bytes], rows: Index, arrival: Times, stale: Mask | None) -> Frame:
        """The samples of messages: payload, row, arrival time (ns), whether the broker had kept it; all [m]."""

    @abc.abstractmethod
    def forget(self) -> None:
        """Drop all rows; ids come back from the directory."""

    def device(self, parts: dict[str, str]) -> str:
        """The device's name.

        Raises:
            PayloadError: ``bad-name``, if the topic does not give a name.
        """
        return checked_name(fill(self.options.device_template, parts))

    def add_point(self, name: str, options: PointOptions) -> int:
        """The point's id, or :data:`NO_ROOM`."""
        try:
            return self.points.add(Point.of(name, options))
        except TooManyPointsError:
            return NO_ROOM

    def state(self, point: int, text: str) -> float:
        """The number of a state's text, or the mark of an absent sample."""
        if len(text) > MAX_TEXT:
            self.reasons["long-text"] += 1
            return ABSENT
        try:
            return self.points.state(point, text)
        except TooManyPointsError:
            self.reasons["too-many-states"] += 1
            return ABSENT


def checked_name(name: str) -> str:
    """``name`` if it can be part of a point's name.

    Raises:
        PayloadError: ``bad-name``.
    """
    if not NAME.match(name):
        raise PayloadError("bad-name", f"{name[:80]!r} has other characters than letters, digits, and . _ -")
    return name


def decode_object(payload: bytes) -> dict[str, Any]:
    """A JSON object.

    Raises:
        PayloadError: ``unparsable``.
    """
    try:
        document = _decode(payload)
    except BROKEN as error:
        raise PayloadError("unparsable", str(error)) from None
    if not isinstance(document, dict):
        raise PayloadError("unparsable", "not an object")
    return document


def resuming(
    decode: Callable[[Iterator[bytes]], Iterator[Any]],
    payloads: Sequence[bytes],
    instead: Callable[[int], Any],
) -> list[Any]:
    """``decode`` over all payloads without a Python call a message; ``instead(i)`` for those that raise.

    ``list.extend`` keeps what it has when its source raises, and the source has by then moved past the
    one that failed, so that the next round goes on behind it and nothing is decoded twice.
    """
    done: list[Any] = []
    source = iter(payloads)
    while len(done) < len(payloads):
        try:
            done.extend(decode(source))
        except BROKEN:
            done.append(instead(len(done)))
    return done
