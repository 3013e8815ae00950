"""``ct_reversal``: a current transformer that was put in the wrong way round."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final

import msgspec
import numpy as np

from gateway import quality as q
from gateway.errors import FieldError
from gateway.units import Duration
from pipelines.base import OperatorConfig, State, grown
from pipelines.operators.judge.joined import Joined, Rule, check_inputs
from pipelines.operators.judge.judging import check_span, longer
from pipelines.operators.judge.limits import Action

if TYPE_CHECKING:
    from gateway.frame import Mask, Times
    from pipelines.base import Points
    from pipelines.operators.aligned import Rows
    from pipelines.operators.judge.joined import Codes

Input = Annotated[str, msgspec.Meta(min_length=1)]
_NONE: Final = (1 << 63) - 1


class Load(enum.StrEnum):
    """Which sign active power should have."""

    CONSUMER = "consumer"
    GENERATOR = "generator"


class CtReversalConfig(OperatorConfig, frozen=True, kw_only=True):
    """Active power of some phases with the wrong sign, while that of others is right.

    It takes a load whose direction is known: a consumer's power is positive, a generator's negative. A phase is
    suspect while its power has the other sign and at least one other phase has the right one, both beyond
    ``min_power``; if that goes on for ``for``, its current transformer is taken for reversed. Where all phases have
    the other sign, nobody can tell reversal from a change of direction, and nothing is said. From then on until a row
    is in order again, samples of that phase are marked: at least questionable with the flag inconsistent. The state
    point ``{device}/ct#reversed`` says ``ok`` or the phases, such as ``p2`` or ``p1+p3``, whenever that changes.
    Rows and holding are as in ``cross_check``.

    Example::

        steps:
          - ct_reversal: {phases: ["*/p1", "*/p2", "*/p3"], for: 5m, min_power: 20}
    """

    EXAMPLES: ClassVar[tuple[dict[str, Any], ...]] = (
        {"phases": ["*/voltage", "*/power"], "for": "1s", "lateness": "1s"},
        {"phases": ["*/voltage", "*/power"], "load": "generator", "for": "0s", "action": "drop", "max_gap": "2s"},
        {"phases": ["m1/voltage", "m1/power", "m2/power"], "for": "0s", "hold": False, "max_gap": "5s"},
    )

    phases: Annotated[list[Input], msgspec.Meta(min_length=2, max_length=12)]
    """Active power of each phase, with ``*`` for the device."""
    load: Load = Load.CONSUMER
    """``consumer`` (power is positive) or ``generator`` (negative)."""
    min_power: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    """Power up to which a phase has no sign, in its unit."""
    for_: Duration = msgspec.field(default=Duration(60), name="for")
    """How long it has to go on, in source time."""
    lateness: Duration = Duration(5)
    """How long a row waits for samples that come out of order; later ones are not judged."""
    max_gap: Duration = Duration(0)
    """How old a sample may be that is held against newer ones, for devices that read one point behind the other."""
    hold: bool = True
    """Hold the phases' samples until they were judged. Without it only the state point tells."""
    action: Action = Action.MARK
    """``mark`` keeps the suspects with a worse quality, ``drop`` removes them."""

    def __post_init__(self) -> None:
        check_inputs("phases", self.phases)
        if len(set(self.phases)) < len(self.phases):
            raise FieldError("phases", "names a phase twice")
        check_span("for", self.for_, zero=True)
        check_span("lateness", self.lateness, zero=True)
        check_span("max_gap", self.max_gap, zero=True)
        if not self.hold and self.action is Action.DROP:
            raise FieldError("hold", "what is not held can only be reported: take away action: drop")

    def create(self, points: Points) -> CtReversal:
        """The operator for these options."""
        return CtReversal(self, points)


class Reversal(Rule):
    """Signs of the phases, and since when each is wrong."""

    def __init__(self, config: CtReversalConfig, points: Points) -> None:
        super().__init__(points, config.phases, "ct#reversed", config.lateness, config.max_gap)
        self._sign = 1.0 if config.load is Load.CONSUMER else -1.0
        self._least = config.min_power
        self._for_ns = config.for_.ns
        self._names = [pattern.rpartition("/")[2] for pattern in config.phases]
        if len(set(self._names)) < len(self._names) or "*" in "".join(self._names):
            self._names = [str(number) for number in range(1, len(config.phases) + 1)]
        self._since: Times = np.empty((0, len(config.phases)), np.int64)
        """By group and phase; ``_NONE`` where the sign is right."""

    def judge(self, rows: Rows) -> tuple[Mask, Codes]:
        """Phases that are reversed, and the same as bits."""
        power = rows.value * self._sign
        right = np.logical_or.reduce(power > self._least, axis=1)
        wrong = (power < -self._least) & right[:, None]
        self._since = grown(self._since, int(rows.group.max()) + 1, _NONE)
        begins = np.ones(len(rows), np.bool_)
        begins[1:] = rows.group[1:] != rows.group[:-1]
        found = np.zeros_like(wrong)
        for number in range(wrong.shape[1]):
            found[:, number] = self._lasting(rows, begins, wrong[:, number], self._since[:, number])
        weights = np.int64(1) << np.arange(wrong.shape[1])
        return found, found @ weights

    def _lasting(self, rows: Rows, begins: Mask, wrong: Mask, since: Times) -> Mask:
        """Where one phase was wrong for long enough; keeps since when, by group."""
        at = np.arange(len(rows))
        known = np.where(begins, since[rows.group], _NONE)
        starts = begins.copy()
        starts[1:] |= ~wrong[:-1]
        begun = np.maximum.accumulate(np.where(starts & wrong, at, 0))
        # A stretch that goes on from rows judged before keeps its beginning
        from_when = np.where(known[begun] != _NONE, known[begun], rows.time[begun])
        lasting: Mask = wrong if not self._for_ns else wrong & longer(rows.time, from_when, self._for_ns - 1)
        since[rows.group] = np.where(wrong, from_when, _NONE)
        return lasting

    def text(self, code: int) -> str:
        """The phases by name, or ``ok``."""
        return "+".join(name for bit, name in enumerate(self._names) if code >> bit & 1) or "ok"

    def flush(self) -> Any:
        """All rows there are; what was wrong begins anew."""
        found = super().flush()
        self._since[:] = _NONE
        return found

    def snapshot(self) -> State:
        """Also since when each phase is wrong."""
        return {**super().snapshot(), "since": self._since.copy()}

    def restore(self, state: State) -> None:
        """The inverse of :meth:`snapshot`."""
        super().restore(state)
        self._since = state["since"].copy()


class CtReversal(Joined):
    """See :class:`CtReversalConfig`."""

    def __init__(self, config: CtReversalConfig, points: Points) -> None:
        wait_ns = config.lateness.ns + config.max_gap.ns
        super().__init__(points, [Reversal(config, points)], config.phases, wait_ns)
        self._hold, self._action = config.hold, config.action
        self._flags, self._reason = q.INCONSISTENT, "ct-reversed"
