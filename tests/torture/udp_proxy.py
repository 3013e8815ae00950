"""A UDP proxy that loses, doubles, delays and so reorders datagrams."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

Address = tuple[str, int]


class _Socket(asyncio.DatagramProtocol):
    def __init__(self, heard: Callable[[bytes, Address], None]) -> None:
        self._heard = heard

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        self._heard(data, (addr[0], addr[1]))


@dataclass
class UdpProxy:
    """Between clients and ``target`` (a port of the loopback); each client has its own port towards the target."""

    target: int
    chance: random.Random
    lost: float = 0.0
    """Share of datagrams that vanish, each way."""
    doubled: float = 0.0
    """Share that arrive twice."""
    delay_s: float = 0.0
    """Up to so long each is under way, so that they overtake each other."""
    port: int = 0
    counts: dict[str, int] = field(default_factory=lambda: {"passed": 0, "lost": 0, "doubled": 0})
    _front: asyncio.DatagramTransport | None = None
    _behind: dict[Address, asyncio.Task[asyncio.DatagramTransport]] = field(default_factory=dict)
    _pending: set[asyncio.Task[None]] = field(default_factory=set)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[UdpProxy]:
        loop = asyncio.get_running_loop()
        self._front, _ = await loop.create_datagram_endpoint(
            lambda: _Socket(self._from_client), local_addr=("127.0.0.1", self.port)
        )
        self.port = self._front.get_extra_info("sockname")[1]
        try:
            yield self
        finally:
            for task in self._pending:
                task.cancel()
            await asyncio.gather(*self._pending, return_exceptions=True)
            for behind in self._behind.values():
                (await behind).close()
            self._front.close()
            await asyncio.sleep(0)  # closed transports close their sockets in the loop's next round

    def _from_client(self, data: bytes, client: Address) -> None:
        if client not in self._behind:
            self._behind[client] = asyncio.ensure_future(self._open(client))

        async def send() -> None:
            (await self._behind[client]).sendto(data)

        self._carry(send)

    async def _open(self, client: Address) -> asyncio.DatagramTransport:
        front = self._front
        assert front is not None

        def back(data: bytes, _target: Address) -> None:
            async def send() -> None:
                front.sendto(data, client)

            self._carry(send)

        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(
            lambda: _Socket(back), remote_addr=("127.0.0.1", self.target)
        )
        return transport

    def _carry(self, send: Callable[[], Any]) -> None:
        if self.chance.random() < self.lost:
            self.counts["lost"] += 1
            return
        self.counts["passed"] += 1
        twice = self.chance.random() < self.doubled
        self.counts["doubled"] += twice
        for _ in range(1 + twice):
            task = asyncio.ensure_future(self._later(send, self.chance.uniform(0, self.delay_s)))
            self._pending.add(task)
            task.add_done_callback(self._pending.discard)

    @staticmethod
    async def _later(send: Callable[[], Any], delay_s: float) -> None:
        await asyncio.sleep(delay_s)
        await send()
