"""Hubs as users run them: ``onpath hub run`` with a YAML file each, one or a cluster, on free ports of the loopback."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
import sysconfig
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

_ONE = """
hub:
  name: {name}
  listen: 127.0.0.1:{port}
  state: {state}
  {extra}
"""
_CLUSTER = """cluster:
    name: net
    listen: 127.0.0.1:{own}
    routes: [{routes}]
    password: "p@ss/word"
"""


class HubProcess:
    """One hub."""

    def __init__(self, folder: Path, name: str, port: int, extra: str = "") -> None:
        self.state = folder / name
        self.file = folder / f"{name}.yaml"
        self.name = name
        self.port = port
        self.file.write_text(_ONE.format(name=name, port=port, state=self.state, extra=extra))
        self.log = folder / f"{name}.log"
        self._process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        return self._process.pid

    def facts(self) -> dict[str, int]:
        """What it says of its process."""
        return json.loads((self.state / "hub.json").read_text())

    async def start(self, timeout_s: float = 30.0) -> None:
        """Start, and wait until nodes can connect."""
        with suppress(FileNotFoundError):
            (self.state / "hub.json").unlink()  # of one that was killed
        onpath = Path(sysconfig.get_path("scripts")) / "onpath"
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, str(onpath), "hub", "run", "-c", str(self.file), stdout=log, stderr=log
            )
        async with asyncio.timeout(timeout_s):
            while not (self.state / "hub.json").exists():
                if self._process.returncode is not None:
                    raise RuntimeError(self.log.read_text())
                await asyncio.sleep(0.02)

    async def kill(self) -> None:
        """As a power cut: its server first, which would otherwise end in order."""
        with suppress(ProcessLookupError):
            os.kill(self.facts()["server"], signal.SIGKILL)
        self._process.kill()
        await self._process.wait()
        self._process = None

    async def stop(self) -> int:
        """End it in order; its exit code."""
        process, self._process = self._process, None
        if process is None:
            return 0
        with suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(20):
                return await process.wait()
        except TimeoutError:
            process.kill()
            return await process.wait()


def free_ports(count: int) -> list[int]:
    """Ports that nobody has now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


@asynccontextmanager
async def hub(folder: Path, extra: str = "") -> AsyncIterator[HubProcess]:
    """One that runs."""
    one = HubProcess(folder, "hub-1", free_ports(1)[0], extra)
    try:
        await one.start()
        yield one
    finally:
        await one.stop()


@asynccontextmanager
async def hub_cluster(folder: Path, count: int = 3, extra: str = "") -> AsyncIterator[list[HubProcess]]:
    """Several as one; ``extra`` goes into the section of the cluster."""
    ports = free_ports(2 * count)
    routes = ports[count:]
    hubs = [
        HubProcess(folder, f"hub-{number + 1}", ports[number], _CLUSTER.format(
            own=routes[number], routes=", ".join(f'"nats://127.0.0.1:{port}"' for port in routes)
        ) + extra)
        for number in range(count)
    ]  # fmt: skip
    try:
        await asyncio.gather(*(one.start() for one in hubs))
        yield hubs
    finally:
        await asyncio.gather(*(one.stop() for one in hubs))
