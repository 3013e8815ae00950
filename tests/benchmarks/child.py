"""Processes of the benchmarks: each says a word a line when it has come so far, and goes on when it is told."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from typing import Self

from tests.benchmarks.machine import ROOT, cpu_s


class Child:
    """``python -m tests.benchmarks.MODULE ARGUMENTS``; ended when the block ends."""

    def __init__(self, module: str, *arguments: object) -> None:
        self._command = [sys.executable, "-m", f"tests.benchmarks.{module}", *map(str, arguments)]
        self._process: asyncio.subprocess.Process

    async def __aenter__(self) -> Self:
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(*self._command, stdin=pipe, stdout=pipe, cwd=ROOT)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.communicate(), 10)
        except TimeoutError:
            self._process.kill()
            await self._process.communicate()

    async def hears(self, word: str, timeout_s: float = 120.0) -> list[str]:
        """Wait for a line that begins with ``word``; the words behind it."""
        async with asyncio.timeout(timeout_s):
            line = (await self._process.stdout.readline()).decode().split()
        if line[:1] != [word]:
            raise RuntimeError(f"{' '.join(self._command[2:])} said {line} instead of {word!r}")
        return line[1:]

    def tell(self, word: str) -> None:
        """Send a line."""
        self._process.stdin.write(word.encode() + b"\n")

    @property
    def cpu_s(self) -> float:
        """User and system time so far."""
        return cpu_s(self._process.pid)


def say(*words: object) -> None:
    """From within a child."""
    with contextlib.suppress(BrokenPipeError):
        print(*words, flush=True)


async def told() -> str:
    """From within a child on a loop: wait for the next line; empty at the end."""
    return await asyncio.to_thread(sys.stdin.readline)
