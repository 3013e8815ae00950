"""``onpath service results``: what a service has given, and what it gives."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from gateway.cli.figures import moment
from gateway.cli.printing import lines_of, show
from gateway.cli.top_table import Cell, Column, Row, Table
from gateway.network.lookup import carrier_config, opened
from gateway.network.results import Feed, Result, Results
from gateway.tasks import ended

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from gateway.wire.receive import Received

QUIET_S: Final = 0.5
"""What is kept has all been given when nothing came for so long."""
FIRST_S: Final = 2.0
"""The same before the first message."""


@dataclass(frozen=True)
class Request:
    """What was asked for."""

    service: str
    globs: Sequence[str]
    last: int
    following: bool
    for_s: float | None
    carrier: str | None
    config: Path | None
    as_json: bool


def show_results(request: Request) -> None:
    """Print them.

    Raises:
        OnpathError: the network cannot be reached.
    """
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_show(request))


async def _show(request: Request) -> None:
    found = Results(request.last, request.globs)
    config = carrier_config(request.carrier, request.config)
    async with opened(config) as carrier:
        feed = Feed(carrier, request.service)
        batches = feed.batches()
        async with contextlib.aclosing(_queued(batches)) as queue:
            await _kept(queue, found)
            _print_all(request, found)
            if request.following:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(request.for_s):
                        async for received in queue:
                            _print_each(request, [one for each in received or () for one in found.take(each)])
    if feed.unusable:
        print(f"{feed.unusable} messages could not be read", file=sys.stderr)
    if not request.following and not found.newest() and not request.as_json:
        print(f"no results of {request.service} yet", file=sys.stderr)


async def _queued(batches: AsyncGenerator[list[Received], None]) -> AsyncGenerator[list[Received] | None, None]:
    """The same, with None when nothing came for a while; a generator may not be cancelled while it waits."""
    queue: asyncio.Queue[list[Received]] = asyncio.Queue(1)

    async def read() -> None:
        async with contextlib.aclosing(batches):
            async for received in batches:
                await queue.put(received)

    reading = asyncio.create_task(read(), name="results")
    wait = FIRST_S
    try:
        while not (reading.done() and queue.empty()):
            getting = asyncio.create_task(queue.get(), name="next results")
            await asyncio.wait((getting, reading), timeout=wait, return_when=asyncio.FIRST_COMPLETED)
            if getting.done():
                wait = QUIET_S
                yield getting.result()
            else:
                await ended(getting)
                yield None
        reading.result()
    finally:
        await ended(reading)


async def _kept(queue: AsyncGenerator[list[Received] | None, None], found: Results) -> None:
    """Take what there is already."""
    async for received in queue:
        if received is None:
            return
        for each in received:
            found.take(each)


def _print_all(request: Request, found: Results) -> None:
    newest = found.newest()
    if request.as_json or request.following:
        _print_each(request, newest)
    elif newest:
        columns = (
            Column("time"), Column("point", widest=60, flexible=True), Column("value", right=True), Column("unit"),
            Column("quality", widest=40),
        )  # fmt: skip
        rows = tuple(Row(tuple(map(Cell, _cells(one)))) for one in newest)
        show(lines_of(Table(columns, rows)))


def _print_each(request: Request, results: Iterable[Result]) -> None:
    """A line each; also for those who read along through a pipe."""
    for one in results:
        print(json.dumps(one.as_dict()) if request.as_json else "  ".join(filter(None, _cells(one))))
    sys.stdout.flush()


def _cells(one: Result) -> tuple[str, str, str, str, str]:
    value = f"- ({one.reason})" if one.value is None else _number(one.value)
    return moment(one.time_ns // 1_000_000), one.point, value, one.unit, one.quality


def _number(value: float | str) -> str:
    """All digits that count, and none that do not."""
    return value if isinstance(value, str) else np.format_float_positional(value, trim="-")
