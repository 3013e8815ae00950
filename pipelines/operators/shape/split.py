"""``split``: a branch for each value of a label."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec
import numpy as np

from gateway.errors import FieldError
from pipelines.base import Operator, OperatorConfig, State, StateClass
from pipelines.operators.facts import Facts
from pipelines.operators.shape.renamed import Renames
from pipelines.operators.shape.templates import Template

if TYPE_CHECKING:
    from gateway.frame import Frame
    from gateway.point import Point
    from pipelines.base import Points


class Missing(enum.StrEnum):
    """What becomes of points without the label."""

    PASS = "pass"  # noqa: S105 - a policy, not a password
    DROP = "drop"


class SplitConfig(OperatorConfig, frozen=True, kw_only=True):
    """Samples go on under names that begin with the value of a label, so that later steps and pipelines select by it.

    ``by: area`` makes ``north/m1/power`` of ``m1/power``, whose label ``area`` is ``north``; a step behind it with
    ``points: "north/**"``, or a pipeline with ``from: "north/**"``, takes that branch. Characters that a name may not
    have become ``_``. The rules for collisions are those of ``rename``. Labels come from the configuration of the
    points or from the step ``label``.

    Example::

        steps:
          - split: {by: area, missing: drop}
    """

    EXAMPLES: ClassVar[tuple[dict[str, Any], ...]] = (
        {"by": "area", "as": "{name}#{label}"},
        {"by": "area", "missing": "drop"},
    )

    by: str
    """The label."""
    as_: str = msgspec.field(name="as", default="{label}/{name}")
    """The new name; ``{label}`` is the label's value, ``{name}``, ``{device}``, ``{point}`` and ``{label.other}`` as in
    ``rename``."""
    missing: Missing = Missing.PASS
    """Points that have no such label: ``pass`` lets them keep their name, ``drop`` removes their samples, counted as
    filtered."""

    def __post_init__(self) -> None:
        if not self.by:
            raise FieldError("by", "must not be empty")
        self.template()

    def template(self) -> Template:
        """The name as a template.

        Raises:
            FieldError: it is none, or does not tell the branches apart.
        """
        try:
            template = Template.parse(self.as_, 0, ("label",))
        except ValueError as error:
            raise FieldError("as_", str(error)) from None
        if "label" not in template.parts[1::2]:
            raise FieldError("as_", "must have {label} in it, or the branches have the same names")
        return template

    def create(self, points: Points) -> Split:
        """The operator for these options."""
        return Split(self, points)


class Split(Operator):
    """See :class:`SplitConfig`."""

    state_class: ClassVar[StateClass] = StateClass.LONG_LIVED

    def __init__(self, config: SplitConfig, points: Points) -> None:
        super().__init__()
        self._by = config.by
        self._template = config.template()
        self._renames = Renames(points, self._made, self.counts)
        self._labelled = Facts(points, 1, self._has) if config.missing is Missing.DROP else None

    def _has(self, point: Point) -> tuple[float, ...]:
        return (float(bool(point.labels.get(self._by))),)

    def _made(self, point: Point) -> Point | None:
        value = point.labels.get(self._by)
        name = self._template.name(point, None, {"label": value}) if value else None
        return None if name is None else msgspec.structs.replace(point, name=name)

    def process(self, frame: Frame) -> Frame:
        """The samples under the names of their branches."""
        if self._labelled is not None:
            has = self._labelled.column(0, frame.point) != 0
            removed = len(frame) - int(np.count_nonzero(has))
            self.counts.filtered += removed
            frame = frame.take(has) if removed else frame
        return self._renames(frame) if len(frame) else frame

    def snapshot(self) -> State:
        """Which point goes on under which id."""
        return self._renames.snapshot()

    def restore(self, state: State) -> None:
        """The inverse of :meth:`snapshot`."""
        self._renames.restore(state)
