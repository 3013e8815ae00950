"""The processes of a scene: gateways that are nodes, the controller, devices, and verbs that run once."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any, Final

import msgspec
import yaml

from gateway.control import NotRunningError, ask
from gateway.demo.children import Child, GatewayChild
from gateway.errors import LinkError, OnpathError
from gateway.network.config import Tier
from gateway.network.names import UPLINK

RAW: Final = "raw"
"""The uplink of each node that writes what came in to a file: what the judge goes by; and its pipeline."""
ACCEPTED: Final = "accepted"
PRICE: Final = 100
"""Of a byte, in µs of CPU: links that are paid for by the megabyte, as those of stations and of buildings often are."""
DWELL: Final = "10s"
"""The controller may change its mind so often: what is 10 min outside is less here, where time is compressed."""
_APPLY_S: Final = 60.0
_READY_S: Final = 60.0
_POLL_S: Final = 0.1
_SITE: Final = "site"


class NodeSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A node of a scene."""

    name: str
    tier: Tier
    site: str
    labels: dict[str, str] = {}
    parent: str = ""
    """Empty: the core."""
    adapters: dict[str, Any] = {}
    more: dict[str, Any] = {}
    """Further sections of its configuration."""

    @property
    def all_labels(self) -> dict[str, str]:
        """Those that its points have in services."""
        return self.labels | {_SITE: self.site, "node": self.name}


class Node:
    """A gateway in a process of its own: ``onpath run`` with a configuration written for it."""

    def __init__(self, spec: NodeSpec, folder: Path, carrier: str) -> None:
        self.spec = spec
        self.raw = folder / spec.name / "raw.jsonl"
        """What it accepted from its devices, as the format ``json`` has it."""
        self._folder = folder / spec.name
        self._folder.mkdir()
        self._config = self._folder / "onpath.yaml"
        self._child = GatewayChild(self._folder, self._config)
        self._config.write_text(yaml.safe_dump(self._tree(carrier), sort_keys=False), "utf-8")

    def _tree(self, carrier: str) -> dict[str, Any]:
        spec = self.spec
        network: dict[str, Any] = {
            "carrier": {"url": carrier}, "tier": spec.tier.value, "site": spec.site, "labels": dict(spec.labels),
            "advert": "2s", "headroom": 1.0, "price": PRICE,
        }  # fmt: skip
        if spec.parent:
            network["parents"] = [spec.parent]
        tree: dict[str, Any] = {"gateway": spec.name, "state": str(self._child.state), "network": network}
        if spec.adapters:
            tree["adapters"] = spec.adapters
            tree["pipelines"] = {ACCEPTED: {"from": ["**"], "steps": [], "to": [RAW]}}
            tree["uplinks"] = {RAW: {"type": "file", "path": str(self.raw), "time": "ns", "max_size": "1GiB"}}
        return tree | spec.more

    async def start(self) -> None:
        """Run until it answers.

        Raises:
            OnpathError: it does not.
        """
        await self._child.start()
        try:
            async with asyncio.timeout(_READY_S):
                while not await self.status():
                    self._child.check()
                    await asyncio.sleep(_POLL_S)
        except TimeoutError:
            raise OnpathError(self._child.failure(f"({self.spec.name}) is silent after {_READY_S:g} s")) from None

    async def status(self) -> dict[str, Any]:
        """Its status; empty while it does not answer."""
        try:
            status: dict[str, Any] = (await ask(self._child.state, "status"))["status"]
        except NotRunningError:
            return {}
        return status

    def check(self) -> None:
        """Complain if it has ended by itself.

        Raises:
            OnpathError: with the last lines of what it said.
        """
        self._child.check()

    def failure(self, why: str) -> str:
        """``why`` with the last lines of what it said."""
        return self._child.failure(f"({self.spec.name}) {why}")

    async def stop(self) -> None:
        """In order."""
        await self._child.stop()


def sent(status: dict[str, Any]) -> int:
    """Bytes that a node has put on its link so far, by its status."""
    found: int = status.get("uplinks", {}).get(UPLINK, {}).get("bytes", 0)
    return found


class ControllerChild(Child):
    """``onpath controller``."""

    def __init__(self, folder: Path, carrier: str) -> None:
        super().__init__(
            "gateway.cli.main",
            "controller",
            "--carrier",
            carrier,
            "--dwell",
            DWELL,
            log=folder / "controller.log",
            stop_s=10,
        )


class DevicesChild(Child):
    """Simulated devices; told by JSON lines, answers by JSON lines."""

    answer_s = 60.0

    def __init__(self, module: str, *arguments: str, folder: Path) -> None:
        super().__init__(module, *arguments, log=folder / "devices.log", answers=True)

    async def do(self, what: str, **order: Any) -> dict[str, Any]:
        """Give an order and wait for its answer.

        Raises:
            OnpathError: it gives none.
        """
        assert self.process.stdin is not None
        self.process.stdin.write(msgspec.json.encode({"do": what, **order}) + b"\n")
        try:
            await self.process.stdin.drain()
        except ConnectionError as error:
            raise LinkError(self.failure("does not listen any more")) from error
        return await self.answer()


async def apply(service: Path, carrier: str) -> None:
    """``onpath service apply``.

    Raises:
        OnpathError: it is refused.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway.cli.main", "service", "apply", str(service), "--carrier", carrier),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(_APPLY_S):
            said, _ = await process.communicate()
    except TimeoutError:
        raise OnpathError(f"onpath service apply {service.name}: no end after {_APPLY_S:g} s") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        raise OnpathError(f"onpath service apply {service.name}: {said.decode('utf-8', 'replace').strip()}")
