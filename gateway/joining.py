"""Discovery at work: keeps the findings, lets trusted ones join, and remembers who has joined."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

from gateway.clock import Clock
from gateway.config import GatewayConfig, Loaded, extended
from gateway.discovery import Findings
from gateway.errors import OnpathError
from gateway.finding import Finding
from gateway.intake import Intake

log = logging.getLogger(__name__)

OWNER: Final = " discovery"
"""Under this name the store keeps what has joined; no adapter can have it."""
KEY: Final = "joined"
SHOWN: Final = 10
"""Names in the line that tells who has joined."""
COLLECT_S: Final = 0.5
"""How long the first finding waits for others, so that a hundred devices are one change and not a hundred."""


class Joining:
    """Findings of a running daemon. ``apply`` brings a new configuration into effect."""

    def __init__(self, intake: Intake, clock: Clock, apply: Callable[[GatewayConfig], Awaitable[None]]) -> None:
        self._intake = intake
        self._clock = clock
        self._apply = apply
        self.findings = Findings(intake.memory.get((OWNER, KEY)))
        self._known = set(self.findings.joined)
        """Keys of what had joined when that was last told."""
        self._loaded: Loaded | None = None
        self._news = asyncio.Event()

    async def configured(self, loaded: Loaded) -> GatewayConfig:
        """What was read, with all that has joined; what no longer fits is given up, with a line for each."""
        additions = {key: finding.config for key, finding in self.findings.joined.items()}
        config, refused = await asyncio.to_thread(extended, loaded, additions)
        for key in refused:
            log.warning("discovery: %s no longer fits the configuration and is left out", key)
        if refused:
            self.findings.leave(refused)
            self._remember()
        return config

    def follow(self, loaded: Loaded) -> None:
        """This is in effect now: what is found from here on is added to it."""
        self._loaded = loaded

    def found(self, adapter: str, finding: Finding) -> None:
        """An adapter has found something."""
        known = self.findings.add(adapter, finding, self._clock.now_ns())
        assert self._loaded is not None
        rule = self._loaded.config.discovery
        if known is not None and self.findings.may_join(known, rule.accept, rule.max_devices):
            self.findings.join(known)
            self._news.set()

    async def accept(self, keys: list[str]) -> list[str]:
        """Let findings join because a person says so; those that could.

        Raises:
            OnpathError: one is not known, or its configuration cannot be said without the user.
        """
        for key in keys:
            known = self.findings.find(key)
            if known is None:
                raise OnpathError(f"nothing was found under the key {key!r}")
            if not known.finding.config:
                raise OnpathError(f"{key}: what it needs is not known; write its block by hand")
            self.findings.join(known)
        await self._join()
        return [key for key in keys if key in self.findings.joined]

    async def run(self) -> None:
        """Let findings join as they come."""
        while True:
            await self._news.wait()
            await asyncio.sleep(COLLECT_S)
            self._news.clear()
            try:
                await self._join()
            except OnpathError as error:
                log.error("discovery: %s", error)  # noqa: TRY400  the next finding tries again

    async def _join(self) -> None:
        assert self._loaded is not None
        config = await self.configured(self._loaded)
        await self._apply(config)
        self._remember()
        fresh = self.findings.joined.keys() - self._known
        self._known |= fresh
        if fresh:
            log.info("discovery: %d devices have joined: %s", len(fresh), ", ".join(sorted(fresh)[:SHOWN]))

    def _remember(self) -> None:
        self._intake.remember(OWNER, KEY, self.findings.encoded())

    async def findings_verb(self, _request: dict[str, Any]) -> dict[str, Any]:
        """``{"verb": "findings"}``."""
        return {"findings": self.findings.rows()}

    async def accept_verb(self, request: dict[str, Any]) -> dict[str, Any]:
        """``{"verb": "accept", "keys": [...]}``."""
        keys = request.get("keys")
        if not isinstance(keys, list):
            raise OnpathError("keys: a list of keys of findings is wanted")
        return {"accepted": await self.accept([str(key) for key in keys])}
