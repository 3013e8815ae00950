"""``expression``: a point computed from others by a formula."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np

from gateway import quality as q
from gateway.errors import FieldError
from gateway.frame import Frame
from gateway.point import Point
from gateway.units import Duration
from pipelines.base import OperatorConfig, grown
from pipelines.operators.aligned import Aligner, Mode, Rows, worst_of
from pipelines.operators.shape.formula import Formula, FormulaError, parse
from pipelines.operators.shape.joining import Joiner, named, stars

if TYPE_CHECKING:
    from gateway.frame import Ids, Mask, Qualities, Values
    from pipelines.base import Operator, Points

MAX_WAIT_S: Final = 7 * 86_400


class Align(enum.StrEnum):
    """Which samples belong together."""

    EXACT = "exact"
    LAST = "last"


class ExpressionConfig(OperatorConfig, frozen=True, kw_only=True):
    """A point computed from other points, for each time at which they have samples.

    ``to`` is a formula: numbers, points, ``+ - * / ^``, comparisons (1 or 0), ``and or not``, brackets, ``pi``, and the
    functions sqrt abs min max exp log log10 sin cos tan atan2 floor ceil round clip if. ``m1/p`` is a point and
    ``m1/p / 2`` a division: a name goes on to the next blank, bracket or operator other than ``/`` and ``-``. Names
    with other characters stand in single quotes. The grammar is in :mod:`pipelines.operators.shape.formula`.

    ``*`` in a name stands for each device (or other segment): ``*/p`` and ``*/q`` of the same device belong together,
    and ``set`` has as many ``*``, for the same. A point without ``*`` beside others that have it is shared by all.

    ``align: exact`` computes where all inputs have a sample of the same time; ``last`` wherever one has, with the last
    samples of the others, if they are not older than ``max_gap``. Results come when the watermark of the device (or
    group) has passed by ``lateness``; samples that come later are counted as ``late``.

    If an input is missing or invalid, the result has no value, for the same reason. Its quality is the worst of the
    inputs, with all their flags; a result that is no number is invalid, one that overflows questionable.

    Example::

        steps:
          - expression: {set: "*/s", to: "sqrt(*/p^2 + */q^2)", unit: V.A}
          - expression: {set: site/balance, to: "grid/p - (pv/p + battery/p)", unit: W, align: last, max_gap: 10s}
    """

    EXAMPLES: ClassVar[tuple[dict[str, Any], ...]] = (
        {"set": "*/s", "to": "sqrt(*/power^2 + */voltage^2) / m1/energy", "align": "last", "max_gap": "3s"},
        {"set": "site/both", "to": "if(m1/power > m2/power, m1/power, 2 * m2/power)", "keep": False, "lateness": "1s"},
        {"set": "*/sum", "to": "*/power + */voltage"},
    )

    set: str
    """The name of the result, with a ``*`` for each one of the inputs."""
    to: str
    """The formula, at most 2,000 characters."""
    unit: str = ""
    """The unit of the result, in UCUM; the formula does not know units."""
    align: Align = Align.EXACT
    """``exact``: where all inputs have a sample of the same time; ``last``: also with older ones, up to ``max_gap``."""
    max_gap: Duration | None = None
    """How old a value may be that ``last`` goes on using; it has no default, because only you can know."""
    lateness: Duration = Duration(5)
    """How long results wait for samples that come out of order."""
    keep: bool = True
    """Whether the inputs pass on as well; without it they are consumed."""

    def __post_init__(self) -> None:
        formula = self.formula()
        groups = stars("to", formula.names, shared=True)
        stars("set", [self.set], shared=False)
        if self.set.count("*") != groups:
            wanted = f"a * for each of the {groups} of the inputs" if groups else "no *, as the inputs have none"
            raise FieldError("set", f"needs {wanted}")
        if self.set in formula.names:
            raise FieldError("set", "must not be one of its own inputs")
        if (self.align is Align.LAST) != (self.max_gap is not None):
            raise FieldError("max_gap", "is needed with align: last, and only there: how old a value may be")
        for name, span in (("max_gap", self.max_gap), ("lateness", self.lateness)):
            if span is not None and span > MAX_WAIT_S:
                raise FieldError(name, "must be at most 7d")

    def formula(self) -> Formula:
        """The formula.

        Raises:
            FieldError: it is none.
        """
        try:
            return parse(self.to)
        except FormulaError as error:
            raise FieldError("to", str(error)) from None

    def create(self, points: Points) -> Operator:
        """The operator for these options."""
        return Expression(self, points)


class Expression(Joiner):
    """See :class:`ExpressionConfig`."""

    def __init__(self, config: ExpressionConfig, points: Points) -> None:
        self._formula = config.formula()
        aligner = Aligner(
            points,
            self._formula.names,
            mode=Mode(config.align.value),
            lateness_ns=config.lateness.ns,
            max_gap_ns=0 if config.max_gap is None else config.max_gap.ns,
        )
        super().__init__(aligner, keep=config.keep)
        self._points = points
        self._set, self._unit = config.set, config.unit
        self._ids: Ids = np.empty(0, np.int32)
        """The result's point of each group; -1 before its first row."""

    def made(self, rows: Rows) -> Frame:
        """One sample a row."""
        inputs = np.ascontiguousarray(rows.value.T)
        value = self._formula(list(inputs))
        missing = np.isnan(rows.value) | q.is_invalid(rows.quality)
        value, quality = judged(value, rows, missing)
        return Frame(self._results_of(rows.group), rows.time, value, quality)

    def _results_of(self, groups: Ids) -> Ids:
        self._ids = grown(self._ids, int(groups.max(initial=-1)) + 1, -1)
        found = self._ids[groups]
        if (found < 0).any():
            for group in np.unique(groups[found < 0]).tolist():
                self._ids[group] = self._points.make(self._point(self._aligner.text(group)))
            found = self._ids[groups]
        return found

    def _point(self, group: str) -> Point:
        """The result's point: the labels are those that all inputs share."""
        ids = [self._points.find(named(name, group)) for name in self._formula.names]
        labels = [self._points.point(found).labels.items() for found in ids if found is not None]
        shared = (
            {key: text for key, text in labels[0] if all((key, text) in other for other in labels)} if labels else {}
        )
        return Point(name=named(self._set, group), unit=self._unit, labels=shared)


def judged(value: Values, rows: Rows, missing: Mask) -> tuple[Values, Qualities]:
    """Values and quality of results, [k]: none where an input is missing, [k, m], and why."""
    quality = worst_of(rows.quality)
    bad = missing.any(axis=1)
    with np.errstate(invalid="ignore"):
        infinite = np.isinf(value) & ~bad & np.isfinite(rows.value).all(axis=1)
    quality[infinite] = q.worse(quality[infinite], q.QUESTIONABLE, q.OVERFLOW)
    nothing = np.isnan(value) & ~bad
    quality[nothing | bad] = q.worse(quality[nothing | bad], q.INVALID, 0)
    value = np.where(nothing, q.no_value(q.Reason.NOT_A_NUMBER), value)
    if bad.any():
        first = rows.value[np.arange(len(rows)), missing.argmax(axis=1)]
        reason = np.where(q.reason_codes(first) > 0, first, q.no_value(q.Reason.NO_VALID_SAMPLES))
        value = np.where(bad, reason, value)
    return value, quality
