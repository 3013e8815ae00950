"""``line_loss``: what goes in at the head of a line and does not come out at its meters."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from gateway import quality as q
from gateway.errors import FieldError
from gateway.frame import EMPTY, Frame, concat
from gateway.point import Merge, Point
from gateway.units import Duration
from pipelines.base import Globs, Operator, Selector, State, StateClass
from pipelines.operators.aggregate.window_clock import INT64_MAX, INT64_MIN, PointClocks
from pipelines.operators.facts import Facts
from pipelines.operators.power.joined import check_names
from pipelines.operators.power.ordered import PowerConfig
from pipelines.operators.power.quantities import watt_hours, watts
from pipelines.operators.power.results import FARTHEST_NS, columns_of, frame_of, sealed, usable
from pipelines.operators.power.sorter import in_order

if TYPE_CHECKING:
    from gateway.frame import Mask
    from pipelines.base import Points


class LineLossConfig(PowerConfig, frozen=True, kw_only=True):
    """The head meter less the sum of its children, for intervals that are complete.

    All are interval values: energies of the same intervals, such as what ``energy`` with ``every`` gives, or means.
    They belong together if their times are equal. An interval is complete if the head and every child have a usable
    value for it; a child is every point that the globs match and the gateway has ever seen. Otherwise the loss is
    invalid (missing), and the interval is counted as ``incomplete``. Intervals wait for their last meter by
    ``lateness`` behind the newest sample of the line. Times at which the head has no sample give nothing.

    ``feeder/loss`` is in the unit of the head, ``feeder/loss#percent`` in percent of what the head measured. Units of
    energy and power are brought to that of the head; where that is not possible the loss is invalid and counted as
    ``other-unit``.

    Example::

        steps:
          - line_loss: {head: "feeder/energy#delta", children: "m*/energy#delta", set: "feeder/loss"}
    """

    EXAMPLES: ClassVar[tuple[dict[str, Any], ...]] = (
        {"head": "m1/voltage", "children": "m2/voltage", "set": "feeder/loss"},
        {"head": "m1/power", "children": ["*/power", "*/energy"], "set": "feeder/loss", "lateness": "0s"},
        {"head": "m1/voltage", "children": "*/power", "set": "feeder/loss", "keep": False, "dry_run": True},
    )

    head: str
    """The name of the head meter's point."""
    children: Globs
    """Globs of the children's points; the head itself is never one."""
    set: str
    """The name of the result, such as ``feeder/loss``."""
    lateness: Duration = Duration(300)
    """How long an interval waits for its last meter."""

    def __post_init__(self) -> None:
        if not self.head or "*" in self.head:
            raise FieldError("head", "is the name of one point, without *; write a step for each line")
        check_names(self.set, [], "children")

    def create(self, points: Points) -> LineLoss:
        """The operator for these options."""
        return LineLoss(self, points)


class LineLoss(Operator):
    """See :class:`LineLossConfig`."""

    state_class: ClassVar[StateClass] = StateClass.WINDOW_OPAQUE
    joins: ClassVar[bool] = True

    def __init__(self, config: LineLossConfig, points: Points) -> None:
        super().__init__()
        self._points = points
        self._config = config
        self._head = Selector(points, config.head)
        self._children = Selector(points, config.children)
        self._texts: dict[str, float] = {}
        self._unit = Facts(points, 2, self._unit_of)
        self._line = _Line(config.lateness.ns)

    def process(self, frame: Frame) -> Frame:
        """The samples as they are, or without the line's if those are not kept."""
        mine = self._head.mask(frame.point) | self._children.mask(frame.point)
        own = frame if mine.all() else frame.take(mine)
        if not len(own):
            return frame
        late, early = self._line.add(own)
        for reason, n in (("late", late), ("early", early)):
            if n:
                self.counts.reasons[reason] += n
        if self._config.keep:
            return frame
        self.counts.aggregated += len(own)
        return frame.take(~mine)

    def tick(self, now_ns: int) -> Frame:
        """The losses of intervals that are due."""
        return self._results(self._line.tick(now_ns, self._points.find(self._config.head)))

    def clock_stepped(self, delta_ns: int) -> Frame:
        """The losses of all intervals that wait."""
        del delta_ns
        return self._results(self._line.flush())

    def _results(self, frame: Frame) -> Frame:
        if not len(frame):
            return EMPTY
        head = self._points.find(self._config.head)
        top = frame.point == (-1 if head is None else head)
        if head is None or not top.any():
            return EMPTY
        with np.errstate(all="ignore"):
            out = self._losses(frame, top, head)
        self.counts.derived += len(out)
        return out

    def _losses(self, frame: Frame, top: Mask, head: int) -> Frame:
        """The loss at each time of the head; samples are ordered by time, then point."""
        heads = frame.take(top)
        at = np.searchsorted(heads.time, frame.time)
        child = ~top & (at < len(heads))
        child[child] = heads.time[at[child]] == frame.time[child]
        parts, at = frame.take(child), at[child]
        ok = usable(parts.value, parts.quality)
        factor = self._unit.column(0, parts.point) / self._unit.column(0, heads.point[:1])
        same = self._unit.column(1, parts.point) == self._unit.column(1, heads.point[:1])
        value = parts.value * np.where(same, 1.0, np.where(factor > 0, factor, np.nan))
        total = np.bincount(at[ok], value[ok], len(heads))
        seen = np.bincount(at[ok], minlength=len(heads))
        wanted = self._count(head)
        complete = (seen == wanted) & (wanted > 0) & usable(heads.value, heads.quality)
        missing = int(np.count_nonzero(~complete))
        odd = int(np.count_nonzero(complete & np.isnan(total)))
        for reason, n in (("incomplete", missing), ("other-unit", odd)):
            if n:
                self.counts.reasons[reason] += n
        loss = np.where(complete, heads.value - total, q.no_value(q.Reason.MISSING))
        share = np.where(heads.value == 0, np.nan, 100 * loss / heads.value)
        percent = np.where(complete, share, q.no_value(q.Reason.MISSING))
        return self._told(heads, parts, at, loss, percent)

    def _told(
        self, heads: Frame, parts: Frame, at: np.ndarray[Any, Any], loss: np.ndarray[Any, Any],
        percent: np.ndarray[Any, Any],
    ) -> Frame:  # fmt: skip
        level = q.severity(heads.quality)
        flags = heads.quality & np.uint16(0xFFFF ^ q.VALIDITY)
        np.maximum.at(level, at, q.severity(parts.quality))
        np.bitwise_or.at(flags, at, parts.quality & np.uint16(0xFFFF ^ q.VALIDITY))
        word = (flags | q.validity_of(level)).astype(np.uint16)
        unit = self._points.point(int(heads.point[0])).unit
        ids = self._points.make(Point(name=self._config.set, unit=unit, merge=Merge.ADD))
        shares = self._points.make(Point(name=f"{self._config.set}#percent", unit="%"))
        return concat(
            [
                sealed(np.full(len(heads), ids), heads.time, loss, word),
                sealed(np.full(len(heads), shares), heads.time, percent, word),
            ]
        )

    def _unit_of(self, point: Point) -> tuple[float, float]:
        """What the unit is worth: in W.h or, negative so that the two never mix, in W; and a number for its text."""
        energy, power = watt_hours(point.unit), watts(point.unit)
        worth = energy if energy is not None else math.nan if power is None else -power
        return worth, self._texts.setdefault(point.unit, float(len(self._texts)))

    def _count(self, head: int) -> int:
        """How many children the line has."""
        every = np.arange(len(self._points), dtype=np.int32)
        return int(np.count_nonzero(self._children.mask(every) & (every != head)))

    def snapshot(self) -> State:
        """What waits."""
        return self._line.snapshot()

    def restore(self, state: State) -> None:
        """The inverse of :meth:`snapshot`."""
        self._line.restore(state)


class _Line:
    """What waits for its interval, up to the watermark of the head (of the children, while there is no head)."""

    def __init__(self, lateness_ns: int) -> None:
        self._lateness_ns = lateness_ns
        self._clocks = PointClocks()
        self._size = 0
        self._done = INT64_MIN
        self._parts: list[Frame] = []

    def add(self, frame: Frame) -> tuple[int, int]:
        """Take samples; how many of them were late, and how many wild."""
        self._size = max(self._size, int(frame.point.max()) + 1)
        self._clocks.grow(self._size)
        wild = (frame.time > FARTHEST_NS) | (frame.time < -FARTHEST_NS)
        ahead = self._clocks.early(frame.point, frame.time)
        wild = wild if ahead is None else wild | ahead
        tame = frame.take(~wild) if wild.any() else frame
        late = tame.time <= self._done
        self._clocks.see(tame.point, tame.time)
        kept = tame.take(~late) if late.any() else tame
        if len(kept):
            self._parts.append(kept)
        return len(tame) - len(kept), len(frame) - len(tame)

    def tick(self, now_ns: int, head: int | None) -> Frame:
        """The samples whose time has come, ordered by time, then point."""
        self._clocks.tick(now_ns)
        if not self._size:
            return EMPTY
        due = self._clocks.due(np.arange(self._size, dtype=np.int32), self._lateness_ns, 1)
        own = due[head] if head is not None and head < self._size else INT64_MIN
        mark = int(own) if own > INT64_MIN else int(due.max())
        self._done = max(self._done, mark)
        return self._give()

    def flush(self) -> Frame:
        """All there is; event time starts anew."""
        self._done = INT64_MAX
        frame = self._give()
        self._clocks.reset()
        self._done = INT64_MIN
        return frame

    def _give(self) -> Frame:
        held = concat(self._parts)
        ripe = held.time <= self._done
        if not ripe.any():
            return EMPTY
        rest = held.take(~ripe)
        self._parts = [rest] if len(rest) else []
        held = in_order(held.take(ripe))
        return held.take(np.lexsort((held.point, held.time)))

    def snapshot(self) -> State:
        """What waits."""
        held = columns_of(concat(self._parts))
        return {"clocks": self._clocks.snapshot(), "size": self._size, "done": self._done, "held": held}

    def restore(self, state: State) -> None:
        """The inverse of :meth:`snapshot`."""
        self._size, self._done = state["size"], state["done"]
        self._clocks.restore(state["clocks"])
        self._clocks.grow(self._size)
        held = frame_of(state["held"])
        self._parts = [held] if len(held) else []
