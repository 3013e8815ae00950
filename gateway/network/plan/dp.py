"""The cheapest cuts of each service by itself, at given prices: dynamic programming over the tree, all nodes at once.

``f_v(k)``, the least cost of v's subtree when what leaves v has k stages applied, is what v's choice costs plus, for
each child, the least ``f_c(j)`` over j <= k. Exact for services that share nothing scarce, in O(nodes x stages).
"""

from __future__ import annotations

import numpy as np

from gateway.network.plan.problem import Floats, Ints, Tables


def cheapest(tables: Tables, weights: Floats) -> tuple[Ints, Floats]:
    """The cuts, and what each subtree of the core costs then.

    Args:
        tables: of the problem.
        weights: what each choice costs, [S, n, C]; infinite where it is not allowed.

    Returns:
        Cuts [S, n], the lowest where several cost the same, -1 where there is no allowed way for all that is below;
        and the least costs [S, T] of the T nodes just below the core, infinite likewise.
    """
    total = weights.copy()
    for level in tables.levels[:0:-1]:
        best = _within_reach(tables, total, level)
        parents, first = np.unique(tables.above[level], return_index=True)
        total[:, parents] += np.add.reduceat(best, first, axis=1)
    cuts = np.full(weights.shape[:2], -1, np.int64)
    tops = tables.levels[0] if tables.levels else np.empty(0, np.int64)
    costs = total[:, tops].min(axis=2, initial=np.inf)
    cuts[:, tops] = np.where(np.isfinite(costs), total[:, tops].argmin(axis=2), -1)
    choices = np.arange(weights.shape[2])
    for level in tables.levels[1:]:
        parents = tables.above[level]
        most = cuts[:, parents, None]
        least = np.take_along_axis(tables.lowest[:, parents], np.maximum(most, 0), axis=2)
        reach = np.where((choices <= most) & (choices >= least), total[:, level], np.inf)
        cuts[:, level] = np.where(most[..., 0] < 0, -1, reach.argmin(axis=2))
    return cuts, costs


def _within_reach(tables: Tables, total: Floats, level: Ints) -> Floats:
    """The least cost of each node of a level for each cut of its parent, [S, m, C]."""
    best = total[:, level]
    runs = tables.runs[:, tables.above[level]]
    for k in range(1, best.shape[2]):
        np.minimum(best[..., k], best[..., k - 1], out=best[..., k], where=runs[..., k])
    return best
