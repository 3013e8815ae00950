"""Which steps before an uplink may be moved, and which are left alone, and why.

A step may be moved if it trades error for bytes and something of what it lets through comes to the uplink, by its own
pipeline or through others. It is left alone where somebody computes on what it lets through: an alert would rise late,
a total would be wrong. Counters are left alone by the operators themselves: they keep the configured bound.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.budget.limits import ratio, times, width
from gateway.budget.summaries import SUMMARY
from gateway.point import ALERT
from pipelines.base import StateClass

if TYPE_CHECKING:
    from gateway.budget.config import AdaptConfig
    from gateway.graph import Graph
    from pipelines.bounds import Bound
    from pipelines.runner import Pipeline, Step

_HARMLESS = ("pipelines.operators.reduce.", "pipelines.operators.shape.")


@dataclass(frozen=True, slots=True)
class End:
    """An end of the range of a bound."""

    bound: Bound
    s: float
    """ln of how many times the configured bound it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Movable:
    """A step whose bound may be moved."""

    pipeline: str
    step: Step
    base: Bound
    """The configured one."""
    low: End
    high: End
    thin: End | None
    """The upper end at the rung ``thin``, if that is wider."""

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.pipeline}/{self.step.kind}"

    @property
    def place(self) -> tuple[str, str]:
        """The pipeline, and the step's key in it."""
        return self.pipeline, self.step.key

    def end(self, *, thinned: bool) -> End:
        """The upper end."""
        return self.thin if thinned and self.thin is not None else self.high

    @property
    def in_force(self) -> float:
        """How many times the configured bound the one in force is, its ln, within the range."""
        bound = self.step.operator.bound
        found = None if bound is None else ratio(bound, self.base)
        return min(max(math.log(found) if found else self.low.s, self.low.s), self.end(thinned=True).s)

    def wish(self, s: float, *, thinned: bool) -> Bound:
        """The bound for a state of the law; never beyond an end, not by a rounding either."""
        end = self.end(thinned=thinned)
        if s >= end.s or s <= self.low.s:
            return end.bound if s >= end.s else self.low.bound
        wanted = times(self.base, math.exp(s))
        return wanted if width(wanted) <= width(end.bound) else end.bound


@dataclass(frozen=True, slots=True)
class Found:
    """All steps with a bound before one uplink."""

    movable: tuple[Movable, ...] = ()
    left: tuple[tuple[str, str], ...] = ()
    """(step, why it is left alone)."""


def steps_before(graph: Graph, uplink: str, config: AdaptConfig) -> Found:
    """The steps that may be moved for an uplink, and those that may not."""
    movable: list[Movable] = []
    left: list[tuple[str, str]] = []
    for name in graph.leading_to(uplink):
        pipeline = graph.pipelines[name]
        for index, step in enumerate(pipeline.steps):
            if not step.lossy or is_own(name):
                continue
            found = _why_not(graph, pipeline, index, config) or _movable(pipeline, index, config)
            if isinstance(found, Movable):
                movable.append(found)
            else:
                left.append((f"{name}/{step.kind}", found))
    return Found(tuple(movable), tuple(left))


def is_own(pipeline: str) -> bool:
    """Whether it is one of those behind alerts and summaries. That of the heartbeat has no bound."""
    return pipeline.startswith((ALERT, SUMMARY))


def _why_not(graph: Graph, pipeline: Pipeline, index: int, config: AdaptConfig) -> str:
    if pipeline.name in config.protect:
        return "protected"
    behind = [(pipeline.name, step) for step in pipeline.steps[index + 1 :]]
    for name in graph.behind(pipeline.name):
        if name in config.protect:
            return f"{name} is protected, and takes what it lets through"
        if name.startswith(ALERT):
            return f"{name} judges what it lets through"
        behind += [(name, step) for step in graph.pipelines[name].steps]
    for name, step in behind:
        harmless = step.operator.state_class is StateClass.STATELESS
        if not harmless and not type(step.operator).__module__.startswith(_HARMLESS):
            return f"{name}/{step.kind} computes on what it lets through"
    return ""


def _movable(pipeline: Pipeline, index: int, config: AdaptConfig) -> Movable | str:
    step = pipeline.steps[index]
    base = step.configured
    if base is None or not (base.absolute or base.percent):
        return "its bound is 0, or follows from the points"
    ends: dict[str, End | None] = {}
    for name, limit in config.limits(pipeline.name, step.kind, index):
        factor = None if limit is None else limit.of(base)
        if limit is not None and factor is None:
            return f"{name} and its bound {base} are not of one kind: one is in percent, the other is not"
        ends[name] = None if limit is None or factor is None else End(limit.bound_of(base), math.log(factor))
    low, high, thin = ends["min"], ends["max"], ends["thin"]
    assert low is not None
    assert high is not None
    if not low.s <= 0 <= high.s:
        return f"its bound {base} does not lie between min {low.bound} and max {high.bound}"
    wider = thin if thin is not None and thin.s > high.s else None
    return Movable(pipeline=pipeline.name, step=step, base=base, low=low, high=high, thin=wider)
