"""Scenarios that are tests as well: the same code at another number of trials, told by an environment variable."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.torture.bench import Counts, Outcome

ROOT = Path(__file__).parents[2]
_FAILED = re.compile(r"^(?:FAILED|ERROR) (.*)$", re.MULTILINE)
_CLOSING = re.compile(r"(\d+) passed")


@dataclass
class Tests:
    """Runs tests of the suite with ``variable`` set to the number of trials each of them makes."""

    __test__ = False

    name: str
    must: str
    nodes: tuple[str, ...]
    counts: Counts
    variable: str = ""

    async def run(self, n: int, folder: Path) -> Outcome:
        """See :class:`~tests.torture.bench.Scenario`."""
        environment = os.environ | ({self.variable: str(n)} if self.variable else {})
        command = [sys.executable, "-X", "dev", "-m", "pytest", "-q", "-rf", "-o", "timeout=0", *self.nodes]
        process = await asyncio.create_subprocess_exec(
            *command,
            f"--basetemp={folder / 'tests'}",
            cwd=ROOT,
            env=environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        out = (await process.communicate())[0].decode(errors="replace")
        passed = int(found[1]) if (found := _CLOSING.search(out)) else 0
        outcome = Outcome(n if self.variable else passed, _FAILED.findall(out), {"tests": str(passed)})
        outcome.expect(
            f"the tests ended with exit code {process.returncode}: {out[-1500:]}", holds=not process.returncode
        )
        return outcome
