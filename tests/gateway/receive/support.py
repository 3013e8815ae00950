"""``onpath receive`` in a process of its own."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from pathlib import Path


class ReceiveProcess:
    """Started with the same arguments each time; ``kill`` as a power cut does it."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.arguments = arguments
        self.log = folder / "receive.log"
        self.summaries = folder / "summary.jsonl"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *more: str) -> None:
        with self.log.open("ab") as log, self.summaries.open("ab") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "gateway.cli.main", "receive", *self.arguments, *more],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=log,
            )

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    async def connected(self, times: int, timeout_s: float = 40.0) -> None:
        """Wait until it has connected so often, over all its lives."""
        async with asyncio.timeout(timeout_s):
            while not self.log.exists() or self.log.read_text().count("connected to") < times:
                if self.process.poll() is not None:
                    raise RuntimeError(f"it ended: {self.log.read_text()}")
                await asyncio.sleep(0.02)

    async def finished(self, timeout_s: float = 60.0) -> tuple[int, dict]:
        """Wait until it ends by itself: exit code and summary."""
        await asyncio.to_thread(self.process.wait, timeout_s)
        lines = self.summaries.read_text().splitlines()
        assert lines, self.log.read_text()
        return self.process.returncode, json.loads(lines[-1])


def records(path: Path) -> list[tuple[str, int, int]]:
    """Record ids of a file of JSON lines, in order; each line is whole."""
    batches = [json.loads(line) for line in path.read_text().splitlines()]
    return [(batch["gateway"], batch["epoch"], batch["seq"]) for batch in batches]
