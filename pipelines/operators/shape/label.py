"""``label``: labels for points, constant or from their names."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final

import msgspec
import numpy as np

from gateway.errors import FieldError
from pipelines.base import Glob, Operator, OperatorConfig, grown
from pipelines.operators.shape.templates import Template, capturing, expression

if TYPE_CHECKING:
    from gateway.frame import Frame, Ids
    from gateway.point import Point
    from pipelines.base import Points

Label = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
MAX_CHANGES: Final = 16
"""How often a step sets a label of a point that has it with another value: two steps may not disagree for ever."""


class LabelConfig(OperatorConfig, frozen=True, kw_only=True):
    """Set labels of points; samples pass as they are.

    Labels are facts of a point, as ``labels:`` in its declaration: for ``select`` and ``split``, for what groups by
    them, and for uplinks that tell them. They are set when the point's first sample passes, for the whole gateway, and
    again when its adapter declares the point anew. The values may have ``{1}`` ... in them, what the wildcards of
    ``glob`` (or the groups of ``regex``) stood for, and ``{name}``, ``{device}``, ``{point}`` and ``{label.other}`` as
    in ``rename``; a label for which a point has nothing is not set. A value that the point has already is replaced
    (where two steps disagree, each gives in after 16 times).

    Example::

        steps:
          - label: {set: {area: north, device: "{device}"}, points: "m1/**"}
          - label: {set: {phase: "L{2}"}, glob: "*/u?"}
    """

    EXAMPLES: ClassVar[tuple[dict[str, Any], ...]] = (
        {"set": {"area": "north", "device": "{device}"}},
        {"set": {"what": "{2}"}, "regex": "(m1)/(.*)"},
    )

    set: dict[Label, Label]
    """Labels and their values."""
    glob: Glob | None = None
    """Only points whose name it takes; ``{1}`` ... are its ``*``, ``**`` and ``?``."""
    regex: str | None = None
    """Instead of ``glob``: a regular expression over the whole name; ``{1}`` ... are its groups."""

    def __post_init__(self) -> None:
        if not self.set:
            raise FieldError("set", "needs at least one label")
        if self.glob is not None and self.regex is not None:
            raise FieldError("regex", "either glob or regex, not both")
        groups = self.pattern().groups
        for label, text in self.set.items():
            try:
                Template.parse(text, groups, free=True)
            except ValueError as error:
                raise FieldError(("set", label), str(error)) from None

    def pattern(self) -> re.Pattern[str]:
        """Which names, and what ``{1}`` means.

        Raises:
            FieldError: the regular expression is none.
        """
        if self.regex is None:
            return capturing("**" if self.glob is None else self.glob)
        try:
            return expression(self.regex)
        except ValueError as error:
            raise FieldError("regex", str(error)) from None

    def create(self, points: Points) -> Labeller:
        """The operator for these options."""
        return Labeller(self, points)


class Labeller(Operator):
    """See :class:`LabelConfig`. Without state: labels are kept with the points."""

    def __init__(self, config: LabelConfig, points: Points) -> None:
        super().__init__()
        self._points = points
        self._pattern = config.pattern()
        groups = self._pattern.groups
        self._set = {label: Template.parse(text, groups, free=True) for label, text in config.set.items()}
        self._seen = np.empty(0, np.bool_)
        self._edition = points.edition
        self._left: dict[int, Point] = {}
        """Points as this step left them."""
        self._changes: dict[int, int] = {}

    def process(self, frame: Frame) -> Frame:
        """The very same samples."""
        if self._points.edition != self._edition:
            self._renew()
        if len(self._points) > len(self._seen):
            self._seen = grown(self._seen, len(self._points))
        fresh = frame.point[~self._seen[frame.point]]
        if len(fresh):
            self._learn(fresh)
        return frame

    def _learn(self, ids: Ids) -> None:
        for point_id in np.unique(ids).tolist():
            self._seen[point_id] = True
            self._label(point_id)

    def _renew(self) -> None:
        self._edition = self._points.edition
        for point_id, left in list(self._left.items()):
            if self._points.point(point_id) is not left:
                self._label(point_id)

    def _label(self, point_id: int) -> None:
        point = self._points.point(point_id)
        found = self._pattern.match(point.name)
        if found is None:
            return
        filled = ((label, template.fill(point, found)) for label, template in self._set.items())
        labels = {label: text for label, text in filled if text}
        differing = [label for label, text in labels.items() if point.labels.get(label, text) != text]
        changes = self._changes[point_id] = self._changes.get(point_id, 0) + bool(differing)
        if changes > MAX_CHANGES:
            labels = {label: text for label, text in labels.items() if label not in differing}
        if labels.items() - point.labels.items():
            self._points.make(msgspec.structs.replace(point, labels=point.labels | labels))
        self._left[point_id] = self._points.point(point_id)
