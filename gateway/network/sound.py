"""What no struct of a service can know: whether its steps can be placed, and keep what is asked for. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import msgspec

from gateway.config.convert import locate
from gateway.config.leaves import suggestion
from gateway.config.nodes import Mapping, Path, path_text
from gateway.directory import Directory
from gateway.errors import FieldError, OnpathError, Problem
from gateway.network.chain import Chain, chain_of
from gateway.network.config import RANK
from gateway.network.service import ServiceConfig
from pipelines.bounds import Bound, bound_of
from pipelines.operators.aggregate.window import WindowConfig

_GLOBS: Final = {"outage": ("points", "of"), "select": ("points", "keep", "drop"), "filter": ("points", "keep", "drop")}
"""Options of a step that say which of the points that come in it works on; of all others ``points``."""
_WAYS: Final = ("absolute", "percent", "epsilon")


@dataclass(frozen=True, slots=True)
class StepBound:
    """How far a step's output may lie from its input, as its options say."""

    step: int
    """From 0."""
    operator: str
    bound: Bound
    field: str
    """The option that says it."""


def sound(config: ServiceConfig, root: Mapping) -> tuple[list[Problem], list[Problem]]:
    """Problems and warnings, with their places in the tree that it was read from."""
    found: dict[tuple[Path, str], None] = {}
    for path, message in (*_of_inputs(config), *_of_places(config), *_of_steps(config), *_of_intent(config)):
        found.setdefault((path, message))
    chain: Chain | None = None
    if not found:
        try:
            chain = chain_of(config)
        except (FieldError, OnpathError) as error:
            found.setdefault(_told(error))
    warnings: list[tuple[Path, str]] = [] if chain is None else [((), warning) for warning in chain.warnings]
    warnings += _of_globs(config)
    return [_problem(root, *one) for one in found], [_problem(root, *one) for one in warnings]


def bounds_of(config: ServiceConfig) -> list[StepBound]:
    """The steps that trade error for bytes."""
    found = []
    for number, step in enumerate(config.steps):
        name, options = step.operator
        given = {way: getattr(options, way, None) for way in _WAYS}
        if not options.dry_run and sum(value is not None for value in given.values()) == 1:
            field = next(way for way, value in given.items() if value is not None)
            found.append(StepBound(number, name, bound_of(**given), field))
    return found


def together(bounds: list[StepBound]) -> tuple[float, float]:
    """What steps may err together: in the points' unit, and in percent."""
    absolute = sum(one.bound.absolute or 0.0 for one in bounds)
    return absolute, sum(one.bound.percent or 0.0 for one in bounds)


def _problem(root: Mapping, path: Path, message: str) -> Problem:
    mark = root.mark if not path else locate(root, path) or root.mark
    return mark.problem(path_text(path), message)


def _told(error: FieldError | OnpathError, path: Path = ()) -> tuple[Path, str]:
    return (error.field if isinstance(error, FieldError) else path), str(error)


def _of_inputs(config: ServiceConfig) -> Iterator[tuple[Path, str]]:
    if not config.inputs.globs:
        yield ("inputs", "points"), "nothing goes in: name points by a glob, such as '*/power'"
    if not config.inputs.sites:
        yield ("inputs", "sites"), "nothing goes in: leave it out for all sites"


def _of_places(config: ServiceConfig) -> Iterator[tuple[Path, str]]:
    names = list(dict.fromkeys(step.operator[0] for step in config.steps))
    for name, tiers in config.place.items():
        if name not in names:
            yield ("place", name), f'no step of this service is "{name}"{suggestion(name, names)}'
            continue
        ranks = sorted(RANK[tier] for tier in tiers)
        if not ranks:
            yield ("place", name), "names no tier; leave it out for wherever the step can run"
        elif ranks != list(range(ranks[0], ranks[-1] + 1)):
            yield ("place", name), "names one tier, or neighbouring ones: access, aggregation, core"


def _of_steps(config: ServiceConfig) -> Iterator[tuple[Path, str]]:
    """Each by itself, so that all that is wrong is told."""
    for number, step in enumerate(config.steps):
        try:
            chain_of(msgspec.structs.replace(config, steps=[step], place={}))
        except (FieldError, OnpathError) as error:
            path, message = _told(error, ("steps", number))
            yield (("steps", number, *path[2:]) if path[:1] == ("steps",) else path), message


def _of_globs(config: ServiceConfig) -> Iterator[tuple[Path, str]]:
    """Globs of steps in which the word for the node is missing, up to the first step that gives other names."""
    if any("**" in glob for glob in config.inputs.globs):
        return
    words = {glob.count("/") + 2 for glob in config.inputs.globs}
    for number, step in enumerate(config.steps):
        name, options = step.operator
        for option in _GLOBS.get(name, ("points",)):
            given = getattr(options, option)
            for glob in [given] if isinstance(given, str) else given or ():
                if "**" not in glob and glob.count("/") + 1 not in words:
                    hint = f'"*/{glob}"' if glob.count("/") + 2 in words else f'"**/{glob}"'
                    message = f'no point of the inputs fits "{glob}": they are called <node>/<point> here; {hint} does'
                    yield ("steps", number, name, option), message
        if name == "rename" or type(options.create(Directory())).joins or isinstance(options, WindowConfig):
            return


def _of_intent(config: ServiceConfig) -> Iterator[tuple[Path, str]]:
    """What the steps say themselves that breaks what is asked for, however they are placed."""
    latency = config.intent.latency
    for number, step in enumerate(config.steps):
        name, options = step.operator
        if isinstance(options, WindowConfig) and options.lateness > latency:
            words = f"waits for late samples longer than intent.latency, {latency:g} s"
            yield ("steps", number, name, "lateness"), words
    if config.intent.error is None:
        return
    wanted = Bound.parse(config.intent.error)
    most = wanted.absolute if wanted.percent is None else wanted.percent
    assert most is not None  # a bound is one of both
    whole = 0.0
    for one in bounds_of(config):
        whole += (one.bound.absolute if wanted.percent is None else one.bound.percent) or 0.0
        if whole > most:
            words = f"the steps up to here may err by {_same(wanted, whole)} together, more than intent.error, {wanted}"
            yield ("steps", one.step, one.operator, one.field), words


def _same(kind: Bound, value: float) -> str:
    return f"{value:g}" if kind.percent is None else f"{value:g}%"
