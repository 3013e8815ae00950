"""What an alert watches for: whether a sample speaks for it, against it, or says nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from gateway import quality as q

if TYPE_CHECKING:
    from gateway.frame import Frame, Ids, Mask, Values
    from pipelines.base import Points
    from pipelines.operators.judge.alert import AlertStepConfig

Verdicts = npt.NDArray[np.int8]
"""One for each sample: :data:`FOR`, :data:`AGAINST` or :data:`OPEN`."""
FOR: Final = 1
AGAINST: Final = -1
OPEN: Final = 0
"""Between a limit and its hysteresis, or without a value: what was, stays."""


class Condition:
    """The conditions of one rule; one of them is enough."""

    def __init__(self, config: AlertStepConfig, points: Points) -> None:
        self._config = config
        self._points = points
        self._by_value = any(one is not None for one in (config.above, config.below, config.equals, config.differs))

    def believed(self, frame: Frame) -> Mask:
        """Where there is a value that can be believed, [n]."""
        fine: Mask = ~np.isnan(frame.value)
        if frame.quality.any():
            fine &= ~q.is_invalid(frame.quality)
        return fine

    def judge(self, frame: Frame, believed: Mask) -> Verdicts:
        """What each sample says, [n]."""
        config = self._config
        verdict = np.full(len(frame), AGAINST, np.int8)
        if self._by_value:
            verdict[~believed] = OPEN
            for found in self._values(frame):
                verdict[believed] = np.maximum(verdict, found)[believed]
        if config.invalid:
            verdict[~believed] = FOR
        elif not self._by_value and not config.suspect:
            verdict[~believed] = OPEN
        if config.suspect:
            verdict[(q.severity(frame.quality) > 0) | ~believed] = FOR
        return verdict

    def _values(self, frame: Frame) -> list[Verdicts]:
        config, value = self._config, frame.value
        found: list[Verdicts] = []
        if config.above is not None:
            found.append(_beyond(value > config.above, value > config.above - config.hysteresis))
        if config.below is not None:
            found.append(_beyond(value < config.below, value < config.below + config.hysteresis))
        if config.equals is not None:
            same = value == self._number(config.equals, frame.point)
            found.append(_beyond(same, same))
        if config.differs is not None:
            other = value != self._number(config.differs, frame.point)
            found.append(_beyond(other, other))
        return found

    def _number(self, wanted: float | str, ids: Ids) -> Values | float:
        """The number that is compared with; of a text the one that stands for it at each point, NaN if none does."""
        if not isinstance(wanted, str):
            return wanted
        codes = {point: _code(self._points.states(point), wanted) for point in np.unique(ids).tolist()}
        return np.array([codes[point] for point in ids.tolist()], np.float64)


def _beyond(beyond: Mask, near: Mask) -> Verdicts:
    verdict: Verdicts = np.where(beyond, FOR, np.where(near, OPEN, AGAINST)).astype(np.int8)
    return verdict


def _code(texts: list[str] | None, text: str) -> float:
    return float(texts.index(text)) if texts and text in texts else float("nan")
