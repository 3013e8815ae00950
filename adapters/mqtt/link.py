"""One connection at work: batches in, frames out, acknowledgements when they are on disk."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, NoReturn

import msgspec
import numpy as np

from adapters.mqtt import filters
from adapters.mqtt.acks import Acknowledger
from adapters.mqtt.decode import Decoder
from adapters.mqtt.filters import RetainedFilter
from adapters.mqtt.packets import Connect, Wanted
from adapters.mqtt.presence import Presence
from adapters.mqtt.session import Session
from adapters.mqtt.subscriptions import subscribe, unsubscribe
from adapters.mqtt.topics import parse
from gateway.errors import LinkError

if TYPE_CHECKING:
    from adapters.base import Context, Tokens
    from adapters.mqtt.batch import Batch
    from adapters.mqtt.config import MqttConfig
    from gateway.frame import Frame

DRAIN_S: Final = 0.9
"""How long a stop may take to bring what has come to disk and to acknowledge it."""
TICK_S: Final = 1.0


class Link:
    """From a connection to its end."""

    def __init__(self, ctx: Context, config: MqttConfig) -> None:
        self._ctx = ctx
        self._config = config
        self._client_id = config.client_id or f"onpath-{ctx.gateway}-{ctx.name}"
        self._kept_as = f"{self._client_id} at {config.url}"
        self._session = Session(config, ctx.now_ns, ctx.stats.reasons)
        self._decoder = self._decoder_of(config)
        self._acks = Acknowledger(self._session)
        self._wanted: dict[str, Wanted] = {}
        self._asked: list[tuple[str, int]] = []
        self._retained = RetainedFilter(config, ())
        self._presence: Presence | None = None
        self._has_will = False
        self._up = False
        self._changing = asyncio.Lock()
        self._pending: tuple[Frame, list[bytes], Tokens] | None = None

    def _decoder_of(self, config: MqttConfig) -> Decoder:
        return Decoder(config, self._ctx.points, self._ctx.stats.reasons, self._ctx)

    async def open(self) -> bool:
        """Connect and log in; whether the broker had kept the session.

        Raises:
            LinkError: it does not answer or refuses.
        """
        config, ctx = self._config, self._ctx
        will = self._decoder.will()
        self._has_will = will is not None
        if config.state_topic:
            topic = config.state_topic.format(gateway=ctx.gateway, adapter=ctx.name)
            self._presence = Presence(topic, ctx.now_ns())
            will = will or self._presence.will()
        connect = Connect(
            self._client_id,
            (config.username, config.password) if config.username else None,
            int(config.keepalive),
            None if config.starts_clean else int(config.session.expiry),
            will,
            config.receive_maximum,
            config.topic_alias_maximum,
        )
        return await self._session.open(connect)

    async def serve(self, *, kept: bool) -> None:
        """Run until cancelled or until the link is gone.

        Raises:
            LinkError: the link is gone; one error, not a group of them.
        """
        jobs = {
            "start": self._begin(kept=kept),
            "messages": self._pump(),
            "acknowledgements": self._acks.run(),
            "keep-alive": self._session.keep_alive(),
            "ticks": self._tick(),
        }
        tasks = [asyncio.create_task(job, name=f"{self._ctx.name}: {what}") for what, job in jobs.items()]
        try:
            # Not a task group: there an error wins over a cancellation that comes with it, and a stop would not stop
            await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        finally:
            self._up = False
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for task in tasks:
            if not task.cancelled():
                task.result()

    async def _begin(self, *, kept: bool) -> None:
        await self._subscribe(kept=kept)
        self._greet()
        self._up = True
        self._ctx.link("", up=True, detail="session resumed" if kept else "new session")

    async def _subscribe(self, *, kept: bool) -> None:
        """At each connection, because a kept session may be older than the options."""
        had = filters.recalled(self._kept_as, self._ctx.recall(filters.KEY)) if kept else set()
        self._retained = RetainedFilter(self._config, had)
        self._asked = self._decoder.asks()
        wanted = filters.wanted(self._config, self._asked)
        await self._ask_for(wanted, list(wanted.values()), had | wanted.keys())

    async def _ask_for(self, wanted: dict[str, Wanted], fresh: list[Wanted], meanwhile: set[str]) -> None:
        """Subscribe to ``fresh``, and give up what of ``meanwhile`` is not wanted; remembers what the broker has."""
        self._remember(meanwhile)  # before it is so: what is remembered in vain does no harm
        refused: list[str] = []
        less = await subscribe(self._session, fresh, {text for text, _ in self._asked}, refused)
        if refused:
            self._ctx.log.warning("the broker refused topics that devices named: %s", ", ".join(refused[:10]))
        if less:
            self._ctx.log.warning("the broker grants QoS 0 only, so that messages can be lost: %s", ", ".join(less))
        gone = sorted(meanwhile - wanted.keys())
        if gone:
            await unsubscribe(self._session, gone)
            self._remember(set(wanted))
        self._wanted = wanted

    async def _ask_more(self) -> None:
        """Subscribe to what plans have come to ask for, and give up what they do not ask for any more."""
        if self._decoder.asks() == self._asked:
            return
        async with self._changing:
            self._asked = self._decoder.asks()
            wanted, had = filters.wanted(self._config, self._asked), self._wanted
            fresh = [one for text, one in wanted.items() if had.get(text) != one]
            await self._ask_for(wanted, fresh, had.keys() | wanted.keys())

    def _remember(self, names: set[str]) -> None:
        if not self._config.starts_clean:
            self._ctx.remember(filters.KEY, filters.remembered(self._kept_as, names))

    def _greet(self) -> None:
        self._session.publish(self._decoder.hello())
        if self._presence is not None:
            self._session.publish([self._presence.online(self._ctx.now_ns())])

    async def change(self, config: MqttConfig) -> bool:
        """Go on with other subscriptions on the same connection; whether that was possible.

        What still comes by topics that are given up is decoded until the broker has confirmed the end.

        Raises:
            LinkError: the broker refuses, or the link is gone.
        """
        async with self._changing:
            decoder = self._decoder_of(config)
            if not self._up or self._has_will or decoder.will() is not None:
                return False  # a will belongs to the connection
            self._session.adapt(config)
            self._asked = decoder.asks()
            wanted = filters.wanted(config, self._asked)
            had = self._wanted
            between = self._both(config, {text for text in had if text not in wanted})
            self._decoder = decoder if between is None else self._decoder_of(between)
            self._retained = RetainedFilter(config, had)
            self._config = config
            fresh = [one for text, one in wanted.items() if text not in had or had[text].qos != one.qos]
            await self._ask_for(wanted, fresh, had.keys() | wanted.keys())
            if between is not None:
                await self._session.all_taken()
                self._decoder = decoder
            self._session.publish(decoder.hello())
            return True

    def _both(self, config: MqttConfig, gone: set[str]) -> MqttConfig | None:
        """The new options and, behind them, the subscriptions that go; None if none goes."""
        new = {parse(entry.topic).filter for entry in config.subscribe}
        old = [entry for entry in self._config.subscribe if filters.text_of(entry) in gone]
        old = [entry for entry in old if parse(entry.topic).filter not in new]
        return msgspec.structs.replace(config, subscribe=[*config.subscribe, *old]) if old else None

    async def _tick(self) -> NoReturn:
        while True:
            await asyncio.sleep(TICK_S)
            if not self._up:
                continue
            frame = self._decoder.tick(self._ctx.now_ns())
            if len(frame):
                await self._ctx.emit(frame)
            await self._ask_more()
            self._session.publish(self._decoder.outgoing())

    async def _pump(self) -> NoReturn:
        while True:
            self._decode(await self._session.take())
            self._session.publish(self._decoder.outgoing())
            await self._pass_on()

    def _decode(self, batch: Batch) -> None:
        self._ctx.stats.messages += len(batch.topics) + batch.oversize
        batch = self._retained.of(batch)
        dated = self._decoder.dated(batch) if batch.packet_ids else None
        tokens = batch.tokens(dated)
        if batch.repeated:
            batch = self._news(batch, tokens)
            tokens = batch.tokens(self._decoder.dated(batch))
        self._pending = self._decoder.frame(batch), batch.packet_ids, tokens

    def _news(self, batch: Batch, tokens: Tokens) -> Batch:
        """The batch without what the broker repeated though it is on disk, or on its way there."""
        again = np.array(batch.repeated, np.intp)
        _, first = np.unique(tokens, return_index=True)
        beside = ~np.isin(again, first) & (tokens[again] > 0)  # came in this batch, before its repetition
        waiting = self._acks.waits_for(tokens[again]) | beside
        known = self._ctx.known(tokens[again]) & ~waiting
        self._ctx.stats.repeated += int(np.count_nonzero(known | waiting))
        return batch.without(set(again[known].tolist()), set(again[waiting].tolist()))

    async def _pass_on(self) -> None:
        """Emit what is pending. It stays pending if that is cancelled, so that a stop can try again."""
        if self._pending is None:
            return
        frame, packet_ids, tokens = self._pending
        receipt = await self._ctx.emit(frame, tokens if len(tokens) else None) if len(frame) else None
        self._pending = None
        if packet_ids:
            await self._acks.add(receipt, packet_ids, tokens)

    async def wind_up(self, *, lost: bool) -> None:
        """At the end: what has come goes on, and is acknowledged if the disk has it soon; then the good-byes."""
        self._session.pause()
        try:
            async with asyncio.timeout(DRAIN_S):
                await self._drain()
                if lost:
                    await self._emit_lost()
        except (TimeoutError, LinkError):
            self._ctx.log.debug("stopped with messages that are not acknowledged; the broker sends them again")
        self._pending = None
        self._session.publish(self._decoder.goodbye())
        if self._presence is not None:
            self._session.publish([self._presence.offline(self._ctx.now_ns())])

    async def _drain(self) -> None:
        await self._pass_on()
        batch = self._session.take_last()
        if batch:
            self._decode(batch)
            await self._pass_on()
        if not self._session.lost:
            await self._acks.settle()

    async def _emit_lost(self) -> None:
        frame = self._decoder.lost(self._ctx.now_ns())
        if len(frame):
            await self._ctx.emit(frame)

    async def close(self) -> None:
        """Say good-bye and close the socket."""
        await self._session.close()
