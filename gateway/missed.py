"""What was let go before the pipelines saw it, counted by point, so that it can be told once the store is back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gateway.batch import Loss
from gateway.frame import Frame, Ids, Mask


@dataclass
class _Count:
    points: npt.NDArray[np.int64]
    """Samples by point id."""
    first_ns: int
    last_ns: int


class Missed:
    """Samples by reason and point; as large as the directory, however long it lasts."""

    def __init__(self) -> None:
        self._counts: dict[str, _Count] = {}

    def add(self, frame: Frame, reason: str) -> None:
        """These samples are gone."""
        if len(frame):
            points = np.bincount(frame.point).astype(np.int64)
            self._add(reason, _Count(points, int(frame.time.min()), int(frame.time.max())))

    @property
    def samples(self) -> int:
        """How many there are."""
        return sum(int(count.points.sum()) for count in self._counts.values())

    def join(self, other: Missed) -> None:
        """Add what another has counted."""
        for reason, count in other._counts.items():
            self._add(reason, count)

    def _add(self, reason: str, more: _Count) -> None:
        known = self._counts.get(reason)
        if known is None:
            self._counts[reason] = more
            return
        points = np.zeros(max(len(known.points), len(more.points)), np.int64)
        points[: len(known.points)] += known.points
        points[: len(more.points)] += more.points
        span = min(known.first_ns, more.first_ns), max(known.last_ns, more.last_ns)
        self._counts[reason] = _Count(points, *span)

    def of(self, selected: Callable[[Ids], Mask]) -> list[Loss]:
        """What a selection of points has lost, one for each reason."""
        losses = []
        for reason, count in self._counts.items():
            ids = np.flatnonzero(count.points).astype(np.int32)
            samples = int(count.points[ids][selected(ids)].sum())
            if samples:
                losses.append(Loss(count.first_ns, count.last_ns, samples, reason))
        return losses
