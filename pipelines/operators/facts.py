"""Numbers that operators derive from what is known of a point, as columns over point ids."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pipelines.base import grown

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.frame import Ids, Values
    from gateway.point import Point
    from pipelines.base import Points


class Facts:
    """``width`` numbers a point, computed when it is first asked for or told anew; a lookup is one gather."""

    def __init__(self, points: Points, width: int, of: Callable[[Point], tuple[float, ...]]) -> None:
        self._points = points
        self._of = of
        self._known = 0
        self._edition = points.edition
        self._columns: list[Values] = [np.empty(0, np.float64) for _ in range(width)]

    def column(self, number: int, ids: Ids) -> Values:
        """One of the numbers for each sample, [n]."""
        self._check_edition()
        try:
            return self._columns[number][: self._known][ids]
        except IndexError:  # a point that was not met before; derived points, of which there are many, never may be
            self._extend(int(ids.max()) + 1)
            return self._columns[number][: self._known][ids]

    def meet(self, ids: Ids) -> None:
        """Compute the numbers of points that are new, which may tell something about all of them."""
        self._check_edition()
        size = int(ids.max(initial=-1)) + 1
        if size > self._known:
            self._extend(size)

    def _check_edition(self) -> None:
        if self._points.edition != self._edition:
            self._known, self._edition = 0, self._points.edition

    def _extend(self, size: int) -> None:
        self._columns = [grown(column, size) for column in self._columns]
        for point_id in range(self._known, size):
            for column, number in zip(self._columns, self._of(self._points.point(point_id)), strict=True):
                column[point_id] = number
        self._known = size
