"""Points under other names: which id a sample gets, by the rule of an operator. Shared by rename, split and convert.

A point of another name is a point of its own, so that no fact of the first one is changed for others. It is made when
the first sample of its origin passes. Two origins never come out under one name: the first to come has it, and the
samples of the other keep their own name, or are dropped if that is taken too; both are counted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from gateway.frame import Frame, Ids, Values
from gateway.point import Kind
from pipelines.base import State, grown

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.point import Point
    from pipelines.base import Counts, Points

COLLISION: Final = "name-collision"
"""What is counted where a name is taken."""
_UNKNOWN: Final = -1
_REFUSED: Final = -2


class Renames:
    """Ids under which samples go on.

    Args:
        points: the directory.
        made: what a point becomes; None for one that stays what it is.
        counts: where collisions are counted.
        fall_back: whether a sample whose name is taken may go on under its own.
        together: whether several origins may be one point from here on.
    """

    def __init__(
        self,
        points: Points,
        made: Callable[[Point], Point | None],
        counts: Counts,
        *,
        fall_back: bool = True,
        together: bool = False,
    ) -> None:
        self._points = points
        self._fall_back = fall_back
        self._together = together
        self._made = made
        self._counts = counts
        self._edition = points.edition
        self._target: Ids = np.empty(0, np.int32)
        self._collided = np.empty(0, np.bool_)
        """Whether the name that the point should have is taken."""
        self._any_collided = False
        self._owner: dict[int, int] = {}
        """Whose samples go on under an id."""
        self._origins: dict[int, Point] = {}
        """What was known of a point when its target was made."""
        self._tables: dict[int, Values] = {}
        """Codes of the target for those of the origin, where they differ; states have tables of their own."""

    def __call__(self, frame: Frame) -> Frame:
        """The samples under their other names."""
        ids = self.targets(frame.point)
        value = self._translated(frame.point, frame.value) if self._tables else frame.value
        if not self._any_collided:
            return Frame(ids, frame.time, value, frame.quality)
        taken = int(np.count_nonzero(self._collided[frame.point]))
        kept = ids >= 0
        refused = len(frame) - int(np.count_nonzero(kept))
        self._counts.reasons[COLLISION] += taken - refused
        self._counts.drop(COLLISION, refused)
        renamed = frame.replace(point=ids, value=value)
        return renamed.take(kept) if refused else renamed

    def targets(self, ids: Ids) -> Ids:
        """The id that each sample gets, [n]; below 0 where it has to be dropped."""
        if self._points.edition != self._edition:
            self._renew()
        if len(self._points) > len(self._target):
            self._grow(len(self._points))
        found: Ids = self._target[ids]
        if len(found) and found.min() < 0 and (found == _UNKNOWN).any():
            self._learn(ids[found == _UNKNOWN])
            found = self._target[ids]
        return found

    def _grow(self, size: int) -> None:
        if size > len(self._target):
            self._target = grown(self._target, size, _UNKNOWN)
            self._collided = grown(self._collided, size)

    def _learn(self, ids: Ids) -> None:
        """Find names for points in the order in which they came."""
        known, first = np.unique(ids, return_index=True)
        for point_id in known[np.argsort(first)].tolist():
            self._settle(point_id)

    def _settle(self, point_id: int) -> None:
        point = self._points.point(point_id)
        self._origins[point_id] = point
        made = self._made(point)
        target = point_id if made is None or made == point else self._make(made, point_id)
        if self._together or self._owner.setdefault(target, point_id) == point_id:
            self._target[point_id], self._collided[point_id] = target, False
            self._tabulate(point_id, target)
            return
        self._collided[point_id] = self._any_collided = True
        free = self._fall_back and self._owner.setdefault(point_id, point_id) == point_id
        self._target[point_id] = point_id if free else _REFUSED

    def _make(self, made: Point, origin: int) -> int:
        known = self._points.find(made.name)
        if known is not None and self._owner.get(known, origin) != origin:
            return known  # somebody else's: its facts stay what they are
        return self._points.make(made)

    def _tabulate(self, origin: int, target: int) -> None:
        """Give the target the texts of its origin, and note where their numbers differ."""
        texts = self._points.states(origin)
        self._tables.pop(origin, None)
        if not texts or origin == target or self._points.point(target).kind is not Kind.STATE:
            return
        codes = np.array([self._points.state(target, text) for text in texts])
        if (codes != np.arange(len(texts))).any():
            self._tables[origin] = codes

    def _translated(self, ids: Ids, values: Values) -> Values:
        result = values.copy()
        for origin, codes in self._tables.items():
            at = np.flatnonzero(ids == origin)
            at = at[(values[at] >= 0) & (values[at] < len(codes))]
            result[at] = codes[values[at].astype(np.intp)]
        return result

    def _renew(self) -> None:
        """Look again at the points of which something else is known now."""
        self._edition = self._points.edition
        for origin, known in list(self._origins.items()):
            if self._points.point(origin) is not known:
                self._release(origin)
                self._settle(origin)
            elif known.kind is Kind.STATE and self._target[origin] >= 0:
                self._tabulate(origin, int(self._target[origin]))

    def _release(self, origin: int) -> None:
        for target in (int(self._target[origin]), origin):
            if self._owner.get(target) == origin:
                del self._owner[target]

    def snapshot(self) -> State:
        """Which point goes on under which id."""
        known = np.flatnonzero(self._target != _UNKNOWN).astype(np.int32)
        return {"point": known, "target": self._target[known], "collided": self._collided[known]}

    def restore(self, state: State) -> None:
        """The inverse of :meth:`snapshot`."""
        known, target = state["point"], state["target"]
        self._grow(max(len(self._points), int(known.max(initial=-1)) + 1))
        self._target[:], self._collided[:] = _UNKNOWN, False
        self._target[known], self._collided[known] = target, state["collided"]
        self._any_collided = bool(self._collided.any())
        pairs = list(zip(known.tolist(), target.tolist(), strict=True))
        self._owner = {to: origin for origin, to in pairs if to >= 0}
        self._origins = {origin: self._points.point(origin) for origin, _ in pairs}
        self._tables = {}
        for origin, to in pairs:
            if to >= 0:
                self._tabulate(origin, to)
        for origin, to in pairs:
            if not self._collided[origin] and self._points.name(to) != self._wanted(origin):
                self._release(origin)  # what is known of it has changed since
                self._settle(origin)

    def _wanted(self, origin: int) -> str:
        made = self._made(self._points.point(origin))
        return self._points.name(origin) if made is None else made.name
