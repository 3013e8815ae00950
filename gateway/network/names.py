"""Names of a service's pipelines and points, the same at every node. Pure text.

Stage k of version v of a service is the pipeline ``@service@v.k``; what came from below behind stage k comes into
``@service@v.k.in``. What is on its way through a node has points below ``onpath/net/<pipeline>/``, which no user's
pipeline takes by accident.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from gateway.point import OWN

TRANSIT: Final = f"{OWN}net/"
"""Points that came from other nodes, before a stage takes them."""
UPLINK: Final = "@parent"
ADAPTER: Final = "@children"
MARK: Final = "@"
"""No user's name has it."""
THROUGH: Final = "@through"
"""The pipeline of what came from other nodes and no stage here takes: it goes on up as it came. Its points are called
``<pipeline>/<point>`` on the wire, for whoever knows that pipeline."""


class StageId(NamedTuple):
    """Which stage of what was applied last."""

    service: str
    version: int
    stage: int


def pipeline_name(service: str, version: int, stage: int) -> str:
    """What a stage is called at every node."""
    return f"{MARK}{service}{MARK}{version}.{stage}"


def entry_name(service: str, version: int, stage: int) -> str:
    """The pipeline that takes in what comes from other nodes behind a stage."""
    return f"{pipeline_name(service, version, stage)}.in"


def transit_of(pipeline: str) -> tuple[str, str]:
    """What points that came from other nodes begin with that belong into a pipeline: straight from it, and through."""
    return f"{TRANSIT}{pipeline}/", f"{TRANSIT}{THROUGH}/{pipeline}/"


def stage_of(pipeline: str) -> StageId | None:
    """The inverse of both; None for a pipeline of another kind."""
    text = pipeline.removesuffix(".in")
    head, _, stage = text.rpartition(".")
    service, _, version = head.removeprefix(MARK).rpartition(MARK)
    if not text.startswith(MARK) or not service or not (stage + version).isdecimal() or not version or not stage:
        return None
    return StageId(service, int(version), int(stage))


def is_network(pipeline: str) -> bool:
    """Whether a pipeline belongs to the network."""
    return pipeline.startswith(MARK)
