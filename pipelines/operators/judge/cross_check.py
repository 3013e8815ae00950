"""``cross_check``: points that have to fit together are held against each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import msgspec
import numpy as np

from gateway import quality as q
from gateway.errors import FieldError
from gateway.units import Duration
from pipelines.base import Globs, OperatorConfig, Selector
from pipelines.operators.judge.joined import Joined, Rule, check_inputs
from pipelines.operators.judge.judging import check_span
from pipelines.operators.judge.limits import Action
from pipelines.operators.shape.formula import FormulaError, parse

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gateway.frame import Mask, Values
    from pipelines.base import Points
    from pipelines.operators.aligned import Rows
    from pipelines.operators.judge.joined import Codes
    from pipelines.operators.shape.formula import Formula

Input = Annotated[str, msgspec.Meta(min_length=1)]
NotNegative = Annotated[float, msgspec.Meta(ge=0)]
CheckName = Annotated[str, msgspec.Meta(max_length=64)]


class Tolerance(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How far both sides of a check may differ: the larger of two amounts."""

    percent: NotNegative = 2.0
    """Percent of the larger side."""
    absolute: NotNegative = 0.0
    """In the unit of the sides: for when both are small."""
    name: CheckName = ""
    """The state point is ``{device}/check#{name}``; left out: what the check is, such as ``sum``."""


class SumCheck(Tolerance, frozen=True, kw_only=True):
    """Parts that have to make up a total."""

    of: Annotated[list[Input], msgspec.Meta(min_length=1)]
    """The parts, with ``*`` for the device: ``["*/p1", "*/p2", "*/p3"]``."""
    total: Input
    """What they sum up to: ``*/p``."""

    @property
    def inputs(self) -> list[str]:
        """The patterns of the points."""
        return [*self.of, self.total]

    def sides(self) -> Sides:
        """What has to be equal."""
        return _sum, lambda x: x[-1]


class PowerCheck(Tolerance, frozen=True, kw_only=True):
    """Active power by voltage, current and power factor of one phase."""

    u: Input
    """Voltage, in V: ``*/u1``."""
    i: Input
    """Current, in A."""
    pf: Input | None = None
    """Power factor; left out: the active power may not be more than U times I."""
    p: Input
    """Active power, in W."""

    @property
    def inputs(self) -> list[str]:
        """The patterns of the points."""
        return [self.u, self.i, self.p] if self.pf is None else [self.u, self.i, self.pf, self.p]

    def sides(self) -> Sides:
        """What has to be equal."""
        if self.pf is None:
            return lambda x: np.maximum(np.abs(x[2]), np.abs(x[0] * x[1])), lambda x: np.abs(x[0] * x[1])
        return lambda x: x[0] * x[1] * x[2], lambda x: x[3]


class EqualCheck(Tolerance, frozen=True, kw_only=True):
    """Any two formulas."""

    left: Input
    """A formula, as ``expression`` has them: ``*/p1 + */p2``."""
    right: Input
    """What it has to be equal to: ``*/p / 1000``."""

    @property
    def formulas(self) -> tuple[Formula, Formula]:
        """Both sides, read."""
        return parse(self.left), parse(self.right)

    @property
    def inputs(self) -> list[str]:
        """The patterns of the points."""
        left, right = self.formulas
        return list(dict.fromkeys((*left.names, *right.names)))

    def sides(self) -> Sides:
        """What has to be equal."""
        inputs = self.inputs
        left, right = (_placed(formula, inputs) for formula in self.formulas)
        return left, right


if TYPE_CHECKING:
    Side = Callable[[Sequence[Values]], Values]
    Sides = tuple[Side, Side]
    Check = SumCheck | PowerCheck | EqualCheck


def _sum(inputs: Sequence[Values]) -> Values:
    total = inputs[0]
    for part in inputs[1:-1]:
        total = total + part
    return total


def _placed(formula: Formula, inputs: Sequence[str]) -> Side:
    places = [inputs.index(name) for name in formula.names]
    return lambda x: formula([x[place] for place in places])


class CrossCheckConfig(OperatorConfig, frozen=True, kw_only=True):
    """Points of a device that have to fit together: parts and their total, U times I times PF and P, any formulas.

    A check is judged for each device (what ``*`` stands for) at each time at which all its inputs have a sample, or
    with ``max_gap`` at each sample with the others as they were. It is violated if both sides differ by more than
    ``percent`` of the larger one and by more than ``absolute``. Then its inputs are marked: at least questionable
    with the flag inconsistent (IEC 61850-7-3: an evaluation function has found an inconsistency). A row that lacks a
    usable input is not judged. To be marked, samples are held: everything leaves in the order in which it came,
    ``lateness`` (and ``max_gap``) after it came; that is the delay of this step. The state point
    ``{device}/check#sum`` says ``ok`` or ``violated`` whenever that changes.

    Example::

        steps:
          - cross_check: {sum: {of: ["*/p1", "*/p2", "*/p3"], total: "*/p", percent: 1, absolute: 5}}
          - cross_check: {power: {u: "*/u1", i: "*/i1", pf: "*/pf1", p: "*/p1"}, lateness: 2s}
          - cross_check: {equal: {left: "*/s^2", right: "*/p^2 + */q^2", name: apparent}}
    """

    EXAMPLES: ClassVar[tuple[dict[str, Any], ...]] = (
        {"sum": {"of": ["*/voltage"], "total": "*/power", "percent": 50}},
        {
            "sum": [{"of": ["m1/voltage", "m1/power"], "total": "m2/power", "absolute": 100}],
            "power": {"u": "*/voltage", "i": "*/power", "p": "*/voltage"},
            "lateness": "1s",
            "max_gap": "2s",
            "action": "drop",
        },
        {"equal": {"left": "*/voltage * 2", "right": "*/power"}, "hold": False},
        {"power": {"u": "*/voltage", "i": "*/voltage", "pf": "*/power", "p": "*/power"}, "marks": "m1/power"},
    )

    sum: SumCheck | list[SumCheck] = msgspec.field(default_factory=list)
    """Parts that have to make up a total; one check or a list of them, as with those below."""
    power: PowerCheck | list[PowerCheck] = msgspec.field(default_factory=list)
    """Active power has to be voltage times current times power factor."""
    equal: EqualCheck | list[EqualCheck] = msgspec.field(default_factory=list)
    """Any two formulas have to be equal."""
    lateness: Duration = Duration(5)
    """How long a check waits for samples that come out of order; later ones are not judged."""
    max_gap: Duration = Duration(0)
    """How old a sample may be that is held against newer ones, for devices that read one point behind the other."""
    marks: Globs = "**"
    """Which of the inputs are marked, or dropped."""
    hold: bool = True
    """Hold inputs until they were judged. Without it nothing is marked or delayed, and only the state point tells."""
    report: bool = True
    """Make the state points."""
    action: Action = Action.MARK
    """``mark`` keeps the suspects with a worse quality, ``drop`` removes them."""

    def __post_init__(self) -> None:
        if not self.checks():
            raise FieldError((), "needs at least one of sum, power and equal")
        for field, check in self.checks():
            try:
                check_inputs(field, check.inputs)
            except FormulaError as error:
                raise FieldError(field, str(error)) from None
        names = [name for name, _ in self.named()]
        if len(set(names)) < len(names):
            raise FieldError((), f"two checks are called {max(names, key=names.count)}; give each a name")
        check_span("lateness", self.lateness, zero=True)
        check_span("max_gap", self.max_gap, zero=True)
        if not self.hold and (self.action is Action.DROP or not self.report):
            raise FieldError("hold", "what is not held can only be reported: take away action: drop and report: false")

    def checks(self) -> list[tuple[str, Check]]:
        """All checks with the options that they stand under."""
        given = (("sum", self.sum), ("power", self.power), ("equal", self.equal))
        return [(field, check) for field, some in given for check in (some if isinstance(some, list) else [some])]

    def named(self) -> list[tuple[str, Check]]:
        """All checks by name."""
        return [(check.name or field, check) for field, check in self.checks()]

    def create(self, points: Points) -> CrossCheck:
        """The operator for these options."""
        return CrossCheck(self, points)


class Equality(Rule):
    """One check."""

    def __init__(self, config: CrossCheckConfig, name: str, check: Check, points: Points) -> None:
        super().__init__(points, check.inputs, f"check#{name}", config.lateness, config.max_gap)
        self._left, self._right = check.sides()
        self._share = check.percent / 100
        self._absolute = check.absolute

    def judge(self, rows: Rows) -> tuple[Mask, Codes]:
        """All inputs of a row that violates the check; -1 where a side has no value."""
        inputs = list(rows.value.T)
        left, right = self._left(inputs), self._right(inputs)
        known = np.isfinite(left) & np.isfinite(right)
        allowed = np.maximum(self._absolute, self._share * np.maximum(np.abs(left), np.abs(right)))
        violated = known & (np.abs(left - right) > allowed)
        codes = np.where(known, violated.astype(np.int64), -1)
        return np.repeat(violated[:, None], rows.value.shape[1], 1), codes

    def text(self, code: int) -> str:
        """``ok`` or ``violated``."""
        return "violated" if code else "ok"


class CrossCheck(Joined):
    """See :class:`CrossCheckConfig`."""

    def __init__(self, config: CrossCheckConfig, points: Points) -> None:
        rules = [Equality(config, name, check, points) for name, check in config.named()]
        inputs = sorted({pattern for _, check in config.checks() for pattern in check.inputs})
        super().__init__(points, rules, inputs, config.lateness.ns + config.max_gap.ns)
        self._hold, self._report, self._action = config.hold, config.report, config.action
        self._flags, self._reason = q.INCONSISTENT, "inconsistent"
        self._marks = Selector(points, config.marks)
