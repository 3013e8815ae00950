"""``onpath service explain``: which step runs where, why, and what it costs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from gateway.cli.figures import clock, count, rate, size, span
from gateway.cli.nodes import facts_of_network
from gateway.cli.printing import lines_of, show
from gateway.cli.service_tree import tree_lines
from gateway.cli.top_table import Cell, Column, Row, Spans, Table
from gateway.cli.top_views import number
from gateway.errors import OnpathError
from gateway.network.facts import Facts
from gateway.network.grouping import Place, grouped
from gateway.network.picture import amount, draw
from gateway.network.plan.explanation import Explanation, IntentMet, StagePlace, Where
from gateway.network.tree import tree_of

LINKS: Final = 12
"""Links that are shown one by one; --json has them all."""
BOXES: Final = 24
"""Nodes of the tree in text."""


@dataclass(frozen=True)
class Request:
    """What was asked for."""

    service: str
    picture: Path | None
    nodes: str | None
    points: int
    rate: float
    carrier: str | None
    config: Path | None
    as_json: bool


def explain_service(request: Request) -> None:
    """Print it, and draw it if wanted.

    Raises:
        ConfigError: the service of the file is not usable.
        OnpathError: there is no such service, or no plan of it; the network cannot be reached.
    """
    told, tree = _asked(request)
    if request.picture is not None:
        _write(request.picture, draw(tree, f"{told.service}: {_reduction(told)}", _head(told)))
    if request.as_json:
        print(json.dumps(msgspec.to_builtins(told)))
        return
    show(list(lines_about(told, tree)))


def _asked(request: Request) -> tuple[Explanation, Place]:
    file = Path(request.service)
    if request.nodes is not None or file.suffix in {".yaml", ".yml"}:
        from gateway.cli.service_foresee import LIVE, Asked, foreseen
        from gateway.network.foresee import Assumed

        assumed = Assumed(request.points, request.rate)
        found = foreseen(Asked(file, request.nodes or LIVE, request.carrier, request.config, assumed))
        return found.explanation, tree_of(found.explanation, found.parts, found.adverts)
    facts = asyncio.run(facts_of_network(request.carrier, request.config))
    told = facts.explanations.get(request.service)
    if told is None:
        raise OnpathError(_why_not(request.service, facts))
    return told, tree_of(told, facts.parts(request.service), facts.adverts)


def _why_not(name: str, facts: Facts) -> str:
    record = facts.services.get(name)
    if record is None:
        known = ", ".join(sorted(facts.services)) or "none"
        return f'no service is named "{name}"; known: {known}'
    if record.removed:
        return f"{name}: was removed"
    return f"{name}: version {record.version} is applied and not planned; does a controller run (onpath controller)?"


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text)
    except OSError as error:
        raise OnpathError(f"{path}: {error.strerror}") from error


def lines_about(told: Explanation, tree: Place) -> Iterator[Spans]:
    """All of it for people."""
    yield [(told.service, "bold"), (f"  {_reduction(told)}", "good" if told.ratio > 1 else "")]
    yield from ([(f"  {fact}", "dim")] for fact in _head(told))
    yield from ([(f"  {_intent(met)}", {True: "", False: "bad", None: "dim"}[met.met])] for met in told.intents)
    for shed in told.plan.shed:
        whose = f" at {', '.join(shed.nodes)}" if shed.nodes else ""
        yield [(f"  {shed.service} is left out{whose}: {shed.words}", "bad")]
    yield from lines_of(_stages(told), "stages")
    for stage in told.stages:
        yield from ([(f"  {stage.index}  {why.words}", "dim")] for why in stage.why)
    yield from lines_of(_tiers(told), "links by tier")
    yield from lines_of(_links(told), "links")
    left = told.links_left_out + max(0, len(told.links) - LINKS)
    if left:
        yield [(f"and {count(left)} more", "dim")]
    yield from ([], [("tree", "bold")])
    yield from tree_lines(grouped(tree, BOXES))


def _reduction(told: Explanation) -> str:
    if not told.raw_to_core:
        return "nothing flows yet"
    words = f"{amount(told.to_core)}/s into the core instead of {amount(told.raw_to_core)}/s raw"
    return words + (f", {rate(told.ratio)} times less" if told.ratio else "")


def _head(told: Explanation) -> list[str]:
    solved = told.plan
    estimated = ", estimated before anything ran" if told.estimated else ""
    planned = f"epoch {told.epoch}, planned" if told.epoch else "not applied: a plan as it would be,"
    bound = f"{solved.distance:.2g} % above the lower bound of {rate(solved.bound)}"
    return [
        f"version {told.version}, {planned} {clock(told.made_ms)} UTC{estimated}",
        f"results {span(told.latency_s)} after the end of a window or a sample",
        f"cost {rate(told.cost)}; all services {rate(solved.cost)}, {bound} ({solved.method}, {solved.seconds:.2g} s)",
    ]


def _intent(met: IntentMet) -> str:
    state = {True: "kept", False: "NOT kept", None: "not known yet"}[met.met]
    expected = "" if met.expected is None else f", expected {_amount(met.expected, met.unit)}"
    words = f" ({met.words})" if met.words else ""
    return f"{met.name}: asked for {_amount(met.wanted, met.unit)}{expected}: {state}{words}"


def _amount(value: float, unit: str) -> str:
    if unit == "B/day":
        return f"{size(value)} a day"
    return span(value) if unit == "s" else f"{value:.4g}{' ' if unit else ''}{unit}"


def _stages(told: Explanation) -> Table:
    columns = (
        Column("stage", right=True), Column("step", widest=26), Column("runs at", widest=60, flexible=True),
        Column("because", rank=2), Column("samples/s in", right=True, rank=1), Column("out", right=True),
        Column("bytes/s behind", right=True), Column("CPU", right=True), Column("cost", right=True, rank=3),
    )  # fmt: skip
    return Table(columns, tuple(map(_stage, told.stages)), "no steps: all samples go to the core as they are")


def _stage(stage: StagePlace) -> Row:
    name = stage.operator if stage.kind in {"step", "post"} else f"{stage.operator} ({stage.kind})"
    return Row(
        (
            Cell(str(stage.index), "dim"), Cell(name, "bold"), Cell("; ".join(map(_where, stage.where))),
            Cell(stage.why[0].cause.value if stage.why else "", "accent"), number(stage.samples_in, rate),
            number(stage.samples_out, rate), number(stage.bytes_out, amount),
            number(stage.cpu, lambda value: f"{100 * value:.3g} %"), number(stage.cost, rate),
        )
    )  # fmt: skip


def _where(where: Where) -> str:
    names = f" ({', '.join(where.names)})" if where.names and where.nodes < where.of else ""
    if where.tier == "core":
        return "core" if where.nodes < 2 else f"core, {where.nodes} nodes"
    return f"{where.tier} {where.nodes} of {where.of}{names}"


def _tiers(told: Explanation) -> Table:
    columns = (
        Column("from"), Column("links", right=True), Column("bytes/s", right=True), Column("raw", right=True),
        Column("less", right=True),
    )  # fmt: skip
    rows = [
        Row(
            (
                Cell(load.tier), number(load.links, count), number(load.bytes, amount), number(load.raw, amount, "dim"),
                Cell(f"{rate(load.raw / load.bytes)} x" if load.bytes else ""),
            )
        )
        for load in told.tiers
    ]  # fmt: skip
    return Table(columns, tuple(rows), "no links")


def _links(told: Explanation) -> Table:
    columns = (
        Column("from", widest=24), Column("to", widest=24), Column("stages applied", right=True),
        Column("bytes/s", right=True), Column("raw", right=True), Column("link in use", right=True),
        Column("cost", right=True, rank=1),
    )  # fmt: skip
    rows = [
        Row(
            (
                Cell(link.node), Cell(link.to or "core"), Cell(str(link.cut)), number(link.bytes, amount),
                number(link.raw, amount, "dim"),
                number(link.used, lambda value: f"{100 * value:.3g} %", "warn" if link.used > 0.9 else ""),
                number(link.cost, rate),
            )
        )
        for link in told.links[:LINKS]
    ]  # fmt: skip
    return Table(columns, tuple(rows), "no links")
