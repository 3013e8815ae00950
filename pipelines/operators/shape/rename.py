"""``rename``: other names for points, by pattern."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from gateway.errors import FieldError
from pipelines.base import Glob, Operator, OperatorConfig, State, StateClass
from pipelines.operators.shape.renamed import Renames
from pipelines.operators.shape.templates import Template, capturing, expression

if TYPE_CHECKING:
    from gateway.frame import Frame
    from gateway.point import Point
    from pipelines.base import Points

Rule = tuple[re.Pattern[str], Template]


class RenameConfig(OperatorConfig, frozen=True, kw_only=True):
    """Samples go on as those of points of other names.

    The first pattern that takes a point's name gives it the name that stands behind it; a point that none takes keeps
    its own. ``{1}``, ``{2}`` ... are what the wildcards of the glob (or the groups of the regular expression) stood
    for, ``{name}``, ``{device}`` and ``{point}`` the whole name, its first segment and the rest, ``{label.area}`` a
    label. A point that lacks one of these keeps its name. The other name is a point of its own with the same facts, so
    that other pipelines do not see it.

    Two points never come out under one name, unless ``together`` says so: the first to come has it, the samples of
    the other keep their name, or are dropped if that is taken as well; both are counted as ``name-collision``.

    Example::

        steps:
          - rename:
              names:
                "*/u1": "{1}/voltage-l1"
                "plant/*/p": "{1}/power"
              regex:
                "m([0-9]+)/(.*)": "site/meter-{1}/{2}"
    """

    EXAMPLES: ClassVar[tuple[dict[str, Any], ...]] = (
        {"names": {"*/voltage": "{1}/voltage#u"}},
        {"regex": {"(m1)/(.*)": "{1}/{2}#raw"}, "names": {"*/state": "{device}/{point}#{1}"}},
    )

    names: dict[Glob, str] = msgspec.field(default_factory=dict)
    """Globs and the names that points they take get; the first that fits counts."""
    regex: dict[str, str] = msgspec.field(default_factory=dict)
    """Regular expressions over whole names and the names that points they take get; looked at behind ``names``."""
    together: bool = False
    """Several points may come out under one name, and are one point from here on, such as parts of a result from
    several gateways; there are no collisions then."""

    def __post_init__(self) -> None:
        if not self.names and not self.regex:
            raise FieldError((), "needs at least one of names and regex")
        self.rules()

    def rules(self) -> list[Rule]:
        """Patterns and templates in the order in which they count.

        Raises:
            FieldError: one of them is none.
        """
        found = [_rule("names", glob, capturing(glob), text) for glob, text in self.names.items()]
        for pattern, text in self.regex.items():
            try:
                found.append(_rule("regex", pattern, expression(pattern), text))
            except ValueError as error:
                raise error if isinstance(error, FieldError) else FieldError(("regex", pattern), str(error)) from None
        return found

    def create(self, points: Points) -> Rename:
        """The operator for these options."""
        return Rename(self, points)


def _rule(field: str, key: str, pattern: re.Pattern[str], text: str) -> Rule:
    try:
        return pattern, Template.parse(text, pattern.groups)
    except ValueError as error:
        raise FieldError((field, key), str(error)) from None


class Rename(Operator):
    """See :class:`RenameConfig`; the ids are those of :mod:`pipelines.operators.shape.renamed`."""

    state_class: ClassVar[StateClass] = StateClass.LONG_LIVED

    def __init__(self, config: RenameConfig, points: Points) -> None:
        super().__init__()
        self._rules = config.rules()
        self._renames = Renames(points, self._made, self.counts, together=config.together)

    def _made(self, point: Point) -> Point | None:
        for pattern, template in self._rules:
            found = pattern.match(point.name)
            if found is not None:
                name = template.name(point, found)
                return None if name is None else msgspec.structs.replace(point, name=name)
        return None

    def process(self, frame: Frame) -> Frame:
        """All samples, under their other names."""
        return self._renames(frame) if len(frame) else frame

    def snapshot(self) -> State:
        """Which point goes on under which id."""
        return self._renames.snapshot()

    def restore(self, state: State) -> None:
        """The inverse of :meth:`snapshot`."""
        self._renames.restore(state)
