"""``onpath demo grid`` and ``onpath demo park``: run a scene, show it, and leave nothing behind, also after Ctrl-C."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from gateway.cli.demo_ending import run_to_the_end
from gateway.units import Duration

if TYPE_CHECKING:
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
    run_to_the_end(lambda: made(tell).run(), summary, drawn, request.picture, as_json=request.as_json)
