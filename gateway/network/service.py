"""A service: one result, stated once for the whole network. The schema of its YAML, a file a service."""

from __future__ import annotations

from typing import Annotated

import msgspec

from gateway.config.model import Step
from gateway.errors import FieldError
from gateway.network.config import Tier
from gateway.point import Name, compile_glob
from gateway.units import Duration, Size
from pipelines.base import Glob
from pipelines.bounds import Bound


class InputConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What goes in, over all access nodes."""

    points: Glob | list[Glob]
    """Globs of points, as they are called at each node: ``*/power``."""
    labels: dict[str, Glob] = {}
    """Only points with these labels (globs), the node's own among them."""
    sites: list[Glob] = msgspec.field(default_factory=lambda: ["*"])
    """Only nodes of these sites."""

    @property
    def globs(self) -> tuple[str, ...]:
        """``points`` as a tuple, also if a single glob was written."""
        return (self.points,) if isinstance(self.points, str) else tuple(self.points)

    def at(self, site: str) -> bool:
        """Whether nodes of a site take part."""
        return any(compile_glob(glob).match(site) for glob in self.sites)


class IntentConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the result must be like; the plan keeps to it, and ``explain`` shows how."""

    error: str | float | None = None
    """The largest error that steps may cause together, ``0.5%`` of the range or in the point's unit. Left out: what the
    steps themselves say."""
    latency: Duration = Duration(60)
    """From the end of a window (or from a sample, where there is none) to its result."""
    bytes_per_day: Size | None = None
    """What the service may put on all links into the core together."""
    priority: Annotated[int, msgspec.Meta(ge=1, le=10)] = 5
    """10 goes first where something is scarce, 1 last."""

    def __post_init__(self) -> None:
        if self.error is not None:
            try:
                Bound.parse(self.error)
            except ValueError as error:
                raise FieldError("error", str(error)) from None
        if self.latency <= 0:
            raise FieldError("latency", "must be above 0")


class ServiceConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One service."""

    service: Name
    """Its name."""
    inputs: InputConfig
    """What goes in."""
    steps: list[Step] = []
    """The operators, in order, as in a pipeline. Points are called ``<node>/<point>`` here, and have the labels
    ``site`` and ``node`` besides their own."""
    place: dict[str, list[Tier]] = {}
    """Tiers where a step may run, by the operator's name; left out: wherever it can."""
    intent: IntentConfig = IntentConfig()
    """What the result must be like."""
