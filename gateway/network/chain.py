"""A service's steps as a chain of stages, and where each may run. Pure.

Stages are numbered from 1; "cut k" means that the first k are applied. A window that merges becomes three: ``partial``
(what its statistics are made of), ``merge`` (partials joined to partials, again at every node on the way), ``final``
(joined to results, in the core).
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

import msgspec

from gateway.directory import Directory
from gateway.errors import FieldError
from gateway.network.config import RANK, Tier
from gateway.network.edges import longest_ns
from gateway.units import Duration
from pipelines.base import StateClass
from pipelines.operators.aggregate.merge import LatePartial, MergeConfig
from pipelines.operators.aggregate.window import MERGEABLE, Late, WindowConfig

if TYPE_CHECKING:
    from gateway.network.service import ServiceConfig
    from pipelines.base import OperatorConfig

TIERS: Final = (Tier.ACCESS, Tier.AGGREGATION, Tier.CORE)
_LOCAL: Final = frozenset({"device", "label site", "label node"})
"""Groups that no two sites have in common; a point's first word is its node."""
LEAST_WAIT_S: Final = 0.5
LONGEST_WAIT_S: Final = 10.0
"""How long a merge waits for partials of other nodes, at least and at most. What comes later is one more partial: a
short wait costs bytes or a correction, never a sample."""


class StageKind(enum.StrEnum):
    """What a stage is to the chain."""

    STEP = "step"
    PARTIAL = "partial"
    MERGE = "merge"
    FINAL = "final"
    POST = "post"
    """Behind a final stage, on results."""


@dataclass(frozen=True)
class Stage:
    """One of a chain."""

    index: int
    """From 1."""
    kind: StageKind
    operator: str
    """Its key in YAML: of all three parts of a window, ``window``."""
    options: OperatorConfig
    step: int
    """Number of the step that it comes from, from 0."""
    state: StateClass
    lowest: Tier
    highest: Tier
    """It has run when this tier is left."""
    why: str = ""
    """Why it may not run everywhere."""

    @property
    def tiers(self) -> tuple[Tier, ...]:
        """Where it may run."""
        return tuple(tier for tier in TIERS if RANK[self.lowest] <= RANK[tier] <= RANK[self.highest])

    @property
    def kind_name(self) -> str:
        """For people: ``window (partial)``."""
        return self.operator if self.kind in {StageKind.STEP, StageKind.POST} else f"{self.operator} ({self.kind})"


@dataclass(frozen=True)
class Chain:
    """All stages of a service."""

    service: ServiceConfig
    stages: tuple[Stage, ...]
    window_s: float = 0.0
    """Length of its windows; 0 without."""
    spans_sites: bool = False
    """Whether results need partials of several sites, so that they are finished in one place for all."""
    warnings: tuple[str, ...] = field(default=())

    def __len__(self) -> int:
        return len(self.stages)

    def allowed(self, tier: Tier, cut: int) -> bool:
        """Whether a node of a tier may let go what has passed ``cut`` stages."""
        if tier is Tier.CORE:
            return cut == len(self)
        rank = RANK[tier]
        return all(
            rank >= RANK[stage.lowest] if stage.index <= cut else rank < RANK[stage.highest] for stage in self.stages
        )

    @property
    def merge_index(self) -> int:
        """The stage that joins partials, 0 if there is none."""
        return next((stage.index for stage in self.stages if stage.kind is StageKind.MERGE), 0)


def chain_of(service: ServiceConfig) -> Chain:
    """Cut a service into stages.

    Raises:
        FieldError: its steps cannot be placed; with the path in the service's YAML.
    """
    stages: list[Stage] = []
    window: WindowConfig | None = None
    for number, step in enumerate(service.steps):
        name, options = step.operator
        if isinstance(options, WindowConfig) and window is None and _merges(options):
            stages += _window(number, name, options, service)
            window = options
        else:
            if isinstance(options, (WindowConfig, MergeConfig)) and options.partial:
                raise FieldError(("steps", number, name, "partial"), "the network cuts windows by itself; leave it out")
            stages.append(_step(number, name, options, behind=window is not None))
    _check_places(service)
    placed = [_placed(service, stage) for stage in stages]
    window_s = 0.0 if window is None else longest_ns(service) / 1e9 if window.months else float(window.every)
    chain = Chain(service, tuple(_in_order(placed)), window_s, _spans(window), _warnings(service, placed))
    for tier in (Tier.ACCESS, Tier.AGGREGATION):
        if not any(chain.allowed(tier, cut) for cut in range(len(chain) + 1)):
            raise FieldError(("place",), f"no way to cut the chain at {tier}: a step is placed before one behind it")
    return chain


def _merges(options: WindowConfig) -> bool:
    good = all(stat in MERGEABLE or stat.startswith("p") for stat in options.stats)
    whole = (options.slide or options.every).ns % 1_000_000 == 0
    return good and whole and not options.runs and options.expect is None and not options.partial


def _window(number: int, name: str, options: WindowConfig, service: ServiceConfig) -> list[Stage]:
    """The three stages of a window."""
    if options.late is not Late.DROP:
        raise FieldError(("steps", number, name, "late"), "late samples always correct the result here; leave it out")
    wait = Duration(min(max(float(service.intent.latency) / 8, LEAST_WAIT_S), LONGEST_WAIT_S))
    partial = msgspec.structs.replace(options, partial=True, late=Late.PARTIAL)
    joined = MergeConfig(stats=options.stats, relative_error=options.relative_error)
    merge = msgspec.structs.replace(joined, partial=True, late=LatePartial.PARTIAL, lateness=wait)
    final = msgspec.structs.replace(joined, late=LatePartial.CORRECTION, lateness=Duration(2 * wait))
    kinds: list[tuple[StageKind, OperatorConfig, Tier, str]] = [
        (StageKind.PARTIAL, partial, Tier.ACCESS, ""),
        (StageKind.MERGE, merge, Tier.ACCESS, ""),
        (StageKind.FINAL, final, Tier.CORE, "results are given in the core"),
    ]
    return [
        Stage(0, kind, name, config, number, StateClass.WINDOW_MERGEABLE, lowest, Tier.CORE, why)
        for kind, config, lowest, why in kinds
    ]


def _step(number: int, name: str, options: OperatorConfig, *, behind: bool) -> Stage:
    cls = type(options.create(Directory()))
    if behind:
        why = "works on results, which are in the core"
        return Stage(0, StageKind.POST, name, options, number, cls.state_class, Tier.CORE, Tier.CORE, why)
    lowest, highest, why = Tier.ACCESS, Tier.CORE, ""
    if cls.joins:
        lowest, why = Tier.CORE, "joins points, which meet in the core only (place: says otherwise)"
    elif cls.state_class is not StateClass.STATELESS:
        highest, why = Tier.ACCESS, "keeps a state for each point that does not merge"
    return Stage(0, StageKind.STEP, name, options, number, cls.state_class, lowest, highest, why)


def _check_places(service: ServiceConfig) -> None:
    names = [step.operator[0] for step in service.steps]
    for name, tiers in service.place.items():
        if name not in names:
            known = ", ".join(dict.fromkeys(names)) or "none"
            raise FieldError(("place", name), f"is no step of this service; known: {known}")
        ranks = sorted(RANK[tier] for tier in tiers)
        if not ranks or ranks != list(range(ranks[0], ranks[-1] + 1)):
            raise FieldError(("place", name), "names one tier, or neighbouring ones: access, aggregation, core")


def _placed(service: ServiceConfig, stage: Stage) -> Stage:
    """With what ``place`` says of it."""
    tiers = service.place.get(stage.operator)
    if tiers is None:
        return stage
    lowest, highest = min(tiers, key=RANK.__getitem__), max(tiers, key=RANK.__getitem__)
    if stage.kind is StageKind.FINAL or stage.kind is StageKind.POST:
        if stage.kind is StageKind.POST and highest is not Tier.CORE:
            raise FieldError(("place", stage.operator), "works on a window's results, which are in the core")
        return stage
    if stage.kind is StageKind.MERGE:
        highest = Tier.CORE
    return replace(stage, lowest=lowest, highest=highest, why="place")


def _in_order(stages: list[Stage]) -> list[Stage]:
    """Numbered, and none below the one before it."""
    lowest = Tier.ACCESS
    out: list[Stage] = []
    for number, stage in enumerate(stages, 1):
        if RANK[stage.lowest] < RANK[lowest]:
            highest = stage.highest if RANK[stage.highest] >= RANK[lowest] else Tier.CORE
            if highest is not stage.highest and stage.why == "place":
                raise FieldError(("place", stage.operator), "comes behind a step that runs further up")
            stage = replace(stage, lowest=lowest, highest=highest)  # noqa: PLW2901
        lowest = stage.lowest
        out.append(replace(stage, index=number))
    return out


def _warnings(service: ServiceConfig, stages: list[Stage]) -> tuple[str, ...]:
    if len(service.inputs.sites) == 1 and not set(service.inputs.sites[0]) & set("*?"):
        return ()
    joining = [stage.operator for stage in stages if stage.kind is StageKind.STEP and stage.lowest is Tier.CORE]
    return tuple(f"{name} joins points in the core, there of one site at a time" for name in dict.fromkeys(joining))


def _spans(window: WindowConfig | None) -> bool:
    """Whether groups may have members at several sites."""
    return window is not None and window.over is not None and window.over not in _LOCAL
