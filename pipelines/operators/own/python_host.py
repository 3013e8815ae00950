"""The life of the worker behind a step ``python``: started, asked, ended when it fails, started again with back-off.

This is the one place among the operators that looks at a clock: for time limits and back-off, never for a value.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from gateway.frame import Frame
from pipelines.operators.own.python_pipe import Pipe, PipeError
from pipelines.operators.own.python_worker import COLUMNS, MAX_NAME, NAME

if TYPE_CHECKING:
    from gateway.frame import Ids, Qualities, Times, Values

log = logging.getLogger(__name__)

FIRST_WAIT_S: Final = 0.1
LONGEST_WAIT_S: Final = 60.0
STEADY_S: Final = 60.0
"""So long without trouble, and the back-off begins anew; the next trouble is a message again."""
MAX_NAMES: Final = 100_000
"""Points that one step may know."""


class CallError(Exception):
    """A call gave nothing; ``reason`` is a countable word."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


@dataclass
class Host:
    """One worker at a time."""

    told: str
    """What messages call it."""
    facts: dict[str, Any]
    """file, class, options, memory (bytes), timeout and start_timeout (seconds)."""
    names: list[str] = field(default_factory=list)
    """Of all points by the number that the class knows them by; the caller may append."""
    units: dict[str, str] = field(default_factory=dict)
    """Of the points that the class itself has added, by name."""
    state: bytes | None = None
    """What the object was last known to hold; a new worker begins with it."""
    _methods: frozenset[str] = frozenset()
    _pipe: Pipe | None = None
    _up: bool = False
    _patient: bool = True
    """Whether the next start is waited for: the first one is, those after a failure are not."""
    _sent: int = 0
    _since: float = 0.0
    _next: float = 0.0
    _wait_s: float = FIRST_WAIT_S
    _troubled: float | None = None
    """When there was trouble last; None: all is well."""
    _stumbles: int = 0
    """Starts in a row that came to nothing."""
    _ending: list[Pipe] = field(default_factory=list)

    def has(self, method: str) -> bool:
        """Whether a worker is there whose class has this method."""
        return self._up and method in self._methods

    def process(self, frame: Frame) -> Frame:
        """What the class makes of samples; points are numbers of ``names``, both ways.

        Raises:
            CallError: nothing.
        """
        pipe = self._ready()
        fresh, self._sent = self.names[self._sent :], len(self.names)
        columns = (frame.point, frame.time, frame.value, frame.quality)
        return self._columns(self._asked(pipe, ["process", fresh, *(column.tobytes() for column in columns)]))

    def tick(self, now_ns: int) -> Frame:
        """What the class makes at a tick.

        Raises:
            CallError: nothing.
        """
        return self._columns(self._asked(self._ready(), ["tick", now_ns]))

    def snapshot(self) -> bytes | None:
        """What the object holds; if it does not say, what it was last known to hold."""
        if self.has("snapshot"):
            try:
                (state,) = self._asked(self._ready(), ["snapshot"])
            except (CallError, ValueError):
                return self.state
            self.state = state if isinstance(state, bytes) else self.state
        return self.state

    def _columns(self, given: list[Any]) -> Frame:
        try:
            columns = [np.frombuffer(raw, dtype) for raw, (_, dtype) in zip(given, COLUMNS, strict=True)]
            return self._frame(*columns)
        except (ValueError, TypeError) as error:
            self._fail("garbage", f"columns that do not fit: {error}")
            raise CallError("garbage") from None

    def _frame(self, point: Ids, time_ns: Times, value: Values, quality: Qualities) -> Frame:
        if not len(point) == len(time_ns) == len(value) == len(quality):
            raise ValueError("their lengths differ")
        if len(point) and not 0 <= int(point.min()) <= int(point.max()) < len(self.names):
            raise ValueError("a point that there is not")
        return Frame(point, time_ns, value, quality)

    def _asked(self, pipe: Pipe, request: list[Any]) -> list[Any]:
        """What follows ``ok`` and the added names."""
        limit_s = self.facts["timeout"]
        try:
            pipe.begin(request)
            answer = pipe.finish(time.monotonic() + limit_s)
            if answer is not None:
                self._learn(answer[1])
        except PipeError as error:
            self._fail(error.reason, str(error))
            raise CallError(error.reason) from None
        if answer is None:
            self._fail("timeout", f"no answer to {request[0]} within {limit_s:g} s")
            raise CallError("timeout")
        if answer[0] == "error":
            self._trouble("raised", str(answer[-1]))
            raise CallError("error")
        if self._troubled is not None and time.monotonic() - self._troubled > STEADY_S:
            self._troubled, self._wait_s = None, FIRST_WAIT_S
            log.info("step python: %s works again", self.told)
        return answer[2:]

    def _ready(self) -> Pipe:
        """The worker, started if it is time to.

        Raises:
            CallError: there is none yet.
        """
        self._ending = [pipe for pipe in self._ending if not pipe.gone]
        try:
            pipe = self._pipe or self._started()
            if not self._up:
                self._begun(pipe)
        except PipeError as error:
            self._fail(error.reason, str(error))
            raise CallError(error.reason) from None
        return pipe

    def _started(self) -> Pipe:
        self._since = time.monotonic()
        if self._since < self._next:
            raise CallError("starting")
        self._pipe = Pipe()
        self._sent = len(self.names)
        self._pipe.begin(["start", {**self.facts, "names": self.names, "state": self.state}])
        return self._pipe

    def _begun(self, pipe: Pipe) -> None:
        """Wait for the first start; look how a later one is doing.

        Raises:
            CallError: it is not there yet, or the class cannot be made.
            PipeError: it has died.
        """
        until = self._since + self.facts["start_timeout"]
        answer = pipe.finish(until if self._patient else 0.0)
        if answer is None:
            if time.monotonic() >= until:
                raise PipeError("timeout", f"not loaded within {self.facts['start_timeout']:g} s")
            raise CallError("starting")
        if answer[0] == "error":
            self._fail("raised", str(answer[-1]))
            raise CallError("error")
        self._learn(answer[1])
        try:
            methods, trouble = answer[2:]
            self._methods = frozenset(methods)
        except (ValueError, TypeError):
            raise PipeError("garbage", "wrote something that is no answer") from None
        self._up, self._patient = True, False
        if trouble:
            log.warning("step python: %s begins afresh, its state cannot be restored: %s", self.told, trouble)

    def _learn(self, added: Any) -> None:
        """Take the names that the class has added, also before it failed.

        Raises:
            PipeError: they are none.
        """
        try:
            fresh = {name: unit for name, unit in added if NAME.match(name) and len(name) <= MAX_NAME}
        except (ValueError, TypeError) as error:
            raise PipeError("garbage", f"added names that are none: {error}") from error
        if len(fresh) < len(added) or not all(isinstance(unit, str) for unit in fresh.values()):
            raise PipeError("garbage", "added names that are none")
        if len(self.names) + len(fresh) > MAX_NAMES:
            raise PipeError("garbage", f"has added names beyond {MAX_NAMES:,}")
        self.units |= fresh
        self.names += fresh
        self._sent += len(fresh)

    def _fail(self, reason: str, detail: str) -> None:
        """End the worker; the next one may start after a while."""
        self._trouble(reason, detail)
        if self._up:
            self._stumbles = 0
        elif reason != "raised":
            self._stumbles += 1
            if self._stumbles > 1:
                self.state = None  # it may be what the class stumbles over
        self._next = time.monotonic() + self._wait_s
        self._wait_s = min(2 * self._wait_s, LONGEST_WAIT_S)
        self._end()

    def _trouble(self, reason: str, detail: str) -> None:
        """One message when it goes wrong; the counters tell the rest."""
        if self._troubled is None:
            log.warning("step python: %s: %s: %s", self.told, reason, detail)
        self._troubled = time.monotonic()

    def _end(self) -> None:
        if self._pipe is not None:
            self._pipe.kill()
            self._ending.append(self._pipe)
        self._pipe, self._up, self._patient = None, False, False

    def renew(self, names: list[str], units: dict[str, str], state: bytes | None) -> None:
        """Begin anew, with these names and this state."""
        self._end()
        self.names, self.units, self.state = list(names), dict(units), state
        self._patient, self._next, self._wait_s = True, 0.0, FIRST_WAIT_S

    def close(self) -> None:
        """End the worker and wait until it is gone."""
        self._end()
        for pipe in self._ending:
            pipe.close()
        self._ending = []
