"""A nats-server as a process of ours, in a folder of its own: for the embedded broker and for ``onpath hub``.

It ends with whoever started it, also by ``kill -9``, and what it has left behind is ended by the next one.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import re
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from gateway.errors import LinkError

STOP_S: Final = 5.0
_POLL_S: Final = 0.01
_READY: Final = "Server is ready"


class ServerProcess:
    """One server, started and stopped by us.

    Args:
        state: its folder, made if it is not there.
        name: of its files there: ``<name>.log`` and ``<name>.pid``.
        ports: what is looked for in its log, by name; one group, a port.
        timeout_s: how long it may take to start.
        stop_s: how long it may take to end in order.
    """

    def __init__(
        self,
        state: Path,
        name: str,
        ports: Mapping[str, re.Pattern[str]],
        *,
        timeout_s: float,
        stop_s: float = STOP_S,
    ) -> None:
        self._state = state
        self._ports = ports
        self._timeout_s = timeout_s
        self._stop_s = stop_s
        self._pid_file = state / f"{name}.pid"
        self.log_file = state / f"{name}.log"
        self._config = state / "nats.conf"
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        running = self._process is not None and self._process.returncode is None
        return self._process.pid if self._process is not None and running else None

    async def start(self, binary: Path, config: str) -> dict[str, int]:
        """Start it and wait until it says that it is ready; its ports.

        Args:
            binary: the server.
            config: its configuration, which names :attr:`log_file`.

        Raises:
            LinkError: it does not start; with the last lines of its log.
        """
        self._state.mkdir(0o700, parents=True, exist_ok=True)
        await asyncio.to_thread(_end_predecessor, self._pid_file, self._config, self._stop_s)
        self.log_file.unlink(missing_ok=True)  # the ports are read from what this run writes
        self._config.touch(0o600)  # passwords are part of it
        self._config.write_text(config, "utf-8")
        self._process = await asyncio.create_subprocess_exec(
            str(binary),
            "-c",
            str(self._config),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,  # a Ctrl-C on the terminal is ours to handle, in order
            preexec_fn=end_with_parent,
        )
        self._pid_file.write_text(str(self._process.pid), "utf-8")
        ready = False
        try:
            ports = await self._until_ready()
            ready = True
        finally:
            if not ready:
                await self.stop()
        return ports

    async def ended(self) -> int:
        """Wait until the process ends by itself; its exit code."""
        assert self._process is not None
        return await self._process.wait()

    async def _until_ready(self) -> dict[str, int]:
        assert self._process is not None
        try:
            async with asyncio.timeout(self._timeout_s):
                while _READY not in (log := self._read_log()):
                    if self._process.returncode is not None:
                        raise self.failed(f"ended with code {self._process.returncode}")
                    await asyncio.sleep(_POLL_S)
        except TimeoutError:
            raise self.failed(f"not ready within {self._timeout_s:g} s") from None
        found = {name: pattern.search(log) for name, pattern in self._ports.items()}
        ports = {name: int(port[1]) for name, port in found.items() if port is not None}
        if len(ports) < len(found):
            raise self.failed("its log does not name its ports")
        return ports

    def _read_log(self) -> str:
        try:
            return self.log_file.read_text("utf-8", "replace")
        except FileNotFoundError:
            return ""

    def failed(self, why: str) -> LinkError:
        """An error with the last lines of the log."""
        last = "\n".join(self._read_log().splitlines()[-5:])
        return LinkError(f"nats-server: {why}" + (f"\n{last}" if last else ""))

    async def stop(self) -> None:
        """Stop it in order; kill it if that takes too long. Does nothing when it does not run."""
        process, self._process = self._process, None
        if process is not None:
            await stop_process(process, self._stop_s)
            self._pid_file.unlink(missing_ok=True)


async def stop_process(process: asyncio.subprocess.Process, timeout_s: float) -> int:
    """End a child by its handle: SIGTERM, after ``timeout_s`` SIGKILL; its exit code."""
    if process.returncode is None:
        try:
            process.terminate()
            return await asyncio.wait_for(process.wait(), timeout_s)
        except TimeoutError:
            process.kill()
        except ProcessLookupError:
            pass  # it ended between the look and the signal
    return await process.wait()


_LIBC = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1


def end_with_parent() -> None:
    """In the child, before the server: ask for SIGTERM when the gateway is gone, also by ``kill -9`` (prctl(2))."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _end_predecessor(pid_file: Path, config: Path, stop_s: float) -> None:
    """End the server that a gateway which was killed has left behind: it holds the ports and the folder."""
    try:
        pid = int(pid_file.read_text("utf-8"))
        command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (OSError, ValueError):
        return
    if str(config).encode() not in command:
        return  # the number was given to somebody else
    until = time.monotonic() + stop_s
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
        while time.monotonic() < until:
            os.kill(pid, 0)
            time.sleep(_POLL_S)
        os.kill(pid, signal.SIGKILL)
