"""``select``: keeps points by name and by label."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import msgspec
import numpy as np

from gateway.errors import FieldError
from gateway.point import compile_glob
from pipelines.base import Globs, Operator, OperatorConfig
from pipelines.operators.facts import Facts

if TYPE_CHECKING:
    import re
    from collections.abc import Sequence

    from gateway.frame import Frame
    from gateway.point import Point
    from pipelines.base import Points

LabelName = Annotated[str, msgspec.Meta(min_length=1)]


class SelectConfig(OperatorConfig, frozen=True, kw_only=True):
    """Keep the samples of points that satisfy all conditions given; what is removed counts as filtered.

    A value of ``labels`` is a glob or a list of them (``north``, ``feeder-*``), of which one has to fit; a point
    without the label does not pass, whatever the glob. Labels come from the configuration of the points or from the
    step ``label``; a change counts from the next frame on. For conditions on values see ``filter``.

    Example::

        steps:
          - select: {labels: {area: north, phase: [L1, L2]}}
          - select: {keep: "*/power*", drop: "*/power-factor"}
    """

    EXAMPLES: ClassVar[tuple[dict[str, Any], ...]] = (
        {"keep": "m1/**", "drop": ["*/power"]},
        {"labels": {"area": ["north", "s*"]}},
    )

    keep: Globs | None = None
    """Globs of points; samples of no other point pass."""
    drop: Globs | None = None
    """Globs of points whose samples do not pass, also where ``keep`` names them."""
    labels: dict[LabelName, Globs] = msgspec.field(default_factory=dict)
    """Labels that a point has to have, and globs for their values."""

    def __post_init__(self) -> None:
        if self.keep is None and self.drop is None and not self.labels:
            raise FieldError((), "needs at least one of keep, drop and labels")

    def create(self, points: Points) -> Select:
        """The operator for these options."""
        return Select(self, points)


class Select(Operator):
    """See :class:`SelectConfig`."""

    def __init__(self, config: SelectConfig, points: Points) -> None:
        super().__init__()
        self._keep = _patterns(config.keep)
        self._drop = _patterns(config.drop)
        self._labels = {label: _patterns(globs) for label, globs in config.labels.items()}
        self._facts = Facts(points, 1, self._passes)

    def _passes(self, point: Point) -> tuple[float, ...]:
        if self._keep and not _any(self._keep, point.name):
            return (0.0,)
        if _any(self._drop, point.name):
            return (0.0,)
        labels = point.labels
        return (float(all(key in labels and _any(globs, labels[key]) for key, globs in self._labels.items())),)

    def process(self, frame: Frame) -> Frame:
        """The samples of the points selected."""
        passes = self._facts.column(0, frame.point) != 0
        removed = len(frame) - int(np.count_nonzero(passes))
        self.counts.filtered += removed
        return frame.take(passes) if removed else frame


def _patterns(globs: Sequence[str] | str | None) -> list[re.Pattern[str]]:
    given = [globs] if isinstance(globs, str) else globs or []
    return [compile_glob(glob) for glob in given]


def _any(patterns: list[re.Pattern[str]], text: str) -> bool:
    return any(pattern.match(text) for pattern in patterns)
