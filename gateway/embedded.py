"""``broker: embedded``: the broker of a running gateway, supervised, and how adapters and uplinks reach it."""

from __future__ import annotations

import asyncio
import secrets
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from adapters.mqtt.config import EMBEDDED
from gateway.broker import EmbeddedBroker
from gateway.broker_config import Access, Login, Tls
from gateway.config.sections import BrokerConfig
from gateway.errors import LinkError
from gateway.supervisor import LinkState, supervise

OWN_LOGIN: Final = "onpath"
START_S: Final = 5.0
"""How long the start of the gateway waits for its broker; then adapters begin, and try again like with any other."""

T = TypeVar("T")


class BrokerLink:
    """The broker's process under supervision."""

    def __init__(self, options: BrokerConfig, state: Path) -> None:
        self.options = options
        self._password = secrets.token_urlsafe(24)
        self._broker = EmbeddedBroker(
            state / "broker",
            host=options.host,
            mqtt_port=options.port,
            max_store=int(options.max_store),
            access=self._access(),
        )
        self._ready = asyncio.Event()
        self._link = LinkState("broker", lambda _state: None)
        self._task: asyncio.Task[None] | None = None
        self.starts = 0

    def _access(self) -> Access:
        options = self.options
        logins = [
            Login(name=name, password=user.password, publish=user.publish, subscribe=user.subscribe)
            for name, user in options.users.items()
        ]
        if logins:
            logins.append(Login(name=OWN_LOGIN, password=self._password))
        tls = Tls(cert=options.cert, key=options.key, client_ca=options.client_ca) if options.cert else None
        return Access(logins=logins, tls=tls)

    async def start(self) -> None:
        """Begin, and wait a while until it accepts."""
        self._task = asyncio.create_task(supervise("broker", self._run, self._link), name="broker")
        ready = asyncio.create_task(self._ready.wait(), name="broker ready")
        await asyncio.wait([ready], timeout=START_S)
        ready.cancel()

    async def _run(self) -> None:
        try:
            await self._broker.start()
            self.starts += 1
            self._link.set(up=True, detail=f"devices connect to port {self._broker.mqtt_port}")
            self._ready.set()
            code = await self._broker.ended()
        finally:
            await self._broker.stop()
        raise LinkError(f"nats-server ended with code {code}")

    async def stop(self) -> None:
        """End the process, and wait until it has gone."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def status(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {
            "link": "up" if self._link.up else "down",
            "port": self._broker.mqtt_port,
            "pid": self._broker.pid,
            "starts": self.starts,
        }

    def reached_by(self, config: T) -> T:
        """The options of an adapter or uplink with the broker's address and login, if it is meant by them."""
        if getattr(config, "url", None) != EMBEDDED:
            return config
        assert isinstance(config, msgspec.Struct)
        changes: dict[str, Any] = {"url": self._broker.url}
        if self.options.users:
            changes |= {"username": OWN_LOGIN, "password": self._password}
        if self.options.cert and not config.ca:  # type: ignore[attr-defined]  # whoever may say embedded has it
            changes["ca"] = self.options.cert
        return msgspec.structs.replace(config, **changes)
