"""Uplink to Apache Kafka: an idempotent producer, a batch is done when all in-sync replicas have it.

The library delivers in threads of its own and tells the outcome in ``poll``, which a thread of ours calls; it hands
the outcome over to the event loop. A message that fails, or a fatal error (the broker has forgotten what the producer
sent, or has another idea of it), ends the run: the next one has a new producer, and the feed begins again with what was
not done. So a consumer may see a batch twice, and removes doubles by the headers ``gateway``, ``epoch`` and ``seq``;
with ``key_by: device`` or ``point`` a batch is several messages, numbered by the header ``part``.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

import numpy as np
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from gateway.batch import Batch
from gateway.errors import LinkError
from gateway.frame import Index
from gateway.tasks import in_thread
from gateway.tls import client_context
from gateway.uplinks.base import Uplink, UplinkContext
from gateway.uplinks.config import Format
from gateway.uplinks.kafka_config import KafkaKey, KafkaUplinkConfig
from gateway.wire.message import FrameEncoder
from gateway.wire.record import encode_json

POLL_S: Final = 0.1
"""How long one poll waits; a stop waits for it."""
FAREWELL_S: Final = 1.0
"""How long outcomes of messages that were purged are waited for."""
_UNREACHABLE: Final = frozenset({KafkaError._ALL_BROKERS_DOWN, KafkaError._AUTHENTICATION, KafkaError._SSL})  # noqa: SLF001  their public names
log = logging.getLogger("onpath.kafka")


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One message."""

    topic: str
    key: str
    value: bytes
    headers: list[tuple[str, str | bytes | None]]


class Messages:
    """Batches to messages; remembers which points each topic and key has described, so one for each run."""

    def __init__(self, config: KafkaUplinkConfig, ctx: UplinkContext) -> None:
        self._config = config
        self._ctx = ctx
        self._frames: dict[tuple[str, str], FrameEncoder] = {}

    def of(self, batch: Batch) -> list[Outgoing]:
        """The messages of a batch in order; none of an earlier batch is needed but for the names of points."""
        ctx, config = self._ctx, self._config
        topic = config.topic.format(gateway=ctx.gateway, pipeline=batch.pipeline, uplink=ctx.name)
        pieces = list(self._pieces(batch))
        found: list[Outgoing] = []
        for number, (key, piece) in enumerate(pieces):
            value, announced = self._encode(piece, topic, key)
            found += [Outgoing(topic, key, raw, [("directory", name.encode())]) for name, raw in announced]
            headers = self._headers(piece)
            if len(pieces) > 1:
                headers.append(("part", f"{number + 1}/{len(pieces)}".encode()))
            found.append(Outgoing(topic, key, value, headers))
        return found

    def _headers(self, batch: Batch) -> list[tuple[str, str | bytes | None]]:
        facts = {"gateway": self._ctx.gateway, "epoch": batch.epoch, "seq": batch.seq, "pipeline": batch.pipeline}
        headers: list[tuple[str, str | bytes | None]] = [(name, str(value).encode()) for name, value in facts.items()]
        return [*headers, ("historical", b"1")] if batch.historical else headers

    def _pieces(self, batch: Batch) -> Iterator[tuple[str, Batch]]:
        """(key, what goes under it)."""
        gateway, by = self._ctx.gateway, self._config.key_by
        if by is KafkaKey.GATEWAY or batch.loss is not None:
            yield gateway, batch
        elif by is KafkaKey.PIPELINE:
            yield f"{gateway}/{batch.pipeline}", batch
        else:
            groups: dict[str, list[Index]] = {}
            for point in np.unique(batch.frame.point).tolist():
                name = self._ctx.directory.name(point)
                key = name if by is KafkaKey.POINT else name.partition("/")[0]
                groups.setdefault(key, []).append(np.flatnonzero(batch.frame.point == point))
            for key, indices in groups.items():
                yield key, replace(batch, frame=batch.frame.take(np.concatenate(indices)), block=b"")

    def _encode(self, batch: Batch, topic: str, key: str) -> tuple[bytes, list[tuple[str, bytes]]]:
        ctx = self._ctx
        if self._config.format is Format.JSON:
            return encode_json(batch, ctx.gateway, ctx.directory, self._config.time), []
        if (topic, key) not in self._frames:
            self._frames[topic, key] = FrameEncoder(ctx.gateway, ctx.directory)
        return self._frames[topic, key].encode(batch)


class KafkaUplink(Uplink):
    """See :class:`KafkaUplinkConfig`."""

    def __init__(self, config: KafkaUplinkConfig) -> None:
        self._config = config

    async def run(self, ctx: UplinkContext) -> None:
        """See the base class."""
        config = self._config
        if config.tls:  # the library says less of what is wrong with a file
            await asyncio.to_thread(client_context, config.ca, config.cert, config.key)
        async with _producing(config, ctx) as link:
            await link.serve()


@contextlib.asynccontextmanager
async def _producing(config: KafkaUplinkConfig, ctx: UplinkContext) -> AsyncIterator[_Link]:
    """A link with a producer of its own, and a thread that hears of outcomes; all gone at the end."""
    link = _Link(config, ctx)
    stop = threading.Event()

    def poll() -> None:
        while not stop.is_set():
            link.producer.poll(POLL_S)

    thread = threading.Thread(target=poll, name=f"uplink {ctx.name} poll", daemon=True)
    thread.start()

    def close() -> None:
        stop.set()
        thread.join()
        link.producer.purge()
        link.producer.flush(FAREWELL_S)

    try:
        yield link
    finally:
        link.failed.cancel()
        await in_thread(close)


class _Link:
    """One producer."""

    def __init__(self, config: KafkaUplinkConfig, ctx: UplinkContext) -> None:
        self._config = config
        self._ctx = ctx
        self._loop = asyncio.get_running_loop()
        self._window = asyncio.Semaphore(config.in_flight)
        self._messages = Messages(config, ctx)
        self.failed: asyncio.Future[None] = self._loop.create_future()
        try:
            self.producer = Producer(properties(config) | {"error_cb": self._error}, logger=log)
        except KafkaException as error:
            raise LinkError(f"{_where(config)}: {error.args[0].str()}") from None

    async def serve(self) -> None:
        sending = asyncio.ensure_future(self._send())
        try:
            await asyncio.wait((sending, self.failed), return_when=asyncio.FIRST_COMPLETED)
            (self.failed if self.failed.done() else sending).result()
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)

    async def _send(self) -> None:
        while True:
            await self._window.acquire()
            batch = await self._ctx.next()
            messages = await in_thread(self._messages.of, batch)
            await self._produce(messages, self._arrivals(len(messages), batch))

    def _arrivals(self, left: int, batch: Batch) -> Callable[[], None]:
        """What is called for each message of a batch that has arrived; with the last of them it is done."""

        def one_more() -> None:
            nonlocal left
            left -= 1
            if not left:
                self._done(batch)

        return one_more

    async def _produce(self, messages: list[Outgoing], arrived: Callable[[], None]) -> None:
        stats = self._ctx.stats
        stats.messages += 1
        for message in messages:
            stats.bytes += len(message.value)
            while True:
                try:
                    self.producer.produce(
                        message.topic, message.value, message.key,
                        headers=message.headers, on_delivery=partial(self._outcome, arrived),
                    )  # fmt: skip
                    break
                except BufferError:  # many parts: some must be gone first
                    await asyncio.sleep(POLL_S / 10)
                except KafkaException as error:
                    raise LinkError(f"{_where(self._config)}: {message.topic}: {error.args[0].str()}") from None

    def _done(self, batch: Batch) -> None:
        self._ctx.link(up=True, detail=_where(self._config))
        self._ctx.done(batch)
        self._window.release()

    # What follows is called in the polling thread

    def _outcome(self, arrived: Callable[[], None], error: KafkaError | None, message: Message) -> None:
        if error is None:
            self._tell(arrived)
        else:
            self._tell(self._fail, f"{_where(self._config)}: {message.topic()}: {error.str()}")

    def _error(self, error: KafkaError) -> None:
        if error.fatal():
            self._tell(self._fail, f"{_where(self._config)}: {error.str()}")
        elif error.code() in _UNREACHABLE:  # the library goes on trying; messages that take too long end the run
            self._tell(partial(self._ctx.link, up=False, detail=f"{_where(self._config)}: {error.str()}"))

    def _tell(self, what: Callable[..., None], *args: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: the process is ending
            self._loop.call_soon_threadsafe(self._hear, what, *args)

    def _hear(self, what: Callable[..., None], *args: Any) -> None:
        if not self.failed.done():
            what(*args)

    def _fail(self, reason: str) -> None:
        self.failed.set_exception(LinkError(reason))


def properties(config: KafkaUplinkConfig) -> dict[str, Any]:
    """What librdkafka is told."""
    found: dict[str, Any] = {
        "bootstrap.servers": ",".join(config.servers),
        "client.id": "onpath",
        "enable.idempotence": True,
        "acks": "all",
        "message.timeout.ms": max(1, round(config.timeout * 1000)),
        "linger.ms": config.linger * 1000,
        "compression.type": config.compress,
        **config.properties,
    }
    files = {"ssl.ca.location": config.ca, "ssl.certificate.location": config.cert, "ssl.key.location": config.key}
    found |= {name: file for name, file in files.items() if file is not None}
    if config.sasl is not None:
        found |= {
            "sasl.mechanism": config.sasl.mechanism,
            "sasl.username": config.sasl.username,
            "sasl.password": config.sasl.password,
        }
    protocol = ("SASL_" if config.sasl else "") + ("SSL" if config.tls else "PLAINTEXT")
    return found | {"security.protocol": protocol}


def _where(config: KafkaUplinkConfig) -> str:
    return ",".join(config.servers)
