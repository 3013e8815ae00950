"""``thd``: harmonics and total distortion of waveforms."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

import numpy as np

from gateway import quality as q
from gateway.errors import FieldError
from gateway.frame import EMPTY, Frame, concat
from gateway.point import Point
from pipelines.operators.power.ordered import Ordered, PowerConfig
from pipelines.operators.power.results import FARTHEST_NS, PLAIN, columns_of, frame_of, sealed, usable
from pipelines.operators.power.sorter import in_order
from pipelines.operators.power.spectrum import Grouping, distortion, harmonics, rms

if TYPE_CHECKING:
    import numpy.typing as npt

    from gateway.frame import Ids, Index, Qualities, Times, Values
    from pipelines.base import Points, State

PERIODS: Final = {50: 10, 60: 12}
"""Periods in a window of 200 ms."""
MAX_RATE: Final = 1_000_000
_AT_ONCE: Final = 1 << 20
"""Samples that are transformed at once."""
_SLACK: Final = 0.1
"""How far, in parts of it, the time between two samples may be off."""


class ThdConfig(PowerConfig, frozen=True, kw_only=True):
    """Harmonics of waveforms in windows of 10 periods at 50 Hz, 12 at 60 Hz (200 ms), by IEC 61000-4-7.

    A waveform is a burst of samples of one point at ``rate``; or, with ``elements``, a vector: points whose last
    segment is a number (``m1/wave/0``, ``m1/wave/1`` ...), which all have the time of the first element. Samples that
    follow one another at the rate (within 10 % of its period) are cut into windows; what is left over waits for more,
    and is let go when a sample is missing or unusable (counted as ``incomplete-window``).

    For each window, stamped with its end: ``m1/wave#thd`` in percent of the fundamental, ``#rms``, ``#fundamental``
    (r.m.s., in the unit of the point), and ``#h5`` in percent for each order in ``orders``. ``grouping`` says which
    lines of the spectrum count for a harmonic; the default, subgroups, gives the THDS of IEC 61000-4-30.

    The standard wants the window synchronised with the mains: ``rate`` times 200 ms samples have to be 10 (12) periods
    as they are. Sample with a PLL or resample before; at 0.1 Hz off, subgroups still catch most of the leakage.

    Example::

        steps:
          - thd: {points: "*/wave", rate: 12800, orders: [3, 5, 7]}
          - thd: {points: "*/wave/*", elements: true, rate: 6400, frequency: 60}
    """

    EXAMPLES: ClassVar[tuple[dict[str, Any], ...]] = (
        {"rate": 200.0, "highest": 1, "grouping": "none", "lateness": "0s"},
        {"rate": 500.0, "highest": 3, "orders": [2, 3], "elements": True, "keep": True},
    )

    rate: float
    """Samples a second; rate times 200 ms has to be a whole even number."""
    frequency: Literal[50, 60] = 50
    """Nominal frequency of the mains in Hz."""
    grouping: Grouping = Grouping.SUBGROUP
    """``none`` (THD), ``subgroup`` (THDS) or ``group`` (THDG)."""
    highest: int = 40
    """The highest order that counts."""
    orders: tuple[int, ...] = ()
    """Orders that are told by themselves, in percent of the fundamental."""
    elements: bool = False
    """The points are the elements of a vector, numbered from 0 by the last segment of their names."""
    keep: bool = False
    """Whether the waveforms pass on as well, beside the results."""

    def __post_init__(self) -> None:
        if not 0 < self.rate <= MAX_RATE:
            raise FieldError("rate", f"must be greater than 0 and at most {MAX_RATE}")
        if abs(self.rate / 5 - round(self.rate / 5)) > 1e-9 or round(self.rate / 5) % 2:
            raise FieldError("rate", "times 200 ms has to be a whole even number of samples, such as 6400 or 12800")
        if not 1 <= self.highest <= 200:
            raise FieldError("highest", "must be from 1 to 200")
        if self.rate <= 2 * (self.highest + 0.5) * self.frequency:
            most = max(math.ceil(self.rate / self.frequency / 2 - 0.5) - 1, 0)
            raise FieldError(
                "highest", f"needs a higher rate: {self.rate:g} samples a second show {max(most, 0)} orders"
            )
        for at, order in enumerate(self.orders):
            if not 2 <= order <= self.highest:
                raise FieldError(("orders", at), f"must be from 2 to highest ({self.highest})")

    def create(self, points: Points) -> Thd:
        """The operator for these options."""
        return Thd(self, points)


class Thd(Ordered):
    """See :class:`ThdConfig`. A lane is a point, or the vector that its elements belong to."""

    joins: ClassVar[bool] = True

    def __init__(self, config: ThdConfig, points: Points) -> None:
        super().__init__(config, points)
        self._config = config
        self._size = round(config.rate / 5)
        self._pace_ns = 1e9 / config.rate
        self._vectors = _Vectors(points) if config.elements else None
        self._rest = EMPTY
        """What is left of the last run of each lane."""

    def process(self, frame: Frame) -> Frame:
        """The samples as they are, or those that are no waveform if they are not kept."""
        if self._vectors is None:
            return super().process(frame)
        mine, waves = self._vectors.placed(frame, self._pace_ns)
        if len(waves):
            self._take(waves)
        return frame if self._keep else frame.take(~mine)

    def _advance(self, frame: Frame, marks: Times) -> Frame:
        del marks
        if not len(frame):
            return EMPTY
        frame = in_order(concat([self._rest, frame]))
        ok = usable(frame.value, frame.quality)
        frame = frame if ok.all() else frame.take(ok)
        if not len(frame):
            return EMPTY
        return self._windows(frame, *self._runs(frame))

    def _runs(self, frame: Frame) -> tuple[Index, npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
        """Where runs without a break begin, how long they are, and which are the last of their lane."""
        pace = np.diff(frame.time)
        new = np.append(True, frame.point[1:] != frame.point[:-1])
        broken = new.copy()
        broken[1:] |= np.abs(pace - self._pace_ns) > _SLACK * self._pace_ns
        starts = np.flatnonzero(broken)
        lengths = np.diff(starts, append=len(frame))
        final = np.append(new[starts[1:]], True)
        return starts, lengths, final

    def _windows(
        self, frame: Frame, starts: Index, lengths: npt.NDArray[np.int64], final: npt.NDArray[np.bool_]
    ) -> Frame:
        """The results of whole windows; what is left of last runs is kept."""
        whole = lengths // self._size
        left = lengths - whole * self._size
        self._note("incomplete-window", int(np.count_nonzero(left[~final])))
        ends = starts + lengths
        kept = np.zeros(len(frame) + 1, np.int64)
        np.add.at(kept, (ends - left)[final], 1)
        np.add.at(kept, ends[final], -1)
        self._rest = frame.take(np.cumsum(kept[:-1]) > 0)
        which = np.repeat(np.arange(len(starts)), whole)
        number = np.arange(len(which)) - np.repeat(np.cumsum(whole) - whole, whole)
        at = starts[which] + number * self._size
        step = max(1, _AT_ONCE // self._size)
        return concat([self._transformed(frame, at[i : i + step]) for i in range(0, len(at), step)])

    def _transformed(self, frame: Frame, at: Index) -> Frame:
        """The results of the windows that begin at ``at``."""
        rows = at[:, None] + np.arange(self._size)
        value, config = frame.value[rows], self._config
        orders = harmonics(value, PERIODS[config.frequency], config.highest, config.grouping)
        lanes, end = frame.point[at], frame.time[at + self._size - 1] + round(self._pace_ns)
        word = _worst(frame.quality[rows])
        share = {"unit": "%", "limits": None}
        results: list[tuple[str, Values, dict[str, Any]]] = [
            ("#thd", 100 * distortion(orders), share), ("#rms", rms(value), {}), ("#fundamental", orders[:, 0], {}),
        ]  # fmt: skip
        first = np.where(orders[:, 0] > 0, orders[:, 0], np.nan)
        results += [(f"#h{order}", 100 * orders[:, order - 1] / first, share) for order in config.orders]
        return concat([sealed(self._ids(lanes, name, facts), end, found, word) for name, found, facts in results])

    def _ids(self, lanes: Ids, suffix: str, facts: dict[str, Any]) -> Ids:
        if self._vectors is None:
            return self._points.derive(lanes, suffix, **PLAIN | facts)
        return self._vectors.ids(lanes, suffix, facts)

    def _forget(self) -> Frame:
        self._note("incomplete-window", len(np.unique(self._rest.point)))
        self._rest = EMPTY
        return EMPTY

    def snapshot(self) -> State:
        """What waits for its order or its window."""
        return {**super().snapshot(), "rest": columns_of(self._rest)}

    def restore(self, state: State) -> None:
        """The inverse of :meth:`snapshot`."""
        super().restore(state)
        self._rest = frame_of(state["rest"])


def _worst(words: Qualities) -> Qualities:
    """Worst validity and all flags of each row, [m]."""
    flags = np.bitwise_or.reduce(words & np.uint16(0xFFFF ^ q.VALIDITY), axis=1)
    severity = q.severity(words.ravel()).reshape(words.shape).max(axis=1)
    word: Qualities = (flags | q.validity_of(severity)).astype(np.uint16)
    return word


class _Vectors:
    """Which vector a point is an element of, and which element. Numbers follow the directory, so they stay."""

    def __init__(self, points: Points) -> None:
        self._points = points
        self._lane: Ids = np.empty(0, np.int32)
        self._index: npt.NDArray[np.int64] = np.empty(0, np.int64)
        self._names: dict[str, int] = {}
        self._first: list[int] = []

    def placed(self, frame: Frame, pace_ns: float) -> tuple[npt.NDArray[np.bool_], Frame]:
        """Which samples are elements, and those as samples of their vector, at their own times."""
        self._learn()
        mine: npt.NDArray[np.bool_] = self._lane[frame.point] >= 0
        own = frame.take(mine)
        away = np.rint(self._index[own.point] * pace_ns).astype(np.int64)
        wild = (own.time > FARTHEST_NS) | (own.time < -FARTHEST_NS)
        return mine, own.replace(point=self._lane[own.point], time=own.time + np.where(wild, 0, away))

    def _learn(self) -> None:
        known, total = len(self._lane), len(self._points)
        if total == known:
            return
        lanes, places = [], []
        for point in range(known, total):
            name, _, last = self._points.name(point).rpartition("/")
            place = int(last) if last.isascii() and last.isdecimal() and len(last) <= 6 else -1
            if place >= 0 and name and name not in self._names:
                self._names[name] = len(self._first)
                self._first.append(point)
            lanes.append(self._names[name] if place >= 0 and name else -1)
            places.append(max(place, 0))
        self._lane = np.append(self._lane, np.array(lanes, np.int32))
        self._index = np.append(self._index, np.array(places, np.int64))

    def ids(self, lanes: Ids, suffix: str, facts: dict[str, Any]) -> Ids:
        """Points of results, named after the vector."""
        names = list(self._names)
        made = {}
        for lane in np.unique(lanes).tolist():
            unit = facts.get("unit", self._points.point(self._first[lane]).unit)
            made[lane] = self._points.make(Point(name=names[lane] + suffix, unit=unit))
        return np.array([made[lane] for lane in lanes.tolist()], np.int32)
