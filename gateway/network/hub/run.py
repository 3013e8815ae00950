"""A hub that runs: the server under supervision, its warnings in our log, and systemd told of it."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import logging
import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NoReturn

from gateway.broker import find_nats_server
from gateway.broker_process import ServerProcess
from gateway.errors import LinkError, StateInUseError
from gateway.network.hub.config import HubConfig
from gateway.network.hub.text import server_text
from gateway.notify import notify
from gateway.supervisor import LinkState, supervise
from gateway.tasks import ended, task_group

FACTS: Final = "hub.json"
"""In the state folder: the process and its ports, for ``onpath hub status``."""
START_S: Final = 600.0
"""A large store is read through before the server is ready."""
STOP_S: Final = 30.0
LONGEST_PAUSE_S: Final = 10.0
LOOK_S: Final = 0.5
PIECE: Final = 2**18
"""Bytes of the server's log that are read at once."""
_PORTS: Final = {
    "port": re.compile(r"Listening for client connections on \S+:(\d+)"),
    "monitor": re.compile(r"Starting http monitor on \S+:(\d+)"),
}
_LINE: Final = re.compile(r"^\[\d+\] \S+ \S+ \[(\w+)\] (.*)$")
_LEVELS: Final = {"WRN": logging.WARNING, "ERR": logging.ERROR, "FTL": logging.CRITICAL}
_KNOWN: Final = "Plaintext passwords detected"  # in a file that nobody else can read
log = logging.getLogger(__name__)


class Hub:
    """One hub; see :meth:`run`."""

    def __init__(self, config: HubConfig) -> None:
        self._config = config
        self.state = Path(config.state).absolute()
        self._server = ServerProcess(self.state, "server", _PORTS, timeout_s=START_S, stop_s=STOP_S)
        self._link = LinkState(f"hub {config.name}", self._changed)
        self.starts = 0
        self.port = 0

    async def run(self) -> None:
        """Serve until cancelled; a server that ends is started again.

        Raises:
            OnpathError: there is no nats-server.
            StateInUseError: another hub has the state folder.
        """
        find_nats_server()
        self.state.mkdir(0o700, parents=True, exist_ok=True)
        with _locked(self.state):
            try:
                await supervise("hub", self._serve, self._link, LONGEST_PAUSE_S)
            finally:
                notify("STOPPING=1")
                await self._server.stop()
                (self.state / FACTS).unlink(missing_ok=True)

    async def _serve(self) -> None:
        try:
            text = server_text(self._config, self.state, self._server.log_file)
            ports = await self._server.start(find_nats_server(), text)
            self.starts += 1
            self.port = ports["port"]
            self._note(ports)
            self._link.set(up=True, detail=f"nodes connect to port {self.port}")
            notify("READY=1", f"STATUS=nodes connect to port {self.port}")
            async with task_group() as tasks:
                tasks.create_task(Follower(self._server.log_file).run(), name="hub log")
                code = await self._server.ended()
                raise LinkError(f"nats-server ended with code {code}")
        finally:
            await self._server.stop()

    def _note(self, ports: dict[str, int]) -> None:
        facts: dict[str, Any] = {"name": self._config.name, "pid": os.getpid(), "server": self._server.pid, **ports}
        facts |= {"starts": self.starts, "since": time.time()}
        path = self.state / FACTS
        new = path.with_suffix(".new")
        new.write_text(json.dumps(facts), "utf-8")
        new.rename(path)

    def _changed(self, state: str) -> None:
        if state == "down":
            notify(f"STATUS=down: {self._link.detail.splitlines()[0]}")


@contextlib.contextmanager
def _locked(state: Path) -> Iterator[None]:
    fd = os.open(state / "hub.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StateInUseError(f"{state}: another hub holds this state folder") from None
        yield
    finally:
        os.close(fd)


class Follower:
    """Puts the server's warnings into our log as they come, over rotations of its file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = 0
        self._at = 0

    async def run(self) -> NoReturn:
        """Until cancelled."""
        while True:
            for level, text in await asyncio.to_thread(self.look):
                log.log(level, "nats-server: %s", text)
            await asyncio.sleep(LOOK_S)

    def look(self) -> list[tuple[int, str]]:
        """What has come since the last look, with its level."""
        try:
            with self._path.open("rb") as stream:
                found = os.fstat(stream.fileno())
                if found.st_ino != self._file or found.st_size < self._at:
                    self._file, self._at = found.st_ino, 0
                stream.seek(self._at)
                data = stream.read(PIECE)
        except FileNotFoundError:  # it is being rotated
            return []
        whole = len(data) if len(data) == PIECE else data.rfind(b"\n") + 1
        self._at += whole
        lines = map(_LINE.match, data[:whole].decode("utf-8", "replace").splitlines())
        told = [(line[1], line[2]) for line in lines if line is not None]
        return [(_LEVELS[word], text) for word, text in told if word in _LEVELS and not text.startswith(_KNOWN)]


async def serve(config: HubConfig) -> None:
    """Run a hub until SIGTERM or SIGINT.

    Raises:
        OnpathError: it cannot run.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    running = asyncio.create_task(Hub(config).run(), name="hub")
    waiting = asyncio.create_task(stop.wait(), name="hub stop")
    await asyncio.wait((running, waiting), return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if running.done():
        await running
    await ended(running)
