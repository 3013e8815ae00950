"""``onpath demo cluster``: run it, show it, and leave nothing behind, also after Ctrl-C."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gateway.cli.demo_ending import run_to_the_end
from gateway.cli.modbus_run import duration


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
    from gateway.demo.cluster import Cluster, Options
    from gateway.demo.cluster_picture import drawn
    from gateway.demo.cluster_report import summary

    options = Options(
        workers=request.workers,
        aggregators=request.aggregators,
        rounds=request.rounds,
        for_s=None if request.for_ is None else duration("--for", request.for_),
        seed=request.seed,
    )
    tell = (lambda _: None) if request.as_json else (lambda line: print(line, flush=True))
    run_to_the_end(Cluster(options, tell).run, summary, drawn, request.picture, as_json=request.as_json)
