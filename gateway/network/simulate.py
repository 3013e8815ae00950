"""Many gateways that are adverts only, against real controllers over a real carrier: what is planned, and what moves.

Time between adverts is leapt over: controllers are given a clock that runs ahead, so that dwells of minutes take none.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from gateway.network.advert import Advert, encode
from gateway.network.assignment import HEAD
from gateway.network.carrier.local import LocalCarrier
from gateway.network.controller.controller import SIDE_BY_SIDE, Controller
from gateway.network.controller.knowing import Head
from gateway.network.plan.repair import held
from gateway.network.records import apply_text
from gateway.network.simulate_nodes import drawn, services
from gateway.tasks import ended, task_group

STEP_S: Final = 45.0
"""How far the clock leaps from advert to advert: less than what a node may be silent."""
ROUNDS: Final = 15
"""Of adverts in steady state: more than a dwell."""
STORM_ROUNDS: Final = 12
"""Of adverts in a storm: less than a dwell."""
TTL_S: Final = 1.5
"""Of the leader's lease."""
PATIENCE_S: Final = 120.0


class Result(msgspec.Struct, kw_only=True):
    """What is printed."""

    gateways: int
    services: int
    seed: int
    feasible: bool = False
    """Whether the plan keeps to every limit."""
    shed: int = 0
    """Inputs of a service at a node that are left out."""
    first_plan_s: float = 0.0
    """From the services' being applied to the last node's being told."""
    plan_s: float = 0.0
    """Of it, planning."""
    cost: float = 0.0
    bound: float = 0.0
    distance: float = 0.0
    """%."""
    method: str = ""
    steady_turns: int = 0
    steady_writes: int = 0
    """Assignments written while nothing but noise changed."""
    storm_turns: int = 0
    storm_moves: int = 0
    storm_most: int = 0
    """Moves of the subtree that moved most in one dwell."""
    takeover_s: float = 0.0
    """From the leader's death to the next plan of a standby."""
    takeover_writes: int = 0
    """Assignments that the new leader wrote though nothing had changed."""
    epochs_grow: bool = False
    """Whether the standby's plan is of a newer epoch."""


class Leap:
    """A monotonic clock that can be set ahead."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def __call__(self) -> float:
        """Now, s."""
        return time.monotonic() + self.ahead_s


class _Running:
    """A controller with a carrier of its own, as in a process of its own."""

    def __init__(self, folder: Path, name: str, clock: Leap) -> None:
        self.carrier = LocalCarrier(folder)
        self.name, self.clock = name, clock
        self.controller = Controller(self.carrier, name, ttl_s=TTL_S, clock=clock, rest=0.1)
        self.task: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        """Connect and watch."""
        await self.carrier.open()
        self.task = asyncio.create_task(self.controller.run(), name=f"simulated {self.name}")

    def check(self) -> None:
        """Raise what ended it."""
        if self.task is not None and self.task.done():
            self.task.result()

    async def die(self) -> None:
        """End without a word to anybody: the carrier goes first, so that no lease is given back."""
        await self.carrier.close()
        await ended(self.task)
        self.task = None


class Simulation:
    """One run."""

    def __init__(self, folder: Path, gateways: int, count: int, seed: int) -> None:
        self._folder = folder
        self._texts = services(count)
        self._network = drawn(gateways, list(self._texts), seed)
        self._clock = Leap()
        self._number = 1
        self._controllers = [_Running(folder, f"controller-{i}", self._clock) for i in range(2)]
        self.result = Result(gateways=gateways, services=count, seed=seed)

    async def run(self, *, storm: bool) -> Result:
        """All of it."""
        feed = LocalCarrier(self._folder)
        await feed.open()
        controllers = self._controllers
        try:
            await self._tell(feed)
            await controllers[0].begin()
            await self._until(lambda: controllers[0].controller.leading)
            await controllers[1].begin()
            await self._first(feed, controllers[0].controller)
            await self._steady(feed, controllers[0].controller)
            if storm:
                await self._storm(feed, controllers[0].controller)
            await self._death(feed)
        finally:
            for one in controllers:
                await one.die()
            await feed.close()
        return self.result

    async def _first(self, feed: LocalCarrier, leader: Controller) -> None:
        result, began = self.result, time.monotonic()
        for name, text in sorted(self._texts.items()):
            await apply_text(feed, name, text, "simulation")
        most = sum(1 for advert in self._network.adverts.values() if advert.points)
        await self._until(lambda: leader.counted.writes >= most and self._planned(leader) == len(self._texts))
        result.first_plan_s = round(time.monotonic() - began, 3)
        turn = leader.counted.last
        assert turn is not None
        plan = turn.plan
        tables = plan.problem.tables
        result.plan_s, result.method = round(plan.seconds, 3), plan.method
        result.cost, result.bound, result.distance = plan.cost, plan.bound, round(plan.distance, 4)
        result.feasible = bool(held(tables, np.maximum(plan.cuts, 0)).all() and plan.loads.cpu[-1] <= tables.cpu[-1])
        result.shed = sum(int(drop.nodes.sum()) for drop in plan.drops)

    @staticmethod
    def _planned(leader: Controller) -> int:
        turn = leader.counted.last
        return 0 if turn is None else len(turn.view.wanted)

    async def _steady(self, feed: LocalCarrier, leader: Controller) -> None:
        """Nothing but noise, for longer than a dwell."""
        counted, turns, writes = leader.counted, leader.counted.turns, leader.counted.writes
        for _ in range(ROUNDS):
            await self._round(feed, leader, 0.03)
        self.result.steady_turns = counted.turns - turns
        self.result.steady_writes = counted.writes - writes

    async def _storm(self, feed: LocalCarrier, leader: Controller) -> None:
        """All change, again and again."""
        counted, turns, before = leader.counted, leader.counted.turns, dict(leader.counted.moves)
        for _ in range(STORM_ROUNDS):
            await self._round(feed, leader, 0.0, storm=True)
        moves = {name: count - before.get(name, 0) for name, count in counted.moves.items()}
        self.result.storm_turns = counted.turns - turns
        self.result.storm_moves, self.result.storm_most = sum(moves.values()), max(moves.values(), default=0)

    async def _death(self, feed: LocalCarrier) -> None:
        """The leader dies; the standby goes on from what stands."""
        controllers = self._controllers
        new = controllers[1].controller
        epoch = await self._epoch(feed)
        began = time.monotonic()
        await controllers[0].die()
        await self._until(lambda: new.leading and new.counted.turns > 0)
        self.result.takeover_s = round(time.monotonic() - began, 3)
        self.result.takeover_writes = new.counted.writes
        await apply_text(feed, "late", services(1)["demand"].replace("service: demand", "service: late"), "simulation")
        for advert in self._network.adverts.values():
            if "demand" in advert.points:
                self._network.adverts[advert.node] = msgspec.structs.replace(
                    advert, points=advert.points | {"late": advert.points["demand"]}
                )
        self._number += 1
        await self._tell(feed)
        await self._until(lambda: new.counted.writes > self.result.takeover_writes)
        self.result.epochs_grow = await self._epoch(feed) > epoch

    @staticmethod
    async def _epoch(feed: LocalCarrier) -> int:
        entry = await feed.get("facts", HEAD)
        assert entry is not None
        return msgspec.json.decode(entry.value or b"", type=Head).epoch

    async def _round(self, feed: LocalCarrier, leader: Controller, noise: float, *, storm: bool = False) -> None:
        """One advert of each node, and the turns that follow."""
        self._number += 1
        self._clock.ahead_s += STEP_S
        self._network.again(self._number, noise, storm=storm)
        await self._tell(feed)
        await self._until(lambda: self._heard(leader))

    def _heard(self, leader: Controller) -> bool:
        """Whether the last turn has seen the last adverts of all."""
        turn = leader.counted.last
        return turn is not None and all(advert.number == self._number for advert in turn.view.nodes)

    async def _tell(self, feed: LocalCarrier) -> None:
        """All adverts, as they are now."""
        turns = asyncio.Semaphore(SIDE_BY_SIDE)

        async def one(advert: Advert) -> None:
            async with turns:
                await feed.put("nodes", advert.node, encode(advert))

        adverts: Mapping[str, Advert] = self._network.adverts
        async with task_group() as tasks:
            for advert in adverts.values():
                fresh = msgspec.structs.replace(advert, number=self._number)
                self._network.adverts[advert.node] = fresh
                tasks.create_task(one(fresh), name=f"advert {advert.node}")

    async def _until(self, good: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not good():
                await asyncio.sleep(0.02)
                for one in self._controllers:
                    one.check()


async def simulated(gateways: int, count: int, *, storm: bool, seed: int = 1) -> Result:
    """Run it in a folder that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="onpath-simulation-") as folder:
        return await Simulation(Path(folder), gateways, count, seed).run(storm=storm)
