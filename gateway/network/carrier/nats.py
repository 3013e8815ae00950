"""The carrier on NATS JetStream.

What returned is stored by the stream's leader and, with replicas, by most servers of the cluster; whether it is on
their disks is the server's ``sync_interval`` (``onpath hub`` says always). A stream knows the ids of messages for
:data:`~gateway.network.carrier.base.DUPLICATES_S`, but not those of messages that were purged before a server started
again: whoever reads judges by the record id all the same.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import AsyncIterator, Coroutine
from typing import TYPE_CHECKING, Any, Final

from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error

from gateway.network.carrier import nats_blobs, nats_keys, subjects
from gateway.network.carrier.base import (
    BUCKETS,
    MAX_PAYLOAD,
    OUT,
    UP,
    Carrier,
    CarrierError,
    Entry,
    Message,
    takes,
)
from gateway.network.carrier.nats_link import UNBOUNDED, Line, Link, RefusedError
from gateway.network.carrier.nats_pull import Pull
from gateway.network.carrier.nats_streams import make_missing, stream_name
from gateway.network.carrier.subjects import WORD
from gateway.tasks import ended

if TYPE_CHECKING:
    from gateway.network.config import CarrierConfig

WAITING: Final = 10_000
"""So many words wait for a slow listener, the newest."""
TRY_S: Final = 1.0
"""A message with an id that was not acknowledged by then is sent again under the same id, until the time is over."""
_LARGE: Final = 100_000


class _Hearing:
    """Somebody who listens."""

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self.subject = subjects.wildcards(pattern, WORD)
        self.words: deque[Message] = deque(maxlen=WAITING)
        self.news = asyncio.Event()
        self.subscription: Subscription | None = None

    def add(self, word: Message) -> None:
        """A word has come."""
        self.words.append(word)
        self.news.set()

    async def came(self, message: Msg) -> None:
        """The library's callback."""
        self.add(Message(subjects.text(message.subject, WORD), message.data))


class NatsCarrier(Carrier):
    """See :class:`gateway.network.carrier.base.Carrier`.

    Args:
        config: where the servers are, and how to log in.
        name: who connects, for the servers' logs.
    """

    def __init__(self, config: CarrierConfig, name: str) -> None:
        self.url = config.url
        self._config = config
        self._link = Link(config, f"onpath-{name}", self._prepare)
        self._hearing: set[_Hearing] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """See the protocol."""
        await self._link.open()

    async def close(self) -> None:
        """See the protocol."""
        await self._link.close()
        await ended(*self._tasks)
        for hearing in self._hearing:
            hearing.news.set()

    @property
    def up(self) -> bool:
        """See the protocol."""
        return self._link.up

    async def _prepare(self, line: Line) -> None:
        for hearing in list(self._hearing):
            await self._subscribe(line, hearing)
        if not self._link.connections:
            await make_missing(line, self._config.replicas)
        else:  # they are there, unless the server was set up anew; a cluster without a leader does not say now
            self._spawn(self._look_after(line), "carrier streams")

    async def _look_after(self, line: Line) -> None:
        while not line.lost.done():
            try:
                await make_missing(line, self._config.replicas)
            except CarrierError:
                await asyncio.sleep(random.uniform(1, 3))  # noqa: S311  spreads load, no secret
            else:
                return

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _checked(self, what: str, payload: bytes) -> None:
        if len(payload) > MAX_PAYLOAD:
            raise CarrierError(f"{self.url}: {what}: {len(payload)} bytes are more than {MAX_PAYLOAD}")

    # Streams

    async def publish(self, subject: str, payload: bytes, message_id: str = "") -> int:
        """See the protocol."""
        stream = self._stream(subject)
        self._checked(subject, payload)
        headers = {"Nats-Expected-Stream": stream}
        if message_id:
            headers["Nats-Msg-Id"] = message_id.encode("ascii", "backslashreplace").decode("ascii")
        to, line = subjects.subject(subject), self._link.line()
        until = asyncio.get_running_loop().time() + self._config.timeout
        while True:
            left_s = until - asyncio.get_running_loop().time()
            again = bool(message_id) and len(payload) < _LARGE and left_s > TRY_S
            try:
                message = await line.ask(to, payload, headers, TRY_S if again else max(left_s, TRY_S))
                return nats_keys.acknowledged(message.data, f"{line.url}: {subject}").seq
            except RefusedError:
                raise
            except CarrierError:
                if not again or line.lost.done():
                    raise
            await asyncio.sleep(random.uniform(0, TRY_S / 4))  # noqa: S311  spreads load, no secret

    def _stream(self, pattern: str) -> str:
        first = pattern.partition("/")[0]
        if first not in {UP, OUT}:
            raise CarrierError(f"{pattern}: streams begin with {UP} or {OUT}")
        return stream_name(first)

    async def consume(self, pattern: str, after: int = 0) -> AsyncIterator[list[Message]]:
        """See the protocol."""
        stream, filter_ = self._stream(pattern), subjects.wildcards(pattern)
        while (line := await self._link.next_line()) is not None:
            pull = Pull(line, stream, filter_, {"deliver_policy": "by_start_sequence", "opt_start_seq": after + 1})
            try:
                await pull.open()
                while True:
                    raws = await pull.take()
                    messages = [
                        Message(subjects.text(raw.subject), raw.data, raw.seq) for raw in raws if raw.seq > after
                    ]
                    if messages:
                        after = messages[-1].seq
                        yield messages
            except CarrierError:
                await self._link.pause(line)
            finally:
                await pull.close()

    async def purge(self, pattern: str, upto: int) -> None:
        """See the protocol."""
        stream, filter_ = self._stream(pattern), subjects.wildcards(pattern)
        if upto > 0:  # the server takes 0 for: all
            await self._link.line().api(f"STREAM.PURGE.{stream}", {"filter": filter_, "seq": upto + 1})

    # Keys

    def _known(self, bucket: str) -> None:
        if bucket not in BUCKETS:
            raise CarrierError(f"{self.url}: there is no bucket {bucket}")

    async def get(self, bucket: str, key: str) -> Entry | None:
        """See the protocol."""
        self._known(bucket)
        found = await nats_keys.get(self._link.line(), bucket, key)
        return found if found is not None and found.value is not None else None

    async def put(self, bucket: str, key: str, value: bytes, revision: int | None = None) -> int:
        """See the protocol."""
        self._known(bucket)
        self._checked(f"{bucket}/{key}", value)
        return await nats_keys.put(self._link.line(), bucket, key, value, revision)

    async def delete(self, bucket: str, key: str, revision: int | None = None) -> None:
        """See the protocol."""
        self._known(bucket)
        await nats_keys.delete(self._link.line(), bucket, key, revision)

    def watch(self, bucket: str, pattern: str = "**") -> AsyncIterator[list[Entry]]:
        """See the protocol."""
        return nats_keys.Watch(self._link, bucket, pattern).entries()

    # Blobs

    async def put_blob(self, name: str, data: bytes) -> None:
        """See the protocol."""
        await nats_blobs.put(self._link.line(), name, data)

    async def get_blob(self, name: str) -> bytes | None:
        """See the protocol."""
        return await nats_blobs.get(self._link.line(), name)

    async def delete_blob(self, name: str) -> None:
        """See the protocol."""
        await nats_blobs.delete(self._link.line(), name)

    # Words

    async def tell(self, subject: str, payload: bytes) -> None:
        """See the protocol."""
        self._checked(subject, payload)
        await self._link.line().publish(subjects.subject(subject, WORD), payload)
        for hearing in self._hearing:  # the server does not echo what a connection of ours says
            if takes(hearing.pattern, subject):
                hearing.add(Message(subject, payload))

    def hear(self, pattern: str) -> AsyncIterator[Message]:
        """See the protocol; listens from this call on."""
        hearing = _Hearing(pattern)
        self._hearing.add(hearing)
        if self._link.up:
            self._spawn(self._subscribe(self._link.line(), hearing), f"carrier hear {pattern}")
        return self._hear(hearing)

    async def _subscribe(self, line: Line, hearing: _Hearing) -> None:
        try:
            hearing.subscription = await line.client.subscribe(
                hearing.subject, cb=hearing.came, pending_msgs_limit=UNBOUNDED, pending_bytes_limit=0
            )
        except (Error, OSError):
            return  # the next connection does it

    async def _hear(self, hearing: _Hearing) -> AsyncIterator[Message]:
        try:
            while not self._link.closed:
                hearing.news.clear()
                while hearing.words:
                    yield hearing.words.popleft()
                await hearing.news.wait()
        finally:
            self._hearing.discard(hearing)
            try:
                if hearing.subscription is not None and self._link.up:
                    await hearing.subscription.unsubscribe()
            except (Error, OSError):
                pass  # gone with its connection
