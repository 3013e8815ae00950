"""The processes of the cluster: gateways that are nodes of the tree, and workers."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Final

import msgspec

from gateway.control import NotRunningError, ask
from gateway.demo.children import Child, GatewayChild
from gateway.errors import OnpathError

HERE: Final = Path(__file__).parent
ROOT_CONFIG: Final = HERE / "cluster-root.yaml"
AGGREGATOR_CONFIG: Final = HERE / "cluster-aggregator.yaml"
_READY_S: Final = 30.0
_POLL_S: Final = 0.02
ONE_THREAD: Final = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
"""Workers compute beside each other, and the bits of a product must not depend on how many threads share it."""


class Node:
    """A gateway of the tree, which may be killed and started again at the same address."""

    def __init__(self, name: str, folder: Path, token: str, parent: str = "") -> None:
        self.name = name
        self.address = ""
        self._folder = folder / name
        self._folder.mkdir()
        self._variables = {"DEMO_NAME": name, "DEMO_TOKEN": token, "DEMO_STATE": str(self._folder / "state")}
        if parent:
            self._variables["DEMO_PARENT"] = parent
        self._config = AGGREGATOR_CONFIG if parent else ROOT_CONFIG
        self._child: GatewayChild | None = None

    async def start(self) -> None:
        """Run until it listens.

        Raises:
            OnpathError: it does not.
        """
        self._child = child = GatewayChild(self._folder, self._config)
        await child.start(self._variables | {"DEMO_LISTEN": self.address or "127.0.0.1:0"})
        try:
            async with asyncio.timeout(_READY_S):
                while not (listens := (await self.reduction()).get("listen")):
                    child.check()
                    await asyncio.sleep(_POLL_S)
        except TimeoutError:
            raise OnpathError(child.failure(f"does not listen after {_READY_S:g} s")) from None
        self.address = listens

    async def reduction(self) -> dict[str, Any]:
        """What it counts; empty while it does not answer."""
        assert self._child is not None
        try:
            status = (await ask(self._child.state, "status"))["status"]
        except NotRunningError:
            return {}
        found: dict[str, Any] = status["reduction"] or {}
        return found

    async def kill(self) -> None:
        """``kill -9``."""
        assert self._child is not None
        self._child.process.kill()
        await self._child.process.wait()

    async def stop(self) -> None:
        """In order."""
        if self._child is not None:
            await self._child.stop()


class WorkerChild(Child):
    """A worker process, see :mod:`gateway.demo.cluster_worker` for what it is told and answers."""

    answer_s = 120.0

    def __init__(self, folder: Path, workers: int, seed: int, worker: int | None = None) -> None:
        """``worker``: None for the one that does the work of all."""
        name = "central" if worker is None else f"worker-{worker}"
        who = ("--central",) if worker is None else ("--worker", str(worker))
        super().__init__(
            "gateway.demo.cluster_worker",
            *("--workers", str(workers), "--seed", str(seed), *who),
            log=folder / f"{name}.log",
            answers=True,
        )

    async def begin(self) -> None:
        """Start it, and wait until it is there."""
        await self.start(ONE_THREAD)
        await self.answer()

    async def do(self, what: str, **order: Any) -> dict[str, Any]:
        """Give an order and wait for its answer.

        Raises:
            OnpathError: it gives none.
        """
        self.say(msgspec.json.encode({"do": what, **order}))
        return await self.answer()

    def say(self, line: bytes) -> None:
        """A line to its input."""
        assert self.process.stdin is not None
        self.process.stdin.write(line + b"\n")
