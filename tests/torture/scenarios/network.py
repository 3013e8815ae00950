"""A network whose nodes, hub and controller are killed, whose links are cut and whose work moves, at random.

What comes out at the top is what the edges accepted, exactly.
"""

from __future__ import annotations

import asyncio
import json
import random
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from os import kill
from pathlib import Path
from typing import Any, Final

import msgspec

from gateway.network.assignment import Assignment, assignment_of, encode
from gateway.network.carrier.base import CarrierError
from gateway.network.lookup import everything
from gateway.tasks import ended
from tests.torture.bench import Outcome
from tests.torture.scenarios.network_site import (
    ACCESS,
    AGGREGATION,
    CORE,
    PARENTS,
    SERVICES,
    Plant,
    S,
    expected,
    has_samples,
)

PAUSE_S: Final = 0.06
"""Between two numbers of each access node."""
WINDOW_S: Final = 1.0
CALM_S: Final = (0.5, 3.5)
"""Between two harms; they take longer, so that several come together."""
AT_ONCE: Final = 3
SETTLED_S: Final = 180.0
RESTART_S: Final = 120.0
HIGHEST_CUT: Final = 3
"""Of nodes below the core: the first, the partial windows, and their merge."""


async def killed_cut_and_moved(n: int, folder: Path) -> Outcome:
    """``n`` windows."""
    outcome = Outcome(n)
    async with Plant.running(folder, PAUSE_S) as plant:
        harms = Harms(plant, random.Random(n))
        harming = asyncio.create_task(harms.run(), name="harms")
        await asyncio.sleep(n * WINDOW_S)
        await ended(harming)
        await harms.well()
        plant.meters.end()
        await _settled(plant)
        await _judge(plant, outcome)
    outcome.expect("nobody was killed", holds=sum(harms.done.values()) > 0)
    outcome.facts |= {kind: str(count) for kind, count in sorted(harms.done.items())}
    return outcome


class Harms:
    """What happens, each to somebody who is well, and back after a while; some at once."""

    def __init__(self, plant: Plant, dice: random.Random) -> None:
        self._plant, self._dice = plant, dice
        self.done = Counter[str]()
        self._hurt: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._failed: list[BaseException] = []
        self._kinds: dict[str, tuple[list[str], Callable[[str], Awaitable[None]]]] = {
            "access killed": (list(ACCESS), self._kill_node),
            "hub killed": (["hub"], self._kill_hub),
            "aggregation killed": (list(AGGREGATION), self._kill_node),
            "moved": (["controller"], self._move),
            "core killed": (list(CORE), self._kill_node),
            "link cut": ([*ACCESS, *AGGREGATION, *CORE], self._cut),
            "controller killed": (["controller"], self._kill_controller),
            "hub frozen": (["hub"], self._freeze_hub),
            "link silent": ([*ACCESS, *AGGREGATION, *CORE], self._silence),
        }
        """By name: who it may happen to, and what it is. So they come first; then in any order."""

    async def run(self) -> None:
        """Until cancelled."""
        kinds = list(self._kinds)
        while True:
            for kind in kinds:
                await asyncio.sleep(self._dice.uniform(*CALM_S))
                while len(self._hurt) >= AT_ONCE:  # noqa: ASYNC110  whoever is hurt gets well by himself
                    await asyncio.sleep(0.1)
                self._begin(kind)
            self._dice.shuffle(kinds)

    def _begin(self, kind: str) -> None:
        names, harm = self._kinds[kind]
        well = [name for name in names if name not in self._hurt]
        if not well:
            return
        name = self._dice.choice(well)
        self._hurt.add(name)
        self.done[kind] += 1
        task = asyncio.create_task(self._do(name, harm), name=f"{kind}: {name}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _do(self, name: str, harm: Callable[[str], Awaitable[None]]) -> None:
        try:
            await harm(name)
        except Exception as error:  # noqa: BLE001  told by well()
            self._failed.append(error)
        finally:
            self._hurt.discard(name)

    async def well(self) -> None:
        """Everybody is well again.

        Raises:
            Exception: somebody did not come back.
        """
        if self._tasks:
            await asyncio.wait(set(self._tasks))
        if self._failed:
            raise self._failed[0]

    async def _pause(self, longest_s: float) -> None:
        await asyncio.sleep(self._dice.uniform(0, longest_s))

    async def _kill_node(self, name: str) -> None:
        node = self._plant.network.nodes[name]
        node.kill()
        await self._pause(self._dice.choice((0.5, 4, 10)))  # the last is longer than others believe that it lives
        await node.start(RESTART_S)

    async def _kill_hub(self, _: str) -> None:
        await self._plant.hub.kill()
        await self._pause(4)
        await self._plant.hub.start(RESTART_S)

    async def _freeze_hub(self, _: str) -> None:
        """It accepts, and answers nothing."""
        server = self._plant.hub.facts()["server"]
        kill(server, signal.SIGSTOP)
        await self._pause(6)
        kill(server, signal.SIGCONT)

    async def _cut(self, name: str) -> None:
        link = self._plant.links[name]
        await link.cut()
        await self._pause(5)
        await link.heal()

    async def _silence(self, name: str) -> None:
        """What is sent vanishes, one way or both, and nobody is told."""
        link = self._plant.links[name]
        for way in self._dice.choice(((link.up,), (link.down,), (link.up, link.down))):
            way.silent = True
        await self._pause(8)
        await link.heal()

    async def _kill_controller(self, _: str) -> None:
        self._plant.controller.kill()
        await self._pause(6)
        self._plant.controller.start()

    async def _move(self, _: str) -> None:
        """While no controller runs somebody else plans, by chance; the controller goes on with that."""
        self._plant.controller.kill()
        await self._pause(1)
        for _again in range(2):
            await self._patiently(self._plan)
            await self._pause(3)
        self._plant.controller.start()

    async def _patiently(self, call: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                return await call()
            except CarrierError:
                await asyncio.sleep(0.3)

    async def _plan(self) -> None:
        """Other cuts and parents, at once or from a window on; no cut is above its parent's."""
        carrier, dice = self._plant.network.carrier, self._dice
        plans = {key: assignment_of(one.value or b"") for key, one in (await everything(carrier, "plan")).items()}
        epoch = max(plan.epoch for plan in plans.values()) + 1
        cuts = {(name, service): dice.randint(0, HIGHEST_CUT) for name in AGGREGATION for service in SERVICES}
        for name in ACCESS:
            parent = dice.choice((PARENTS[name], PARENTS[name], ""))
            for service in SERVICES:
                cuts[name, service] = dice.randint(0, cuts[parent, service] if parent else HIGHEST_CUT)
            await self._write(name, plans[name], epoch, parent, cuts)
        for name in AGGREGATION:
            await self._write(name, plans[name], epoch, "", cuts)

    async def _write(
        self, name: str, plan: Assignment, epoch: int, parent: str, cuts: dict[tuple[str, str], int]
    ) -> None:
        from_ns = self._dice.choice((0, (time.time_ns() // S + 2) * S))
        parts = {
            service: msgspec.structs.replace(
                part, epoch=epoch, cut=cuts[name, service], parent=parent, from_ns=from_ns
            )
            for service, part in plan.services.items()
        }  # fmt: skip
        await self._plant.network.carrier.put("plan", name, encode(Assignment(epoch=epoch, services=parts)))


async def _settled(plant: Plant) -> None:
    """Wait until all that the edges accepted is counted and let go everywhere, and a moment longer."""
    with suppress(TimeoutError):
        async with asyncio.timeout(SETTLED_S):
            while not await _quiet(plant):
                plant.check()
                await asyncio.sleep(1)
    await asyncio.sleep(3)  # what would be doubled comes, too


async def _quiet(plant: Plant) -> bool:
    samples = plant.truth()
    accepted = len({value for _, _, value in samples})
    return (
        accepted == plant.meters.sent - plant.meters.before
        and plant.root.figures == expected(samples)
        and not await _waiting(plant)
    )


async def _waiting(plant: Plant) -> dict[str, int]:
    """Rows that still wait for their receiver, by node and uplink."""
    found: dict[str, int] = {}
    for name in (*ACCESS, *AGGREGATION):
        status = await plant.network.nodes[name].status()
        found |= {f"{name} {uplink}": row["spool"]["rows"] for uplink, row in status["uplinks"].items()}
    return {name: rows for name, rows in found.items() if rows}


async def _judge(plant: Plant, outcome: Outcome) -> None:
    samples, found = plant.truth(), plant.root.figures
    values, sent = {value for _, _, value in samples}, plant.meters.sent - plant.meters.before
    want = expected(samples)
    off = {key: found.get(key, 0.0) - want.get(key, 0.0) for key in want.keys() | found.keys() if "#count" in key[0]}
    lost, doubled = -sum(v for v in off.values() if v < 0), sum(v for v in off.values() if v > 0)
    wrong = sorted(key for key in want.keys() | found.keys() if want.get(key) != found.get(key))
    waiting = await _waiting(plant)
    outcome.expect(f"{sent} messages, {len(values)} of them accepted", holds=len(values) == sent)
    outcome.expect(f"{lost:.0f} samples lost", holds=not lost)
    outcome.expect(f"{doubled:.0f} samples doubled", holds=not doubled)
    for key in wrong[:20]:
        outcome.expect(f"{key}: {found.get(key)} is not {want.get(key)}", holds=False)
    outcome.expect(f"rows still wait: {waiting}", holds=not waiting)
    told = await _told(plant)
    outcome.expect("onpath service results says something else", holds=told == found)
    plans = await everything(plant.network.carrier, "plan")
    outcome.facts |= {
        "windows": str(len({second for _, second in want})),
        "samples": str(len(samples)),
        "repeated by the broker": str(len(samples) - len(values)),
        "lost": f"{lost:.0f}",
        "doubled": f"{doubled:.0f}",
        "figures given again": str(plant.root.revised),
        "plans": str(max(assignment_of(one.value or b"").epoch for one in plans.values())),
        "longest stall": f"{plant.root.stall_s:.1f} s",
        "bytes raw": str(plant.raw_bytes),
        **{f"bytes from {tier}": str(count) for tier, count in sorted(plant.root.bytes.items())},
    }


async def _told(plant: Plant) -> dict[tuple[str, int], float]:
    """What the command line says."""
    found: dict[tuple[str, int], float] = {}
    for service in SERVICES:
        text = await plant.network.run("service", "results", service, "--json", "--last", "1000000")
        rows: list[dict[str, Any]] = list(map(json.loads, text.splitlines()))
        found |= {
            (row["point"], row["time"] // S): row["value"] for row in rows if has_samples(row["point"], row["value"])
        }
    return found
