"""The meters of one transformer area, by pymodbus's own server.

Households are on feeders, each feeder behind a Modbus TCP endpoint. The transformer's own meter sees all that goes out:
what the households take and what the cables turn into heat.

Started as ``python -m gateway.demo.scenes.grid_devices --meters 15 15 15 15``. It says its ports and then obeys JSON
lines until its input ends::

    (start)                        {"ports": [40123, ...], "station": 40127}
    {"do": "cut", "feeder": 1, "homes": [5, 6]}     {"at_ns": 1795392000123456789}
    {"do": "restore", "feeder": 1, "homes": [5, 6]} {"at_ns": ...}
    {"do": "truth"}                {"lost_kwh": 1.2, "supplied_kwh": 38.4}
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from typing import Any, Final

import msgspec
import numpy as np
import uvloop

from gateway.demo.meters import Meters
from gateway.demo.replay import Homes

STEP_S: Final = 0.2
_START_KWH: Final = 500.0
_RESISTANCE_V: Final = 236.0


class Station(Homes):
    """What the meter at the transformer shows: the feeders together."""

    def __init__(self, feeders: list[Homes], *, seed: int, speed: float) -> None:
        self._feeders = feeders
        super().__init__(1, seed=seed, speed=speed)
        self.active_kwh = np.full((1, 3), _START_KWH)
        self.lost_kwh = 0.0
        """Since the start."""
        self.supplied_kwh = 0.0

    def step(self, seconds: float) -> None:
        """After the feeders' own step."""
        super().step(seconds)
        lost = sum(one.loss for one in self._feeders) * seconds * self._speed / 3.6e6
        self.lost_kwh += lost
        self.supplied_kwh += float(self.power.sum()) * seconds * self._speed / 3.6e6

    def _measure(self) -> None:
        """Sums by phase; the loss is shared by the phases as their currents are."""
        self.current = np.sum([one.current.sum(0) for one in self._feeders], 0)[None]
        share = self.current / np.maximum(self.current.sum(), 1e-9)
        lost = sum(one.loss for one in self._feeders)
        self.power = np.sum([one.power.sum(0) for one in self._feeders], 0)[None] + lost * share
        self.voltage = np.full((1, 3), _RESISTANCE_V)
        self.apparent = self.voltage * self.current
        self.apparent = np.maximum(self.apparent, self.power)
        self.factor = np.clip(self.power / np.maximum(self.apparent, 1e-9), 0.0, 1.0)
        self.reactive = np.sqrt(self.apparent**2 - self.power**2)


class Area:
    """All meters."""

    def __init__(self, sizes: list[int], *, seed: int, speed: float) -> None:
        self.feeders = [Homes(n, seed=seed + number, speed=speed) for number, n in enumerate(sizes)]
        self.station = Station(self.feeders, seed=seed, speed=speed)
        self._meters = [Meters(homes) for homes in [*self.feeders, self.station]]

    async def start(self) -> list[int]:
        """Listen on free ports; those of the feeders, then the transformer's."""
        return [await meters.start("127.0.0.1", 0) for meters in self._meters]

    async def step(self, seconds: float) -> None:
        """Let time pass, and show it."""
        for homes in [*self.feeders, self.station]:
            homes.step(seconds)
        for meters in self._meters:
            await meters.update()

    async def switch(self, feeder: int, homes: list[int], *, on: bool) -> int:
        """Cut or restore the supply of some homes; when their meters showed it, ns."""
        self.feeders[feeder].supplied[homes] = float(on)
        await self.step(0.0)
        return time.time_ns()

    async def stop(self) -> None:
        """Close everything."""
        for meters in self._meters:
            await meters.stop()


async def obey(area: Area) -> None:
    """Follow the input's lines until it ends."""
    orders = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    pipe, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    try:
        while line := await orders.readline():
            order: dict[str, Any] = msgspec.json.decode(line, type=dict[str, Any])
            match order["do"]:
                case "cut" | "restore":
                    at_ns = await area.switch(order["feeder"], order["homes"], on=order["do"] == "restore")
                    say({"at_ns": at_ns})
                case "truth":
                    say({"lost_kwh": area.station.lost_kwh, "supplied_kwh": area.station.supplied_kwh})
                case other:
                    say({"error": f"unknown order {other!r}"})
    finally:
        pipe.close()


async def run(options: argparse.Namespace) -> None:
    """Serve until the input ends."""
    area = Area(options.meters, seed=options.seed, speed=options.speed)
    try:
        *ports, station = await area.start()
        say({"ports": ports, "station": station})
        stepping = asyncio.create_task(_step(area), name="meters")
        obeying = asyncio.create_task(obey(area), name="orders")
        done, pending = await asyncio.wait((stepping, obeying), return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
        for task in done:
            task.result()
    finally:
        await area.stop()


async def _step(area: Area) -> None:
    loop = asyncio.get_running_loop()
    due = loop.time()
    while True:
        due += STEP_S
        await asyncio.sleep(due - loop.time())
        await area.step(STEP_S)


def say(line: dict[str, Any]) -> None:
    """One JSON line on the output."""
    sys.stdout.write(msgspec.json.encode(line).decode() + "\n")
    sys.stdout.flush()


def main() -> None:
    """Run until the input ends."""
    parser = argparse.ArgumentParser(prog="python -m gateway.demo.scenes.grid_devices", description="simulated meters")
    parser.add_argument("--meters", type=int, nargs="+", required=True, help="households of each feeder")
    parser.add_argument("--speed", type=float, default=180.0, help="simulated seconds a second")
    parser.add_argument("--seed", type=int, default=1)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
