"""``filter``: keeps the samples that satisfy every condition."""

from __future__ import annotations

import enum
import math
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from gateway import quality as q
from gateway.errors import FieldError
from pipelines.base import Globs, Operator, OperatorConfig, Selector

if TYPE_CHECKING:
    from gateway.frame import Frame, Mask
    from pipelines.base import Points


class AtLeast(enum.StrEnum):
    """Which qualities pass."""

    GOOD = "good"
    """Validity good only."""
    USABLE = "usable"
    """All but invalid."""
    ANY = "any"


class FilterConfig(OperatorConfig, frozen=True, kw_only=True):
    """Keep the samples that satisfy all conditions given; what is removed counts as filtered.

    ``above`` and ``below`` exclude the bound itself. A NaN is neither above nor below anything, so a
    sample without a value does not pass them.

    Example::

        steps:
          - filter: {drop: "*/debug/**"}
          - filter: {above: 0, quality: usable, points: "*/power"}
    """

    EXAMPLES: ClassVar[tuple[dict[str, Any], ...]] = (
        {"keep": ["**/voltage", "**/power"], "quality": "good"},
        {"drop": "m2/**", "above": -5.0, "below": 5.0},
        {"quality": "usable"},
    )

    keep: Globs | None = None
    """Globs of points; samples of no other point pass."""
    drop: Globs | None = None
    """Globs of points whose samples do not pass, also where ``keep`` names them."""
    above: float | None = None
    """Values must be greater than this, in the point's unit."""
    below: float | None = None
    """Values must be less than this, in the point's unit."""
    quality: AtLeast = AtLeast.ANY
    """``good``, ``usable`` (anything but invalid) or ``any``."""

    def __post_init__(self) -> None:
        bounds = (self.above, self.below)
        conditions = (self.keep, self.drop, *bounds)
        if self.quality is AtLeast.ANY and all(condition is None for condition in conditions):
            raise FieldError((), "needs at least one of keep, drop, above, below, quality")
        for name, bound in zip(("above", "below"), bounds, strict=True):
            if bound is not None and math.isnan(bound):
                raise FieldError(name, "must be a number")
        if self.above is not None and self.below is not None and self.above >= self.below:
            raise FieldError("above", f"must be less than below ({self.below:g}), or nothing passes")

    def create(self, points: Points) -> Filter:
        """The operator for these options."""
        return Filter(self, points)


class Filter(Operator):
    """See :class:`FilterConfig`."""

    def __init__(self, config: FilterConfig, points: Points) -> None:
        super().__init__()
        self._config = config
        self._keep = None if config.keep is None else Selector(points, config.keep)
        self._drop = None if config.drop is None else Selector(points, config.drop)

    def process(self, frame: Frame) -> Frame:
        """The samples that satisfy every condition."""
        passes = self._passes(frame)
        removed = len(frame) - int(np.count_nonzero(passes))
        if not removed:
            return frame
        self.counts.filtered += removed
        return frame.take(passes)

    def _passes(self, frame: Frame) -> Mask:
        config = self._config
        passes: Mask = np.ones(len(frame), np.bool_)
        if self._keep:
            passes &= self._keep.mask(frame.point)
        if self._drop:
            passes &= ~self._drop.mask(frame.point)
        if config.above is not None:
            passes &= frame.value > config.above
        if config.below is not None:
            passes &= frame.value < config.below
        if config.quality is AtLeast.GOOD:
            passes &= (frame.quality & q.VALIDITY) == q.GOOD
        elif config.quality is AtLeast.USABLE:
            passes &= ~q.is_invalid(frame.quality)
        return passes
