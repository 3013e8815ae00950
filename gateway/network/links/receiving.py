"""From children, neighbours and results: what the carrier's streams have for this node, through the frame adapter."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final, NoReturn

from adapters.frame.adapter import FrameAdapter
from adapters.frame.link import Link
from adapters.frame.source import Message
from gateway.errors import LinkError
from gateway.network.carrier.base import UP, CarrierError
from gateway.network.carrier.opening import shared
from gateway.tasks import ended

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from adapters.base import Context
    from gateway.network.carrier.base import Carrier
    from gateway.network.links.config import ChildrenConfig

PURGE_S: Final = 0.5
POSITION: Final = "position"
"""Remembered under it: up to where a stream that others read as well was taken."""
AHEAD: Final = 4
"""Lists of messages that wait to be taken."""


class ChildrenAdapter(FrameAdapter):
    """See :class:`gateway.network.links.config.ChildrenConfig`."""

    def __init__(self, config: ChildrenConfig) -> None:
        super().__init__(config)
        self._options = config

    def link(self, ctx: Context) -> Link:
        """See the base class."""
        return Link(ctx, self._options, CarrierSource(self._options, ctx))


class CarrierSource:
    """See :class:`adapters.frame.source.Source`. What was acknowledged is purged, unless others read it as well."""

    dot = "/"
    prompt = True

    def __init__(self, config: ChildrenConfig, ctx: Context) -> None:
        self._config, self._ctx = config, ctx
        self._stack = contextlib.AsyncExitStack()
        self._carrier: Carrier
        self._taken: asyncio.Queue[list[Message]] = asyncio.Queue(AHEAD)
        self._reading: asyncio.Task[None] | None = None
        self._open: dict[int, None] = {}
        """Seqs that were taken and not acknowledged, in order."""
        self._newest = 0
        self._purged = 0
        self.filters = list(config.topics)

    @property
    def _shared_stream(self) -> bool:
        return not self._config.topics[0].startswith(f"{UP}/")

    async def open(self, had: Collection[str]) -> str:
        """See the protocol."""
        del had
        config = self._config
        try:
            self._carrier = await self._stack.enter_async_context(shared(config.carrier, config.node))
        except CarrierError as error:
            raise LinkError(str(error)) from error
        self._purged = int(self._ctx.recall(POSITION) or b"0") if self._shared_stream else 0
        self._newest = self._purged
        self._reading = asyncio.create_task(self._read(), name=f"{self._ctx.name}: carrier")
        return f"{config.topics[0]} at {self._carrier.url}"

    async def _read(self) -> None:
        async for messages in self._carrier.consume(self._config.topics[0], self._purged):
            for message in messages:
                self._open[message.seq] = None
                self._newest = message.seq
            await self._taken.put([Message(one.subject, one.payload, str(one.seq)) for one in messages])

    async def keep(self) -> NoReturn:
        """See the protocol."""
        assert self._reading is not None
        while True:
            await asyncio.wait([self._reading], timeout=PURGE_S)
            if self._reading.done():
                error = self._reading.exception()
                raise LinkError(str(error) if error else "the carrier is closed")
            await self._settle()

    async def _settle(self) -> None:
        """Let go of all before the first that is not acknowledged."""
        upto = next(iter(self._open), self._newest + 1) - 1
        if upto <= self._purged:
            return
        if self._shared_stream:
            self._ctx.remember(POSITION, str(upto).encode())
        else:
            try:
                await self._carrier.purge(self._config.topics[0], upto)
            except CarrierError as error:
                self._ctx.log.debug("not purged yet: %s", error)
                return
        self._purged = upto

    async def take(self) -> list[Message]:
        """See the protocol."""
        return await self._taken.get()

    async def acknowledge(self, messages: Sequence[Message]) -> None:
        """See the protocol."""
        for one in messages:
            if isinstance(one.mark, str):
                self._open.pop(int(one.mark), None)

    async def publish(self, topic: str, payload: bytes) -> None:
        """See the protocol: receipts are words, a lost one costs a repetition."""
        with contextlib.suppress(CarrierError):
            await self._carrier.tell(topic, payload)

    async def directory(self, topic: str, name: str) -> bytes | None:
        """See the protocol."""
        del topic
        try:
            found = await self._carrier.get("directories", name)
        except CarrierError as error:
            raise LinkError(str(error)) from error
        return None if found is None else found.value

    async def close(self) -> None:
        """See the protocol."""
        await ended(self._reading)
        with contextlib.suppress(CarrierError, LinkError):
            if self._reading is not None:
                await self._settle()
        await self._stack.aclose()
