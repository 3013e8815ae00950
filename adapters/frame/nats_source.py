"""Batches from a JetStream stream: a durable pull consumer, each message acknowledged when somebody says so.

Pulls by itself instead of with nats-py's ``fetch``, which waits until a batch is whole and keeps without a bound what
comes: here a pull ends at :data:`AT_ONCE` messages or :data:`MAX_BYTES`, and the next one waits until those are taken.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any, Final, NoReturn

import nats
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js.api import AckPolicy, ConsumerConfig
from nats.js.errors import NotFoundError

from adapters.frame.source import Message
from adapters.frame.topics import subjects
from gateway.errors import LinkError
from gateway.tls import client_context

if TYPE_CHECKING:
    from adapters.frame.config import FrameConfig

AT_ONCE: Final = 256
MAX_BYTES: Final = 32 * 2**20
"""A pull ends with either; so much waits here at most, and one message more."""
PULL_S: Final = 10.0
"""A pull that finds nothing ends after this; the answer also shows that the server lives."""
ACK_WAIT_S: Final = 60.0
"""What is not acknowledged by then comes again."""
MAX_ACK_PENDING: Final = 4096
FORGOTTEN_S: Final = 60.0
"""A consumer that is not to be kept ends when nobody pulls for so long."""
CLOSE_S: Final = 1.0
_NO_DURABLE = re.compile(r"[^A-Za-z0-9_\-]")


class NatsSource:
    """See :class:`adapters.frame.source.Source`."""

    dot = "."
    prompt = False

    def __init__(self, config: FrameConfig, client_id: str, reasons: Counter[str], *, kept: bool) -> None:
        self._config = config
        self._durable = _NO_DURABLE.sub("-", client_id)
        self._kept = kept
        self._reasons = reasons
        self._client = Client()
        self._stream = config.stream
        self._inbox = ""
        self._pull = b""
        self._received: list[Message] = []
        self._pulled = 0
        self._news = asyncio.Event()
        self._ended = asyncio.Event()
        self._taken = asyncio.Event()
        self._error: LinkError | None = None
        self.filters = subjects(config.topics)

    async def open(self, had: Collection[str]) -> str:
        """See the protocol."""
        del had  # a consumer has the subjects that it was told last
        try:
            async with asyncio.timeout(self._config.timeout):
                await self._connect()
                await self._consume()
        except TimeoutError:
            raise self._failed(f"no answer within {self._config.timeout:g}s") from None
        except (NatsError, OSError) as error:
            raise self._failed(str(error) or type(error).__name__) from error
        return f"stream {self._stream}, consumer {self._durable}"

    def _failed(self, why: str) -> LinkError:
        return LinkError(f"{self._config.url}: {why}")

    async def _connect(self) -> None:
        config = self._config
        secure = config.url.startswith("tls:") or config.ca or config.cert
        context = await asyncio.to_thread(client_context, config.ca, config.cert, config.key) if secure else None
        await self._client.connect(
            config.url,
            name=self._durable,
            user=config.username or None,
            password=config.password or None,
            tls=context,
            allow_reconnect=False,  # the supervisor does, and nothing is taken for acknowledged in between
            connect_timeout=max(1, round(config.timeout)),
            ping_interval=max(1, round(config.keepalive)),
            max_outstanding_pings=1,
            error_cb=self._told,
            closed_cb=self._closed,
        )

    async def _told(self, error: Exception) -> None:
        if isinstance(error, nats.errors.SlowConsumerError):
            self._reasons["slow-consumer"] += 1  # it comes again, for it was not acknowledged
        elif self._error is None:
            self._error = self._failed(str(error) or type(error).__name__)

    async def _closed(self) -> None:
        self._error = self._error or self._failed("the connection is gone")
        self._news.set()
        self._ended.set()

    async def _consume(self) -> None:
        js = self._client.jetstream()
        if not self._stream:
            try:
                self._stream = await js.find_stream_name_by_subject(self.filters[0])
            except NotFoundError:
                raise self._failed(f"no stream takes {self.filters[0]}") from None
        config = ConsumerConfig(
            name=self._durable,
            durable_name=self._durable if self._kept else None,
            inactive_threshold=None if self._kept else FORGOTTEN_S,
            ack_policy=AckPolicy.EXPLICIT,
            ack_wait=float(self._config.ack_wait),
            max_ack_pending=MAX_ACK_PENDING,
            filter_subjects=self.filters,
        )
        await js.add_consumer(self._stream, config=config)
        self._inbox = self._client.new_inbox()
        # Bounded by what is pulled; a bound of the library's would throw away what comes beyond it
        await self._client.subscribe(self._inbox, cb=self._came, pending_msgs_limit=16 * AT_ONCE, pending_bytes_limit=0)
        request = {
            "batch": AT_ONCE,
            "max_bytes": max(MAX_BYTES, int(self._config.max_payload) + 65_536),
            "expires": int(PULL_S * 1e9),
        }
        self._pull = json.dumps(request).encode()
        await self._next()

    async def _next(self) -> None:
        self._pulled = 0
        await self._client.publish(f"$JS.API.CONSUMER.MSG.NEXT.{self._stream}.{self._durable}", self._pull, self._inbox)

    async def _came(self, msg: Msg) -> None:
        """A message, or the word that a pull is over."""
        status = (msg.headers or {}).get("Status") if not msg.reply or not msg.data else None
        if status is None:
            self._pulled += 1
            if len(msg.data) > self._config.max_payload:
                self._reasons["oversize"] += 1
                await self._client.publish(msg.reply, b"")
            else:
                self._received.append(Message(msg.subject, msg.data, msg.reply))
        elif status == "409" and "Consumer" in (msg.headers or {}).get("Description", ""):
            self._error = self._failed(f"consumer {self._durable}: {(msg.headers or {}).get('Description')}")
        if (status is not None and status != "100") or self._pulled >= AT_ONCE:
            self._ended.set()
        self._news.set()

    async def keep(self) -> NoReturn:
        """See the protocol: pulls when the pull before is over and what it brought was taken."""
        while True:
            try:
                async with asyncio.timeout(PULL_S + self._config.timeout):
                    await self._ended.wait()
            except TimeoutError:
                raise self._failed("the server does not answer a pull") from None
            self._ended.clear()
            if self._error is not None:
                raise self._error
            while self._received:
                self._taken.clear()
                await self._taken.wait()
            try:
                await self._next()
            except NatsError as error:
                raise self._failed(str(error) or type(error).__name__) from error

    async def take(self) -> list[Message]:
        """See the protocol."""
        while not self._received:
            if self._error is not None:
                raise self._error
            self._news.clear()
            await self._news.wait()
        received, self._received = self._received, []
        self._taken.set()
        return received

    async def acknowledge(self, messages: Sequence[Message]) -> None:
        """See the protocol."""
        for one in messages:
            if isinstance(one.mark, str):
                await self._send(one.mark, b"")

    async def publish(self, topic: str, payload: bytes) -> None:
        """See the protocol."""
        await self._send(topic, payload)

    async def _send(self, subject: str, payload: bytes) -> None:
        try:
            await self._client.publish(subject, payload)
        except (NatsError, OSError) as error:
            raise self._failed(str(error) or type(error).__name__) from error

    async def directory(self, topic: str, name: str) -> bytes | None:
        """See the protocol: the stream has it under a subject of its own."""
        try:
            found: Any = await self._client.jetstream().get_last_msg(self._stream, f"{topic}.directory.{name}")
        except NotFoundError:
            return None
        except (NatsError, OSError, TimeoutError) as error:
            raise self._failed(str(error) or type(error).__name__) from error
        return bytes(found.data) if found.data else None

    async def close(self) -> None:
        """See the protocol: acknowledgements that were written go out first."""
        try:
            async with asyncio.timeout(CLOSE_S):
                if self._client.is_connected:
                    await self._client.flush()
                await self._client.close()
        except (TimeoutError, NatsError, OSError):
            return
