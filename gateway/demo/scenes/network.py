"""The network of a scene, from start to end: nodes, controller and services, and back again; nothing stays behind."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from gateway.demo.scenes.parts import ControllerChild, Node, NodeSpec, apply, sent
from gateway.demo.scenes.results import Tap
from gateway.errors import OnpathError
from gateway.network.carrier.opening import carrier_of
from gateway.network.config import CarrierConfig, Tier
from gateway.network.facts import gathered
from gateway.tasks import ended

if TYPE_CHECKING:
    from gateway.network.assignment import Assignment

_LINKS_S: Final = 60.0
_PLANNED_S: Final = 60.0
_POLL_S: Final = 0.25
_STILL_S: Final = 8.0
"""A plan that stays for so long, some adverts, has taken in what was measured."""


class Carried(NamedTuple):
    """Bytes on links."""

    nodes: dict[str, int]
    """Sent by each node to its parent, or to the core."""
    results: int

    def since(self, before: Carried) -> Carried:
        """What came later."""
        nodes = {name: size - before.nodes.get(name, 0) for name, size in self.nodes.items()}
        return Carried(nodes, self.results - before.results)


class Network:
    """The processes of a scene, over a carrier in a folder."""

    def __init__(self, folder: Path, tell: Callable[[str], None]) -> None:
        self.nodes: dict[str, Node] = {}
        self.folder = folder
        self.url = f"local:{folder / 'network'}"
        self._tell = tell
        self._carrier = carrier_of(CarrierConfig(url=self.url), "onpath-demo")
        self.tap = Tap(self._carrier)
        self._controller: ControllerChild | None = None
        self._reading: asyncio.Task[None] | None = None

    async def open(self, stack: AsyncExitStack) -> None:
        """Make the carrier's folder, and read results from now on."""
        await self._carrier.open()
        stack.push_async_callback(self._carrier.close)
        self._reading = asyncio.create_task(self.tap.run(), name="demo results")
        stack.push_async_callback(ended, self._reading)

    async def start(self, stack: AsyncExitStack, specs: Sequence[NodeSpec]) -> None:
        """All nodes at once.

        Raises:
            OnpathError: one does not start.
        """
        self._tell(_counted(specs))
        self.nodes = {spec.name: Node(spec, self.folder, self.url) for spec in specs}
        stack.push_async_callback(self._stop)
        await asyncio.gather(*(node.start() for node in self.nodes.values()))

    async def _stop(self) -> None:
        await asyncio.gather(*(node.stop() for node in self.nodes.values()))

    async def until(self, ready: Callable[[dict[str, dict[str, Any]]], str], limit_s: float = _LINKS_S) -> None:
        """Wait until ``ready``, of the statuses by node, has nothing more to say that is missing.

        Raises:
            OnpathError: something still is, or a node has ended.
        """
        missing = ""
        try:
            async with asyncio.timeout(limit_s):
                while missing := ready(await self.statuses()):
                    self.check()
                    await asyncio.sleep(_POLL_S)
        except TimeoutError:
            raise OnpathError(f"after {limit_s:g} s: {missing}") from None

    async def statuses(self) -> dict[str, dict[str, Any]]:
        """Of all nodes, by name."""
        found = await asyncio.gather(*(node.status() for node in self.nodes.values()))
        return dict(zip(self.nodes, found, strict=True))

    def check(self) -> None:
        """Complain if a process has ended by itself, or results cannot be read.

        Raises:
            OnpathError: which.
        """
        for node in self.nodes.values():
            node.check()
        if self._controller is not None:
            self._controller.check()
        if self._reading is not None and self._reading.done():
            self._reading.result()

    async def serve(self, stack: AsyncExitStack, services: Sequence[Path]) -> None:
        """Start a controller, give it the services, and wait until every node follows its plan.

        Raises:
            OnpathError: a service is refused, or there is no plan.
        """
        self._controller = await stack.enter_async_context(ControllerChild(self.folder, self.url))
        await self._controller.start()
        await asyncio.gather(*(apply(service, self.url) for service in services))
        names = {service.stem for service in services}
        self._tell(f"applied: {', '.join(sorted(names))}; waiting for the controller's plan")
        await self._planned(names)

    async def _planned(self, names: set[str]) -> None:
        """Until each node with a part in a service has applied what the plan says."""
        missing = ""
        try:
            async with asyncio.timeout(_PLANNED_S):
                while missing := await self._unplanned(names):
                    self.check()
                    await asyncio.sleep(_POLL_S)
        except TimeoutError:
            assert self._controller is not None
            raise OnpathError(self._controller.failure(f"after {_PLANNED_S:g} s: {missing}")) from None

    async def rest(self, limit_s: float) -> None:
        """Wait until the plan stays as it is for a while; not for ever, as it may change at any time."""
        until, since, known = time.monotonic() + limit_s, time.monotonic(), 0
        while (now := time.monotonic()) < min(until, since + _STILL_S):
            self.check()
            epoch = max((plan.epoch for plan in (await self.plans()).values()), default=0)
            if epoch != known:
                known, since = epoch, now
            await asyncio.sleep(_POLL_S)

    async def _unplanned(self, names: set[str]) -> str:
        facts = await gathered(self._carrier)
        for name in sorted(names):
            sources = {node for node, advert in facts.adverts.items() if advert.points.get(name)}
            without = sorted(sources - facts.parts(name).keys())
            if without or not sources:
                return f"no plan for {name} at {', '.join(without) or 'any node'}"
        statuses = await self.statuses()
        for name, plan in facts.plans.items():
            followed = (statuses.get(name, {}).get("network") or {}).get("services", {})
            late = [one for one, part in plan.services.items() if followed.get(one, {}).get("epoch", 0) < part.epoch]
            if late:
                return f"{name} does not follow the plan of {', '.join(late)}"
        return ""

    async def plans(self) -> dict[str, Assignment]:
        """What the plan says, by node."""
        return (await gathered(self._carrier)).plans

    async def explained(self) -> dict[str, Any]:
        """Of each service, how the plan in force runs it: stages by tier, as ``onpath service explain`` says it."""
        facts = await gathered(self._carrier)
        found: dict[str, Any] = {}
        for name, told in facts.explanations.items():
            found[name] = [
                f"{stage.operator}{f' ({stage.kind})' if stage.kind in {'partial', 'merge', 'final'} else ''}: "
                + (", ".join(f"{where.tier} {where.nodes}" for where in stage.where) or "nowhere")
                for stage in told.stages
            ]
        return found

    async def carried(self) -> Carried:
        """Bytes on all links until now."""
        statuses = await self.statuses()
        return Carried({name: sent(status) for name, status in statuses.items()}, self.tap.bytes)


def all_up(statuses: dict[str, dict[str, Any]]) -> str:
    """What is not connected yet, for :meth:`Network.until`."""
    down = [
        f"{name}/{adapter}"
        for name, status in statuses.items()
        for adapter, part in (status.get("adapters") or {}).items()
        if part["link"] != "up"
    ]
    silent = [name for name, status in statuses.items() if not status]
    return f"no link: {', '.join(down + silent)}" if down or silent else ""


def _counted(specs: Sequence[NodeSpec]) -> str:
    tiers = [spec.tier for spec in specs]
    parts = [f"{tiers.count(tier)} of tier {tier}" for tier in Tier if tier in tiers]
    return f"{len(specs)} gateways: {', '.join(parts)}"
