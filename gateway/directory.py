"""The directory: every point there ever was, each with a dense integer id that stays.

Ids are given in memory at once and written by the store in the same transaction as the first block that
uses them; an id that was never written was never seen outside. Only ever appended. Called from the event
loop (adapters) and from the store's thread (operators), hence the lock around what changes.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from gateway.errors import TooManyPointsError
from gateway.frame import Ids
from gateway.merge import RULES
from gateway.point import Point

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import numpy.typing as npt

MAX_STATES = 1024


class Directory:
    """Points by id and by name, with the texts of state points."""

    def __init__(self, limit: int = 100_000) -> None:
        self.limit = limit
        self._history: list[int] = []
        self._points: list[Point] = []
        self._ids: dict[str, int] = {}
        self._states: dict[int, list[str]] = {}
        self._state_codes: dict[tuple[int, str], float] = {}
        self._derived: dict[str, Ids] = {}
        self._changed: dict[int, None] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._points)

    @property
    def edition(self) -> int:
        """See :class:`pipelines.base.Points`."""
        return len(self._history)

    def changed_since(self, edition: int) -> set[int]:
        """Points of which something else is known than in an earlier edition: facts, or one more text."""
        return set(self._history[edition:])

    def point(self, point_id: int) -> Point:
        """What is known of a point."""
        return self._points[point_id]

    def name(self, point_id: int) -> str:
        """The point's name."""
        return self._points[point_id].name

    def find(self, name: str) -> int | None:
        """The id of a name, or None."""
        return self._ids.get(name)

    def add(self, point: Point) -> int:
        """See :meth:`adapters.base.Points.add`."""
        known = self._ids.get(point.name)
        if known is not None and self._points[known] == point:
            return known
        with self._lock:
            return self._add(point, bounded=True)

    def _add(self, point: Point, *, bounded: bool) -> int:
        known = self._ids.get(point.name)
        if known is None:
            if bounded and len(self._points) >= self.limit:
                raise TooManyPointsError(f"the bound of {self.limit} points is reached; not taken: {point.name}")
            known = len(self._points)
            self._points.append(point)
            self._ids[point.name] = known
        elif self._points[known] == point:
            return known
        else:
            self._points[known] = point
            self._history.append(known)
        self._changed[known] = None
        return known

    def make(self, point: Point) -> int:
        """See :meth:`pipelines.base.Points.make`. Not bounded: base points are, and steps are few."""
        known = self._ids.get(point.name)
        if known is not None and self._points[known] == point:
            return known
        with self._lock:
            return self._add(point, bounded=False)

    def derive(self, base: Ids, suffix: str, **changes: Any) -> Ids:
        """See :meth:`pipelines.base.Points.derive`. Not bounded: base points are, and steps are few."""
        table = self._derived.get(suffix)
        if table is None or len(table) < len(self._points):
            wider = np.full(len(self._points), -1, np.int32)
            if table is not None:
                wider[: len(table)] = table
            table = self._derived[suffix] = wider
        ids: Ids = table[base]
        if (ids < 0).any():
            for missing in np.unique(base[ids < 0]).tolist():
                table[missing] = self._derive_one(missing, suffix, changes)
            ids = table[base]
        return ids

    def _derive_one(self, base: int, suffix: str, changes: Mapping[str, Any]) -> int:
        origin = self._points[base]
        point = msgspec.structs.replace(origin, name=origin.name + suffix, **changes)
        with self._lock:
            return self._add(point, bounded=False)

    def state(self, point_id: int, text: str) -> float:
        """See :meth:`adapters.base.Points.state`."""
        code = self._state_codes.get((point_id, text))
        if code is not None:
            return code
        with self._lock:
            texts = self._states.setdefault(point_id, [])
            if len(texts) >= MAX_STATES:
                raise TooManyPointsError(f"{self.name(point_id)}: more than {MAX_STATES} different texts")
            texts.append(text)
            code = self._state_codes[point_id, text] = float(len(texts) - 1)
            self._changed[point_id] = None
            self._history.append(point_id)
            return code

    def states(self, point_id: int) -> list[str] | None:
        """The texts of a state point by number, or None if it has none."""
        return self._states.get(point_id)

    def merge_rules(self) -> npt.NDArray[np.uint8]:
        """Each point's rule as an index into :data:`gateway.merge.RULES`, [points]."""
        return np.array([RULES.index(point.merge) for point in self._points], np.uint8)

    def changes(self) -> list[tuple[int, bytes]]:
        """Rows (id, encoded) that are not on disk yet; hands each out once."""
        with self._lock:
            changed, self._changed = self._changed, {}
            return [(i, self._encode(i)) for i in changed]

    def rewrite(self) -> None:
        """Hand out every row again: the store could not keep what it was given."""
        with self._lock:
            self._changed = dict.fromkeys(range(len(self._points)))

    def _encode(self, point_id: int) -> bytes:
        return msgspec.msgpack.encode(_Row(point=self._points[point_id], states=self._states.get(point_id, [])))

    def load(self, rows: Iterable[tuple[int, bytes]]) -> None:
        """Take over what :meth:`changes` once gave, ordered by id, into an empty directory."""
        for point_id, encoded in rows:
            while len(self._points) < point_id:  # a row that is gone: its id stays taken
                self._points.append(Point(name=f"?{len(self._points)}"))
            try:
                row = _ROW.decode(encoded)
            except (msgspec.DecodeError, UnicodeDecodeError):  # damaged: the point comes back under a new id
                self._points.append(Point(name=f"?{point_id}"))
                continue
            self._points.append(row.point)
            self._ids[row.point.name] = point_id
            if row.states:
                self._states[point_id] = row.states
                for code, text in enumerate(row.states):
                    self._state_codes[point_id, text] = float(code)


class _Row(msgspec.Struct, frozen=True):
    point: Point
    states: list[str]


_ROW = msgspec.msgpack.Decoder(_Row)


def readable(encoded: bytes) -> bool:
    """Whether this is a row as :meth:`Directory.changes` gives it."""
    try:
        _ROW.decode(encoded)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    return True
