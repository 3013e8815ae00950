"""One gateway below: what its points are called here, and its frames in our ids. No I/O."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from adapters.frame.records import MAX_TEXT
from gateway import quality as q
from gateway.batch import Loss
from gateway.errors import PayloadError, TooManyPointsError
from gateway.frame import EMPTY, Frame, Ids, group_starts
from gateway.point import Kind, Merge, Point

if TYPE_CHECKING:
    from adapters.base import Points
    from gateway.wire.receive import Received

LOST: Final = "onpath/lost"
"""Below it stand the points that say how many samples a gateway has lost, one for each reason."""
MAX_TABLES: Final = 32
_UNKNOWN, _REFUSED = -1, -2
_NO_NAME: Final = re.compile(r"[^A-Za-z0-9_.\-]")


def device_of(gateway: str) -> str:
    """The name of a gateway as a device."""
    return _NO_NAME.sub("_", gateway)


class _Table:
    """From the sender's ids to ours, for one directory; filled as points come."""

    def __init__(self, facts: dict[int, Any]) -> None:
        self.facts = facts
        self.own = np.full(1 + max((key for key in facts if isinstance(key, int)), default=0), _UNKNOWN, np.int32)
        self.codes: dict[int, npt.NDArray[np.float64]] = {}
        """By the sender's id: our numbers of its texts, where they are not the same."""


class Child:
    """A gateway below."""

    def __init__(self, gateway: str, template: str, points: Points, reasons: Counter[str]) -> None:
        self.gateway = gateway
        self.device = device_of(gateway)
        self.batches = 0
        self.lost: Counter[str] = Counter()
        """Samples that its loss markers tell of, by reason."""
        self._template = template
        self._by_pipeline = "{pipeline}" in template
        self._points = points
        self._reasons = reasons
        self._tables: dict[tuple[int, str], _Table] = {}
        self._described: dict[str, Point] = {}

    def frame(self, received: Received) -> Frame:
        """The samples of a batch by our ids; those of points that the directory has no room for are counted.

        Raises:
            PayloadError: ``bad-directory``: what is said of a point cannot be used.
        """
        batch, frame = received.batch, received.batch.frame
        if batch.loss is not None:
            return self._loss(batch.loss)
        if not len(frame):
            return EMPTY
        table = self._table(received.points, batch.pipeline if self._by_pipeline else "")
        if int(frame.point.min()) < 0 or int(frame.point.max()) >= len(table.own):
            raise PayloadError("bad-directory", f"point {int(frame.point.max())} is not described")
        present = np.unique(frame.point)
        for point in present[table.own[present] == _UNKNOWN].tolist():
            table.own[point] = self._own(table, point, batch.pipeline)
        own = table.own[frame.point]
        value = self._states(table, present, frame)
        quality = frame.quality | np.uint16(q.HISTORICAL) if batch.historical else frame.quality
        mapped = Frame(own, frame.time, value, quality)
        refused = own == _REFUSED
        if refused.any():
            self._reasons["too-many-points"] += int(np.count_nonzero(refused))
            return mapped.take(~refused)
        return mapped

    def _table(self, facts: dict[int, Any], pipeline: str) -> _Table:
        key = (id(facts), pipeline)
        table = self._tables.pop(key, None)
        if table is None or table.facts is not facts:
            table = _Table(facts)
            while len(self._tables) >= MAX_TABLES:
                del self._tables[next(iter(self._tables))]
        self._tables[key] = table  # what was used last stands last
        return table

    def _own(self, table: _Table, point: int, pipeline: str) -> int:
        facts = table.facts.get(point)
        described = self._point(facts, pipeline)
        assert isinstance(facts, dict)
        try:
            known = self._described.get(described.name)
            own = self._points.add(described if "unit" in facts or known is None else known)
            if "unit" in facts:
                self._described[described.name] = described
            if texts := facts.get("states"):
                codes = np.array([self._points.state(own, text) for text in texts])
                if not np.array_equal(codes, np.arange(len(codes))):
                    table.codes[point] = codes
        except TooManyPointsError:
            return _REFUSED
        return own

    def _point(self, facts: Any, pipeline: str) -> Point:
        match facts:
            case {"name": str(name)} if name and len(name) <= MAX_TEXT and name.isprintable():
                full = self._template.format(gateway=self.device, point=name, pipeline=pipeline)
            case _:
                raise PayloadError("bad-directory", f"{facts!r:.80}")
        unit, texts = facts.get("unit", ""), facts.get("states") or []
        if not isinstance(unit, str) or not isinstance(texts, list) or not all(isinstance(one, str) for one in texts):
            raise PayloadError("bad-directory", f"{name}: {facts!r:.80}")
        labels = _labels(facts.get("labels")) | {"gateway": self.gateway}
        try:
            return Point(
                name=full,
                unit=unit,
                kind=Kind(facts.get("kind", Kind.STATE if texts else Kind.GAUGE)),
                limits=_limits(facts.get("limits")),
                resolution=_positive(facts.get("resolution")),
                merge=Merge(facts.get("merge", Merge.LAST)),
                labels=labels,
            )
        except (ValueError, TypeError) as error:
            raise PayloadError("bad-directory", f"{name}: {error}") from error

    @staticmethod
    def _states(table: _Table, present: Ids, frame: Frame) -> npt.NDArray[np.float64]:
        """The values, with numbers of texts in our count where it differs; once a point, not once a sample."""
        differ = [point for point in present.tolist() if point in table.codes] if table.codes else []
        if not differ:
            return frame.value
        value = frame.value.copy()
        starts = group_starts(frame.point)
        ends = np.append(starts[1:], len(frame))
        wanted = set(differ)
        for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
            point = int(frame.point[start])
            if point in wanted:
                codes, part = table.codes[point], value[start:end]
                with np.errstate(invalid="ignore"):
                    fits = (part >= 0) & (part < len(codes)) & (part == np.floor(part))
                part[fits] = codes[part[fits].astype(np.intp)]
        return value

    def _loss(self, loss: Loss) -> Frame:
        """A loss marker as a sample: so many lost, at the time of the last of them."""
        reason = _NO_NAME.sub("-", loss.reason)[:64] or "unknown"
        name = self._template.format(gateway=self.device, point=f"{LOST}/{reason}", pipeline="onpath")
        point = Point(name=name, unit="{sample}", resolution=1.0, merge=Merge.ADD, labels={"gateway": self.gateway})
        try:
            own = self._points.add(point)
        except TooManyPointsError:
            self._reasons["too-many-points"] += 1
            return EMPTY
        return Frame.of([own], loss.last_ns, [float(loss.count)], q.GOOD)


def _labels(found: Any) -> dict[str, str]:
    if found is None:
        return {}
    if not isinstance(found, dict) or not all(isinstance(one, str) for pair in found.items() for one in pair):
        raise PayloadError("bad-directory", f"labels {found!r:.80}")
    return dict(found)


def _limits(found: Any) -> tuple[float, float] | None:
    match found:
        case None:
            return None
        case [int() | float() as low, int() | float() as high] if low < high:
            return float(low), float(high)
    raise PayloadError("bad-directory", f"limits {found!r:.80}")


def _positive(found: Any) -> float | None:
    if found is None:
        return None
    if isinstance(found, (int, float)) and found > 0:
        return float(found)
    raise PayloadError("bad-directory", f"resolution {found!r:.80}")
