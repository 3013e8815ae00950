"""Grouping points by device, label or name, and the names of what is computed of them.

``over`` says which points belong together: ``device`` (the first part of the name), ``label area`` (the label's value),
``all``, or a glob over names in which ``{words}`` stand for parts: ``{feeder}-*/power``. ``name`` says what a group is
called, with those words: ``site/{feeder}/power``. Points of one such name are one group.

A group is a row of its own, numbered from 0 in the order of the directory; it needs no point of its own name.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np

from gateway.errors import FieldError
from gateway.point import Kind, Merge, Point, compile_glob
from pipelines.base import grown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gateway.frame import Ids
    from pipelines.base import Points

_WORD: Final = re.compile(r"\{([a-z_][a-z0-9_]*)\}")
_LABEL: Final = re.compile(r"label\s+(\S+)\Z")
NONE: Final = -1
"""The row of a point that belongs to no group."""
SQUARED: Final = "()2"
"""As a unit: the square of the base point's."""


class Over:
    """Which points belong together, and what a group of them is called."""

    def __init__(self, over: str, name: str) -> None:
        self._name = name
        self._label: str | None = None
        self._pattern: re.Pattern[str] | None = None
        found = _LABEL.match(over)
        if over == "device":
            self._pattern = re.compile(r"(?P<device>[^/#]*)(?:[/#].*)?\Z", re.DOTALL)
        elif over == "all":
            self._pattern = re.compile("", re.DOTALL)
        elif found:
            self._label = found[1]
        else:
            self._pattern = _glob(over)

    def name(self, point: Point, base: str) -> tuple[str, dict[str, str]] | None:
        """The name of the group of a point that is called ``base``, and its words; None if it belongs to none."""
        if self._label is not None:
            value = point.labels.get(self._label)
            words = None if value is None else {self._label: value}
        else:
            assert self._pattern is not None
            match = self._pattern.match(base)
            words = None if match is None else match.groupdict()
        if words is None:
            return None
        return _WORD.sub(lambda word: words[word[1]], self._name), words


def check_over(over: str | None, name: str) -> None:
    """Whether the two options of a grouping fit.

    Raises:
        FieldError: they do not, and why.
    """
    if over is None:
        if name:
            raise FieldError("name", 'is for groups only; say which with over: device, all, "label area" or a glob')
        return
    label = _LABEL.match(over)
    if over in {"device", "all"}:
        words = {"device"} - ({"device"} if over == "all" else set())
    elif label:
        words = {label[1]}
    elif re.search(r"[*/{]", over):
        found = _WORD.findall(over)
        words = set(found)
        if len(found) > len(words) or re.search(r"[{}]", _WORD.sub("", over)):
            raise FieldError("over", 'words in a glob are written {like_this}, each once: "{feeder}-*/power"')
    else:
        raise FieldError(
            "over", f'"{over}" is none of device, all, "label area" or a glob such as "{{feeder}}-*/power"'
        )
    if not name:
        example = "/".join(["site", *(f"{{{word}}}" for word in sorted(words)), "power"])
        raise FieldError("name", f'says what the points of a group are called together, such as "{example}"')
    strange = set(_WORD.findall(name)) - words
    if strange or re.search(r"[{}#]", _WORD.sub("", name)):
        known = ", ".join(f"{{{word}}}" for word in sorted(words)) or "none here"
        raise FieldError("name", f"may hold the words of over only ({known}) and no #")


def _glob(over: str) -> re.Pattern[str]:
    out = ""
    for at, part in enumerate(_WORD.split(over)):
        out += f"(?P<{part}>[^/#]+)" if at % 2 else compile_glob(part).pattern.removesuffix(r"\Z")
    return re.compile(out + r"\Z", re.DOTALL)


class Names:
    """The points that an operator makes beside those of its rows; a row is a point's id."""

    def __init__(self, points: Points) -> None:
        self._points = points
        self._tables: dict[str, Ids] = {}

    def like(self, row: int) -> Point:
        """The point that those of a row are named after."""
        return self._points.point(row)

    def derive(self, rows: Ids, suffix: str, facts: Mapping[str, Any], texts: Sequence[str] = ()) -> Ids:
        """Ids of the points named after rows, [n], with a suffix; made when new.

        Args:
            rows: which, [n].
            suffix: such as ``#mean``.
            facts: fields of a point that are other than those of the row's; the unit may be :data:`SQUARED`.
            texts: of a point of states: what 0, 1 ... stand for.
        """
        if texts or facts.get("unit") == SQUARED:
            return self._derive(rows, suffix, facts, texts)
        return self._points.derive(rows, suffix, **facts)

    def _derive(self, rows: Ids, suffix: str, facts: Mapping[str, Any], texts: Sequence[str]) -> Ids:
        """Likewise, by a table of our own."""
        table = self._tables.get(suffix)
        size = int(rows.max(initial=-1)) + 1
        if table is None or len(table) < size:
            table = self._tables[suffix] = grown(np.empty(0, np.int32) if table is None else table, size, NONE)
        ids: Ids = table[rows]
        if (ids < 0).any():
            for row in np.unique(rows[ids < 0]).tolist():
                table[row] = self._make(row, suffix, facts, texts)
            ids = table[rows]
        return ids

    def _make(self, row: int, suffix: str, facts: Mapping[str, Any], texts: Sequence[str]) -> int:
        like = self.like(row)
        changes = dict(facts)
        if changes.get("unit") == SQUARED:
            changes["unit"] = like.unit if like.unit in {"", "1"} else f"({like.unit})2"
        made = self._points.make(msgspec.structs.replace(like, name=like.name + suffix, **changes))
        for text in texts[len(self._points.states(made) or ()) :]:
            self._points.state(made, text)
        return made


class Targets(Names):
    """Groups by name, as rows."""

    def __init__(self, points: Points) -> None:
        super().__init__(points)
        self._rows: dict[str, int] = {}
        self._like: list[Point] = []
        self._told: list[bool] = []
        """Whether it is known what the group's points are like."""

    def __len__(self) -> int:
        return len(self._like)

    def like(self, row: int) -> Point:
        """A point with the group's name, its unit and its words as labels."""
        return self._like[row]

    def derive(self, rows: Ids, suffix: str, facts: Mapping[str, Any], texts: Sequence[str] = ()) -> Ids:
        """See the base class; rows are groups."""
        return self._derive(rows, suffix, facts, texts)

    def row(self, point: Point) -> int:
        """The row of the group with this point's name, made when new."""
        found = self._rows.get(point.name)
        if found is None:
            found = self._rows[point.name] = len(self._like)
            self._like.append(point)
            self._told.append(False)
        return found

    def tell(self, point: Point) -> None:
        """Say what a member of the group of this name is like; where members differ in a fact, it has none."""
        row = self.row(point)
        known = self._like[row]
        if not self._told[row]:
            same = point
        else:
            plain = Point(name=point.name)
            fields = ("unit", "kind", "limits", "resolution")
            differ = [field for field in fields if getattr(known, field) != getattr(point, field)]
            labels = dict(known.labels.items() & point.labels.items())
            same = msgspec.structs.replace(known, labels=labels, **{field: getattr(plain, field) for field in differ})
        if same != known or not self._told[row]:
            self._like[row], self._told[row] = same, True
            for table in self._tables.values():
                if row < len(table):
                    table[row] = NONE

    def forget(self, row: int) -> None:
        """What members have told of a group was not the best to be had."""
        self._told[row] = False

    def snapshot(self) -> list[str]:
        """The names by row."""
        return [point.name for point in self._like]

    def restore(self, names: Sequence[str]) -> None:
        """The inverse of :meth:`snapshot`; what the groups are like is learnt anew."""
        self._like = [Point(name=name) for name in names]
        self._told = [False] * len(names)
        self._rows = {name: row for row, name in enumerate(names)}
        self._tables = {}


class Groups(Targets):
    """The group of each point of the directory."""

    def __init__(self, points: Points, over: Over, *, derived: bool = False) -> None:
        """``derived`` are points with a ``#`` in their name, which steps have made; else they belong to none."""
        super().__init__(points)
        self._over, self._derived = over, derived
        self._known = 0
        self._edition = points.edition
        self._of = np.empty(0, np.int32)
        self._came = np.empty(0, np.bool_)
        """Whether a sample of the point has come, by id."""

    def rows(self, ids: Ids) -> Ids:
        """The group of each sample's point, [n]; :data:`NONE` for those that belong to none."""
        if self._points.edition != self._edition:
            self._known, self._edition = 0, self._points.edition
            self._came.fill(False)
        total = len(self._points)
        if total > self._known:
            self._of = grown(self._of, total, NONE)
            for point_id in range(self._known, total):
                self._of[point_id] = self._row_of(self._points.point(point_id))
            self._known = total
            self._came = grown(self._came, total)
        found: Ids = self._of[ids]
        fresh = ~self._came[ids]
        if fresh.any():  # only what comes: others may have the same label, and another unit
            for point_id in np.unique(ids[fresh]).tolist():
                self._came[point_id] = True
                if self._of[point_id] != NONE:
                    self._tell_of(self._points.point(point_id))
        return found

    def _row_of(self, point: Point) -> int:
        left_out = "#" in point.name and not self._derived
        found = None if left_out else self._over.name(point, point.name)
        if found is None:
            return NONE
        name, words = found
        like = msgspec.structs.replace(
            point, name=name, kind=Kind.GAUGE, limits=None, resolution=None, merge=Merge.LAST, labels=words
        )
        return self.row(msgspec.structs.replace(like, unit=""))

    def _tell_of(self, point: Point) -> None:
        found = self._over.name(point, point.name)
        if found is not None:
            name, words = found
            self.tell(
                msgspec.structs.replace(
                    point, name=name, kind=Kind.GAUGE, limits=None, resolution=None, merge=Merge.LAST, labels=words
                )
            )

    def restore(self, names: Sequence[str]) -> None:
        """See the base class."""
        super().restore(names)
        self._known = 0
        self._came.fill(False)
