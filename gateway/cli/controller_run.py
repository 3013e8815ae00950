"""What ``onpath controller`` does."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
from pathlib import Path

import msgspec
import uvloop

from gateway.config.model import LogConfig, LogLevel
from gateway.errors import OnpathError
from gateway.logs import set_up
from gateway.network.carrier.base import CarrierError
from gateway.network.config import CarrierConfig
from gateway.network.controller.controller import Controller
from gateway.network.lookup import carrier_config, opened
from gateway.network.plan import exact
from gateway.network.simulate import Result, simulated
from gateway.supervisor import pause_s
from gateway.tasks import ended
from gateway.units import Duration

log = logging.getLogger(__name__)


def run_controller(url: str | None, config: Path | None, name: str, dwell: str) -> None:
    """Run one until it is told to stop.

    Raises:
        OnpathError: nobody says where the network is, or what is said is not usable.
    """
    where = carrier_config(url, config)
    try:
        dwell_s = float(Duration.parse(dwell))
    except ValueError as error:
        raise OnpathError(f"--dwell: {error}") from None
    set_up(LogConfig())
    if not exact.available():
        log.info("controller: plans come nearer to the bound with highspy: pip install 'onpath[controller]'")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_until_told(where, name or f"{socket.gethostname()}-{os.getpid()}", dwell_s))


async def _until_told(where: CarrierConfig, name: str, dwell_s: float) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    running = asyncio.create_task(_again_and_again(where, name, dwell_s), name="controller")
    stopped = asyncio.create_task(stop.wait(), name="controller stop")
    await asyncio.wait([running, stopped], return_when=asyncio.FIRST_COMPLETED)
    failed = running.done()
    await ended(stopped, None if failed else running)
    if failed:
        running.result()


async def _again_and_again(where: CarrierConfig, name: str, dwell_s: float) -> None:
    """Connect, and connect again: nodes follow the last plan meanwhile."""
    failures = 0
    while True:
        try:
            async with opened(where, make=True, name=name) as carrier:
                log.info("controller: %s watches %s", name, carrier.url)
                failures = 0
                await Controller(carrier, name, dwell_s=dwell_s).run()
        except CarrierError as error:
            if not failures:
                log.warning("controller: %s", error)
        failures += 1
        await asyncio.sleep(pause_s(failures))


def run_simulation(gateways: int, services: int, *, storm: bool, seed: int, as_json: bool) -> None:
    """Simulate, and print what came of it."""
    set_up(LogConfig(level=LogLevel.ERROR))
    result = asyncio.run(simulated(gateways, services, storm=storm, seed=seed))
    print(msgspec.json.encode(result).decode() if as_json else "\n".join(_lines(result, storm=storm)))


def _lines(result: Result, *, storm: bool) -> list[str]:
    left_out = f", {result.shed} inputs left out" if result.shed else ""
    planned = f"planned in {result.plan_s:g} s by {result.method}, {result.distance:.2f} % above the lower bound"
    lines = [
        f"{result.gateways} gateways, {result.services} services: {planned}{left_out}",
        f"all told after {result.first_plan_s:g} s; {'within' if result.feasible else 'NOT WITHIN'} all limits",
        f"steady: {result.steady_turns} turns, {result.steady_writes} assignments written",
    ]
    if storm:
        lines.append(
            f"storm: {result.storm_turns} turns, {result.storm_moves} subtrees moved, at most {result.storm_most}x each"
        )
    took = f"leader killed: a standby led and had planned after {result.takeover_s:g} s"
    return [*lines, f"{took}, and wrote {result.takeover_writes} assignments anew"]
