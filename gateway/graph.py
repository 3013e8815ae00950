"""All pipelines of a configuration as one directed graph, run in an order that feeders come first."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator, Mapping
from graphlib import TopologicalSorter
from typing import Any

import numpy as np

from gateway.config.model import PipelineConfig
from gateway.frame import EMPTY, Frame, Ids, Mask, concat
from gateway.point import ALERT
from pipelines.base import Points
from pipelines.bounds import Bound
from pipelines.runner import Pipeline, Step

Outputs = list[tuple[str, str, Frame]]
"""(uplink, pipeline, samples) in the order made."""
NOBODY = ""
"""Stands for an uplink where samples are shown to the gateway itself: what alerts tell."""
Place = tuple[str, str]
"""(pipeline, name or number of a step)."""
PutAside = dict[Place, list[Frame] | None]
"""What left these steps, in order; None: there is no such step."""


class Graph:
    """Pipelines by name, which of them feed which, and the uplinks that each reaches."""

    def __init__(self, configs: Mapping[str, PipelineConfig], points: Points) -> None:
        self._feeders = {
            name: [other for other, config in configs.items() if name in config.targets] for name in configs
        }
        order = TopologicalSorter(self._feeders).static_order()
        self.pipelines = {
            name: Pipeline(name, configs[name].globs, [step.operator for step in configs[name].steps], points)
            for name in order
        }
        self._uplinks = {
            name: [target for target in config.targets if target not in configs] for name, config in configs.items()
        }
        self._shown = {name for name in configs if name.startswith(ALERT)}

    @property
    def targets(self) -> set[str]:
        """Every uplink that some pipeline reaches."""
        return {uplink for uplinks in self._uplinks.values() for uplink in uplinks}

    @property
    def ways(self) -> list[tuple[str, str]]:
        """(pipeline, uplink) of every way out."""
        return [(name, uplink) for name, uplinks in self._uplinks.items() for uplink in uplinks]

    def leading_to(self, uplink: str) -> list[str]:
        """The pipelines of which something comes to an uplink, by themselves or through others."""
        found = [name for name, uplinks in self._uplinks.items() if uplink in uplinks]
        for name in found:
            found += [feeder for feeder in self._feeders[name] if feeder not in found]
        return found

    def behind(self, pipeline: str) -> list[str]:
        """The pipelines that take what one gives, themselves or through others."""
        found = [pipeline]
        for name in found:
            found += [one for one, feeders in self._feeders.items() if name in feeders and one not in found]
        return found[1:]

    def selected(self, name: str) -> Callable[[Ids], Mask]:
        """Which points come to a pipeline from adapters, by itself or through those that feed it."""
        asked = [self.pipelines[name].selected, *map(self.selected, self._feeders[name])]
        return lambda ids: np.logical_or.reduce([takes(ids) for takes in asked])

    def process(self, frame: Frame) -> Outputs:
        """Run samples from adapters through every pipeline."""
        return self._run(lambda pipeline: pipeline.process(pipeline.select(frame)))

    def tick(self, now_ns: int) -> Outputs:
        """Let time pass in every pipeline."""
        return self._run(lambda pipeline: pipeline.tick(now_ns))

    def clock_stepped(self, delta_ns: int) -> Outputs:
        """Tell every pipeline that the wall clock jumped."""
        return self._run(lambda pipeline: pipeline.clock_stepped(delta_ns))

    def _run(self, own: Callable[[Pipeline], Frame]) -> Outputs:
        made: dict[str, Frame] = {}
        for name, pipeline in self.pipelines.items():
            fed = concat([made[feeder] for feeder in self._feeders[name]])
            through = pipeline.process(fed) if len(fed) else EMPTY
            made[name] = concat([through, own(pipeline)])
        return self._outputs(made)

    def _outputs(self, made: Mapping[str, Frame]) -> Outputs:
        outputs = [(up, name, frame) for name, frame in made.items() if len(frame) for up in self._uplinks[name]]
        return outputs + [(NOBODY, name, frame) for name, frame in made.items() if name in self._shown and len(frame)]

    def step(self, place: Place) -> Step | None:
        """The step at a place."""
        pipeline, word = place
        return self.pipelines[pipeline].step_called(word) if pipeline in self.pipelines else None

    @contextlib.contextmanager
    def tapped(self, places: Collection[Place]) -> Iterator[PutAside]:
        """What leaves these steps while the block runs; nothing is copied."""
        steps = {place: self.step(place) for place in places}
        lists: dict[Step, list[Frame]] = {step: [] for step in steps.values() if step is not None}
        for step, frames in lists.items():
            step.aside = frames
        try:
            yield {place: None if step is None else lists[step] for place, step in steps.items()}
        finally:
            for step in lists:
                step.aside = None

    def rebound(self, pipeline: str, step: str, bound: Bound) -> Outputs:
        """Give a step another error bound; nothing happens if it is not there any more."""
        if pipeline in self.pipelines:
            self.pipelines[pipeline].rebound(step, bound)
        return []

    def bounds(self, name: str) -> tuple[dict[str, Any], ...]:
        """The error bounds in force for what a pipeline gives: of its own steps and of those before it."""
        own = self.pipelines[name].bounds()
        return tuple(bound for feeder in self._feeders[name] for bound in self.bounds(feeder)) + own

    def succeed(self, old: Graph) -> Outputs:
        """Take over unchanged operators of the graph that runs now; what the others still held, flushed.

        What a removed operator held goes on through the steps behind it in the *old* pipeline and to that pipeline's
        uplinks. Where it goes on to another pipeline, it takes that one as it is now, or the old one if it goes too.
        """
        flushed: dict[str, Frame] = {}
        fed: dict[str, Frame] = {}
        for name, pipeline in old.pipelines.items():
            fed[name] = concat([flushed[feeder] for feeder in old._feeders[name]])
            through = EMPTY if name in self.pipelines else pipeline.process(fed[name])
            flushed[name] = concat([through, *self._let_go(name, pipeline)])
        for name, pipeline in old.pipelines.items():
            if name in self.pipelines:
                self.pipelines[name].adopt(pipeline)
        fed = {name: frame for name, frame in fed.items() if name in self.pipelines and len(frame)}
        return old._outputs(flushed) + (self._run(lambda p: p.process(fed.get(p.name, EMPTY))) if fed else [])

    def _let_go(self, name: str, old: Pipeline) -> list[Frame]:
        """What those steps of a pipeline hold that its successor does not have."""
        successor = self.pipelines.get(name)
        kept = successor.kept_of(old) if successor else set()
        return [old.flush_step(index) for index, step in enumerate(old.steps) if step.key not in kept]

    @property
    def queued(self) -> int:
        """Samples that operators hold: while there are none, time need not pass."""
        return sum(pipeline.queued for pipeline in self.pipelines.values())

    def waits(self, now_ns: int) -> bool:
        """Whether time must pass: operators hold samples, or want a tick by now."""
        dues = (pipeline.due_ns for pipeline in self.pipelines.values())
        return self.queued > 0 or any(due is not None and due <= now_ns for due in dues)

    def snapshot(self) -> dict[str, Any]:
        """State of all pipelines."""
        return {name: pipeline.snapshot() for name, pipeline in self.pipelines.items()}

    def restore(self, states: Mapping[str, Any]) -> dict[str, set[str]]:
        """Take what a checkpoint has; for each pipeline the keys of the steps that were found in it."""
        return {
            name: pipeline.restore(states[name]) if name in states else set()
            for name, pipeline in self.pipelines.items()
        }

    def status(self) -> dict[str, Any]:
        """Counters of all pipelines."""
        return {name: pipeline.status() for name, pipeline in self.pipelines.items()}

    def timed_status(self) -> dict[str, Any]:
        """Counters of all pipelines, and the time that their steps took."""
        return {name: pipeline.timed_status() for name, pipeline in self.pipelines.items()}
