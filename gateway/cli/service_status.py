"""``onpath service status``: how services stand, over all nodes."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from gateway.cli.figures import begins, count, rate, size, span
from gateway.cli.nodes import facts_of_network, shortened, troubles
from gateway.cli.printing import lines_of, show
from gateway.cli.top_table import Cell, Column, Row, Spans, Table
from gateway.cli.top_views import number
from gateway.errors import OnpathError
from gateway.network.config import PARTITIONS
from gateway.network.standing import Standing, partitions, ranges, standings

_TONES: Final = {"ok": "good", "switching": "warn", "removing": "warn", "removed": "dim"}


def show_services(name: str | None, url: str | None, config: Path | None, *, as_json: bool) -> None:
    """Print one, or all.

    Raises:
        OnpathError: there is no such service, or the network cannot be reached.
    """
    facts = asyncio.run(facts_of_network(url, config))
    found = [one for one in standings(facts) if name in {None, one.service}]
    if name is not None and not found:
        known = ", ".join(one.service for one in standings(facts)) or "none"
        raise OnpathError(f'no service is named "{name}"; known: {known}')
    held = partitions(facts)
    if as_json:
        told = {"services": [one.as_dict() for one in found], "partitions": held}
        print(json.dumps(told))
        return
    lines = list(_lines(found, detailed=name is not None or len(found) == 1))
    show([*lines, *_core(held), *troubles(facts)])


def _lines(found: list[Standing], *, detailed: bool) -> Iterator[Spans]:
    columns = (
        Column("service", widest=30), Column("state"), Column("version", right=True), Column("epoch", right=True),
        Column("nodes", right=True), Column("points", right=True, rank=1), Column("applied", right=True, rank=2),
        Column("by", rank=3, widest=30),
    )  # fmt: skip
    yield from lines_of(Table(columns, tuple(map(_row, found)), "no services: onpath service apply FILE"))
    for one in found:
        yield from _follow(one)
        if one.tiers and (detailed or len(found) <= 4):
            yield from lines_of(_tiers(one), one.service)


def _row(one: Standing) -> Row:
    since = max(0.0, time.time() - one.applied_ms / 1000) if one.applied_ms else None
    follows = one.nodes - len(one.behind) - len(one.silent)
    version = str(one.version or "-") + (f" (runs {one.planned})" if 0 < one.planned < one.version else "")
    return Row(
        (
            Cell(one.service, "bold"), Cell(one.state, _TONES.get(one.state, "bad")), Cell(version),
            number(one.epoch or None, count), Cell(f"{follows} of {one.nodes}" if one.nodes else ""),
            number(one.points, count), Cell("" if since is None else f"{span(since)} ago"), Cell(one.by, "dim"),
        )
    )  # fmt: skip


def _follow(one: Standing) -> Iterator[Spans]:
    if later := begins(one.since_ms):
        yield [(f"  {one.service}: version {one.planned} {later}", "")]
    if one.behind:
        yield [(f"  {one.service}: not yet at epoch {one.epoch}: {shortened(one.behind)}", "warn")]
    if one.silent:
        yield [(f"  {one.service}: silent: {shortened(one.silent)}", "bad")]


def _tiers(one: Standing) -> Table:
    columns = (
        Column("tier"), Column("nodes", right=True), Column("samples/s in", right=True), Column("out", right=True),
        Column("bytes/s out", right=True), Column("CPU", right=True, rank=1),
    )  # fmt: skip
    rows = [
        Row(
            (
                Cell(tier.value), number(facts.nodes, count), number(facts.samples_in, rate),
                number(facts.samples_out, rate), number(facts.bytes_out, size),
                number(facts.cpu, lambda value: f"{100 * value:.3g} %"),
            )
        )
        for tier, facts in one.tiers.items()
    ]  # fmt: skip
    if one.raw is not None:
        raw = (Cell("raw to core", "dim"), *[Cell("")] * 3, number(one.raw, size, "dim"), Cell(""))
        rows.append(Row(raw))
    return Table(columns, tuple(rows))


def _core(held: dict[str, list[int]]) -> Iterator[Spans]:
    if not held:
        return
    columns = (Column("core node", widest=30), Column("holds", right=True), Column("partitions", widest=200))
    rows = tuple(
        Row((Cell(name, "bold"), number(len(mine), count), Cell(", ".join(ranges(mine)), "dim")))
        for name, mine in held.items()
    )
    yield from lines_of(Table(columns, rows), "core")
    free = PARTITIONS - len({number for mine in held.values() for number in mine})
    if free:
        yield [(f"{free} of {PARTITIONS} partitions are held by nobody", "warn")]
