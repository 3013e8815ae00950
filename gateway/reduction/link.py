"""The reduction as a part of the daemon: started, stopped, and exchanged when its options change.

Nothing of it is imported before there is one. A port that is taken is tried again; the gateway goes on.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final

from gateway.tasks import ended

if TYPE_CHECKING:
    from gateway.reduction.config import ReductionConfig
    from gateway.reduction.server import ReductionServer

log = logging.getLogger(__name__)

RETRY_S: Final = 5.0


class ReductionLink:
    """The reduction of a daemon, or its absence. Lives on the event loop."""

    def __init__(self) -> None:
        self._config: ReductionConfig | None = None
        self._task: asyncio.Task[None] | None = None
        self._server: ReductionServer | None = None
        self._why = ""

    async def use(self, config: ReductionConfig | None) -> None:
        """Serve with these options from now on; nothing happens if they are as before.

        Jobs go on elsewhere meanwhile, or come back.
        """
        if config == self._config:
            return
        await self.stop()
        self._config = config
        if config is not None:
            self._task = asyncio.create_task(self._run(config), name="reduction")

    async def stop(self) -> None:
        """Let go of the port and of all jobs."""
        self._config = None
        task, self._task = self._task, None
        await ended(task)

    async def _run(self, config: ReductionConfig) -> None:
        """Listen, as soon as that is possible."""
        from gateway.reduction.server import ReductionServer

        server = ReductionServer(config)
        try:
            await self._listen(server, config)
            self._server, self._why = server, ""
            log.info("the reduction listens on %s:%d", *server.address)
            await asyncio.Event().wait()
        finally:
            self._server = None
            await server.stop()

    async def _listen(self, server: ReductionServer, config: ReductionConfig) -> None:
        while True:
            try:
                await server.start()
            except OSError as error:
                reason = f"{config.listen}: {error.strerror or error}"
                if reason != self._why:
                    log.error("the reduction cannot listen, it is tried again: %s", reason)  # noqa: TRY400
                self._why = reason
            else:
                return
            await asyncio.sleep(RETRY_S)

    def status(self) -> dict[str, Any] | None:
        """As plain JSON types; None if there is none."""
        if self._server is not None:
            return self._server.status()
        return None if self._config is None else {"listen": None, "why": self._why}
