"""Pipelines and their steps: where samples went, what a step takes, the error bound in force."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from gateway.config.describe import written
from gateway.config.hidden import hidden

if TYPE_CHECKING:
    from gateway.inside import Inside
    from gateway.view.shapes import PipelinesView
    from gateway.view.tally import Tally
    from pipelines.base import OperatorConfig
    from pipelines.runner import Pipeline, Step


def pipelines(inside: Inside, tally: Tally) -> PipelinesView:
    """All of them, in the order in which they feed each other."""
    tally.look()
    return {"pipelines": [_pipeline(inside, tally, one) for one in shown(inside)]}


def shown(inside: Inside) -> list[Pipeline]:
    """Pipelines that somebody has written: not those that carry alerts and the heartbeat."""
    unseen = hidden(inside.config)
    running = inside.intake.engine.graph.pipelines
    return [pipeline for name, pipeline in running.items() if name not in unseen]


def _pipeline(inside: Inside, tally: Tally, pipeline: Pipeline) -> dict[str, Any]:
    name, status = pipeline.name, pipeline.timed_status()
    config = inside.config.pipelines.get(name)
    options = [told(step.operator[1]) for step in config.steps] if config else []
    options += [""] * len(pipeline.steps)  # a reload is about to exchange the steps
    rows = zip(pipeline.steps, status["steps"], options, strict=False)
    return {
        "name": name,
        "from": list(config.globs) if config else [],
        "to": list(config.targets) if config else [],
        **status,
        "in_s": round(tally.rate("pipeline", name, "in"), 2),
        "out_s": round(tally.rate("pipeline", name, "out"), 2),
        "steps": [_step(tally, name, *cells) for cells in rows],
    }


def _step(tally: Tally, pipeline: str, step: Step, row: dict[str, Any], options: str) -> dict[str, Any]:
    spent_ns = tally.rate("step", pipeline, step.key)
    return {
        "options": options,
        "bound": None,
        "points": [*step.told_bound["points"]] if step.operator.bound is not None else [],
        **row,
        "failures": step.failures,
        "cpu_percent": round(spent_ns / 1e7, 3),
    }


def told(config: OperatorConfig) -> str:
    """The options that differ from their defaults, as they would stand in YAML: ``every: 15m, stats: [mean, max]``."""
    chosen = ((one, getattr(config, one.name)) for one in msgspec.structs.fields(config))
    return ", ".join(f"{one.encode_name}: {_yaml(value)}" for one, value in chosen if value != _default(one))


def _default(field: msgspec.structs.FieldInfo) -> Any:
    return field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()


def _yaml(value: Any) -> str:
    value = written(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_yaml, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {_yaml(one)}' for key, one in value.items())}}}"
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:g}" if isinstance(value, float) else str(value)
