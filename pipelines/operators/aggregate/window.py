"""``window``: statistics over windows of event time; its options."""

from __future__ import annotations

import enum
import math
import re
from difflib import get_close_matches
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final

import msgspec

from gateway.errors import FieldError
from gateway.units import Duration
from pipelines.base import OperatorConfig
from pipelines.operators.aggregate.groups import check_over
from pipelines.operators.aggregate.window_calendar import DAY_NS, zone_exists

if TYPE_CHECKING:
    from pipelines.base import Points
    from pipelines.operators.aggregate.window_operator import Window

STATS = (
    "count", "sum", "mean", "wmean", "min", "max", "min_time", "max_time", "range", "first", "last", "variance",
    "stddev", "distinct", "histogram", "duration", "coverage", "validity",
)  # fmt: skip
MERGEABLE: Final = frozenset(
    {"count", "sum", "mean", "min", "max", "range", "variance", "stddev", "histogram", "coverage"}
)
"""What partial results can be of, besides quantiles."""
ORDERED: Final = frozenset({"wmean", "duration"})
"""What needs samples in the order of time."""
_QUANTILE = r"p(?:[1-9][0-9]?|0(?=\.))(?:\.[0-9]{0,3}[1-9])?"
_STAT = f"^(?:{'|'.join(STATS)}|{_QUANTILE})$"
# For the JSON schema only: our own check below says which names there are and which one was meant.
Stat = Annotated[str, msgspec.Meta(extra_json_schema={"pattern": _STAT})]

DEFAULT_EVERY: Final = Duration(900)
_MOST_PANES: Final = 1440
_MOST_BINS: Final = 1000
_MOST_HELD: Final = 10_000


class Late(enum.StrEnum):
    """What becomes of a sample whose window has closed."""

    DROP = "drop"
    NEXT = "next"
    PASS = "pass"  # noqa: S105 - a policy, not a password
    CORRECTION = "correction"
    PARTIAL = "partial"


class Align(enum.StrEnum):
    """By which clock windows begin."""

    UTC = "utc"
    LOCAL = "local"


class EvenBins(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bins of one width."""

    start: float = msgspec.field(name="from")
    """Where the first bin begins."""
    to: float
    """Where the last bin ends."""
    count: Annotated[int, msgspec.Meta(ge=1, le=_MOST_BINS)] = 10
    """How many there are."""

    def __post_init__(self) -> None:
        if not -math.inf < self.start < self.to < math.inf:
            raise FieldError("to", "must be above from, and both finite")


class WindowConfig(OperatorConfig, frozen=True, kw_only=True):
    """Statistics of each point, or of groups of points, over windows of source time.

    Windows follow one another (``every``, or whole ``months``), overlap (``every`` with ``slide``), last as long
    as samples come (``session``) or hold a number of samples (``count``). Samples are consumed; when a window closes,
    each statistic becomes a sample of a point of its own (``m1/power#mean``), stamped with the end of the window;
    that of a session or of a count is the time of its last sample. A window closes when the point's watermark has
    passed its end by ``lateness``; the watermark follows the times of the point's samples and, while it is silent,
    the gateway's clock. A sample dated more than a day ahead of it is dropped as ``early``, unless a second one
    follows.

    Invalid samples (and NaNs) never enter a statistic. They lower the coverage and show in the quality of
    all results: questionable and inaccurate beside valid samples, invalid if there are no others. The flags
    of all inputs are joined. docs/operators.md says what each statistic is.

    Sums of points with a ``resolution`` add whole steps of it and are exact. Watermarks and lateness as in
    T. Akidau et al., "The Dataflow Model", PVLDB 8(12), 2015; sliding windows are made of panes, J. Li et al., "No
    Pane, No Gain", SIGMOD Record 34(1), 2005.

    Example::

        steps:
          - window: {every: 15m, stats: [count, mean, min, max, p95], lateness: 5s}
    """

    EXAMPLES: ClassVar[tuple[dict[str, Any], ...]] = (
        {"every": "1s", "stats": ["count", "sum", "mean", "min", "max", "last", "first", "coverage", "p95"]},
        {"every": "2s", "stats": ["mean", "p50", "coverage"], "late": "next", "expect": "100ms"},
        {"every": "500ms", "stats": ["sum", "last"], "late": "pass", "lateness": "0s"},
        {
            "every": "3s", "slide": "1s", "lateness": "1s", "bins": [0, 10, 300],
            "stats": ["range", "variance", "min_time", "max_time", "histogram", "distinct", "validity", "first", "p50"],
        },
        {"every": "1s", "stats": ["wmean", "duration", "coverage"], "hold": "5s", "late": "next"},
        {"every": "1h", "align": "local", "timezone": "Australia/Lord_Howe", "stats": ["stddev", "wmean", "max_time"]},
        {"every": "1s", "stats": ["count", "mean"], "late": "correction", "corrections": "3s", "lateness": "0s"},
        {"session": "1s", "stats": ["count", "wmean", "max_time", "p50"], "lateness": "500ms"},
        {"count": 3, "stats": ["mean", "last", "duration"], "late": "pass", "above": 5.0},
        {"months": 1, "align": "local", "timezone": "Europe/Berlin", "stats": ["distinct", "stddev"]},
        {"every": "2s", "stats": ["mean", "stddev", "p50", "last"], "over": "device", "name": "{device}/all"},
        {
            "every": "1s", "stats": ["variance", "histogram", "p90", "coverage"], "partial": True,
            "bins": {"from": 0, "to": 300, "count": 3}, "relative_error": 0.05,
        },
        {"every": "1s", "stats": ["count", "sum", "max", "p50"], "partial": True, "late": "partial", "lateness": "0s"},
        {"every": "3s", "slide": "1s", "stats": ["sum"], "partial": True, "late": "partial", "lateness": "0s"},
    )  # fmt: skip

    every: Duration = DEFAULT_EVERY
    """Length of a window, at least 1 ms. By the local calendar a divisor of a day, or whole days; weeks begin on
    Mondays there."""
    months: Annotated[int, msgspec.Meta(ge=1, le=12)] | None = None
    """Instead: so many calendar months, 1, 2, 3, 4, 6 or 12."""
    slide: Duration | None = None
    """A window ends this often, so that windows overlap; ``every`` is a multiple of it."""
    session: Duration | None = None
    """Instead: a window ends when no sample has come for this long."""
    count: Annotated[int, msgspec.Meta(ge=1, le=1_000_000_000)] | None = None
    """Instead: a window ends with its so manieth sample, valid or not."""
    stats: tuple[Stat, ...] = ("count", "mean", "min", "max")
    """Which results, in this order: ``count``, ``sum``, ``mean``, ``wmean`` (weighted by time), ``min``, ``max``,
    ``min_time``, ``max_time``, ``range``, ``first``, ``last``, ``variance``, ``stddev``, ``distinct``, ``histogram``,
    ``duration``, ``coverage``, ``validity``, and quantiles such as ``p95``."""
    lateness: Duration = Duration(5)
    """How long after its end a window waits for samples that are out of order."""
    late: Late = Late.DROP
    """A sample whose window has closed: ``drop`` it, count it into the ``next`` open window of its point, ``pass`` it
    on as it is, send the window's results again as a ``correction``, or, with ``partial: true``, give one more
    ``partial`` result of its window, so that nothing is lost where they merge; then what is ``early`` is kept, too.
    Counted as ``late`` in all cases."""
    corrections: Duration = Duration(600)
    """How long after closing a window can be corrected; what comes later is dropped as ``too-late``."""
    expect: Duration | None = None
    """Period at which samples should come. ``coverage`` is then the part of the window that valid samples
    cover at this period; left out, it is the part of the samples received that was valid."""
    align: Align = Align.UTC
    """Where windows begin: at multiples of ``every`` since 1970 ``utc``, or by the ``local`` calendar of ``timezone``,
    where a day has 23 to 25 hours."""
    timezone: str = ""
    """Name in the time zone database, such as ``Europe/Berlin``; needed by ``local``."""
    relative_error: Annotated[float, msgspec.Meta(ge=0.0001, le=0.2)] = 0.01
    """Largest relative error of a quantile."""
    bins: EvenBins | tuple[float, ...] | None = None
    """Bins of the histogram: their edges, or ``from``, ``to`` and ``count`` of bins of one width. A value on an edge
    belongs to the bin that begins there."""
    hold: Duration | None = None
    """For ``wmean`` and ``duration``: how long a value is in force if no other comes, also into windows that follow.
    Left out: to the end of its window."""
    above: float | None = None
    """``duration`` is that of values above this, in the point's unit. Left out: that of each state of a state point."""
    over: Annotated[str, msgspec.Meta(min_length=1)] | None = None
    """Compute over groups of points together: ``device``, ``label area`` (or another label), ``all``, or a glob in
    which words stand for parts of the name: ``"{feeder}-*/power"``. Other points pass, and so do those that a step has
    made (``m1/energy#delta``), but where ``points`` or ``over`` says ``#``: ``points: "**#delta"``."""
    name: str = ""
    """What a group's points are called, with the words of ``over``: ``site/{device}/power``."""
    partial: bool = False
    """Emit what the statistics are made of, as samples that merge, for a ``merge`` step here or at another gateway."""

    def __post_init__(self) -> None:
        _check_stats(self)
        _check_kind(self)
        _check_lengths(self)
        _check_align(self)
        _check_late(self)
        _check_bins(self)
        check_over(self.over, self.name)
        if self.over is not None and self.expect is not None:
            raise FieldError("expect", "is for single points: leave it out together with over")
        if self.partial:
            _check_partial(self)

    @property
    def ordered(self) -> bool:
        """Whether samples are needed in the order of time."""
        return self.runs or not ORDERED.isdisjoint(self.stats)

    @property
    def runs(self) -> bool:
        """Whether samples make the windows, and not time."""
        return self.session is not None or self.count is not None

    @property
    def edges(self) -> tuple[float, ...]:
        """The edges of the histogram's bins."""
        if isinstance(self.bins, EvenBins):
            width = (self.bins.to - self.bins.start) / self.bins.count
            return (*(self.bins.start + width * at for at in range(self.bins.count)), self.bins.to)
        return self.bins or ()

    @property
    def names_derived(self) -> bool:
        """Whether points that steps have made are meant by name."""
        globs = [self.points] if isinstance(self.points, str) else self.points
        return any("#" in glob for glob in (*globs, self.over or ""))

    def create(self, points: Points) -> Window:
        """The operator for these options."""
        from pipelines.operators.aggregate.window_operator import GroupedWindow, Window

        return Window(self, points) if self.over is None else GroupedWindow(self, points)


def check_stats(stats: tuple[str, ...], known: tuple[str, ...] = STATS) -> None:
    """Whether all statistics exist.

    Raises:
        FieldError: one does not, or is there twice.
    """
    if not stats:
        raise FieldError("stats", "needs at least one statistic")
    for at, stat in enumerate(stats):
        if stat not in known and not re.match(f"^{_QUANTILE}$", stat):
            raise FieldError(("stats", at), _unknown(stat, known))
        if stat in stats[:at]:
            raise FieldError(("stats", at), f'"{stat}" is there twice')


def _check_stats(config: WindowConfig) -> None:
    check_stats(config.stats)
    if config.hold is not None and ORDERED.isdisjoint(config.stats):
        raise FieldError("hold", "is for wmean and duration, of which there is none in stats")
    if config.above is not None and "duration" not in config.stats:
        raise FieldError("above", "is for duration, which is not in stats")


def _unknown(stat: str, known: tuple[str, ...]) -> str:
    close = get_close_matches(stat, known, n=1)
    hint = f'; did you mean "{close[0]}"?' if close else ""
    return f'unknown statistic "{stat}"{hint} ({", ".join(known)}, or a quantile such as p95)'


def _check_kind(config: WindowConfig) -> None:
    # An ``every`` that was left out is the default itself, not only equal to it
    kinds = {
        "every": config.every is not DEFAULT_EVERY,
        "months": config.months is not None,
        "session": config.session is not None,
        "count": config.count is not None,
    }
    given = [kind for kind, there in kinds.items() if there]
    if len(given) > 1:
        raise FieldError(
            given[-1], f"exactly one of every, months, session and count is given, not {' and '.join(given)}"
        )
    if config.session is not None and config.session <= 0:
        raise FieldError("session", "must be longer than 0")
    if config.months is not None and 12 % config.months:
        raise FieldError("months", "must divide a year: 1, 2, 3, 4, 6 or 12")
    other = [kind for kind in given if kind != "every"]
    for field in ("slide", "expect", "hold"):
        if other and getattr(config, field) is not None:
            raise FieldError(field, f"does not go with {other[0]}, only with every")


def _check_lengths(config: WindowConfig) -> None:
    if config.every.ns < 1_000_000:
        raise FieldError("every", "must be at least 1ms")
    if config.expect is not None and not 0 < config.expect <= config.every:
        raise FieldError("expect", "must be longer than 0 and at most as long as every")
    if config.hold is not None and not 0 < config.hold.ns <= _MOST_HELD * config.every.ns:
        raise FieldError("hold", f"must be longer than 0 and at most {_MOST_HELD} windows")
    slide = config.slide
    if slide is not None and (slide.ns < 1_000_000 or config.every.ns % slide.ns or config.every.ns == slide.ns):
        raise FieldError("slide", "must be at least 1ms, shorter than every, and divide it")
    if slide is not None and config.every.ns > _MOST_PANES * slide.ns:
        raise FieldError("slide", f"must be at least 1/{_MOST_PANES} of every")


def _check_align(config: WindowConfig) -> None:
    if config.align is Align.UTC:
        if config.timezone:
            raise FieldError("timezone", "is for align: local")
        return
    if config.runs:
        raise FieldError("align", "is for windows of time, not for sessions and counts")
    if not config.timezone:
        raise FieldError("timezone", "is needed by align: local, such as Europe/Berlin")
    if not zone_exists(config.timezone):
        raise FieldError(
            "timezone", f'this machine knows no time zone "{config.timezone}"; names are like Europe/Berlin'
        )
    length = (config.slide or config.every).ns
    if config.months is None and DAY_NS % length and length % DAY_NS:
        raise FieldError("slide" if config.slide else "every", "must divide a day or be whole days with align: local")


def _check_late(config: WindowConfig) -> None:
    if config.late is Late.PARTIAL and not config.partial:
        raise FieldError("late", "partial is for partial: true, whose results merge")
    if config.late is Late.NEXT and config.runs:
        raise FieldError("late", "next is for windows of time; sessions and counts drop late samples or pass them")
    if config.late is not Late.CORRECTION:
        return
    wrong = {
        "partial": config.partial,
        "slide": config.slide is not None,
        "session": config.session is not None,
        "count": config.count is not None,
        "wmean": "wmean" in config.stats,
        "duration": "duration" in config.stats,
    }
    for word, there in wrong.items():
        if there:
            others = "drop, pass or partial" if word == "partial" else "drop, next or pass"
            raise FieldError("late", f"correction does not go with {word}; use {others}")
    if config.corrections <= 0:
        raise FieldError("corrections", "must be longer than 0")


def _check_bins(config: WindowConfig) -> None:
    if config.bins is None:
        if "histogram" in config.stats:
            raise FieldError("bins", "are needed by histogram, such as [0, 10, 20] or {from: 0, to: 100, count: 10}")
        return
    if "histogram" not in config.stats:
        raise FieldError("bins", "are for histogram, which is not in stats")
    edges = config.edges
    if not 2 <= len(edges) <= _MOST_BINS + 1:
        raise FieldError("bins", f"needs 2 to {_MOST_BINS + 1} edges")
    if not all(math.isfinite(edge) for edge in edges) or any(a >= b for a, b in pairwise(edges)):
        raise FieldError("bins", "must be finite and grow")


def _check_partial(config: WindowConfig) -> None:
    for at, stat in enumerate(config.stats):
        if stat not in MERGEABLE and not stat.startswith("p"):
            known = ", ".join(sorted(MERGEABLE))
            raise FieldError(("stats", at), f"{stat} cannot be merged from partial results ({known} and quantiles can)")
    if config.runs:
        raise FieldError("partial", "is for windows of time: sessions and counts of two sources do not line up")
    if config.expect is not None:
        raise FieldError("expect", "does not go with partial; coverage is then the part of the samples that was valid")
    if (config.slide or config.every).ns % 1_000_000:
        raise FieldError("every", "must be whole milliseconds with partial")
