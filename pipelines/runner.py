"""One pipeline: its selection, its steps in order, and the balance of its counters."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ParamSpec

import msgspec

from gateway.frame import EMPTY, Frame, Ids, Mask, concat
from pipelines.base import Counts, Operator, OperatorConfig, Points, Selector, State
from pipelines.bounds import Bound

log = logging.getLogger(__name__)

P = ParamSpec("P")

_TOTALS = ("filtered", "aggregated", "dropped", "queued", "derived")


class Step:
    """An operator in its place: which points it sees, and what it is known by across a reload."""

    def __init__(self, kind: str, config: OperatorConfig, points: Points, occurrence: int) -> None:
        self.kind = kind
        self._create = partial(config.create, points)
        self.operator: Operator = self._create()
        self.key = f"{occurrence}:{kind}:{config.identity or told(config)}"
        self._told = told(config)
        self._selector = Selector(points, config.points)
        self._dry_run = config.dry_run
        self._globs = [config.points] if isinstance(config.points, str) else list(config.points)
        self._passed = Counts()
        """What went through untouched, if the step is only tried."""
        self.failures = 0
        self.spent_ns = 0
        """Time that it took so far, in this process."""
        self.aside: list[Frame] | None = None
        """Takes what leaves the step, while somebody taps it; None: nobody does."""

    @property
    def counts(self) -> Counts:
        """Where the samples went; of a step that is only tried they all passed."""
        return self._passed if self._dry_run else self.operator.counts

    def process(self, frame: Frame) -> Frame:
        """The samples of other points, then what the operator passes on of its own."""
        return self._observed(self._process, frame)

    def _process(self, frame: Frame) -> Frame:
        if self._selector.everything:
            return self._run(self.operator.process, frame, len(frame))
        mask = self._selector.mask(frame.point)
        mine = int(mask.sum())
        if mine == len(frame):
            return self._run(self.operator.process, frame, mine)
        if not mine:
            return frame
        return concat([frame.take(~mask), self._run(self.operator.process, frame.take(mask), mine)])

    def tick(self, now_ns: int) -> Frame:
        """What time causes in this step."""
        return self._observed(self._run, self.operator.tick, now_ns, 0)

    def clock_stepped(self, delta_ns: int) -> Frame:
        """What a step of the wall clock lets go; also what is flushed when the step is taken out."""
        return self._observed(self._run, self.operator.clock_stepped, delta_ns, 0)

    def _observed(self, call: Callable[P, Frame], *args: P.args, **kwargs: P.kwargs) -> Frame:
        """Whatever the step does passes here: its time is taken, and its output shown to who taps it."""
        began = time.perf_counter_ns()
        out = call(*args, **kwargs)
        self.spent_ns += time.perf_counter_ns() - began
        if self.aside is not None and len(out):
            self.aside.append(out)
        return out

    def _run(self, call: Callable[[Any], Frame], argument: Frame | int, taken: int) -> Frame:
        if not self._dry_run:
            return self._run_counted(call, argument, taken)
        self._run_counted(call, argument, taken)
        self._passed.samples_in += taken
        self._passed.samples_out += taken
        return argument if isinstance(argument, Frame) else EMPTY

    def _run_counted(self, call: Callable[[Any], Frame], argument: Frame | int, taken: int) -> Frame:
        counts = self.operator.counts
        derived = counts.derived
        counts.samples_in += taken
        try:
            out = call(argument)
        # Broad on purpose, the only one here: an operator may be a user's own, and one that fails may
        # cost its samples, counted, but never the journal, the other pipelines or the daemon.
        except Exception:
            self.failures += 1
            if self.failures == 1:
                log.exception("step %s failed; its samples are dropped and counted", self.kind)
            lost = counts.samples_in - (
                counts.samples_out + counts.filtered + counts.aggregated + counts.dropped + counts.queued
            )
            counts.drop("operator-error", max(lost, 0))
            counts.derived = derived  # what it had made went with it
            return EMPTY
        counts.samples_out += len(out) - (counts.derived - derived)
        return out

    @property
    def lossy(self) -> bool:
        """Whether values that leave the step may differ from those that came in."""
        return self.operator.bound is not None and not self._dry_run

    @property
    def configured(self) -> Bound | None:
        """The bound that the configuration says, whichever is in force."""
        return self._create().bound

    @property
    def told_bound(self) -> dict[str, Any]:
        """The bound as batches carry it: ``{"step": "deadband", "points": [...], "percent": 0.5}``."""
        assert self.operator.bound is not None
        return {"step": self.kind, "points": self._globs, **self.operator.bound.as_dict()}

    def same(self, other: Step) -> bool:
        """Whether the options are the same, too."""
        return self._told == other._told

    def renew(self) -> None:
        """Begin afresh, as if no sample had been seen."""
        self.operator = self._create()

    def snapshot(self) -> State:
        """The operator's state and counters."""
        passed = {"passed": self._passed.samples_in} if self._dry_run else {}
        return {"counts": self.operator.counts.as_dict(), "state": self.operator.snapshot(), **passed}

    def restore(self, state: State) -> None:
        """The inverse of :meth:`snapshot`."""
        self.operator.restore(state["state"])
        self.operator.counts.restore(state["counts"])
        self._passed.samples_in = self._passed.samples_out = state.get("passed", 0)

    def status(self) -> dict[str, Any]:
        """Counters, the bound in force, and of a step that is only tried what it would have done."""
        row: dict[str, Any] = {"step": self.kind, **self.counts.as_dict()}
        if self.operator.bound is not None:
            row["bound"] = self.operator.bound.as_dict()
        if self._dry_run:
            row["dry_run"] = self.operator.counts.as_dict()
        return row


def told(config: OperatorConfig) -> str:
    """The options that differ from their defaults: what a step's state is kept under across versions."""
    fields = ((f.name, getattr(config, f.name), f.default) for f in msgspec.structs.fields(config))
    return ", ".join(f"{name}={value!r}" for name, value, default in fields if value != default)


class Pipeline:
    """Ordered steps over a selection of points."""

    def __init__(
        self,
        name: str,
        select: Sequence[str],
        steps: Sequence[tuple[str, OperatorConfig]],
        points: Points,
    ) -> None:
        self.name = name
        self._selector = Selector(points, select, strictly=True)
        seen: Counter[tuple[str, str]] = Counter()
        self.steps: list[Step] = []
        for kind, config in steps:
            same = (kind, told(config))
            self.steps.append(Step(kind, config, points, seen[same]))
            seen[same] += 1
        self.samples_in = 0
        self.samples_out = 0
        self.retired: Counter[str] = Counter()
        """What steps that are gone had counted, so that the balance outlives a reload."""

    def selected(self, points: Ids) -> Mask:
        """Which of these points this pipeline takes from adapters, [n]."""
        return self._selector.mask(points)

    def select(self, frame: Frame) -> Frame:
        """What this pipeline takes of the samples that adapters emit."""
        mask = self.selected(frame.point)
        return frame if mask.all() else frame.take(mask)

    def process(self, frame: Frame) -> Frame:
        """Run the samples through all steps."""
        if not len(frame):
            return frame
        self.samples_in += len(frame)
        out = self._through(frame, 0)
        self.samples_out += len(out)
        return out

    def _through(self, frame: Frame, first: int) -> Frame:
        for step in self.steps[first:]:
            if not len(frame):
                break
            frame = step.process(frame)
        return frame

    def tick(self, now_ns: int) -> Frame:
        """Let time pass in every step; what a step lets go runs through those behind it."""
        return self._caused(lambda step: step.tick(now_ns))

    def clock_stepped(self, delta_ns: int) -> Frame:
        """Tell every step that the wall clock jumped."""
        return self._caused(lambda step: step.clock_stepped(delta_ns))

    def _caused(self, cause: Callable[[Step], Frame]) -> Frame:
        carried: Frame = EMPTY
        for step in self.steps:
            through = step.process(carried) if len(carried) else EMPTY
            carried = concat([through, cause(step)])
        self.samples_out += len(carried)
        return carried

    def rebound(self, key: str, bound: Bound) -> None:
        """Give a step another error bound from here on."""
        for step in self.steps:
            if step.key == key and step.operator.bound is not None:
                step.operator.set_bound(bound)

    def find_step(self, word: str) -> Step | None:
        """The step with this number (from 0), or the only one of this name that has a bound."""
        if word.isdecimal() and int(word) < len(self.steps):
            return self.steps[int(word)]
        named = [step for step in self.steps if step.kind == word and step.operator.bound is not None]
        return named[0] if len(named) == 1 else None

    def step_called(self, word: str) -> Step | None:
        """The step with this number (from 0), or the only one of this name."""
        if word.isdecimal():
            return self.steps[int(word)] if int(word) < len(self.steps) else None
        named = [step for step in self.steps if step.kind == word]
        return named[0] if len(named) == 1 else None

    def bounds(self) -> tuple[dict[str, Any], ...]:
        """What may be lost of each value, by the steps that trade error for bytes."""
        return tuple(step.told_bound for step in self.steps if step.lossy)

    def flush_step(self, index: int) -> Frame:
        """All that a step still holds, run through the steps behind it; the step is about to go."""
        out = self._through(self.steps[index].clock_stepped(0), index + 1)
        self.samples_out += len(out)
        return out

    @property
    def queued(self) -> int:
        """Samples that steps hold."""
        return sum(step.operator.counts.queued for step in self.steps)

    @property
    def due_ns(self) -> int | None:
        """When a step wants a tick, although it holds no samples."""
        return min((due for step in self.steps if (due := step.operator.due_ns) is not None), default=None)

    def kept_of(self, old: Pipeline) -> set[str]:
        """Keys of the steps that an earlier configuration of this pipeline has too."""
        return {step.key for step in self.steps} & {step.key for step in old.steps}

    def adopt(self, old: Pipeline) -> None:
        """Take over the running operators of an earlier configuration that did not change."""
        kept = self.kept_of(old)
        known = {step.key: step for step in old.steps}
        for index, step in enumerate(self.steps):
            if step.key in known and known[step.key].same(step):
                self.steps[index] = known[step.key]
            elif step.key in known:
                step.restore(known[step.key].snapshot())
        gone = {key: step.counts.as_dict() for key, step in known.items() if key not in kept}
        self._take_totals(old.samples_in, old.samples_out, old.retired, gone)

    def _take_totals(
        self, samples_in: int, samples_out: int, retired: dict[str, int], gone: dict[str, dict[str, Any]]
    ) -> None:
        self.samples_in, self.samples_out = samples_in, samples_out
        self.retired = Counter(retired)
        for counts in gone.values():
            self.retired.update({key: counts[key] for key in _TOTALS})

    def renew(self, known: set[str]) -> None:
        """Begin all steps but the known ones afresh; what they had counted stays in the balance."""
        for step in self.steps:
            if step.key not in known:
                counts = step.counts
                counts.drop("renewed", counts.queued)
                counts.queued = 0
                self.retired.update({key: getattr(counts, key) for key in _TOTALS})
                step.renew()

    def snapshot(self) -> State:
        """State of all steps by their keys."""
        return {
            "in": self.samples_in,
            "out": self.samples_out,
            "retired": dict(self.retired),
            "steps": {step.key: step.snapshot() for step in self.steps},
        }

    def restore(self, state: State) -> set[str]:
        """Take what the snapshot has for steps that still exist; the keys of those."""
        found: dict[str, Any] = state["steps"]
        kept = {step.key for step in self.steps} & found.keys()
        for step in self.steps:
            if step.key in kept:
                step.restore(found[step.key])
        gone = {key: _let_go(step) for key, step in found.items() if key not in kept}
        self._take_totals(state["in"], state["out"], state["retired"], gone)
        return kept

    def status(self) -> dict[str, Any]:
        """Counters of the pipeline and of each step.

        Always ``in + derived == out + filtered + aggregated + dropped + queued``.
        """
        total = {key: self.retired[key] + sum(getattr(step.counts, key) for step in self.steps) for key in _TOTALS}
        return {
            "in": self.samples_in,
            "out": self.samples_out,
            **total,
            "steps": [step.status() for step in self.steps],
        }

    def timed_status(self) -> dict[str, Any]:
        """:meth:`status` with the time that each step took in this process, ``cpu_s``; two runs never agree on it."""
        status = self.status()
        for row, step in zip(status["steps"], self.steps, strict=True):
            row["cpu_s"] = round(step.spent_ns / 1e9, 6)
        return status


def _let_go(step: dict[str, Any]) -> dict[str, Any]:
    """Counters of a step that will not come back: what it held is dropped."""
    if "passed" in step:
        return dict.fromkeys(_TOTALS, 0)
    counts: dict[str, Any] = step["counts"]
    return counts | {"dropped": counts["dropped"] + counts["queued"], "queued": 0}
