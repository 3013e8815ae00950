"""``outage``: whether the supply is there, and since when it was not."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final

import msgspec
import numpy as np

from gateway import quality as q
from gateway.errors import FieldError
from gateway.frame import EMPTY, Frame, concat, group_starts
from gateway.point import Kind
from gateway.units import Duration
from pipelines.base import Glob
from pipelines.operators.aligned import worst_of
from pipelines.operators.power.joined import Joined, JoinedConfig, check_names
from pipelines.operators.power.ordered import Table
from pipelines.operators.power.results import sealed, usable

if TYPE_CHECKING:
    from gateway.frame import Ids, Mask, Qualities, Times
    from pipelines.base import Points, State
    from pipelines.operators.aligned import Rows

STATES: Final = ("supplied", "phase-loss", "outage", "no-communication")
SUPPLIED, PHASE_LOSS, OUTAGE, SILENT = range(4)


class OutageConfig(JoinedConfig, frozen=True, kw_only=True):
    """The state of a supply: ``supplied``, ``phase-loss``, ``outage`` or ``no-communication``; told when it changes.

    An outage is when *all* phases are below ``threshold`` times ``nominal``; when some are, a phase is lost. When no
    phase has a usable value (the device does not answer, its link is down, its values are stale), or nothing came for
    ``silence``, communication is lost: nothing is known of the supply then, and it is not called an outage. Where only
    some phases have a value, nothing is told. Phases read one after the other show a phase loss for that moment.

    ``m1/supply`` carries the state, stamped with the first sample that showed it, or after a silence with the time at
    which that was up. When an outage ends, ``m1/supply#outage_duration`` tells its length in s, stamped with its end;
    it is questionable if communication was lost in between.

    The threshold of 0.1 pu is that of an interruption in IEEE 1159 and IEEE 1564.

    Example::

        steps:
          - outage: {of: ["*/u1", "*/u2", "*/u3"], nominal: 230}
    """

    EXAMPLES: ClassVar[tuple[dict[str, Any], ...]] = (
        {"of": ["*/voltage"], "nominal": 230.0},
        {"of": ["*/voltage", "*/power"], "nominal": 10.0, "silence": "3s", "lateness": "0s"},
        {"of": ["m1/voltage", "m2/voltage"], "nominal": 50.0, "set": "site/supply", "keep": False, "max_gap": "0s"},
    )

    of: Annotated[list[Glob], msgspec.Meta(min_length=1, max_length=3)]
    """The voltages of the phases, one to three; ``*`` stands for the device."""
    nominal: float
    """Nominal voltage in their unit, such as 230."""
    threshold: float = 0.1
    """Below this part of the nominal voltage a phase is dead."""
    silence: Duration = Duration(60)
    """After this time without any sample communication is lost."""
    set: str = "{device}/supply"
    """The name of the result; ``{device}`` is what ``*`` stands for."""

    def __post_init__(self) -> None:
        if not 0 < self.nominal < math.inf:
            raise FieldError("nominal", "must be greater than 0")
        if not 0 < self.threshold < 1:
            raise FieldError("threshold", "is a part of nominal, between 0 and 1")
        if self.silence.ns <= 0:
            raise FieldError("silence", "must be longer than 0")
        check_names(self.set, self.of, "of")

    def create(self, points: Points) -> Outage:
        """The operator for these options."""
        return Outage(self, points)


class Outage(Joined):
    """See :class:`OutageConfig`."""

    def __init__(self, config: OutageConfig, points: Points) -> None:
        super().__init__(config, points, config.of, config.set)
        self._dead = config.threshold * config.nominal
        self._silence_ns = config.silence.ns
        self._seen = Table(state=(np.int8, 0), time=(np.int64, 0), tick=(np.int64, 0), waiting=(np.bool_, 0))
        """By group: the state last told, the time of the last row, and the tick that found it (if not ``waiting``)."""
        self._began = Table(time=(np.int64, 0), open=(np.bool_, 0), word=(np.uint16, 0))
        """The outage in which a group is, or was when communication went."""

    def _results(self, rows: Rows) -> Frame:
        size = int(rows.group.max()) + 1
        self._seen.grow(size)
        self._began.grow(size)
        last = np.append(group_starts(rows.group)[1:], len(rows)) - 1
        self._seen.set(rows.group[last], time=rows.time[last], waiting=np.ones(len(last), np.bool_))
        ok = usable(rows.value, rows.quality)
        judged = ok.all(axis=1) | ~ok.any(axis=1)
        dead = ok & (np.abs(rows.value) < self._dead)
        state = np.where(dead.all(axis=1), OUTAGE, np.where(dead.any(axis=1), PHASE_LOSS, SUPPLIED))
        state = np.where(ok.any(axis=1), state, SILENT)
        # The values of a state that says "nothing is known" are invalid; that this is so is well known
        word = np.where(state == SILENT, q.GOOD, worst_of(rows.quality)).astype(np.uint16)
        return self._tell(rows.group[judged], rows.time[judged], state[judged], word[judged])

    def _tell(self, group: Ids, time: Times, state: np.ndarray[Any, Any], word: Qualities) -> Frame:
        """States that differ from the one before, and the outages that they end."""
        if not len(group):
            return EMPTY
        first = np.append(True, group[1:] != group[:-1])
        before = np.append(np.int64(-1), state[:-1])
        told = self._told(group)
        before[first] = told[first]
        changed = state != before
        group, time, state, word = group[changed], time[changed], state[changed], word[changed]
        if not len(group):
            return EMPTY
        last = np.append(group_starts(group)[1:], len(group)) - 1
        ids = self.ids(group, "", kind=Kind.STATE)
        for point in np.unique(ids).tolist():
            for text in STATES:
                self._points.state(point, text)
        out = sealed(ids, time, state.astype(np.float64), word)
        durations = self._durations(group, time, state, word)
        self._seen["state"][group[last]] = state[last] + 1
        return concat([out, durations])

    def _told(self, group: Ids) -> np.ndarray[Any, Any]:
        """The state that was told last of each group, [k]; -1 for none."""
        result: np.ndarray[Any, Any] = self._seen["state"][group].astype(np.int64) - 1
        return result

    def _durations(self, group: Ids, time: Times, state: np.ndarray[Any, Any], word: Qualities) -> Frame:
        """The lengths of outages that end, in turn for each group: changes are few."""
        began, parts = self._began, []
        began.grow(int(group.max(initial=-1)) + 1)  # a snapshot holds those groups only that have had an outage
        at = group_starts(group)
        left = np.diff(at, append=len(group))
        while len(at):
            own, now = group[at], state[at]
            ends = began["open"][own] & ((now == SUPPLIED) | (now == PHASE_LOSS))
            parts.append(self._ended(own[ends], time[at[ends]], word[at[ends]]))
            begins = ~began["open"][own] & (now == OUTAGE)
            began.set(own[begins], time=time[at[begins]], open=begins[begins], word=word[at[begins]])
            blind = own[began["open"][own] & (now == SILENT)]
            began.set(blind, word=q.worse(began["word"][blind], q.QUESTIONABLE, q.INACCURATE))
            at, left = at[left > 1] + 1, left[left > 1] - 1
        return concat(parts)

    def _ended(self, group: Ids, time: Times, word: Qualities) -> Frame:
        if not len(group):
            return EMPTY
        ids = self.ids(group, "#outage_duration", unit="s")
        seconds = (time - self._began["time"][group]) * 1e-9
        words = worst_of(np.stack([word, self._began["word"][group]], axis=1))
        self._began.set(group, open=np.zeros(len(group), np.bool_))
        return sealed(ids, time, seconds, words)

    def _passed(self, now_ns: int) -> Frame:
        """Groups of which nothing came for too long."""
        seen = self._seen
        fresh = seen["waiting"]
        seen["tick"][fresh] = now_ns
        fresh[:] = False
        quiet: Mask = seen.known & (now_ns - seen["tick"] >= self._silence_ns) & (seen["state"] != SILENT + 1)
        groups = np.flatnonzero(quiet).astype(np.int32)
        if not len(groups):
            return EMPTY
        time = seen["time"][groups] + self._silence_ns
        return self._tell(groups, time, np.full(len(groups), SILENT), np.zeros(len(groups), np.uint16))

    def _forget(self) -> None:
        """Outages go on, but their length is lost; the state is told anew."""
        self._seen.clear()
        self._began.clear()

    def snapshot(self) -> State:
        """What waits, and the states."""
        return {**super().snapshot(), "seen": self._seen.snapshot(), "began": self._began.snapshot()}

    def restore(self, state: State) -> None:
        """The inverse of :meth:`snapshot`."""
        super().restore(state)
        self._seen.restore(state["seen"])
        self._began.restore(state["began"])
