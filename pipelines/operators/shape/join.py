"""``join``: several points on one grid of time."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any, ClassVar, Final

import msgspec
import numpy as np

from gateway import quality as q
from gateway.errors import FieldError
from gateway.frame import EMPTY, Frame, concat
from gateway.point import Kind, Merge, Point
from gateway.units import Duration
from pipelines.base import Glob, OperatorConfig, State, grown
from pipelines.operators.aligned import Aligner, Mode, Rows
from pipelines.operators.facts import Facts
from pipelines.operators.shape.enum_states import Suffix
from pipelines.operators.shape.joining import Joiner, named, stars
from pipelines.operators.shape.renamed import Renames

if TYPE_CHECKING:
    from gateway.frame import Ids, Mask
    from pipelines.base import Operator, Points

MAX_INPUTS: Final = 64
MAX_STEPS: Final = 10_000
"""A gap is at most so many steps of the grid."""
MAX_WAIT_S: Final = 7 * 86_400


class How(enum.StrEnum):
    """What a point has at a time between two of its samples."""

    LAST = "last"
    LINEAR = "linear"


class JoinConfig(OperatorConfig, frozen=True, kw_only=True):
    """Several points resampled on one grid, so that they have values for the same times.

    The grid lies at multiples of ``every`` since 1970 UTC. Inputs are names in which ``*`` stands for each device (or
    other segment, or a part of one); those of one device make a row for each time of the grid. ``m1/p`` comes out as
    ``m1/p#1s``. A value is the last sample's (``last``) or lies on the line between two samples (``linear``), if the
    sample is not older, or the two not further apart, than ``max_gap``; otherwise it is missing: invalid, no value. A
    row in which all are missing is not made: a device that is silent gives nothing. A time of the grid at which a
    sample lies takes that sample.

    Rows wait until the watermark of the device has passed by ``lateness``, under ``linear`` by ``max_gap`` as well.
    ``last`` carries states too; under ``linear`` they pass untouched, counted as ``not-linear``. The quality of a value
    between two samples is the worse of both.

    Example::

        steps:
          - join: {inputs: ["*/p", "*/q"], every: 1s, how: linear, max_gap: 5s}
    """

    EXAMPLES: ClassVar[tuple[dict[str, Any], ...]] = (
        {"inputs": ["*/power", "*/voltage"], "every": "1s", "max_gap": "3s", "lateness": "1s"},
        {"inputs": ["m1/power", "m2/power"], "every": "500ms", "how": "linear", "complete": True, "keep": True},
        {"inputs": ["*/state", "*/voltage"], "every": "2s", "how": "linear", "suffix": "#grid"},
    )

    inputs: list[Glob]
    """Names of points, such as ``m1/p`` or ``*/p``; at most 64, all with the same number of ``*``."""
    every: Duration
    """Distance of the grid, at least 1 ms."""
    how: How = How.LAST
    """What a point has between its samples: the ``last`` one, or a value on the ``linear`` way to the next."""
    max_gap: Duration = Duration(5)
    """How old the last sample may be, or how far two samples may lie apart; at most 10,000 times ``every``."""
    lateness: Duration = Duration(5)
    """How long rows wait for samples that come out of order."""
    complete: bool = False
    """Only rows in which no input is missing or invalid."""
    suffix: Suffix | None = None
    """What is put behind the names; left out: ``#`` and the distance of the grid, ``#1s``."""
    keep: bool = False
    """Whether the inputs pass on as well."""

    def __post_init__(self) -> None:
        if not 1 <= len(self.inputs) <= MAX_INPUTS or len(set(self.inputs)) < len(self.inputs):
            raise FieldError("inputs", f"needs 1 to {MAX_INPUTS} different names")
        stars("inputs", self.inputs, shared=False)
        if self.every.ns < 1_000_000:
            raise FieldError("every", "must be at least 1ms")
        if self.max_gap.ns > MAX_STEPS * self.every.ns or self.max_gap > MAX_WAIT_S:
            raise FieldError("max_gap", f"must be at most {MAX_STEPS:,} times every, and 7d")
        if self.how is How.LINEAR and self.max_gap.ns <= 0:
            raise FieldError("max_gap", "must be longer than 0 with how: linear")
        if self.lateness > MAX_WAIT_S:
            raise FieldError("lateness", "must be at most 7d")

    def create(self, points: Points) -> Operator:
        """The operator for these options."""
        return Join(self, points)


def span(ns: int) -> str:
    """``1s``, ``500ms``, ``15m``: a span as it would be written."""
    sizes = {"d": 86_400 * 10**9, "h": 3_600 * 10**9, "m": 60 * 10**9, "s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
    unit = next(unit for unit, size in sizes.items() if ns % size == 0)
    return f"{ns // sizes[unit]}{unit}"


class Join(Joiner):
    """See :class:`JoinConfig`."""

    def __init__(self, config: JoinConfig, points: Points) -> None:
        aligner = Aligner(
            points,
            config.inputs,
            mode=Mode(config.how.value),
            lateness_ns=config.lateness.ns,
            max_gap_ns=config.max_gap.ns,
            grid_ns=config.every.ns,
            sparse=True,
        )
        super().__init__(aligner, keep=config.keep)
        self._points = points
        self._inputs = config.inputs
        self._complete = config.complete
        self._linear = config.how is How.LINEAR
        self._suffix = f"#{span(config.every.ns)}" if config.suffix is None else config.suffix
        self._renames = Renames(points, self._made, self.counts)
        self._states = Facts(points, 1, _is_state)
        self._ids: Ids = np.empty((0, len(config.inputs)), np.int32)
        """The point of each group and input; -1 where none was found."""
        self._looked: Ids = np.empty(0, np.int32)
        """How many points there were when a group was last looked at."""

    def _made(self, point: Point) -> Point:
        facts: dict[str, Any] = {"resolution": None, "merge": Merge.LAST} if self._linear else {}
        return msgspec.structs.replace(point, name=point.name + self._suffix, **facts)

    def process(self, frame: Frame) -> Frame:
        """What is no input, and with ``keep`` the inputs too."""
        if not self._linear or not len(frame):
            return super().process(frame)
        states = self._states.column(0, frame.point) != 0
        n = int(np.count_nonzero(states))
        if not n:
            return super().process(frame)
        self.counts.reasons["not-linear"] += n
        return concat([frame.take(states), super().process(frame.take(~states))])

    def made(self, rows: Rows) -> Frame:
        """A sample for each row and input whose point there is."""
        absent = q.reason_codes(rows.value) == q.Reason.MISSING
        missing = np.isnan(rows.value) | q.is_invalid(rows.quality)
        chosen: Mask = np.logical_not(missing.any(axis=1) if self._complete else absent.all(axis=1))
        ids = self._points_of(rows.group)
        there = (ids >= 0) & chosen[:, None]
        if not there.any():
            return EMPTY
        time = np.broadcast_to(rows.time[:, None], ids.shape)[there]
        value, quality = rows.value[there], rows.quality[there]
        nothing = np.isnan(value)
        if nothing.any():  # also the line between two infinities
            value[nothing & (q.reason_codes(value) == 0)] = q.no_value(q.Reason.NOT_A_NUMBER)
            quality[nothing] = q.worse(quality[nothing], q.INVALID, 0)
        return self._renames(Frame(ids[there], time, value, quality))

    def _points_of(self, groups: Ids) -> Ids:
        """Points of the inputs of each row, [k, m]; below 0 where there is none."""
        size = int(groups.max(initial=-1)) + 1
        self._ids, self._looked = grown(self._ids, size, -1), grown(self._looked, size)
        found: Ids = self._ids[groups]
        open_ones = (found < 0).any(axis=1) & (self._looked[groups] < len(self._points))
        if open_ones.any():
            for group in np.unique(groups[open_ones]).tolist():
                self._ids[group] = self._found(self._aligner.text(group))
                self._looked[group] = len(self._points)
            found = self._ids[groups]
        return found

    def _found(self, group: str) -> list[int]:
        names = (named(pattern, group) for pattern in self._inputs)
        found = (self._points.find(name) for name in names)
        return [-1 if one is None else one for one in found]

    def snapshot(self) -> State:
        """What waits, and which points came out."""
        return {**super().snapshot(), "renames": self._renames.snapshot()}

    def restore(self, state: State) -> None:
        """The inverse of :meth:`snapshot`."""
        super().restore(state)
        self._renames.restore(state["renames"])


def _is_state(point: Point) -> tuple[float, ...]:
    return (float(point.kind is Kind.STATE),)
