"""The demo's child processes: started with their output kept, watched, and stopped by their handles."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import msgspec

from gateway.broker import stop_process
from gateway.broker_process import end_with_parent
from gateway.errors import LinkError, OnpathError

if TYPE_CHECKING:
    from types import TracebackType

_LAST_LINES = 12


class Child:
    """A Python process of ours: ``python -m MODULE ARGUMENTS``; its messages go to a file."""

    answer_s: ClassVar[float] = 15.0
    """So long it may take to answer."""

    def __init__(self, module: str, *arguments: str, log: Path, stop_s: float = 5.0, answers: bool = False) -> None:
        """``answers``: its output is read by us instead of going to ``log`` with the rest."""
        self.module = module
        self._arguments = arguments
        self._log = log
        self._stop_s = stop_s
        self._answers = answers
        self._process: asyncio.subprocess.Process | None = None

    async def start(self, variables: Mapping[str, str] | None = None) -> None:
        """Start it, with ``variables`` added to the environment."""
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", self.module, *self._arguments),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE if self._answers else log,
                stderr=log,
                env={**os.environ, **(variables or {})},
                start_new_session=True,  # a Ctrl-C on the terminal is ours to handle, in order
                preexec_fn=end_with_parent,
            )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    @property
    def process(self) -> asyncio.subprocess.Process:
        """The running process."""
        assert self._process is not None, "not started"
        return self._process

    def check(self) -> None:
        """Complain if it has ended by itself.

        Raises:
            OnpathError: with the last lines of what it said.
        """
        if self.process.returncode is not None:
            raise OnpathError(self.failure(f"ended with code {self.process.returncode}"))

    def failure(self, why: str) -> str:
        """``why`` with the last lines of what it said, routine left out."""
        lines = self._log.read_text("utf-8", "replace").splitlines()
        telling = [line for line in lines if " info " not in line] or lines
        return "\n".join([f"{self.module} {why}", *telling[-_LAST_LINES:]])

    async def answer(self) -> dict[str, Any]:
        """Its next line, if it answers.

        Raises:
            OnpathError: it gives none.
        """
        assert self.process.stdout is not None
        try:
            async with asyncio.timeout(self.answer_s):
                line = await self.process.stdout.readline()
            return msgspec.json.decode(line, type=dict[str, Any])
        except TimeoutError:
            raise OnpathError(self.failure(f"is silent for {self.answer_s:g} s")) from None
        except msgspec.DecodeError as error:
            raise OnpathError(self.failure("gave no answer")) from error

    async def stop(self) -> int | None:
        """End it in order and by force if need be; its exit code, None if it never started."""
        process, self._process = self._process, None
        if process is None:
            return None
        assert process.stdin is not None
        process.stdin.close()
        return await stop_process(process, self._stop_s)


class FeederChild(Child):
    """The feeder process, see :mod:`gateway.demo.feeder` for what it is told and answers."""

    def __init__(self, folder: Path, *, mqtt_port: int, rate: float, seed: int) -> None:
        self.ack_log = folder / "acks.log"
        super().__init__(
            "gateway.demo.feeder",
            *("--mqtt-port", str(mqtt_port), "--ack-log", str(self.ack_log)),
            *("--rate", str(rate), "--seed", str(seed)),
            log=folder / "feeder.log",
            answers=True,
        )

    async def tell(self, order: str) -> None:
        """Give an order."""
        assert self.process.stdin is not None
        self.process.stdin.write(order.encode() + b"\n")
        try:
            await self.process.stdin.drain()
        except ConnectionError as error:
            raise LinkError(self.failure("does not listen any more")) from error


class GatewayChild(Child):
    """The gateway itself: ``onpath run`` with the demo's configuration."""

    def __init__(self, folder: Path, config: Path) -> None:
        self.state = folder / "state"
        super().__init__("gateway.cli.main", "run", "-c", str(config), log=folder / "gateway.log", stop_s=15)

    def usage(self) -> tuple[float, float]:
        """CPU seconds used so far and the most memory it ever held (MB), by the kernel's accounting."""
        folder = Path("/proc", str(self.process.pid))
        try:
            # Behind the name, which may hold anything: fields 14 and 15 of proc(5) are utime and stime.
            fields = folder.joinpath("stat").read_text("utf-8").rpartition(")")[2].split()
            status = folder.joinpath("status").read_text("utf-8")
        except OSError:
            return 0.0, 0.0  # it is gone
        ticks = int(fields[11]) + int(fields[12])
        peak_kb = next((line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")), "0")
        return ticks / os.sysconf("SC_CLK_TCK"), int(peak_kb) / 1000
