"""What operators that join points by time have in common: inputs wait in an :class:`Aligner`, rows come out at ticks.

Inputs are patterns, ``m1/p`` or ``*/p``; see :mod:`pipelines.operators.aligned` for groups and rows. A sample that is
an input waits and is counted as queued, then as aggregated. If the inputs pass on as well, what passes is a copy,
counted as derived. A sample that serves as several inputs is counted once.
"""

from __future__ import annotations

import abc
import re
from typing import TYPE_CHECKING, ClassVar, Final

from gateway.errors import FieldError
from gateway.frame import EMPTY
from pipelines.base import Operator, State, StateClass

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.frame import Frame
    from pipelines.operators.aligned import Aligner, Rows

_SEGMENT: Final = r"[^\s/*?]*(?:\*[^\s/*?]*)?"
_PATTERN: Final = re.compile(rf"{_SEGMENT}(?:/{_SEGMENT})*\Z")


def stars(field: str, texts: Sequence[str], *, shared: bool) -> int:
    """How many ``*`` the patterns have; all have as many, or with ``shared`` none.

    Raises:
        FieldError: a pattern is none, or they do not fit together.
    """
    most = max((text.count("*") for text in texts), default=0)
    for text in texts:
        if not _PATTERN.match(text) or not all(text.split("/")):
            raise FieldError(field, f"{text!r} is no point's name, in which * may stand for (a part of) a segment")
        if text.count("*") != most and not (shared and "*" not in text):
            raise FieldError(field, f"{text!r} has not as many * as the others, so they make no common groups")
    return most


def named(pattern: str, group: str) -> str:
    """The name that a pattern means for a group: each ``*`` is replaced by what it stands for there."""
    left = iter(group.split("/"))
    return re.sub(r"\*", lambda _: next(left, ""), pattern)


class Joiner(Operator):
    """An operator whose results depend on several points for one time."""

    state_class: ClassVar[StateClass] = StateClass.WINDOW_OPAQUE
    joins: ClassVar[bool] = True

    def __init__(self, aligner: Aligner, *, keep: bool) -> None:
        super().__init__()
        self._aligner = aligner
        self._keep = keep
        self._surplus = 0
        """How many more inputs wait than samples, because some serve as several."""

    @abc.abstractmethod
    def made(self, rows: Rows) -> Frame:
        """The results of rows."""

    def process(self, frame: Frame) -> Frame:
        """What is no input, and with ``keep`` the inputs too."""
        if not len(frame):
            return frame
        taken = self._aligner.add(frame)
        mine = len(frame) - len(taken.strangers)
        waiting = min(mine, taken.held)
        self._surplus += taken.held - waiting
        self.counts.queued += waiting
        for reason, n in (("late", taken.late), ("early", taken.early)):
            if n:
                self.counts.reasons[reason] += n
        if self._keep:
            self.counts.aggregated += mine - waiting
            self.counts.derived += mine
            return frame
        self.counts.dropped += mine - waiting
        return taken.strangers

    def tick(self, now_ns: int) -> Frame:
        """Results that are due."""
        return self._results(*self._aligner.tick(now_ns))

    def clock_stepped(self, delta_ns: int) -> Frame:
        """Results of all that waits; event time begins anew."""
        del delta_ns
        return self._results(*self._aligner.flush())

    def _results(self, rows: Rows, consumed: int) -> Frame:
        twice = min(self._surplus, consumed)
        self._surplus -= twice
        self.counts.queued -= consumed - twice
        self.counts.aggregated += consumed - twice
        frame = self.made(rows) if len(rows) else EMPTY
        self.counts.derived += len(frame)
        return frame

    def snapshot(self) -> State:
        """What waits."""
        return {"aligner": self._aligner.snapshot(), "surplus": self._surplus}

    def restore(self, state: State) -> None:
        """The inverse of :meth:`snapshot`."""
        self._aligner.restore(state["aligner"])
        self._surplus = state["surplus"]
