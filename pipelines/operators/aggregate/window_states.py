"""Which state a value stands for, for the time spent in each: a text of the point's table, or above a threshold."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import numpy as np

from gateway.point import Kind
from pipelines.operators.aggregate.window_cells import TEXT_BITS
from pipelines.operators.facts import Facts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.frame import Ids, Index, Values
    from pipelines.base import Points

_FOREIGN: Final = re.compile(r"[^A-Za-z0-9_.\-]+")
NONE: Final = -1
"""The number of a value that is no state."""


class States:
    """Texts by number, common to all points.

    Args:
        points: the directory; values of state points are numbers of its texts.
        above: if given, the only state is ``above``, that of values above this.
    """

    def __init__(self, points: Points, above: float | None) -> None:
        self._points, self._above = points, above
        self._is_state = Facts(points, 1, lambda point: (float(point.kind is Kind.STATE),))
        self.texts: list[str] = []
        self._numbers: dict[str, int] = {}

    def numbers(self, points: Ids, values: Values) -> Index:
        """The number of the state of each value, [n]; :data:`NONE` for none."""
        if self._above is not None:
            return np.where(values > self._above, self._number("above"), NONE)
        number = np.full(len(points), NONE, np.intp)
        at = np.flatnonzero(self._is_state.column(0, points))
        if len(at):
            # States are few, however many samples there are
            pairs = np.stack([points[at].astype(np.float64), values[at]], 1)
            distinct, which = np.unique(pairs, axis=0, return_inverse=True)
            found = [self._number(self._text(int(point), value)) for point, value in distinct.tolist()]
            number[at] = np.array(found, np.intp)[which.ravel()]
        return number

    def _text(self, point: int, value: float) -> str:
        """The text of a state as a part of a name; its number if it has none."""
        texts = self._points.states(point) or []
        if 0 <= value < len(texts) and value == int(value):
            return _FOREIGN.sub("-", texts[int(value)]) or "-"
        return f"{value + 0.0:.9g}"

    def _number(self, text: str) -> int:
        found = self._numbers.get(text)
        if found is None:
            if len(self.texts) == 1 << TEXT_BITS:
                return NONE
            found = self._numbers[text] = len(self.texts)
            self.texts.append(text)
        return found

    def restore(self, texts: Sequence[str]) -> None:
        """Go on with these texts."""
        self.texts[:] = texts
        self._numbers = {text: number for number, text in enumerate(self.texts)}
