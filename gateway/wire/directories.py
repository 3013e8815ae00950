"""Directory messages as a receiver keeps them: by hash, in whatever order they come. A leaf."""

from __future__ import annotations

import hashlib
from typing import Any, Final

import msgpack
import numpy as np

from gateway.errors import PayloadError
from gateway.frame import Frame
from gateway.point import Kind
from gateway.wire.envelope import unseal

PART_BYTES: Final = 1 << 20
"""A directory message holds no more bytes than this before compression, and one point more."""
MOST_POINTS: Final = 1 << 21
"""Descriptions kept, of all gateways together; then the directory message that came first is forgotten."""
MAX_STATES: Final = 1024
"""Texts of one point, at most."""
_MOST_BYTES: Final = 4 * PART_BYTES
_WHOLE: Final = 256
"""Directories kept ready with all that they build on."""


def hash_of(base: str, points: bytes) -> str:
    """The name of a directory message: half of the SHA-256 over the hash of its base and the envelope of its points."""
    return hashlib.sha256(bytes.fromhex(base) + points).hexdigest()[:16]


class Directories:
    """What directory messages of any number of gateways said."""

    def __init__(self, most_points: int = MOST_POINTS) -> None:
        self._most = most_points
        self._parts: dict[str, tuple[str, dict[int, Any]]] = {}
        """Base and points by hash, in the order in which they came."""
        self._whole: dict[str, dict[int, Any]] = {}
        self._points = 0

    def learn(self, name: str, base: str, points: dict[int, Any]) -> None:
        """Take what a directory message says."""
        known = self._parts.pop(name, None)
        if known is not None:
            self._points -= len(known[1])
            if known != (base, points):  # of version 1, where the name proves nothing
                self._whole.clear()
        self._parts[name] = base, points
        self._points += len(points)
        while self._points > self._most and len(self._parts) > 1:
            oldest = next(iter(self._parts))
            self._points -= len(self._parts.pop(oldest)[1])
            self._whole.clear()

    def learn_sealed(self, name: str, base: str, points: bytes) -> None:
        """Take what a directory message of version 2 says.

        Raises:
            PayloadError: ``bad-directory``, where name and content do not belong together; ``damaged`` ...
        """
        try:
            genuine = hash_of(base, points) == name
        except ValueError:
            genuine = False
        if not genuine:
            raise PayloadError("bad-directory", f"the content is not that of {name[:16]!r}")
        try:
            described = msgpack.unpackb(
                unseal(points, _MOST_BYTES), strict_map_key=False, max_array_len=MAX_STATES, max_map_len=1 << 16
            )
        except (ValueError, TypeError, msgpack.UnpackException) as error:
            raise PayloadError("bad-directory", str(error) or type(error).__name__) from error
        if not isinstance(described, dict):
            raise PayloadError("bad-directory", "not a map of points")
        self.learn(name, base, described)

    def of(self, name: str) -> dict[int, Any]:
        """All points that a directory and those it builds on describe; the newest word on each holds. Not checked.

        Raises:
            PayloadError: ``unknown-directory``, if one of them did not come.
        """
        whole = self._whole.get(name)
        if whole is None:
            chain: list[dict[int, Any]] = []
            base = name
            while base:
                if base not in self._parts or len(chain) > len(self._parts):
                    raise PayloadError("unknown-directory", f"directory {base} was not among the messages before")
                base, points = self._parts[base]
                chain.append(points)
            whole = {point: facts for points in reversed(chain) for point, facts in points.items()}
            if len(self._whole) >= _WHOLE:
                del self._whole[next(iter(self._whole))]
            self._whole[name] = whole
        return whole


class Described:
    """What directory messages said of the points of a frame, checked.

    Raises:
        PayloadError: ``bad-directory``, where they say nothing or nothing usable of one.
    """

    def __init__(self, points: dict[int, Any], frame: Frame) -> None:
        self._points: dict[int, tuple[str, list[str] | None]] = {}
        for point in np.unique(frame.point).tolist():
            self._points[point] = _facts(point, points.get(point))

    def name(self, point_id: int, /) -> str:
        """See :class:`gateway.wire.record.Names`."""
        return self._points[point_id][0]

    def states(self, point_id: int, /) -> list[str] | None:
        """See :class:`gateway.wire.record.Names`."""
        return self._points[point_id][1]


def _facts(point: int, facts: Any) -> tuple[str, list[str] | None]:
    match facts:
        case {"name": str(name), "unit": str(), "kind": str(kind)} if kind in _KINDS:
            match facts.get("states"):
                case None:
                    return name, None
                case [*texts] if len(texts) <= MAX_STATES and all(isinstance(text, str) for text in texts):
                    return name, texts
    raise PayloadError("bad-directory", f"point {point}: {facts!r:.60}")


_KINDS: Final = frozenset(kind.value for kind in Kind)
