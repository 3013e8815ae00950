"""Both carriers, each with several openings of one place: the same tests run over them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from gateway.network.carrier.base import Carrier
from gateway.network.carrier.opening import carrier_of
from gateway.network.config import CarrierConfig
from gateway.units import Duration
from tests.support.nats import Nats, nats_broker


class Place:
    """Where carriers meet: a folder, or a server."""

    def __init__(self, url: str, stack: AsyncExitStack, server: Nats | None = None) -> None:
        self.url = url
        self.server = server
        self._stack = stack
        self._count = 0

    async def carrier(self) -> Carrier:
        """One more that is open; it is closed at the end."""
        self._count += 1
        carrier = carrier_of(CarrierConfig(url=self.url, timeout=Duration(5)), f"node-{self._count}")
        await carrier.open()
        self._stack.push_async_callback(carrier.close)
        return carrier


@pytest.fixture(params=["local", "nats"])
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Place]:
    """Each kind."""
    async with AsyncExitStack() as stack:
        if request.param == "local":
            yield Place(f"local:{tmp_path / 'net'}", stack)
        else:
            server = await stack.enter_async_context(nats_broker(tmp_path / "nats", mqtt=False))
            yield Place(server.url, stack, server)


@pytest.fixture
async def server_place(tmp_path: Path) -> AsyncIterator[Place]:
    """A server only."""
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(
            nats_broker(tmp_path / "nats", mqtt=False, jetstream="sync_interval: always")
        )
        yield Place(server.url, stack, server)


@pytest.fixture
async def folder_place(tmp_path: Path) -> AsyncIterator[Place]:
    """A folder only."""
    async with AsyncExitStack() as stack:
        yield Place(f"local:{tmp_path / 'net'}", stack)
