"""The real daemon in a process of its own."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import textwrap
from contextlib import asynccontextmanager
from pathlib import Path

from gateway.control import NotRunningError, ask


class Daemon:
    """``onpath run`` over a folder; ``start`` again after ``kill`` goes on with the same state."""

    def __init__(self, folder: Path, config: str, env: dict[str, str] | None = None) -> None:
        self.folder = folder
        self.state = folder / "state"
        self.config = folder / "onpath.yaml"
        self.log = folder / "log"
        self.env = env
        self.process: subprocess.Popen[bytes] | None = None
        self.write(config)

    def write(self, config: str) -> None:
        """The configuration; gateway and state are added."""
        self.config.write_text(f"gateway: g1\nstate: {self.state}\n" + textwrap.dedent(config))

    async def start(self, timeout_s: float = 40.0) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(  # noqa: ASYNC220 - starting takes no time worth a thread
                [sys.executable, "-m", "gateway.cli.main", "run", "-c", str(self.config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.env,
            )
        async with asyncio.timeout(timeout_s):
            while True:
                try:
                    await ask(self.state, "status")
                except NotRunningError:
                    if self.process.poll() is not None:
                        raise RuntimeError(f"the daemon ended: {self.log.read_text()}") from None
                    await asyncio.sleep(0.02)
                else:
                    return

    async def status(self) -> dict:
        return (await ask(self.state, "status"))["status"]

    async def until(self, condition, timeout_s: float = 40.0) -> dict:
        """Wait until ``condition(status)`` holds; that status."""
        status = {}
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    status = await self.status()
                    if condition(status):
                        return status
                    await asyncio.sleep(0.03)
        except TimeoutError:
            raise AssertionError(f"not reached: {json.dumps(status)}\n{self.log.read_text()[-3000:]}") from None

    def kill(self) -> None:
        """As a power cut does it, but for what the kernel holds."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self, timeout_s: float = 11.0) -> int:
        """SIGTERM, as systemd does it; the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout_s)


@asynccontextmanager
async def daemon(folder: Path, config: str, env: dict[str, str] | None = None):
    """A started daemon, stopped (or at last killed) in the end."""
    running = Daemon(folder, config, env)
    await running.start()
    try:
        yield running
    finally:
        if running.process.poll() is None:
            running.process.kill()
            running.process.wait()


def json_lines(path: Path) -> list[dict]:
    """The batches of a file uplink."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def samples_of(batches: list[dict], point: str | None = None) -> list[dict]:
    """All samples, of one point or of all."""
    return [sample for batch in batches for sample in batch["samples"] if point in {None, sample["point"]}]
