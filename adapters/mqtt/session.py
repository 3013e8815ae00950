"""One connection to a broker: log-in, subscriptions, messages in, acknowledgements out.

Reads without a coroutine, a task or a call a message: the socket's bytes go through
:class:`~adapters.mqtt.wire.Splitter` into a batch, which :meth:`Session.take` hands over. While nobody
takes, the batch grows to a bound; then the socket is not read any more and the broker has to wait.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NoReturn, cast
from urllib.parse import urlsplit

from gmqtt.mqtt.constants import SubAckReasonCode
from gmqtt.mqtt.handler import MQTTConnectError

from adapters.mqtt import wire
from adapters.mqtt.topics import parse
from gateway.errors import LinkError, PayloadError

if TYPE_CHECKING:
    from adapters.mqtt.config import MqttConfig

LINGER_S: Final = 0.002
"""Batches follow each other at this distance at least, so that they grow under load; the first is at once."""
MAX_MESSAGES: Final = 4096
MAX_BYTES: Final = 4 * 2**20
"""Bounds on what waits in a batch; one read of the socket may come on top."""
CLOSE_S: Final = 0.4


class Session(asyncio.Protocol):
    """A connection, from CONNECT to its end. ``now`` gives the arrival time, UTC ns."""

    def __init__(self, config: MqttConfig, now: Callable[[], int]) -> None:
        self._config = config
        self._now = now
        self._loop = asyncio.get_running_loop()
        self._version = wire.V5 if config.version == "5" else wire.V311
        self._splitter = wire.Splitter(self._version, config.max_payload)
        self._answers: dict[int, asyncio.Future[bytes]] = {}
        self._news = asyncio.Event()
        self._closed = asyncio.Event()
        self._error: LinkError | None = None
        self._transport: asyncio.Transport | None = None
        self._paused = False
        self._leaving = False
        self._taken_at = self._heard_at = self._loop.time()
        self._keepalive: float = config.keepalive

    async def open(self, client_id: str) -> bool:
        """Connect and log in; whether the broker had kept the session.

        Raises:
            LinkError: it does not answer or refuses.
        """
        config = self._config
        try:
            async with asyncio.timeout(config.timeout):
                await self._connect()
                clean = config.session.clean
                self.write(
                    wire.connect_packet(
                        self._version,
                        client_id,
                        (config.username, config.password) if config.username else None,
                        int(config.keepalive),
                        None if clean else int(config.session.expiry),
                    )
                )
                return self._logged_in(await self._answer(wire.CONNACK))
        except TimeoutError:
            raise LinkError(f"{config.url}: no answer within {config.timeout:g}s") from None
        except (OSError, UnicodeError, PayloadError) as error:
            raise LinkError(f"{config.url}: {error}") from error

    async def _connect(self) -> None:
        url = urlsplit(self._config.url)
        secure = url.scheme == "mqtts"
        await self._loop.create_connection(
            lambda: self,
            url.hostname or "",
            url.port or (8883 if secure else 1883),
            ssl=_tls(self._config) if secure else None,
        )

    def _logged_in(self, body: bytes) -> bool:
        answer = wire.parse_connack(body, self._version)
        if answer.code == 1 and self._version == wire.V5:
            raise LinkError(f'{self._config.url}: the broker does not speak MQTT 5; set version: "3.1.1"')
        if answer.code:
            raise LinkError(f"{self._config.url}: {MQTTConnectError(answer.code)}")
        self._keepalive = answer.properties.get("server_keep_alive") or self._keepalive
        return answer.session_present

    async def subscribe(self) -> None:
        """Ask for the topics; at each connection, because a kept session may be older than the options.

        Raises:
            LinkError: the broker refuses one of them, or does not answer.
        """
        wanted = [(parse(entry.topic).filter, entry.qos) for entry in self._config.subscribe]
        self.write(wire.subscribe_packet(self._version, wanted))
        try:
            async with asyncio.timeout(self._config.timeout):
                codes = wire.parse_suback(await self._answer(wire.SUBACK), self._version)
        except TimeoutError:
            raise LinkError(f"no answer to SUBSCRIBE within {self._config.timeout:g}s") from None
        except PayloadError as error:
            raise LinkError(f"answer to SUBSCRIBE: {error}") from error
        if len(codes) != len(wanted):
            raise LinkError(f"the broker answered {len(codes)} of {len(wanted)} subscriptions")
        refused = [f"{text} ({_refusal(code)})" for (text, _), code in zip(wanted, codes, strict=True) if code > 2]
        if refused:
            raise LinkError(f"the broker refused to subscribe to {', '.join(refused)}")

    async def take(self) -> wire.Batch:
        """The messages that have come; waits for the first, and a little for more under load.

        Raises:
            LinkError: the connection is gone and all that came has been taken.
        """
        while not self._splitter.batch:
            if self._error is not None:
                raise self._error
            self._news.clear()
            await self._news.wait()
        linger = self._taken_at + LINGER_S - self._loop.time()
        if linger > 0 and not self._paused:
            await asyncio.sleep(linger)
        batch = self.take_last()
        if self._paused and self._transport is not None and not self._transport.is_closing():
            self._paused = False
            self._transport.resume_reading()
        return batch

    def take_last(self) -> wire.Batch:
        """The messages that have come, perhaps none; does not go on reading."""
        self._taken_at = self._loop.time()
        return self._splitter.take()

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
            self.write(wire.puback_packets(packet_ids))

    async def keep_alive(self) -> NoReturn:
        """Probe the broker twice per period.

        Raises:
            LinkError: it has been silent for one and a half periods.
        """
        while True:
            await asyncio.sleep(self._keepalive / 2)
            silent = self._loop.time() - self._heard_at
            if self._paused:  # nothing can be heard then
                self._heard_at = self._loop.time()
            elif silent > 1.5 * self._keepalive:
                raise LinkError(f"{self._config.url}: silent for {silent:.0f}s")
            self.write(wire.PINGREQ_PACKET)

    def write(self, data: bytes) -> None:
        """Send bytes, unless the connection is closing."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    async def close(self) -> None:
        """Say good-bye and wait until the socket is closed; never fails, never takes longer than a second.

        The broker closes when it has read the good-bye, and thereby every acknowledgement before it. A
        client that closes first may return before that, and get again what it has acknowledged.
        """
        if self._transport is None:
            return
        self._leaving = True
        self.write(wire.DISCONNECT_PACKET)
        if self._paused and not self._transport.is_closing():
            self._transport.resume_reading()
        for end in (self._transport.close, self._transport.abort):
            try:
                await asyncio.wait_for(self._closed.wait(), CLOSE_S)
            except TimeoutError:
                end()
        await self._closed.wait()

    async def _answer(self, kind: int) -> bytes:
        if self._error is not None:
            raise self._error
        future: asyncio.Future[bytes] = self._loop.create_future()
        self._answers[kind] = future
        try:
            return await future
        finally:
            del self._answers[kind]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one by behaviour, not by class

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        if self._leaving:
            return
        self._heard_at = self._loop.time()
        batch = self._splitter.batch
        try:
            others = self._splitter.feed(data)
        except PayloadError as error:
            self._fail(LinkError(f"{self._config.url}: {error}"))
            return
        count = len(batch.topics)
        if not batch.marks or batch.marks[-1][0] != count:
            batch.marks.append((count, self._now()))
        if batch:
            self._news.set()
        if count >= MAX_MESSAGES or batch.nbytes >= MAX_BYTES:
            self.pause()
        for kind, body in others:
            self._control(kind, body)

    def _control(self, kind: int, body: bytes) -> None:
        waiting = self._answers.get(kind)
        if waiting is not None and not waiting.done():
            waiting.set_result(body)
        elif kind == wire.DISCONNECT:
            code = f"0x{body[0]:02x}" if body else "0x00"
            self._fail(LinkError(f"{self._config.url}: the broker disconnected, reason {code}"))
        elif kind != wire.PINGRESP:
            self._fail(LinkError(f"{self._config.url}: unexpected packet of type {kind >> 4}"))

    def _fail(self, error: LinkError) -> None:
        """Remember why, and give the connection up."""
        self._error = self._error or error
        self._news.set()
        for waiting in self._answers.values():
            if not waiting.done():
                waiting.set_exception(self._error)
        if self._transport is not None:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        self._fail(LinkError(f"{self._config.url}: {exc or 'the broker closed the connection'}"))
        self._closed.set()


def _refusal(code: int) -> str:
    try:
        return str(SubAckReasonCode(code).name).lower().replace("_", " ")
    except ValueError:
        return f"0x{code:02x}"


def _tls(config: MqttConfig) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=config.ca or None)
    if config.cert:
        context.load_cert_chain(config.cert, config.key)
    return context
