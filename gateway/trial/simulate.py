"""A stream of samples through a whole configuration: what each step would pass, save, and cost in error."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import msgspec
import numpy as np

from gateway.config import GatewayConfig, PipelineConfig
from gateway.directory import Directory
from gateway.graph import Graph, Outputs
from gateway.point import compile_glob
from gateway.trial.errors import Errors
from gateway.trial.facts import Facts
from gateway.trial.replay import SPAN_NS, TICK_NS, Replay, longest_span
from gateway.trial.series import Pictured
from gateway.trial.sizes import Sizes
from gateway.trial.source import Chunk, Names, Source
from gateway.trial.totals import Totals, adds_up
from gateway.trial.watch import Watched, Watcher
from pipelines.reconstruct import RECONSTRUCTION
from pipelines.runner import Step

OUT: Final = " out"
"""Stands for the uplinks of a pipeline, so that what it makes comes out once; no uplink can have this name."""
MOST_PICTURES: Final = 4

Progress = Callable[[Source], None]


def apart(pipelines: Mapping[str, PipelineConfig]) -> dict[str, PipelineConfig]:
    """The same pipelines with one way out each, :data:`OUT`, beside the pipelines that they feed."""
    return {
        name: msgspec.structs.replace(one, to=[*(target for target in one.targets if target in pipelines), OUT])
        for name, one in pipelines.items()
    }


class Simulation:
    """One run.

    Args:
        config: pipelines, store and adapters, of which the points are known.
        facts: of the points.
        exact: replay every tick; see :mod:`gateway.trial.replay`.
        pictured: globs of points of which the series are wanted.
    """

    def __init__(self, config: GatewayConfig, facts: Facts, *, exact: bool = False, pictured: list[str]) -> None:
        self.config = config
        self.directory = Directory(config.max_points)
        self.names = Names(self.directory, facts)
        self.pictures: dict[str, Pictured] = {}
        """By pipeline and step, such as ``live: deadband``."""
        self._globs = [compile_glob(glob) for glob in pictured]
        self._graph = Graph(apart(config.pipelines), self.directory)
        self._spans = list(self._longest_spans())
        span_ns = TICK_NS if exact else min((span for _, span in self._spans), default=SPAN_NS)
        self._exact = exact
        self._replay = Replay(self._graph, self._take, span_ns=span_ns)
        commit_ns = config.store.commit.ns
        self._raw = Sizes(config.gateway, "raw", self.directory, commit_ns, frames=False)
        self._sizes = {
            name: Sizes(config.gateway, name, self.directory, commit_ns, frames=True) for name in config.pipelines
        }
        self._watchers: dict[tuple[str, int], list[Watcher]] = {}
        for name, pipeline in self._graph.pipelines.items():
            for at, step in enumerate(pipeline.steps):
                self._watch(name, at, step)
        self._first: int | None = None
        self._last = 0

    def _longest_spans(self) -> Iterator[tuple[str, int]]:
        """(operator, how long ticks may stay out) of the steps for which that matters."""
        for name, pipeline in self._graph.pipelines.items():
            for step, config in zip(pipeline.steps, self.config.pipelines[name].steps, strict=True):
                span_ns = longest_span(step, config.operator[1])
                if span_ns < SPAN_NS:
                    yield step.kind, span_ns

    def _watch(self, pipeline: str, at: int, step: Step) -> None:
        watchers: list[Watcher] = []
        rule = RECONSTRUCTION.get(step.kind)
        if rule is not None:
            shown = None
            if self._globs:
                shown = self.pictures[f"{pipeline}: {step.kind}"] = Pictured(self._wanted, MOST_PICTURES)
            watchers.append(Errors(rule, step.operator.bound, self.directory, shown))
        if adds_up(*self.config.pipelines[pipeline].steps[at].operator):
            watchers.append(Totals(self.directory))
        if watchers:
            self._watchers[pipeline, at] = watchers
            step.operator = Watched(step.operator, watchers)

    def _wanted(self, point: int) -> bool:
        return any(glob.match(self.directory.name(point)) for glob in self._globs)

    def _take(self, outputs: Outputs) -> None:
        for _, pipeline, frame in outputs:
            self._sizes[pipeline].add(frame)

    def run(self, source: Source, progress: Progress | None = None) -> dict[str, Any]:
        """Everything through, to the end; the result in plain JSON types.

        Raises:
            BadInputError: the source holds something else than samples.
            TooManyPointsError: it has more points than ``max_points``.
        """
        for chunk in source.chunks():
            self._feed(chunk)
            if progress is not None:
                progress(source)
        self._replay.finish()
        for watchers in self._watchers.values():
            for watcher in watchers:
                if isinstance(watcher, Errors):
                    watcher.close()
        return self._result(list(source.notes))

    def _feed(self, chunk: Chunk) -> None:
        if not len(chunk.times):
            return
        first, last = int(chunk.times.min()), int(chunk.times.max())
        self._first = first if self._first is None else min(first, self._first)
        self._last = max(last, self._last)
        self._replay.feed(_Measured(chunk, self._raw))

    def _result(self, notes: list[str]) -> dict[str, Any]:
        raw = self._raw.result()
        if self._replay.disorder:
            notes.append(
                f"{self._replay.disorder:,} rows came after one with a later time; if the file holds one series "
                "after another, use --sort"
            )
        if self._spans and not self._exact:
            notes.append(self._ticking())
        if not raw["samples"]:
            notes.append("no samples")
        pipelines = dict(self._pipelines(raw))
        rows = [row for pipeline in pipelines.values() for step in pipeline["steps"] for row in step.get("points", ())]
        return {
            "gateway": self.config.gateway,
            "from": _when(self._first),
            "to": _when(self._last if self._first is not None else None),
            "points": sum("#" not in self.directory.name(point) for point in range(len(self.directory))),
            "raw": raw,
            "pipelines": pipelines,
            "above_bound": sum(row.get("above_bound", 0) for row in rows),
            "ticks": self._replay.ticks,
            "notes": notes,
        }

    def _ticking(self) -> str:
        """How time was replayed because of steps that hear it."""
        span_ns = min(span for _, span in self._spans)
        kinds = ", ".join(sorted({kind for kind, span in self._spans if span == span_ns}))
        if span_ns <= TICK_NS:
            return f"every tick was replayed, which takes its time, because of {kinds}"
        return f"a tick every {span_ns / 1e9:g} s was replayed because of {kinds}; --exact replays all"

    def _pipelines(self, raw: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
        for name in self.config.pipelines:
            status = self._graph.pipelines[name].status()
            sizes = self._sizes[name].result()
            for at, step in enumerate(status["steps"]):
                step.update(self._measured(name, at))
            uplinks = [target for target in self.config.pipelines[name].targets if target not in self.config.pipelines]
            yield (
                name,
                status
                | {
                    "uplinks": uplinks,
                    "upstream": sizes,
                    "saved_json": saved(sizes["json_bytes"], raw["json_bytes"]),
                    "saved_frame": saved(sizes["frame_bytes"], raw["json_bytes"]),
                },
            )

    def _measured(self, pipeline: str, at: int) -> dict[str, Any]:
        """What was watched of a step."""
        found: dict[str, Any] = {}
        for watcher in self._watchers.get((pipeline, at), ()):
            if isinstance(watcher, Errors):
                found |= {"points": watcher.result(), "unjudged": watcher.unjudged}
            elif isinstance(watcher, Totals) and (totals := watcher.result()):
                found["totals"] = totals
        return found


class _Measured:
    """A chunk whose samples are counted as they are taken."""

    def __init__(self, chunk: Chunk, sizes: Sizes) -> None:
        self._chunk = chunk
        self._sizes = sizes
        self.times = chunk.times

    def part(self, start: int, end: int) -> Any:
        frame = self._chunk.part(start, end)
        self._sizes.add(frame)
        return frame


def saved(after: int, before: int) -> float | None:
    """Which part of the bytes need not be sent; None where there were none."""
    return 1 - after / before if before else None


def _when(time_ns: int | None) -> str | None:
    if time_ns is None:
        return None
    text = str(np.datetime64(time_ns // 1_000_000, "ms"))
    return f"{text}Z"
