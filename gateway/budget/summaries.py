"""The pipelines behind the rung ``summarise``: beside each pipeline that may be put aside, a summary of it.

A summary begins where the pipeline does and takes the steps before the first that trades error for bytes, so that it
counts every sample; then a window (``count``, ``mean``, ``min``, ``max``) and a valve, which is shut until the rung is
taken. The windows always run: the first summary after the valve opens is a whole one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from gateway.budget.config import AdaptConfig, Rung
from gateway.units import Duration
from pipelines.operators.aggregate.window import WindowConfig
from pipelines.operators.reduce.valve import ValveConfig

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from gateway.config.model import PipelineConfig, StepBase

SUMMARY: Final = "summary."
"""Pipelines whose names begin so are those of summaries."""
LATENESS_S: Final = 5
SERVICE: Final = "@"
"""Pipelines whose names begin so are stages of services of the network."""


def summaries(
    pipelines: Mapping[str, PipelineConfig],
    adapts: Mapping[str, AdaptConfig],
    make: Callable[[str, Any], StepBase],
) -> Iterator[tuple[str, str, list[StepBase], list[str]]]:
    """Of each pipeline that gets one: its name, the summary's name, its steps and the uplinks it goes to.

    Args:
        pipelines: the user's.
        adapts: ``adapt:`` by uplink.
        make: a step of an operator's name and options.
    """
    takers = {up: adapt for up, adapt in adapts.items() if Rung.SUMMARISE in adapt.rungs}
    for name, pipeline in pipelines.items() if takers else ():
        if name.startswith(SERVICE):
            continue  # a stage of a service: its results are exact, and not stood for by others
        to = [target for target in pipeline.targets if target in takers and name not in takers[target].protect]
        first = next((at for at, step in enumerate(pipeline.steps) if trades(step)), None)
        fed_exactly = not any(trades(step) for feeder in _before(name, pipelines) for step in pipelines[feeder].steps)
        if to and first is not None and fed_exactly:
            every = min(takers[target].summary for target in to)
            window = WindowConfig(every=every, lateness=Duration(LATENESS_S))
            steps = [*pipeline.steps[:first], make("window", window), make("valve", ValveConfig())]
            yield name, SUMMARY + name, steps, to


def trades(step: StepBase) -> bool:
    """Whether a step trades error for bytes: such operators all have the option ``epsilon``."""
    return "epsilon" in step.operator[1].__struct_fields__


def _before(name: str, pipelines: Mapping[str, PipelineConfig]) -> set[str]:
    """The pipelines that feed one, themselves or through others."""
    found: set[str] = set()
    waiting = [name]
    while waiting:
        here = waiting.pop()
        more = {one for one, pipeline in pipelines.items() if here in pipeline.targets} - found
        found |= more
        waiting += more
    return found - {name}
