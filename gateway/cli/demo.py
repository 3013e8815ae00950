"""``onpath demo``: the main job on an embedded default, judged from outside."""

from __future__ import annotations

import asyncio
import signal
import sys
from typing import TYPE_CHECKING

import msgspec
import typer

from gateway.units import Duration

if TYPE_CHECKING:
    from gateway.demo.oracle import Verdict
    from gateway.demo.report import Report
    from gateway.demo.run import Demo, Options


def run_demo(*, for_: str | None, as_json: bool, rate: float, seed: int) -> None:
    """Run 50 simulated devices, a broker, a gateway and a receiver on this machine.

    Exits with 0 if nothing acknowledged was lost and nothing doubled, else with 1.
    """
    from gateway.demo.report import summary
    from gateway.demo.run import Options

    options = Options(for_s=_seconds(for_), rate=rate, seed=seed)
    live = not as_json and sys.stdout.isatty()
    with asyncio.Runner() as runner:
        final, verdict = runner.run(_run(options, live=live, quiet=as_json))
    print(msgspec.json.encode(final).decode() if as_json else summary(final, verdict))
    if as_json and (verdict.invented or verdict.malformed):
        print(f"invented: {verdict.invented}, malformed: {verdict.malformed}", file=sys.stderr)
    if not verdict.clean:
        raise typer.Exit(1)


def _seconds(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        return Duration.parse(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--for") from None


async def _run(options: Options, *, live: bool, quiet: bool) -> tuple[Report, Verdict]:
    """Run it with the table or without."""
    from gateway.demo.run import Demo

    if not live:
        return await _until_signal(Demo(options), hint=not quiet)
    from rich.live import Live as Screen

    from gateway.demo.table import render

    with Screen(auto_refresh=False) as screen:
        watched = Demo(options, watch=lambda now, seen: screen.update(render(now, seen), refresh=True))
        return await _until_signal(watched)


async def _until_signal(demo: Demo, *, hint: bool = False) -> tuple[Report, Verdict]:
    """The first Ctrl-C (or SIGTERM) ends it in order, the second at once."""
    loop = asyncio.get_running_loop()

    def end() -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
        demo.ended.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, end)
    if hint:
        print("the demo runs; Ctrl-C ends it", flush=True)
    return await demo.run()
