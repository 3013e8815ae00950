"""A subtree's plan by mixed integer programming with HiGHS: for the few that prices leave too far from their bound.

``highspy`` is the optional extra ``controller``; without it all works, a little further from the bound.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from gateway.errors import OnpathError
from gateway.network.plan.problem import Bools, Floats, Ints, Tables

MOST_NODES: Final = 120
"""In a subtree that is given to HiGHS: an aggregation node with about a hundred gateways."""
NEAR: Final = 1e-4
"""Relative distance to its own bound at which it stops."""


class NoSolverError(OnpathError):
    """The package is not installed."""


@dataclass(frozen=True)
class Solved:
    """What HiGHS found."""

    cuts: Ints | None
    """[S, n]; None: nothing that holds in the time it had."""
    bound: float
    """No plan costs less, without the core's constant part; infinite: there is none."""


def available() -> bool:
    """Whether HiGHS is there."""
    return importlib.util.find_spec("highspy") is not None


class _Rows:
    """Constraints as HiGHS takes them: one sparse row each."""

    def __init__(self) -> None:
        self.starts: list[int] = []
        self.columns: list[Ints] = []
        self.values: list[Floats] = []
        self.low: list[float] = []
        self.high: list[float] = []
        self._size = 0

    def add(self, columns: Ints, values: Floats, low: float, high: float) -> None:
        """One row: low <= values · x[columns] <= high."""
        kept = values != 0.0
        self.starts.append(self._size)
        self.columns.append(columns[kept])
        self.values.append(values[kept])
        self.low.append(low)
        self.high.append(high)
        self._size += int(kept.sum())


def solved(
    tables: Tables, cpu_price: Floats, seconds: float, start: Ints | None = None, *, whole: bool = True
) -> Solved:
    """The cheapest cuts under all limits but the core's.

    Args:
        tables: of the problem, best of one subtree.
        cpu_price: [n + 1].
        seconds: after which it gives what it has.
        start: cuts to begin with, [S, n].
        whole: cuts are whole numbers; without, the linear relaxation and its bound.

    Raises:
        NoSolverError: ``highspy`` is not installed.
    """
    if not available():
        raise NoSolverError("highspy is not installed: pip install 'onpath[controller]'")
    import highspy

    weights = tables.weights(cpu_price, tables.link_price)
    number = np.full(weights.shape, -1, np.int64)
    number[tables.allowed] = np.arange(int(tables.allowed.sum()))
    rows = _rows(tables, number)
    size = int(tables.allowed.sum())
    solver = highspy.Highs()  # type: ignore[no-untyped-call]
    for option, value in (("output_flag", False), ("time_limit", seconds), ("mip_rel_gap", NEAR), ("threads", 1)):
        solver.setOptionValue(option, value)
    solver.addVars(size, np.zeros(size), np.ones(size))
    everything = np.arange(size, dtype=np.int32)
    solver.changeColsCost(size, everything, weights[tables.allowed])
    if whole:
        solver.changeColsIntegrality(size, everything, np.full(size, highspy.HighsVarType.kInteger))
    columns, values = np.concatenate(rows.columns), np.concatenate(rows.values)
    solver.addRows(
        len(rows.low), np.array(rows.low), np.array(rows.high), len(columns),
        np.array(rows.starts, np.int32), columns.astype(np.int32), values,
    )  # fmt: skip
    if start is not None and whole and (start >= 0).all():
        _begin(solver, highspy, number, start, size)
    solver.run()
    return _read(solver, highspy, number, whole=whole)


def _rows(tables: Tables, number: Ints) -> _Rows:
    rows = _Rows()
    services, n, choices = tables.shape
    for s in range(services):
        for v in range(n):
            mine = np.flatnonzero(tables.allowed[s, v])
            rows.add(number[s, v, mine], np.ones(len(mine)), 1.0, 1.0)
            parent = tables.above[v]
            if parent < n:
                for k in range(1, choices):
                    _order(rows, tables, number, (s, v, int(parent), k))
    inf = float("inf")
    for v in range(n):
        mask = tables.allowed[:, v]
        rows.add(number[:, v][mask], tables.bytes[:, v][mask], -inf, float(tables.up[v]))
        below = np.flatnonzero(tables.above == v)
        parts, loads = [number[:, v][mask]], [tables.here[:, v][mask]]
        for child in below:
            its = tables.allowed[:, child]
            parts.append(number[:, child][its])
            loads.append(tables.there[:, child][its])
        scale = max(float(tables.cpu[v]), 1e-9)  # cores of one part in a thousand would be lost in its tolerances
        rows.add(np.concatenate(parts), np.concatenate(loads) / scale, -inf, float(tables.cpu[v]) / scale)
    return rows


def _order(rows: _Rows, tables: Tables, number: Ints, at: tuple[int, int, int, int]) -> None:
    """A child's cut is k or more only if its parent's is; and conversely where the parent cannot run stage k."""
    s, child, parent, k = at
    c, p = (np.flatnonzero(tables.allowed[s, v]) for v in (child, parent))
    c, p = c[c >= k], p[p >= k]
    columns = np.concatenate([number[s, child, c], number[s, parent, p]])
    values = np.concatenate([np.ones(len(c)), -np.ones(len(p))])
    low = -float("inf") if tables.runs[s, parent, k] else 0.0
    if len(columns):
        rows.add(columns, values, low, 0.0)


def _begin(solver: Any, highspy: Any, number: Ints, start: Ints, size: int) -> None:
    solution = highspy.HighsSolution()
    values = np.zeros(size)
    chosen = np.take_along_axis(number, start[..., None], axis=2)
    values[chosen[chosen >= 0]] = 1.0
    solution.col_value = values.tolist()
    solver.setSolution(solution)


def _read(solver: Any, highspy: Any, number: Ints, *, whole: bool) -> Solved:
    status, info = solver.getModelStatus(), solver.getInfo()
    if status == highspy.HighsModelStatus.kInfeasible:
        return Solved(None, float("inf"))
    bound = float(info.mip_dual_bound if whole else info.objective_function_value)
    if info.primal_solution_status != highspy.SolutionStatus.kSolutionStatusFeasible:
        return Solved(None, bound if np.isfinite(bound) else -float("inf"))
    values = np.array(solver.getSolution().col_value)
    chosen: Bools | Floats = np.where(number >= 0, values[np.maximum(number, 0)], -1.0)
    return Solved(chosen.argmax(axis=2) if whole else None, bound)
