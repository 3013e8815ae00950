"""The operator contract.

An operator is synchronous, knows no clock and does no I/O. ``process`` takes a frame and returns what
passes on; ``tick`` returns what time itself causes. How samples are cut into frames never changes a
result; the watermark moves only at ticks; the same frames and ticks always give the same output. That
is what recovery leans on: a checkpoint plus a replay of the journal gives the exact state back.
"""

from __future__ import annotations

import abc
import enum
from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Protocol

import msgspec
import numpy as np
import numpy.typing as npt

from gateway.frame import EMPTY
from gateway.point import compile_glob

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.frame import Frame, Ids, Mask
    from gateway.point import Point
    from pipelines.bounds import Bound

Glob = Annotated[str, msgspec.Meta(min_length=1)]
Globs = Glob | Annotated[list[Glob], msgspec.Meta(min_length=1)]
State = dict[str, Any]
"""A snapshot: names to numpy arrays, numbers, texts, and dicts of those."""


class Settled(dict[str, Any]):
    """A part of a snapshot that nobody changes any more: the same object says the same in each snapshot."""


class StateClass(enum.StrEnum):
    """What moving an operator to another node would take (the seam for placement)."""

    STATELESS = "stateless"
    WINDOW_MERGEABLE = "window-mergeable"
    WINDOW_OPAQUE = "window-opaque"
    LONG_LIVED = "long-lived"


class OperatorConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Options that every operator has. A subclass repeats ``frozen=True, kw_only=True``."""

    EXAMPLES: ClassVar[tuple[dict[str, Any], ...]] = ()
    """Options as in YAML, under which the contract test runs the operator; a test asks for at least one."""

    points: Globs = "**"
    """Which points the step works on; all others pass it untouched."""
    dry_run: bool = False
    """Let everything pass as it is, and only count what the step would have done; ``status`` shows it."""

    @property
    def identity(self) -> str:
        """What the step's state is kept under over changes of the options; empty: nothing, other options begin anew."""
        return ""

    def create(self, points: Points) -> Operator:
        """The operator for these options."""
        raise NotImplementedError


class Points(Protocol):
    """The directory as operators see it. Ids are dense: arrays can be indexed by them."""

    def __len__(self) -> int:
        """How many points there are; ids are below it."""

    @property
    def edition(self) -> int:
        """Grows when what is known of a point changes, as a reload may do."""

    def point(self, point_id: int) -> Point:
        """What is known of a point."""

    def name(self, point_id: int) -> str:
        """The point's name."""

    def find(self, name: str) -> int | None:
        """The id of a name, or None."""

    def make(self, point: Point) -> int:
        """The id of a point that an operator makes itself; what is said of a known one is brought up to date."""

    def state(self, point_id: int, text: str) -> float:
        """The number that stands for ``text`` in the point's table of states; appended when new."""

    def states(self, point_id: int) -> list[str] | None:
        """The texts of a state point by number, or None if it has none."""

    def derive(self, base: Ids, suffix: str, **changes: Any) -> Ids:
        """Ids of the points named base + suffix (``m1/power`` + ``#mean``), [n]; made when new.

        A derived point is like its base but for ``changes``, fields of :class:`gateway.point.Point`.
        """


class Selector:
    """Which points a list of globs selects, as a mask over ids that grows with the directory.

    ``**`` takes really everything, as a step does whose pipeline has chosen already; ``strictly`` it does not take the
    gateway's own metrics (:func:`gateway.point.compile_glob`).
    """

    def __init__(self, points: Points, globs: Sequence[str] | str, *, strictly: bool = False) -> None:
        self._points = points
        globs = [globs] if isinstance(globs, str) else globs
        self._patterns = [compile_glob(glob) for glob in globs]
        self.everything = "**" in globs
        self._strictly = strictly
        self._known: npt.NDArray[np.bool_] = np.empty(0, np.bool_)
        self._all = False

    def mask(self, ids: Ids) -> Mask:
        """Where a sample's point is selected, [n]."""
        if self.everything and not self._strictly:
            return np.ones(len(ids), np.bool_)
        if len(self._points) > len(self._known):
            self._extend()
        if self._all:
            return np.ones(len(ids), np.bool_)
        result: Mask = self._known[ids]
        return result

    def _extend(self) -> None:
        fresh = range(len(self._known), len(self._points))
        names = map(self._points.name, fresh)
        found = [any(pattern.match(name) for pattern in self._patterns) for name in names]
        self._known = np.concatenate([self._known, np.array(found, np.bool_)])
        self._all = bool(self._known.all())


class Counts:
    """Where a step's samples went. ``in == out + filtered + aggregated + dropped + queued`` always holds.

    ``derived`` are samples that the step made itself (a window's results); ``queued`` is what an
    operator holds and will still account for. ``reasons`` says why samples were dropped or were late.
    """

    __slots__ = (
        "aggregated",
        "derived",
        "dropped",
        "filtered",
        "queued",
        "reasons",
        "samples_in",
        "samples_out",
    )

    def __init__(self) -> None:
        self.samples_in = 0
        self.samples_out = 0
        self.filtered = 0
        self.aggregated = 0
        self.dropped = 0
        self.queued = 0
        self.derived = 0
        self.reasons: Counter[str] = Counter()

    def drop(self, reason: str, n: int) -> None:
        """Count ``n`` samples as dropped because of ``reason``."""
        if n:
            self.dropped += n
            self.reasons[reason] += n

    @property
    def balanced(self) -> bool:
        """Whether every sample is accounted for."""
        return self.samples_in == (self.samples_out + self.filtered + self.aggregated + self.dropped + self.queued)

    def as_dict(self) -> dict[str, Any]:
        """For ``status`` and for snapshots."""
        return {
            "in": self.samples_in,
            "out": self.samples_out,
            "filtered": self.filtered,
            "aggregated": self.aggregated,
            "dropped": self.dropped,
            "queued": self.queued,
            "derived": self.derived,
            "reasons": dict(self.reasons),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """The inverse of :meth:`as_dict`."""
        self.samples_in = state["in"]
        self.samples_out = state["out"]
        self.filtered = state["filtered"]
        self.aggregated = state["aggregated"]
        self.dropped = state["dropped"]
        self.queued = state["queued"]
        self.derived = state["derived"]
        self.reasons = Counter(state["reasons"])


class Operator(abc.ABC):
    """One step of a pipeline.

    The runner counts ``samples_in`` and ``samples_out`` (it knows what went in, and takes ``derived``
    off what came out); the operator itself counts ``filtered``, ``aggregated``, ``dropped``, ``queued``
    and ``derived`` on ``self.counts``.
    """

    state_class: ClassVar[StateClass] = StateClass.STATELESS
    merges: ClassVar[bool] = False
    """Whether partial results of this operator combine by the points' merge rules."""
    joins: ClassVar[bool] = False
    """Whether a result may depend on several points (an expression, a sum over devices)."""

    def __init__(self) -> None:
        self.counts = Counts()

    @abc.abstractmethod
    def process(self, frame: Frame) -> Frame:
        """What passes on of ``frame``; keeps the order within each point. Never raises on any value."""

    def tick(self, now_ns: int) -> Frame:
        """What the passing of time causes, such as windows that close.

        ``now_ns`` never goes back and never jumps, also across restarts; it starts near the wall clock
        but only differences between ticks mean anything.
        """
        del now_ns
        return EMPTY

    def clock_stepped(self, delta_ns: int) -> Frame:
        """The gateway's wall clock jumped by ``delta_ns``; what has to be let go because of it."""
        del delta_ns
        return EMPTY

    @property
    def due_ns(self) -> int | None:
        """When it wants a tick, of the time that ticks tell, although it holds no samples; None: whenever one comes."""
        return None

    @property
    def bound(self) -> Bound | None:
        """How far what is sent may lie from what came in; None for an operator that loses nothing or merely judges."""
        return None

    def set_bound(self, bound: Bound) -> None:
        """Use another bound from now on; part of the snapshot from then on. For operators that have one."""
        raise NotImplementedError(f"{type(self).__name__} has no bound ({bound})")

    def snapshot(self) -> State:
        """All state, of which nothing is shared with the running operator."""
        return {}

    def restore(self, state: State) -> None:
        """The inverse of :meth:`snapshot`; ``state`` may not be changed."""
        del state


def grown(array: npt.NDArray[Any], size: int, fill: float = 0) -> npt.NDArray[Any]:
    """``array`` with at least ``size`` rows; doubles, so that growth costs a constant a row."""
    if size <= len(array):
        return array
    bigger = np.full((max(size, 2 * len(array), 64), *array.shape[1:]), fill, array.dtype)
    bigger[: len(array)] = array
    return bigger
