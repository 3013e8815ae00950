"""Topics that nobody has subscribed to by name: what they carry, and how a subscription to them would read.

Topics of one shape (the same levels but for one, the same content) are one finding, with ``{device}`` where they
differ; plain values may differ in their last level as well, which is then ``{point}``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from adapters.mqtt.topics import Pattern, parse
from adapters.payloads.infer import Guess, infer
from gateway.finding import Finding

if TYPE_CHECKING:
    from collections.abc import Sequence

    from adapters.base import Context

MAX_SHAPES: Final = 500
"""Shapes remembered; what comes after them is not looked at."""
MAX_LEVELS: Final = 16
QUIET_TICKS: Final = 5
"""So long nothing more of its kind has come when a shape is told; in s."""


class Shape:
    """Topics that differ in some levels only."""

    def __init__(self, levels: tuple[str, ...], guess: Guess) -> None:
        self.levels: list[str | None] = list(levels)
        """None where they differ."""
        self.first = levels
        self.guess = guess
        self.quiet = 0
        self.told = False

    def fits(self, levels: tuple[str, ...]) -> bool:
        """Whether a topic is one of them already."""
        return all(known is None or known == level for known, level in zip(self.levels, levels, strict=True))

    def widen(self, levels: tuple[str, ...]) -> bool:
        """Take a topic in, if it may differ where it does."""
        last = len(levels) - 1
        differ = {i for i, level in enumerate(levels) if self.levels[i] not in {None, level}}
        differs = differ | {i for i, known in enumerate(self.levels) if known is None}
        if self.is_text:
            differs.discard(last)
        if len(differ) != 1 or len(differs) > 1:
            return False
        self.levels[differ.pop()] = None
        return True

    @property
    def is_text(self) -> bool:
        """Whether a topic is one value."""
        return self.guess.payload == "text"


class Finder:
    """All unknown topics of one adapter."""

    def __init__(self, filters: Sequence[str], url: str) -> None:
        self._patterns: list[Pattern] = [parse(text) for text in filters]
        self._url = url
        self._shapes: dict[tuple[int, str, tuple[str, ...]], list[Shape]] = {}
        self._count = 0
        self._waiting: list[Shape] = []

    def asks(self) -> list[tuple[str, int]]:
        """The filters to subscribe to, with their QoS."""
        return [(pattern.filter, 0) for pattern in self._patterns]

    def see(self, topic: str, payload: bytes) -> bool:
        """Look at the first message of a topic; whether the topic is one of those to look for."""
        if not any(pattern.match(topic) is not None for pattern in self._patterns):
            return False
        levels = tuple(topic.split("/"))
        guess = infer(payload) if len(levels) <= MAX_LEVELS and not topic.startswith("spBv1.0/") else None
        if guess is not None:
            self._add(levels, guess)
        return True

    def _add(self, levels: tuple[str, ...], guess: Guess) -> None:
        key = len(levels), guess.payload, () if guess.payload == "text" else guess.offers
        shapes = self._shapes.setdefault(key, [])
        if any(shape.fits(levels) for shape in shapes):
            return
        for shape in shapes:
            if shape.widen(levels):
                break
        else:
            if self._count >= MAX_SHAPES:
                return
            self._count += 1
            shape = Shape(levels, guess)
            shapes.append(shape)
        shape.quiet, shape.told = 0, False
        if shape not in self._waiting:
            self._waiting.append(shape)

    def tick(self, ctx: Context) -> None:
        """Tell of shapes that have settled; called about once a second."""
        for shape in self._waiting:
            shape.quiet += 1
            if shape.quiet >= QUIET_TICKS and not shape.told:
                shape.told = True
                ctx.found(self._finding(shape, ctx.name))
        self._waiting = [shape for shape in self._waiting if not shape.told]

    def _finding(self, shape: Shape, adapter: str) -> Finding:
        entry, device = _entry(shape)
        sayable = shape.guess.payload != "bytes" and not any(set("{}+#") & set(level) for level in shape.first)
        return Finding(
            kind="mqtt-topic",
            address=f"{self._url}/{entry['topic']}",
            device=device,
            offers=(shape.guess.payload, *shape.guess.offers),
            config={"adapters": {adapter: {"subscribe": [entry]}}} if sayable else {},
        )


def _entry(shape: Shape) -> tuple[dict[str, Any], str]:
    """A subscription to the topics of a shape, and the name of a device."""
    last = len(shape.levels) - 1
    differs = [i for i, level in enumerate(shape.levels) if level is None and not (shape.is_text and i == last)]
    before = last - 1 if last > 1 or (shape.is_text and last) else last
    at = differs[0] if differs else before
    names = dict.fromkeys(differs, "{device}")
    if shape.is_text and shape.levels[last] is None:
        names[last] = "{point}"
    topic = "/".join(names.get(i, level) for i, level in enumerate(shape.first))
    device = _plain(shape.first[at])
    entry: dict[str, Any] = {"topic": topic, "payload": shape.guess.payload, **shape.guess.options}
    if not differs:
        entry["device"] = device
    if shape.is_text and last not in names:
        entry["points"] = {_plain(shape.first[last]): {}}
    return entry, device


def _plain(text: str) -> str:
    """A text as a name."""
    return "".join(char if char.isascii() and (char.isalnum() or char in "._-") else "_" for char in text)[:128] or "x"
