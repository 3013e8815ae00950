"""``onpath service check``: what is wrong with services, or how they can be cut over the tiers."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from gateway.cli.figures import size, span
from gateway.cli.printing import lines_of, show
from gateway.cli.top_table import Cell, Column, Row, Spans, Table
from gateway.errors import ConfigError, Problem
from gateway.network.chain import Chain, Stage, StageKind, chain_of
from gateway.network.reading import ReadService, read_services
from gateway.network.service import ServiceConfig
from gateway.network.sound import bounds_of, together
from pipelines.base import StateClass
from pipelines.bounds import Bound
from pipelines.operators.aggregate.window import WindowConfig

_STATES: Final = {
    StateClass.STATELESS: "none",
    StateClass.WINDOW_MERGEABLE: "a window, merges",
    StateClass.WINDOW_OPAQUE: "a window",
    StateClass.LONG_LIVED: "of each point",
}
_FIELDS: Final = ("file", "line", "column", "path", "message")
_ESTIMATES: Final = "p"
"""Begins quantiles."""


def check_services(files: Sequence[Path], *, as_json: bool) -> None:
    """Print all problems, exit 78; or the chain of each service.

    Raises:
        SystemExit: there are problems.
    """
    try:
        services = read_services(files)
    except ConfigError as error:
        if as_json:
            print(json.dumps({"ok": False, "problems": plain_problems(error.problems), "warnings": []}))
        else:
            for problem in error.problems:
                print(problem, file=sys.stderr)
            print(f"{len(error.problems)} problem(s)", file=sys.stderr)
        sys.exit(error.exit_code)
    warnings = [warning for service in services for warning in service.warnings]
    if as_json:
        told = [facts_of(service) for service in services]
        print(json.dumps({"ok": True, "problems": [], "warnings": plain_problems(warnings), "services": told}))
        return
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)
    for number, service in enumerate(services):
        show([*([[]] if number else []), *lines_about(service)])


def plain_problems(problems: Iterable[Problem]) -> list[dict[str, Any]]:
    """Problems for machines, as ``onpath check`` has them."""
    return [{field: getattr(problem, field) for field in _FIELDS} for problem in problems]


def facts_of(service: ReadService) -> dict[str, Any]:
    """A service for machines: its chain, and what it promises."""
    chain = chain_of(service.config)
    absolute, percent = together(bounds_of(service.config))
    return {
        "service": service.config.service,
        "file": service.file,
        "stages": [_stage(stage) for stage in chain.stages],
        "spans_sites": chain.spans_sites,
        "error": {"absolute": absolute, "percent": percent},
        "intent": _intent(service.config),
    }


def _stage(stage: Stage) -> dict[str, Any]:
    return {
        "stage": stage.index,
        "step": stage.step,
        "operator": stage.operator,
        "kind": stage.kind.value,
        "tiers": [tier.value for tier in stage.tiers],
        "merges": stage.kind in {StageKind.PARTIAL, StageKind.MERGE, StageKind.FINAL},
        "state": stage.state.value,
        "why": stage.why,
    }


def _intent(config: ServiceConfig) -> dict[str, Any]:
    intent = config.intent
    return {
        "error": None if intent.error is None else str(Bound.parse(intent.error)),
        "latency_s": float(intent.latency),
        "bytes_per_day": None if intent.bytes_per_day is None else int(intent.bytes_per_day),
        "priority": intent.priority,
    }


def lines_about(service: ReadService) -> list[Spans]:
    """A service for people."""
    chain = chain_of(service.config)
    lines: list[Spans] = [
        [(f"{service.file}: ", ""), (service.config.service, "bold"), (f" ok ({_of(chain)})", "")],
        *(lines_of(_table(chain)) if chain.stages else [[("  no steps: all samples go to the core as they are", "")]]),
    ]
    return lines + [[(f"  {name:<9}", "dim"), (text, "")] for name, text in _promises(service.config, chain)]


def _of(chain: Chain) -> str:
    steps, stages = len(chain.service.steps), len(chain)
    return f"{steps} {'step' if steps == 1 else 'steps'} in {stages} {'stage' if stages == 1 else 'stages'}"


def _table(chain: Chain) -> Table:
    columns = (
        Column("stage", right=True), Column("step", widest=26), Column("may run at", widest=30),
        Column("state", rank=2), Column("because", flexible=True, widest=200, rank=1),
    )  # fmt: skip
    rows = [
        Row(
            (
                Cell(str(stage.index), "dim"), Cell(stage.kind_name, "bold"), Cell(tiers_of(stage)),
                Cell(_STATES[stage.state], "dim"), Cell(_why(stage)),
            )
        )
        for stage in chain.stages
    ]  # fmt: skip
    return Table(columns, tuple(rows))


def tiers_of(stage: Stage) -> str:
    """``access … core``, ``core``; with a pin where it is bound to one tier."""
    tiers = [tier.value for tier in stage.tiers]
    return f"{tiers[0]} only" if len(tiers) == 1 else "any tier" if len(tiers) == 3 else " or ".join(tiers)


def _why(stage: Stage) -> str:
    if stage.why == "place":
        return "the service's place says so"
    if stage.why:
        return stage.why
    return {
        StageKind.PARTIAL: "what its statistics are made of",
        StageKind.MERGE: "joins partials, again at every node on the way",
    }.get(stage.kind, "")


def _promises(config: ServiceConfig, chain: Chain) -> Iterable[tuple[str, str]]:
    if any(stage.kind is StageKind.PARTIAL for stage in chain.stages):
        yield "exact", _exactness(chain)
    yield "error", _error(config)
    since = f"the end of a window of {span(chain.window_s)}" if chain.window_s else "a sample"
    yield "latency", f"{span(config.intent.latency)} at most from {since}"
    if config.intent.bytes_per_day is not None:
        yield "bytes", f"{size(config.intent.bytes_per_day)} a day at most into the core"


def _exactness(chain: Chain) -> str:
    """What of a window's statistics has the same bits whatever the tree."""
    window = next(stage.options for stage in chain.stages if stage.kind is StageKind.PARTIAL)
    assert isinstance(window, WindowConfig)
    sure = [stat for stat in window.stats if not stat.startswith(_ESTIMATES)]
    rough = [stat for stat in window.stats if stat.startswith(_ESTIMATES)]
    words = f"{', '.join(sure)}: the same bits whatever the tree" if sure else ""
    if rough:
        words += ("; " if words else "") + f"{', '.join(rough)}: within {100 * window.relative_error:g} % of the value"
    return words + ("; groups span sites, and are finished at one place" if chain.spans_sites else "")


def _error(config: ServiceConfig) -> str:
    bounds = bounds_of(config)
    wanted = None if config.intent.error is None else Bound.parse(config.intent.error)
    if not bounds:
        return "none: no step trades error for bytes" + ("" if wanted is None else f" (asked for: {wanted})")
    said = " + ".join(f"{one.operator} {one.bound}" for one in bounds)
    if wanted is None:
        return f"{said} at most, as the steps say"
    absolute, percent = together(bounds)
    mixed = (absolute and wanted.absolute is None) or (percent and wanted.percent is None)
    return f"{said} at most; asked for: {wanted}" + (", of which another unit cannot be judged here" if mixed else "")
