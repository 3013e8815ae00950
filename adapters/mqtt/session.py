"""One connection to a broker: log-in, subscriptions, messages in, acknowledgements and own messages out.

Reads without a coroutine, a task or a call a message: the socket's bytes go through
:class:`~adapters.mqtt.wire.Splitter` into a batch, which :meth:`Session.take` hands over. While nobody
takes, the batch grows to a bound; then the socket is not read any more and the broker has to wait.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NoReturn, cast

from adapters.mqtt import packets, wire
from adapters.mqtt.config import address
from adapters.mqtt.dial import dial
from adapters.mqtt.outbox import Outbox
from gateway.errors import LinkError, PayloadError
from gateway.tls import failure

if TYPE_CHECKING:
    from adapters.mqtt.batch import Batch
    from adapters.mqtt.config import MqttConfig
    from adapters.mqtt.publish import Publish

LINGER_S: Final = 0.002
"""Batches follow each other at this distance at least, so that they grow under load; the first is at once."""
STEADY_S: Final = 0.001
"""Messages keep coming if one came within this. Bursts, after which the broker waits for us, do not."""
ENOUGH: Final = 256
"""With so many messages a batch is worth its fixed cost."""
MAX_MESSAGES: Final = 4096
MAX_BYTES: Final = 4 * 2**20
"""Bounds on what waits in a batch; one read of the socket may come on top."""
MAX_UNSENT: Final = 2**20
"""Bytes that the socket has not taken; with more, own messages of QoS 0 are left out."""
CLOSE_S: Final = 0.4


class Session(asyncio.Protocol):
    """A connection, from CONNECT to its end. ``now`` gives the arrival time, UTC ns."""

    def __init__(self, config: MqttConfig, now: Callable[[], int], reasons: Counter[str]) -> None:
        self._url = config.url
        self._timeout = config.timeout
        self._address = address(config.url)
        self._files = (config.ca, config.cert, config.key)
        self._now = now
        self._loop = asyncio.get_running_loop()
        self.version = packets.V5 if config.version == "5" else packets.V311
        self.splitter = wire.Splitter(self.version, config.max_payload, alias_maximum=config.topic_alias_maximum)
        self.adapt(config)
        self.outbox = Outbox(self.version, self.write, self._has_room, reasons)
        self._answers: dict[tuple[int, int], asyncio.Future[bytes]] = {}
        self._news = asyncio.Event()
        self._taken = asyncio.Event()
        self._closed = asyncio.Event()
        self._error: LinkError | None = None
        self._transport: asyncio.Transport | None = None
        self._paused = False
        self._leaving = False
        self._taken_at = self._loop.time()
        self.heard_at = self._taken_at
        """When the broker last said something, by the loop's clock."""
        self._keepalive: float = config.keepalive
        self.shares = True
        """Whether the broker has shared subscriptions."""

    def adapt(self, config: MqttConfig) -> None:
        """Take over what of the options can change while a connection stays."""
        self._linger = float(config.linger)
        self.splitter.max_payload = config.max_payload
        self.splitter.keep_properties = any(entry.needs_properties for entry in config.subscribe)

    async def open(self, connect: packets.Connect) -> bool:
        """Connect and log in; whether the broker had kept the session.

        Raises:
            LinkError: it does not answer or refuses.
        """
        try:
            async with asyncio.timeout(self._timeout):
                await dial(self._loop, self, self._address, self._files)
                self.write(packets.connect_packet(self.version, connect))
                return self._logged_in(await self._connack())
        except TimeoutError:
            raise LinkError(f"{self._url}: no answer within {self._timeout:g}s") from None
        except (OSError, UnicodeError, PayloadError) as error:
            raise LinkError(f"{self._url}: {failure(error)}") from error

    async def _connack(self) -> bytes:
        """The answer to CONNECT; a broker that does not like our certificate may just close instead."""
        try:
            return await self._answer(packets.CONNACK, 0)
        except LinkError as error:
            if not self._address.secure or "refuses us" in str(error):
                raise
            why = "it may want a client certificate (cert, key)" if self._files[1] is None else "it may refuse ours"
            raise LinkError(f"{error}, before it answered: {why}") from None

    def _logged_in(self, body: bytes) -> bool:
        answer = packets.parse_connack(body, self.version)
        if answer.code == 1 and self.version == packets.V5:
            raise LinkError(f'{self._url}: the broker does not speak MQTT 5; set version: "3.1.1"')
        if answer.code:
            raise LinkError(f"{self._url}: {packets.refused_login(answer.code)}")
        said = answer.properties
        self._keepalive = said.get("server_keep_alive") or self._keepalive
        self.shares = bool(said.get("shared_subscription_available", 1))
        self.outbox.limit(said.get("receive_maximum") or 0xFFFF)
        return answer.session_present

    async def take(self) -> Batch:
        """The messages that have come; waits for the first, and a little for more under load.

        Raises:
            LinkError: the connection is gone and all that came has been taken.
        """
        while not self.splitter.batch:
            if self._error is not None:
                raise self._error
            self._news.clear()
            await self._news.wait()
        linger = self._taken_at + min(LINGER_S, self._linger) - self._loop.time()
        if linger > 0 and not self._paused:
            await asyncio.sleep(linger)
            longer = self._taken_at + self._linger - self._loop.time()
            steady = self._loop.time() - self.heard_at < STEADY_S
            if longer > 0 and steady and len(self.splitter.batch.topics) < ENOUGH:
                await asyncio.sleep(longer)
        batch = self.take_last()
        if self._paused and self._transport is not None and not self._transport.is_closing():
            self._paused = False
            self._transport.resume_reading()
        return batch

    def take_last(self) -> Batch:
        """The messages that have come, perhaps none; does not go on reading."""
        self._taken_at = self._loop.time()
        self._taken.set()
        return self.splitter.take()

    async def all_taken(self) -> None:
        """Wait until what has come so far was taken.

        Raises:
            LinkError: the connection is gone.
        """
        self._taken.clear()
        if self.splitter.batch:
            await self._taken.wait()
        if self._error is not None:
            raise self._error

    def pause(self) -> None:
        """Read no more until something is taken."""
        if not self._paused and self._transport is not None and not self._transport.is_closing():
            self._paused = True
            self._transport.pause_reading()

    @property
    def lost(self) -> bool:
        """Whether the connection is gone."""
        return self._error is not None

    def acknowledge(self, packet_ids: list[bytes]) -> None:
        """Tell the broker that it need not send these again; does nothing when the connection is gone."""
        if packet_ids and self._error is None:
            self.write(packets.puback_packets(packet_ids))

    def publish(self, messages: list[Publish]) -> None:
        """Send messages of our own; does nothing when the connection is gone."""
        if self._error is None:
            for message in messages:
                self.outbox.send(message)

    async def keep_alive(self) -> NoReturn:
        """Probe the broker twice per period.

        Raises:
            LinkError: it has been silent for one and a half periods.
        """
        while True:
            await asyncio.sleep(self._keepalive / 2)
            silent = self._loop.time() - self.heard_at
            if self._paused:  # nothing can be heard then
                self.heard_at = self._loop.time()
            elif silent > 1.5 * self._keepalive:
                raise LinkError(f"{self._url}: silent for {silent:.0f}s")
            self.write(packets.PINGREQ_PACKET)

    def write(self, data: bytes) -> None:
        """Send bytes, unless the connection is closing."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def _has_room(self) -> bool:
        return self._transport is not None and self._transport.get_write_buffer_size() < MAX_UNSENT

    async def ask(self, kind: int, packet_id: int, packet: bytes) -> bytes:
        """Send a packet, and wait for the answer of this type with this id; its body.

        Raises:
            LinkError: there is none in time, or the connection is gone.
        """
        self.write(packet)
        try:
            async with asyncio.timeout(self._timeout):
                return await self._answer(kind, packet_id)
        except TimeoutError:
            what = "SUBSCRIBE" if kind == packets.SUBACK else "UNSUBSCRIBE"
            raise LinkError(f"no answer to {what} within {self._timeout:g}s") from None

    async def _answer(self, kind: int, packet_id: int) -> bytes:
        if self._error is not None:
            raise self._error
        future: asyncio.Future[bytes] = self._loop.create_future()
        self._answers[kind, packet_id] = future
        try:
            return await future
        finally:
            del self._answers[kind, packet_id]

    async def close(self) -> None:
        """Say good-bye and wait until the socket is closed; never fails, never takes longer than a second.

        The broker closes when it has read the good-bye, and so every acknowledgement before it. A client that
        closes first may return before that, and get again what it has acknowledged.
        """
        if self._transport is None:
            return
        self._leaving = True
        self.write(packets.DISCONNECT_PACKET)
        if self._paused and not self._transport.is_closing():
            self._transport.resume_reading()
        for end in (self._transport.close, self._transport.abort):
            try:
                await asyncio.wait_for(self._closed.wait(), CLOSE_S)
            except TimeoutError:
                end()
        await self._closed.wait()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one by behaviour, not by class

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        if self._leaving:
            return
        self.heard_at = self._loop.time()
        batch = self.splitter.batch
        try:
            others = self.splitter.feed(data)
            self._collected(batch)
            for kind, body in others:
                self._control(kind, body)
        except PayloadError as error:
            self._collected(batch)  # what came before it counts
            self._fail(LinkError(f"{self._url}: {error}"))

    def _collected(self, batch: Batch) -> None:
        """Note when the newest messages came, and read no more if there are too many."""
        count = len(batch.topics)
        if not batch.marks or batch.marks[-1][0] != count:
            batch.marks.append((count, self._now()))
        if batch:
            self._news.set()
        if count >= MAX_MESSAGES or batch.nbytes >= MAX_BYTES:
            self.pause()

    def _control(self, kind: int, body: bytes) -> None:
        """A packet that is not PUBLISH.

        Raises:
            PayloadError: it cannot be, or was not to be expected.
        """
        answers = kind in {packets.SUBACK, packets.UNSUBACK}
        waiting = self._answers.get((kind, packets.packet_id_of(body) if answers else 0))
        if waiting is not None and not waiting.done():
            waiting.set_result(body)
        elif kind == packets.PUBACK:
            self.outbox.acknowledged(body)
        elif kind == packets.DISCONNECT:
            code = f"0x{body[0]:02x}" if body else "0x00"
            self._fail(LinkError(f"{self._url}: the broker disconnected, reason {code}"))
        elif kind != packets.PINGRESP and not answers:  # an answer may come when nobody waits for it any more
            self._fail(LinkError(f"{self._url}: unexpected packet of type {kind >> 4}"))

    def _fail(self, error: LinkError) -> None:
        """Remember why, and give the connection up."""
        self._error = self._error or error
        self._news.set()
        self._taken.set()
        for waiting in self._answers.values():
            if not waiting.done():
                waiting.set_exception(self._error)
        if self._transport is not None:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        why = failure(exc) if exc is not None else "the broker closed the connection"
        self._fail(LinkError(f"{self._url}: {why}"))
        self._closed.set()
