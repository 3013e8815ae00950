"""A scene from start to end: devices, gateways, controller and services, a time that is judged, and a report."""

from __future__ import annotations

import abc
import asyncio
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, ClassVar, Final

from gateway.demo.scenes.network import Carried, Network, all_up
from gateway.demo.scenes.oracle import Accepted, Check, Range, Verdict, judge
from gateway.demo.scenes.parts import DevicesChild, NodeSpec
from gateway.demo.scenes.report import NodeFigures, Run, SceneReport, scene_report
from gateway.demo.scenes.running import stages_of

EVERY_NS: Final = 5 * 10**9
"""Windows of all services of the scenes."""
_SETTLE_S: Final = 45.0
_GRACE_S: Final = 2.0
RESTLESS_S: Final = 30.0
"""How long the plan may take to come to rest before windows are counted; no longer than they then are."""
_LOOK_S: Final = 0.5


class Scene(abc.ABC):
    """One run. :meth:`run` may be called once."""

    name: ClassVar[str]
    services: ClassVar[Sequence[Path]]
    """Their files; each is called as its service."""
    checks: ClassVar[Sequence[Check]]
    shown: ClassVar[list[tuple[str, str]]]
    """Service and point of the results that the report shows."""
    speed: ClassVar[float]

    def __init__(self, for_s: float, *, tell: Callable[[str], None]) -> None:
        self.tell = tell
        self._windows = max(1, int(for_s * 1e9) // EVERY_NS)

    @abc.abstractmethod
    def devices(self, folder: Path) -> DevicesChild:
        """The process that has them, not started."""

    @abc.abstractmethod
    def nodes(self, said: dict[str, Any]) -> list[NodeSpec]:
        """The gateways; ``said``: the devices' first answer."""

    def ready(self, statuses: dict[str, dict[str, Any]]) -> str:
        """What is missing before services can begin; empty: nothing."""
        return all_up(statuses)

    @abc.abstractmethod
    async def during(self, network: Network, devices: DevicesChild, span: Range) -> None:
        """What happens on purpose, in the time that is judged."""

    @abc.abstractmethod
    def found(self, network: Network) -> dict[str, Any]:
        """What the network has found of it."""

    def complete(self, network: Network) -> bool:
        """Whether all of it was found."""
        del network
        return True

    async def after(self, network: Network, devices: DevicesChild) -> dict[str, Any]:
        """More for ``found``, in the end."""
        del network, devices
        return {}

    async def run(self) -> SceneReport:
        """Start everything, run, stop everything; nothing stays behind.

        Raises:
            OnpathError: a part does not start, or ends before its time.
        """
        async with AsyncExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="onpath-demo-")))
            network = Network(folder, self.tell)
            await network.open(stack)
            devices = await stack.enter_async_context(self.devices(folder))
            await devices.start()
            await self.prepare(stack, network, devices)
            await network.start(stack, self.nodes(await devices.answer()))
            await network.until(self.ready)
            await self.join(network, devices)
            await network.serve(stack, self.services)
            await network.rest(min(RESTLESS_S, self._windows * EVERY_NS / 1e9))
            return await self._judged(network, devices)

    async def prepare(self, stack: AsyncExitStack, network: Network, devices: DevicesChild) -> None:
        """What must be there before the gateways."""
        del stack, network, devices

    async def join(self, network: Network, devices: DevicesChild) -> None:
        """What happens when all gateways run, before the services are applied."""
        del network, devices

    async def _judged(self, network: Network, devices: DevicesChild) -> SceneReport:
        begin_ns = -(-time.time_ns() // EVERY_NS) * EVERY_NS
        span = Range(begin_ns, begin_ns + self._windows * EVERY_NS, EVERY_NS)
        self.tell(f"counting {self._windows} windows of {EVERY_NS / 1e9:g} s")
        await self.wait_until(span.begin_ns, network)
        before = await network.carried()
        await self.during(network, devices, span)
        await self.wait_until(span.end_ns, network)
        carried = (await network.carried()).since(before)
        accepted, verdict = await self._settled(network, span)
        found = self.found(network) | await self.after(network, devices)
        run = Run(
            self.name, self.speed, span, accepted, verdict, network.tap, carried.results, self.shown
        )  # fmt: skip
        nodes = await _figures(network, carried, accepted)
        return scene_report(run, found=found, plan=await network.explained(), nodes=nodes)

    async def wait_until(self, time_ns: int, network: Network) -> None:
        """Let time pass, looking whether all processes are there.

        Raises:
            OnpathError: one is not.
        """
        while (left_s := (time_ns - time.time_ns()) / 1e9) > 0:
            network.check()
            await asyncio.sleep(min(left_s, _LOOK_S))

    async def _settled(self, network: Network, span: Range) -> tuple[Accepted, Verdict]:
        """Wait for the results of the last windows; then once more, so that what comes too often is seen, too."""
        self.tell("waiting for the last results")
        until = time.monotonic() + _SETTLE_S
        accepted = await self._accepted(network, span)
        while time.monotonic() < until:
            network.check()
            await asyncio.sleep(_LOOK_S)
            if judge(accepted, self.checks, network.tap.told).exact and self.complete(network):
                await asyncio.sleep(_GRACE_S)
                break
            accepted = await self._accepted(network, span)
        return accepted, judge(accepted, self.checks, network.tap.told)

    async def _accepted(self, network: Network, span: Range) -> Accepted:
        return await asyncio.to_thread(self._read, network, span)

    def _read(self, network: Network, span: Range) -> Accepted:
        accepted = Accepted(self.checks, span)
        for node in network.nodes.values():
            if node.raw.exists():
                with node.raw.open("rb") as lines:
                    accepted.read(node.spec.all_labels, (line for line in lines if line.endswith(b"\n")))
        return accepted


async def _figures(network: Network, carried: Carried, accepted: Accepted) -> list[NodeFigures]:
    children: dict[str, list[str]] = {}
    for name, node in network.nodes.items():
        children.setdefault(node.spec.parent, []).append(name)
    stages = stages_of(await network.plans(), children)
    return [
        NodeFigures(
            name=name, tier=node.spec.tier.value, parent=node.spec.parent, bytes_sent=carried.nodes[name],
            bytes_raw=accepted.by_node.get(name, 0), stages=stages.get(name, []),
        )
        for name, node in network.nodes.items()
    ]  # fmt: skip
