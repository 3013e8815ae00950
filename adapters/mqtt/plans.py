"""How the messages of one subscription become samples; one class a kind of payload.

A plan keeps a row of point ids for each device (or topic) it has seen. ``frame`` takes any number of
messages at once, in order, and gives one frame; a message that cannot be read costs only itself.
"""

from __future__ import annotations

import abc
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from adapters.mqtt.columns import ABSENT
from adapters.mqtt.subscribe import PROPERTY
from adapters.mqtt.topics import fill
from gateway.errors import PayloadError, TooManyPointsError
from gateway.frame import EMPTY, Frame, Index, Mask, Times
from gateway.point import Point, PointOptions

if TYPE_CHECKING:
    from adapters.base import Context, Points
    from adapters.mqtt.publish import Publish
    from adapters.mqtt.subscribe import Subscribe

NAME = re.compile(r"[A-Za-z0-9_.\-]{1,128}\Z")
MAX_TEXT: Final = 256
"""Characters of a state's text; a longer one is no state."""
BAD_TIME: Final = PayloadError("bad-time", "not a time between 1970 and 2262")
NO_ROOM: Final = -1
"""Stands for the id of a point that the directory did not take."""
IGNORED: Final = -2
"""Stands for a row or point that is left out because of its name."""
BROKEN: Final = (ValueError, RecursionError)
"""What msgspec raises on bytes that are not JSON, not UTF-8, or nested without end."""

_decode = msgspec.json.Decoder().decode


class Plan(abc.ABC):
    """A subscription at work."""

    ctx: Context | None = None
    """What the gateway offers besides points; set by the decoder. None where there is no gateway."""
    edition = 0
    """Another number whenever :meth:`takes` would say something else."""

    def __init__(self, options: Subscribe, points: Points, reasons: Counter[str]) -> None:
        self.options = options
        self.points = points
        self.reasons = reasons
        self.topics: dict[int, bytes] = {}
        """The topic of each row, for what is said of its messages; kept by the decoder."""
        self._labels = options.labels

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

    def asks(self) -> list[tuple[str, int]]:
        """Further topic filters that the plan needs, with the highest QoS; what comes by them is the plan's too."""
        return []

    def takes(self, topic: str) -> bool:
        """Whether a topic that the subscription's own filter does not fit is the plan's all the same."""
        del topic
        return False

    def will(self) -> Publish | None:
        """What the broker is to say when the link is lost; asked at each CONNECT. A connection has one will."""
        return None

    def hello(self) -> list[Publish]:
        """What to send once all is subscribed, at each connection."""
        return []

    def outgoing(self) -> list[Publish]:
        """What to send now; asked after each batch and each tick."""
        return []

    def tick(self, now_ns: int) -> Frame:
        """What time itself causes: called about once a second while the link is up. UTC ns."""
        del now_ns
        return EMPTY

    def goodbye(self) -> list[Publish]:
        """What to send before a clean DISCONNECT, after which the broker does not publish the will."""
        return []

    def lost(self, now_ns: int) -> Frame:
        """The link is gone: what the gateway must be told of that."""
        del now_ns
        return EMPTY

    def device(self, parts: dict[str, str]) -> str:
        """The device's name.

        Raises:
            PayloadError: ``bad-name``, if the topic does not give a name.
        """
        return checked_name(fill(self.options.device_template, parts))

    def reject(self, error: PayloadError, row: int, payload: bytes) -> None:
        """Count a message that cannot be used, and keep it for who wants to look."""
        reject(self.ctx, self.reasons, error, self.topics.get(row, b""), payload)

    def labels(self, parts: Mapping[str, str]) -> dict[str, str]:
        """The subscription's labels for a topic: its parts filled in, those of missing properties left out."""
        found = {}
        for name, text in self._labels.items():
            if not text.startswith(PROPERTY):
                found[name] = fill(text, parts)
            elif text in parts:
                found[name] = parts[text]
        return found

    def add_point(self, name: str, options: PointOptions, labels: Mapping[str, str] | None = None) -> int:
        """The point's id, or :data:`NO_ROOM`. Labels of its own go before those of the subscription."""
        point = Point.of(name, options)
        if labels:
            point = msgspec.structs.replace(point, labels={**labels, **options.labels})
        try:
            number = self.points.add(point)
        except TooManyPointsError:
            return NO_ROOM
        if self.ctx is not None:
            self.ctx.stats.devices.setdefault(name.partition("/")[0], {})
        return number

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


def reject(ctx: Context | None, reasons: Counter[str], error: PayloadError, topic: bytes, payload: bytes) -> None:
    """Hand a message that cannot be used to the gateway, which counts it; without one, count it."""
    if ctx is None:
        reasons[error.reason] += 1
        return
    detail = str(error).removeprefix(error.reason).removeprefix(": ")
    ctx.reject(error.reason, topic.decode(errors="replace"), payload, detail)


def checked_name(name: str) -> str:
    """``name`` if it can be part of a point's name.

    Raises:
        PayloadError: ``bad-name``.
    """
    if not NAME.match(name):
        raise PayloadError("bad-name", f"{name[:80]!r} has other characters than letters, digits, and . _ -")
    return name


def decode_json(payload: bytes) -> Any:
    """What a JSON payload writes.

    Raises:
        PayloadError: ``unparsable``.
    """
    try:
        return _decode(payload)
    except BROKEN as error:
        raise PayloadError("unparsable", str(error)) from None


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
