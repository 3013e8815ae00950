"""The console as a part of the daemon: started, stopped, and exchanged when its options change.

Nothing of it is imported before there is a console. A port that is taken is tried again; the gateway goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from gateway.errors import OnpathError
from gateway.tasks import in_thread

if TYPE_CHECKING:
    from gateway.console.app import Console
    from gateway.console.config import ConsoleConfig
    from gateway.console.server import Server
    from gateway.console.sessions import Sessions
    from gateway.inside import Inside

log = logging.getLogger(__name__)

RETRY_S: Final = 5.0
ADDRESS: Final = "address"
STOP_S: Final = 4.0


class ConsoleLink:
    """The console of a daemon, or its absence. Lives on the event loop."""

    def __init__(self, inside: Inside) -> None:
        self._inside = inside
        self._config: ConsoleConfig | None = None
        self._files: tuple[Any, ...] = ()
        self._task: asyncio.Task[None] | None = None
        self._turn = asyncio.Lock()
        self._server: Server | None = None
        self._console: Console | None = None
        self._sessions: Sessions | None = None
        self.url = ""
        """Where it listens; empty while it does not."""
        self.why = ""
        """Why it does not listen, if it should."""

    @property
    def streams(self) -> int:
        """Browsers and others that follow."""
        return self._console.streams.open if self._console is not None else 0

    def use(self, config: ConsoleConfig | None) -> None:
        """Serve with these options from now on; nothing happens if they and the certificate are as before.

        Returns at once: whoever asked for it by the console itself is to have an answer before that goes.
        """
        files = _changed([config.cert, config.key]) if config is not None else ()
        if config == self._config and files == self._files:
            return
        self._config, self._files = config, files
        self._changing = asyncio.create_task(self._change(config), name="console: change")

    async def _change(self, config: ConsoleConfig | None) -> None:
        async with self._turn:
            await self._end()
            if config is not None and config is self._config:
                self._task = asyncio.create_task(self._run(config), name="console")
                self._task.add_done_callback(_told)

    async def stop(self) -> None:
        """Let go of the port; who follows is cut off."""
        self._config = None
        async with self._turn:
            await self._end()

    async def _end(self) -> None:
        task, self._task = self._task, None
        if task is None:
            return
        if self._console is not None:
            self._console.streams.close()
        if self._server is not None:
            self._server.stop()
            await asyncio.wait((task,), timeout=STOP_S)
        while not task.done():
            task.cancel()
            await asyncio.wait((task,), timeout=1)

    async def _run(self, config: ConsoleConfig) -> None:
        """Listen, as soon as that is possible."""
        told = ""
        while True:
            try:
                await self._serve(config)
            except (OSError, OnpathError) as error:
                reason = f"{config.listen}: {error.strerror or error}" if isinstance(error, OSError) else str(error)
                if reason != told:
                    log.error("the console cannot be served, it is tried again: %s", reason)  # noqa: TRY400
                told = self.why = reason
            else:
                return
            await asyncio.sleep(RETRY_S)

    async def _serve(self, config: ConsoleConfig) -> None:
        listening = await asyncio.to_thread(_bind, config)
        try:
            await asyncio.to_thread(self._import)
            self._server = server = self._build(config)
            await self._tell(config, listening.getsockname())
            await server.serve([listening])
        finally:
            listening.close()
            self._server = self._console = None
            self.url = ""
            with contextlib.suppress(OSError):
                self._address_file().unlink(missing_ok=True)

    @staticmethod
    def _import() -> None:
        """What is large is imported in a thread: half a second of a small box."""
        import gateway.console.app
        import gateway.console.server
        import gateway.editing.routes  # noqa: F401

    def _build(self, config: ConsoleConfig) -> Server:
        from gateway.console.access import Access
        from gateway.console.app import Console
        from gateway.console.server import Server
        from gateway.console.sessions import Sessions

        state = self._inside.shared.state
        if self._sessions is None:
            self._sessions = Sessions(state)
        self._console = Console(self._inside, config, Access(state), self._sessions)
        return Server(self._console.app(), config)

    def _address_file(self) -> Path:
        return self._inside.shared.state / "console" / ADDRESS

    async def _tell(self, config: ConsoleConfig, address: tuple[Any, ...]) -> None:
        from gateway.console.access import private_folder, write_private

        host = f"[{address[0]}]" if ":" in address[0] else address[0]
        self.url, self.why = f"{'https' if config.cert else 'http'}://{host}:{address[1]}", ""
        assert self._console is not None
        unset = not config.password and self._console.access.stored().password is None
        hint = "; no password yet: onpath console password makes one" if unset else ""
        log.info("the console listens on %s%s", self.url, hint)
        file, state = self._address_file(), self._inside.shared.state
        try:
            private_folder(state, file.parent)
            await in_thread(write_private, state, file, f"{self.url}\n".encode())
        except OSError as error:
            log.warning("%s: %s", file, error)

    async def console_verb(self, request: dict[str, Any]) -> dict[str, Any]:
        """``{"verb": "console"}``: where it listens; with ``"code": true`` a one-time code to sign in with, too.

        Raises:
            OnpathError: there is none.
        """
        if self._config is None:
            raise OnpathError("there is no console: the configuration has no section console:")
        if not self.url or self._console is None:
            raise OnpathError(f"the console does not listen: {self.why or 'it is about to'}")
        answer: dict[str, Any] = {"url": _reachable(self.url), "streams": self.streams}
        if request.get("code"):
            answer["code"] = self._console.sessions.code()
        return answer


def _told(task: asyncio.Task[None]) -> None:
    """A defect ends the console and nothing else; the log has it."""
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("the console has ended", exc_info=error)


def _reachable(url: str) -> str:
    """What listens everywhere is reached by the machine's name."""
    for everywhere in ("0.0.0.0", "[::]"):  # noqa: S104  what the address says, not what is listened on
        url = url.replace(f"//{everywhere}:", f"//{socket.gethostname()}:")
    return url


def _bind(config: ConsoleConfig) -> Any:
    from gateway.console.server import bind

    return bind(config.host, config.port)


def _changed(files: Sequence[str]) -> tuple[Any, ...]:
    """What tells one certificate from the next of the same name."""
    found: list[Any] = []
    for name in files:
        try:
            stat = Path(name).stat() if name else None
        except OSError:
            stat = None
        found.append(None if stat is None else (stat.st_mtime_ns, stat.st_size, stat.st_ino))
    return tuple(found)
