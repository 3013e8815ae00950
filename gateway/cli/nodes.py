"""``onpath nodes``: the network's nodes as they say they are."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterable
from pathlib import Path

import msgspec

from gateway.cli.figures import size, span
from gateway.cli.printing import lines_of, show
from gateway.cli.top_table import Cell, Column, Row, Spans, Table
from gateway.cli.top_views import number, word
from gateway.network.advert import LIVES, Advert
from gateway.network.config import RANK
from gateway.network.facts import Facts, gathered
from gateway.network.lookup import carrier_config, opened


def show_nodes(url: str | None, config: Path | None, *, as_json: bool) -> None:
    """Print them.

    Raises:
        OnpathError: the network cannot be reached.
    """
    facts = asyncio.run(facts_of_network(url, config))
    adverts = in_order(facts.adverts.values())
    if as_json:
        print(json.dumps({"nodes": [msgspec.to_builtins(advert) for advert in adverts]}))
        return
    lines = lines_of(table_of(adverts))
    show([*lines, *troubles(facts)])


async def facts_of_network(url: str | None, config: Path | None) -> Facts:
    """What the carrier knows.

    Raises:
        OnpathError: the network cannot be reached.
    """
    async with opened(carrier_config(url, config)) as carrier:
        return await gathered(carrier)


def in_order(adverts: Iterable[Advert]) -> list[Advert]:
    """From the core to the devices, by site and name."""
    return sorted(adverts, key=lambda one: (-RANK[one.tier], one.site, one.node))


def table_of(adverts: Iterable[Advert]) -> Table:
    """A line a node, and one below it for each reason why it is not well."""
    columns = (
        Column("node", widest=24), Column("tier"), Column("site", widest=16), Column("age", right=True),
        Column("up", right=True, rank=3), Column("health"), Column("headroom", right=True), Column("to", widest=20),
        Column("link", right=True, rank=1), Column("used", right=True, rank=2), Column("waiting", right=True),
        Column("oldest", right=True, rank=2), Column("partitions", right=True, rank=4), Column("version", rank=5),
    )  # fmt: skip
    return Table(columns, tuple(map(_row, adverts)), "no node has said that it is there; do they run?")


def _row(one: Advert) -> Row:
    link = one.links[0] if one.links else None
    up = max(0.0, (time.time_ns() - one.boot) / 1e9)
    age = max(0.0, time.time() - one.said_ms / 1000) if one.said_ms else None
    old = age is not None and age > LIVES * one.every_s
    low = one.headroom < 0.1 * one.cores
    cells = (
        Cell(one.node, "bold"), Cell(one.tier.value), Cell(one.site),
        number(age, span, "bad" if old else ""), number(up, span, "dim"),
        word("ok" if one.healthy else "degraded"),
        number(one.headroom, lambda value: f"{value:.2g} of {one.cores:.3g}", "warn" if low else ""),
        Cell("" if link is None else link.to or "core"),
        number(None if link is None else link.capacity, lambda value: f"{size(value)}/s"),
        number(None if link is None else link.used / max(link.capacity, 1e-9), lambda value: f"{100 * value:.3g} %"),
        number(one.spool_bytes, size), number(one.spool_age_s if one.spool_bytes else None, span),
        number(len(one.partitions) if one.partitions else None, str), Cell(one.version, "dim"),
    )  # fmt: skip
    nothing = tuple(Cell("") for _ in cells[1:])
    return Row(cells, parts=tuple(Row((Cell(f"  {reason}", "warn"), *nothing)) for reason in one.reasons))


def troubles(facts: Facts) -> list[Spans]:
    """What does not show in tables: planned nodes that are silent, and keys that cannot be read."""
    silent = sorted(node for node, plan in facts.plans.items() if plan.services and node not in facts.adverts)
    lines: list[Spans] = []
    if silent:
        lines.append([(f"silent, with a part in the plan: {shortened(silent)}", "bad")])
    if facts.unreadable:
        lines.append([(f"cannot be read, perhaps of a newer version: {shortened(facts.unreadable)}", "warn")])
    return lines


def shortened(names: list[str], most: int = 8) -> str:
    """The first few, and how many more there are."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
