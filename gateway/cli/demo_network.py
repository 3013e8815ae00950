"""``onpath demo grid`` and ``onpath demo park``: run a scene, show it, and leave nothing behind, also after Ctrl-C."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import typer

from gateway.errors import OnpathError
from gateway.units import Duration

if TYPE_CHECKING:
    from gateway.demo.scenes.report import SceneReport
    from gateway.demo.scenes.scene import Scene

Tell = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Request:
    """What was asked for."""

    for_: str
    seed: int
    picture: Path | None
    as_json: bool

    @property
    def for_s(self) -> float:
        """The time that is judged.

        Raises:
            typer.BadParameter: it is none.
        """
        try:
            return float(Duration.parse(self.for_))
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint="--for") from None


def run_grid(request: Request, meters: int) -> None:
    """Exits with 0 if every figure is exact, else with 1; 130 after Ctrl-C."""
    from gateway.demo.scenes.grid import Grid, Options

    options = Options(for_s=request.for_s, meters=meters, seed=request.seed)
    _run(request, lambda tell: Grid(options, tell=tell))


def run_park(request: Request, rooms: int, units: int) -> None:
    """Exits with 0 if every figure is exact, else with 1; 130 after Ctrl-C."""
    from gateway.demo.scenes.park import Options, Park

    options = Options(for_s=request.for_s, rooms=rooms, units=units, seed=request.seed)
    _run(request, lambda tell: Park(options, tell=tell))


def _run(request: Request, made: Callable[[Tell], Scene]) -> None:
    from gateway.demo.scenes.report import summary
    from gateway.demo.scenes.running import drawn

    tell: Tell = (lambda _: None) if request.as_json else (lambda line: print(line, flush=True))
    with asyncio.Runner() as runner:
        final = runner.run(_until_signal(made(tell)))
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


async def _until_signal(scene: Scene) -> SceneReport | None:
    """The report; None if Ctrl-C or SIGTERM came first. Either way every process has ended."""
    loop = asyncio.get_running_loop()
    running = asyncio.create_task(scene.run(), name=f"demo {scene.name}")
    stopped = False

    def end() -> None:
        nonlocal stopped
        if not stopped:  # a second one must not interrupt what cleans up
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
