"""``onpath demo cluster``: run it, show it, and leave nothing behind, also after Ctrl-C."""

from __future__ import annotations

import asyncio
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import typer

from gateway.cli.modbus_run import duration
from gateway.errors import OnpathError

if TYPE_CHECKING:
    from gateway.demo.cluster import Options
    from gateway.demo.cluster_report import Report


@dataclass(frozen=True, kw_only=True)
class Request:
    """What was asked for."""

    workers: int
    aggregators: int
    rounds: int | None
    for_: str | None
    seed: int
    picture: Path | None
    as_json: bool


def run_cluster(request: Request) -> None:
    """Exits with 0 if all weights are the same bits, else with 1; 130 after Ctrl-C."""
    from gateway.demo.cluster import Options
    from gateway.demo.cluster_picture import drawn
    from gateway.demo.cluster_report import summary

    options = Options(
        workers=request.workers,
        aggregators=request.aggregators,
        rounds=request.rounds,
        for_s=None if request.for_ is None else duration("--for", request.for_),
        seed=request.seed,
    )
    with asyncio.Runner() as runner:
        final = runner.run(_until_signal(options, quiet=request.as_json))
    if final is None:
        print("interrupted: everything is stopped", file=sys.stderr)
        raise typer.Exit(130)
    if request.picture is not None:
        try:
            request.picture.write_text(drawn(final), "utf-8")
        except OSError as error:
            raise OnpathError(f"{request.picture}: {error.strerror}") from None
    print(msgspec.json.encode(final).decode() if request.as_json else summary(final))
    if not final.exact:
        raise typer.Exit(1)


async def _until_signal(options: Options, *, quiet: bool) -> Report | None:
    """The report; None if Ctrl-C or SIGTERM came first. Either way every process has ended."""
    from gateway.demo.cluster import Cluster

    loop = asyncio.get_running_loop()
    tell = (lambda _: None) if quiet else (lambda line: print(line, flush=True))
    running = asyncio.create_task(Cluster(options, tell).run(), name="demo cluster")
    stopped = False

    def end() -> None:
        nonlocal stopped
        stopped = True
        running.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, end)
    try:
        return await running
    except asyncio.CancelledError:
        if not stopped:
            raise
        return None
