"""``adapt:`` of an uplink in YAML. Light: imports no protocol library."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Annotated

import msgspec

from gateway.budget.limits import Limit
from gateway.errors import FieldError
from gateway.point import Name
from gateway.units import Duration

if TYPE_CHECKING:
    from collections.abc import Iterator


class Rung(enum.StrEnum):
    """What is done when wider bounds do not suffice, in this order."""

    CODEC = "codec"
    """What is sent as frames is compressed harder; costs processor time."""
    THIN = "thin"
    """Bounds of the least important pipelines go on to ``thin``, then those of the next."""
    SUMMARISE = "summarise"
    """Of the least important pipelines only a summary of each minute is sent; the samples wait in the spool."""
    SHED = "shed"
    """What comes of the least important pipelines is given up, counted and told."""


class RangeConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How far the bounds of one pipeline or step may go; what is left out is as for all."""

    max: float | str | None = None
    """The widest bound: ``10x`` (times the configured one), ``5%`` or ``0.5`` (in the point's unit)."""
    min: float | str | None = None
    """The narrowest bound, likewise."""
    thin: float | str | None = None
    """The widest bound at the rung ``thin``, likewise."""

    def __post_init__(self) -> None:
        _check(self)


class AdaptConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Keep to what the link carries by widening the error bounds of the steps before it, and by what comes after."""

    every: Duration = Duration(5)
    """How often it is measured and decided."""
    drain: Duration = Duration(10)
    """Within about this time what waits is to be sent."""
    max: float | str = "10x"
    """The widest bound, never exceeded: ``10x`` (times the configured one), ``5%`` or ``0.5`` (in the point's unit)."""
    min: float | str = "1x"
    """The narrowest bound: below ``1x`` a link with room to spare gets more exact data than configured."""
    thin: float | str | None = None
    """The widest bound at the rung ``thin``; left out: that rung is passed over."""
    steps: dict[str, RangeConfig] = {}
    """Other limits by pipeline (``trend``) or step (``trend/deadband``, ``trend/2`` counted from 0)."""
    protect: list[Name] = []
    """Pipelines whose bounds and batches are left alone."""
    rungs: list[Rung] = msgspec.field(default_factory=lambda: [Rung.CODEC, Rung.THIN, Rung.SUMMARISE])
    """What may be done when wider bounds do not suffice: ``codec``, ``thin``, ``summarise``, ``shed``; always in this
    order."""
    level: Annotated[int, msgspec.Meta(ge=4, le=19)] = 12
    """The level of zstd at the rung ``codec``; 3 otherwise."""
    summary: Duration = Duration(60)
    """The windows of ``summarise``."""

    def __post_init__(self) -> None:
        if not 0.2 <= self.every <= 600:
            raise FieldError("every", "between 200ms and 10min")
        if not self.every <= self.drain <= 86_400:
            raise FieldError("drain", "at least every, and at most 1d")
        if not 1 <= self.summary <= 86_400:
            raise FieldError("summary", "between 1s and 1d")
        _check(self)
        if len(set(self.rungs)) < len(self.rungs):
            raise FieldError("rungs", "one is named twice")

    def limits(self, pipeline: str, step: str, index: int) -> Iterator[tuple[str, Limit | None]]:
        """``max``, ``min`` and ``thin`` of a step, the closest that is said."""
        said = [self.steps.get(key) for key in (f"{pipeline}/{index}", f"{pipeline}/{step}", pipeline)]
        for name in ("max", "min", "thin"):
            own = (value for one in said if one is not None and (value := getattr(one, name)) is not None)
            value = next(own, getattr(self, name))
            yield name, None if value is None else Limit.parse(value)


def _check(config: RangeConfig | AdaptConfig) -> None:
    for name in ("max", "min", "thin"):
        if (value := getattr(config, name)) is not None:
            try:
                Limit.parse(value)
            except ValueError as error:
                raise FieldError(name, str(error)) from None
