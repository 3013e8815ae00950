"""``merge``: partial results of windows, joined to one result."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final

import msgspec

from gateway.errors import FieldError
from gateway.units import Duration
from pipelines.base import OperatorConfig
from pipelines.operators.aggregate.groups import check_over
from pipelines.operators.aggregate.window import MERGEABLE, STATS, Stat, check_stats

if TYPE_CHECKING:
    from pipelines.base import Operator, Points

_KNOWN: Final = tuple(stat for stat in STATS if stat in MERGEABLE)


class LatePartial(enum.StrEnum):
    """What becomes of a partial result whose window was given already."""

    DROP = "drop"
    PASS = "pass"  # noqa: S105 - a policy, not a password
    PARTIAL = "partial"
    CORRECTION = "correction"


class MergeConfig(OperatorConfig, frozen=True, kw_only=True):
    """Joins partial results of windows (``window: {partial: true}``) of any number of sources.

    Partial results of one name and time are added up, and with ``over`` those of a group of names, say of the gateways
    below: ``*/{device}/power``. A window is given when its end lies ``lateness`` behind the newest partial result of
    its group and, while none comes, the gateway's clock. Whatever the tree of ``merge`` steps that computed it, the
    result has the same bits: counts, sums and bins are whole numbers. Samples of other points pass.

    All windows and merges of a tree are given the same ``stats``; what a partial result lacks has no value here. See
    :mod:`pipelines.operators.aggregate.window_partials` for what travels.

    Example::

        steps:
          - merge: {stats: [count, mean, stddev, p95], over: "*/{device}/power", name: "site/{device}/power"}
    """

    EXAMPLES: ClassVar[tuple[dict[str, Any], ...]] = (
        {"stats": ["count", "sum", "mean", "min", "max", "stddev", "p50", "histogram"]},
        {"stats": ["count", "p95"], "partial": True, "over": "all", "name": "site/all", "lateness": "1s"},
        {"stats": ["coverage"], "sources": 2, "late": "pass", "over": "label area", "name": "{area}"},
        {"stats": ["count", "sum", "p50"], "partial": True, "late": "partial", "lateness": "0s"},
        {
            "stats": ["count", "sum", "max", "p90", "histogram"], "late": "correction", "corrections": "5s",
            "lateness": "0s",
        },
    )  # fmt: skip

    stats: tuple[Stat, ...] = ("count", "mean", "min", "max")
    """Which results, in this order: ``count``, ``sum``, ``mean``, ``min``, ``max``, ``range``, ``variance``,
    ``stddev``, ``histogram``, ``coverage``, and quantiles such as ``p95``."""
    lateness: Duration = Duration(30)
    """How long a window waits for partial results after the first that is as new or newer."""
    late: LatePartial = LatePartial.DROP
    """Partial results that come later: ``drop`` them, ``pass`` them on as they are, with ``partial: true`` give them as
    one more ``partial`` result of their window, or, in the last merge, send the window's results again as a
    ``correction``. Counted as ``late`` in all cases. With ``partial`` and ``correction`` what is ``early`` is kept,
    too."""
    corrections: Duration = Duration(86_400)
    """How long after it was given a window can be corrected; what comes later is dropped as ``too-late``."""
    sources: Annotated[int, msgspec.Meta(ge=1)] | None = None
    """How many windows a result is made of when nothing is missing; ``coverage`` is less where some are."""
    relative_error: Annotated[float, msgspec.Meta(ge=0.0001, le=0.2)] = 0.01
    """Of quantiles, as in the windows. Sketches of another error are taken over into this one, where errors add up."""
    over: Annotated[str, msgspec.Meta(min_length=1)] | None = None
    """Join over groups of names: ``device``, ``label area`` (or another label), ``all``, or a glob in which words stand
    for parts of the name: ``"*/{device}/power"``. Left out: only what has one name."""
    name: str = ""
    """What a group's points are called, with the words of ``over``: ``site/{device}/power``."""
    partial: bool = False
    """Emit partial results again, for a ``merge`` further up."""

    def __post_init__(self) -> None:
        check_stats(self.stats, _KNOWN)
        check_over(self.over, self.name)
        if self.late is LatePartial.PARTIAL and not self.partial:
            raise FieldError("late", "partial is for partial: true, whose results merge; the last merge has correction")
        if self.late is LatePartial.CORRECTION and self.partial:
            raise FieldError("late", "correction is for the last merge; with partial: true write late: partial")
        if self.corrections <= 0:
            raise FieldError("corrections", "must be longer than 0")
        if self.sources is not None and self.partial:
            raise FieldError("sources", "is for the last merge, not for one that gives partial results again")

    def create(self, points: Points) -> Operator:
        """The operator for these options."""
        from pipelines.operators.aggregate.merge_operator import Merge

        return Merge(self, points)
