"""What the cells of windows have to keep for some statistics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pipelines.operators.aggregate.window_cells import Keep
from pipelines.operators.aggregate.window_columns import EXACTLY, columns_for

if TYPE_CHECKING:
    from gateway.point import Point

_SQUARES: Final = frozenset({"variance", "stddev"})


def keep_for(stats: tuple[str, ...], needs: set[str], *, exact: bool, keep: Keep) -> Keep:
    """What cells keep for some statistics.

    Args:
        stats: the statistics.
        needs: what else asks for columns.
        exact: whether sums are exact.
        keep: the sketches' bins and the histogram's edges, for those who want them.
    """
    wanted = needs | set(stats)
    quantiles = any(stat.startswith("p") for stat in stats)
    return Keep(
        columns=columns_for(frozenset(wanted - EXACTLY if exact else wanted)),
        bins=keep.bins if quantiles else None,
        edges=keep.edges if "histogram" in stats else None,
        exact=exact and not EXACTLY.isdisjoint(stats),
        squares=not _SQUARES.isdisjoint(stats),
        distinct="distinct" in stats,
        durations="duration" in stats,
    )


def resolution(point: Point) -> tuple[float, ...]:
    """A point's resolution as a fact, 0 for none."""
    return (point.resolution or 0.0,)
