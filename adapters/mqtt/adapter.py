"""The MQTT adapter: batches in, frames out, acknowledgements when they are on disk."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final, NoReturn

import numpy as np

from adapters.base import Adapter, Context, Receipt, Tokens
from adapters.mqtt.decode import Decoder
from adapters.mqtt.session import Session
from gateway.errors import LinkError, StoreError

if TYPE_CHECKING:
    from adapters.mqtt.config import MqttConfig
    from adapters.mqtt.wire import Batch
    from gateway.frame import Frame, Mask

DRAIN_S: Final = 0.9
"""How long a stop may take to bring what has come to disk and to acknowledge it."""
MAX_UNSETTLED: Final = 64
"""Batches that wait for the disk; with more the socket is not read any more."""


class Acknowledger:
    """Acknowledges batches in the order of their receipts, each when it is on disk."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._waiting: deque[tuple[Receipt | None, list[bytes], Tokens]] = deque()
        self._room = asyncio.Semaphore(MAX_UNSETTLED)
        self._news = asyncio.Event()

    async def add(self, receipt: Receipt | None, packet_ids: list[bytes], tokens: Tokens) -> None:
        """Acknowledge these once ``receipt`` is durable (None: as soon as their turn comes)."""
        await self._room.acquire()
        self._waiting.append((receipt, packet_ids, tokens))
        self._news.set()

    def waits_for(self, tokens: Tokens) -> Mask:
        """Which messages wait here for their acknowledgement, [n]."""
        return np.isin(tokens, np.concatenate([waiting for _, _, waiting in self._waiting] or [tokens[:0]]))

    async def run(self) -> NoReturn:
        """Serve until cancelled.

        Raises:
            LinkError: the store did not take something; a new connection makes the broker send it again.
        """
        while True:
            await self._news.wait()
            self._news.clear()
            await self.settle()

    async def settle(self) -> None:
        """Acknowledge all that waits; errors as in :meth:`run`."""
        while self._waiting:
            receipt, packet_ids, _ = self._waiting[0]
            if receipt is not None:
                try:
                    await receipt.durable()
                except StoreError as error:
                    raise LinkError(f"not acknowledged, because the store refused it: {error}") from error
            self._session.acknowledge(packet_ids)
            self._waiting.popleft()
            self._room.release()


class MqttAdapter(Adapter):
    """Subscribes at one broker."""

    def __init__(self, config: MqttConfig) -> None:
        self._config = config
        self._pending: tuple[Frame, list[bytes], Tokens] | None = None

    async def run(self, ctx: Context) -> None:
        """See the base class."""
        session = Session(self._config, ctx.now_ns)
        decoder = Decoder(self._config, ctx.points, ctx.stats.reasons)
        acks = Acknowledger(session)
        client_id = self._config.client_id or f"onpath-{ctx.gateway}-{ctx.name}"
        try:
            kept = await session.open(client_id)
            try:
                await self._serve(ctx, session, decoder, acks, kept=kept)
            finally:
                session.pause()
                await self._drain(ctx, session, decoder, acks)
        except LinkError as error:
            ctx.link("", up=False, detail=str(error))
            raise
        finally:
            await session.close()

    async def _serve(self, ctx: Context, session: Session, decoder: Decoder, acks: Acknowledger, *, kept: bool) -> None:
        """Run until cancelled or until the link is gone; one LinkError, not a group of them."""
        lost: LinkError | None = None
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pump(ctx, session, decoder, acks), name=f"{ctx.name}: messages")
                group.create_task(acks.run(), name=f"{ctx.name}: acknowledgements")
                group.create_task(session.keep_alive(), name=f"{ctx.name}: keep-alive")
                await session.subscribe()
                ctx.link("", up=True, detail="session resumed" if kept else "new session")
        except* LinkError as errors:
            lost = _first(errors)
        if lost is not None:
            raise lost

    async def _pump(self, ctx: Context, session: Session, decoder: Decoder, acks: Acknowledger) -> NoReturn:
        while True:
            self._decode(await session.take(), ctx, decoder, acks)
            await self._pass_on(ctx, acks)

    def _decode(self, batch: Batch, ctx: Context, decoder: Decoder, acks: Acknowledger) -> None:
        ctx.stats.messages += len(batch.topics) + batch.oversize
        tokens = batch.tokens()
        if batch.repeated:
            batch = _news(batch, tokens, ctx, acks)
            tokens = batch.tokens()
        self._pending = decoder.frame(batch), batch.packet_ids, tokens

    async def _pass_on(self, ctx: Context, acks: Acknowledger) -> None:
        """Emit what is pending. It stays pending if that is cancelled, so that a stop can try again."""
        if self._pending is None:
            return
        frame, packet_ids, tokens = self._pending
        receipt = await ctx.emit(frame, tokens if len(tokens) else None) if len(frame) else None
        self._pending = None
        if packet_ids:
            await acks.add(receipt, packet_ids, tokens)

    async def _drain(self, ctx: Context, session: Session, decoder: Decoder, acks: Acknowledger) -> None:
        """At the end: what has come goes on, and is acknowledged if the disk has it soon."""
        try:
            async with asyncio.timeout(DRAIN_S):
                await self._pass_on(ctx, acks)
                batch = session.take_last()
                if batch:
                    self._decode(batch, ctx, decoder, acks)
                    await self._pass_on(ctx, acks)
                if not session.lost:
                    await acks.settle()
        except (TimeoutError, LinkError):
            ctx.log.debug("stopped with messages that are not acknowledged; the broker sends them again")
        self._pending = None


def _news(batch: Batch, tokens: Tokens, ctx: Context, acks: Acknowledger) -> Batch:
    """The batch without what the broker repeated though it is on disk, or on its way there."""
    again = np.array(batch.repeated, np.intp)
    waiting = acks.waits_for(tokens[again])
    known = ctx.known(tokens[again]) & ~waiting
    ctx.stats.repeated += int(np.count_nonzero(known | waiting))
    return batch.without(set(again[known].tolist()), set(again[waiting].tolist()))


def _first(errors: BaseExceptionGroup[LinkError]) -> LinkError:
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, LinkError)
    return error
