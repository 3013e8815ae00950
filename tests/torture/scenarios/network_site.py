"""A network under torture: two sites with gateways and an aggregation node each, a core of two, a hub, a controller.

    devices ─▶ broker ─▶ h1 h2 ─▶ agg-n ─┐
                         h3 h4 ─▶ agg-s ─┴▶ core-1 core-2 ─▶ results        (each way through a proxy and one hub)

Only real processes take part. What the access nodes accepted is in a file of each, what came of it is read at the hub.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import math
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from gateway.network.carrier.base import Carrier
from gateway.tasks import ended
from tests.support.hubs import HubProcess
from tests.support.network import ControllerProcess, Net, hub_net, records
from tests.torture.proxy import Proxy

S: Final = 1_000_000_000
ACCESS: Final = {"h1": "north", "h2": "north", "h3": "south", "h4": "south"}
"""Sites by access node."""
AGGREGATION: Final = {"agg-n": "north", "agg-s": "south"}
PARENTS: Final = {"h1": "agg-n", "h2": "agg-n", "h3": "agg-s", "h4": "agg-s"}
CORE: Final = ("core-1", "core-2")
METERS: Final = 3
"""Of each access node."""
STATS: Final = ("count", "sum", "min", "max")
_SERVICE: Final = """
service: {name}
inputs: {{points: "*/power"}}
steps:
  - scale: {{factor: 1}}
  - window: {{every: 1s, stats: [count, sum, min, max], over: {over}, name: "{point}", lateness: 0s}}
intent: {{latency: 8s}}
"""
SERVICES: Final = {
    "load": _SERVICE.format(name="load", over="label site", point="{site}/load"),
    "grid": _SERVICE.format(name="grid", over="all", point="grid/load"),
}
"""One is finished for each site, the other one for both together."""
_TRUTH: Final = """
pipelines: {{raw: {{from: ["*/power"], to: [truth]}}}}
uplinks: {{truth: {{type: file, path: {path}, time: ns}}}}
"""
START_S: Final = 60.0

Figures = dict[tuple[str, int], float]
"""By statistic of a point (``north/load#count``) and the second at which the window ends."""


class Root:
    """What anybody can read at the hub: results, the newest of each window; and the bytes that go up, by tier."""

    def __init__(self, carrier: Carrier) -> None:
        self._carrier = carrier
        self.figures: Figures = {}
        self.revised = 0
        self.bytes = Counter[str]()
        self.arrived: dict[str, list[float]] = {}
        """Times at which results came, by point."""

    async def read(self) -> None:
        """Until cancelled."""
        async for _, values in records(self._carrier, "out/**"):
            now = time.monotonic()
            for (name, second), found in values.items():
                if has_samples(name, found[-1]):
                    self.revised += (name, second) in self.figures
                    self.figures[name, second] = found[-1]
            for point in {name.partition("#")[0] for name, _ in values}:
                self.arrived.setdefault(point, []).append(now)

    async def weigh(self) -> None:
        """Until cancelled."""
        async for messages in self._carrier.consume("up/**"):
            for message in messages:
                sender = message.subject.split("/")[2]
                tier = "access" if sender in ACCESS else "aggregation" if sender in AGGREGATION else "core"
                self.bytes[tier] += len(message.payload)

    @property
    def stall_s(self) -> float:
        """The longest time without a result of some point."""
        gaps = [later - sooner for times in self.arrived.values() for sooner, later in itertools.pairwise(times)]
        return max(gaps, default=0.0)


class Meters:
    """Devices, which say another number each time: the broker begins again with packet ids, and equal messages look
    repeated."""

    def __init__(self, network: Net, pause_s: float) -> None:
        self._network, self._pause_s = network, pause_s
        self.before = self.sent = 0
        self._stop = asyncio.Event()

    async def begin(self) -> None:
        """A word of each, before anything counts: a service is planned for points that there are."""
        for _ in range(METERS):
            await self._say()
        self.before = self.sent

    async def _say(self) -> None:
        for name in ACCESS:
            self.sent += 1
            await self._network.publish(f"{name}/m{self.sent // len(ACCESS) % METERS}", power=self.sent)

    async def run(self) -> None:
        """Until :meth:`end`."""
        while not self._stop.is_set():
            await self._say()
            await asyncio.sleep(self._pause_s)

    def end(self) -> None:
        """Say nothing more."""
        self._stop.set()


@dataclass
class Plant:
    """See the module."""

    folder: Path
    network: Net
    hub: HubProcess
    controller: ControllerProcess
    links: dict[str, Proxy]
    """Between each process and the hub."""
    root: Root
    meters: Meters
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    @classmethod
    @contextlib.asynccontextmanager
    async def running(cls, folder: Path, pause_s: float) -> AsyncIterator[Plant]:
        """Everything started and both services at work; all of it ended at the end."""
        async with contextlib.AsyncExitStack() as stack:
            network, hub = await stack.enter_async_context(hub_net(folder))
            links = {}
            for name in (*ACCESS, *AGGREGATION, *CORE, "controller"):
                links[name] = await stack.enter_async_context(Proxy(hub.port).running())
                network.ways[name] = f"nats://127.0.0.1:{links[name].port}"
            config = folder / "controller.yaml"
            config.write_text(network.config("controller", "core"))
            controller = ControllerProcess(folder, config, options=("--dwell", "10s"))
            plant = cls(folder, network, hub, controller, links, Root(network.carrier), Meters(network, pause_s))
            stack.callback(controller.kill)
            stack.push_async_callback(plant._end)
            await plant._start()
            yield plant

    async def _start(self) -> None:
        network = self.network
        for tier, sites in (("aggregation", AGGREGATION), ("core", dict.fromkeys(CORE, "middle"))):
            await asyncio.gather(*(network.start(name, tier, f", site: {site}") for name, site in sites.items()))
        await asyncio.gather(*(self._start_access(name, site) for name, site in ACCESS.items()))
        for name in ACCESS:
            await network.nodes[name].until(lambda s: s["adapters"]["bus"]["link"] == "up", START_S)
        await self.meters.begin()
        for name in ACCESS:
            await network.nodes[name].until(lambda s: s["uplinks"]["truth"]["samples"] == METERS, START_S)
        self.controller.start()
        for yaml in SERVICES.values():
            await network.apply(yaml)
        for name in (*ACCESS, *AGGREGATION):
            await network.nodes[name].until(lambda s: s["network"]["services"].keys() == SERVICES.keys(), START_S)
        self._tasks = [
            asyncio.create_task(self.root.read(), name="results"),
            asyncio.create_task(self.root.weigh(), name="bytes"),
            asyncio.create_task(self.meters.run(), name="meters"),
        ]

    async def _start_access(self, name: str, site: str) -> None:
        options = f", site: {site}, parents: [{PARENTS[name]}]"
        await self.network.start(name, "access", options, _TRUTH.format(path=self._file(name)))

    async def _end(self) -> None:
        await ended(*self._tasks)

    def check(self) -> None:
        """Raise what ended a reader or the devices before its time."""
        for task in self._tasks:
            if task.done():
                task.result()

    def _file(self, node: str) -> Path:
        return self.folder / f"{node}.jsonl"

    def truth(self) -> list[tuple[str, int, float]]:
        """What the access nodes accepted that counts: site, time in ns, value."""
        found: list[tuple[str, int, float]] = []
        for node, site in ACCESS.items():
            seen = set()
            for line in self._file(node).read_bytes().splitlines(keepends=True):
                if not line.endswith(b"\n"):  # it is being written
                    continue
                batch = json.loads(line)
                record = batch["epoch"], batch["seq"]
                if record not in seen:
                    seen.add(record)
                    found += [(site, one["time"], one["value"]) for one in batch["samples"] if one["value"] is not None]
        return [one for one in found if one[2] > self.meters.before]

    @property
    def raw_bytes(self) -> int:
        """Of what was accepted, as JSON."""
        return sum(self._file(node).stat().st_size for node in ACCESS)


def has_samples(name: str, value: float | None) -> bool:
    """Whether a figure is one of valid samples; a window of marks without values has a count of 0, and nothing else."""
    return value is not None and not math.isnan(value) and (value > 0 or not name.endswith("#count"))


def expected(samples: list[tuple[str, int, float]]) -> Figures:
    """What one window over everything gives."""
    windows: dict[tuple[str, int], list[float]] = {}
    for site, time_ns, value in samples:
        for point in (f"{site}/load", "grid/load"):
            windows.setdefault((point, time_ns // S + 1), []).append(value)
    figures: Figures = {}
    for (point, second), values in windows.items():
        whole = {"count": len(values), "sum": sum(values), "min": min(values), "max": max(values)}
        figures |= {(f"{point}#{stat}", second): float(whole[stat]) for stat in STATS}
    return figures
