"""The carrier in a folder of this machine, that several processes share: SQLite, and no server.

What returned is on disk. Any process may be killed at any moment; the others do not notice, and it goes on where it
was when it comes back. One thread a carrier has the files (:mod:`gateway.network.carrier.local_thread`).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, TypeVar

from gateway.network.carrier.base import BUCKETS, MAX_PAYLOAD, CarrierError, Entry, Message, takes
from gateway.network.carrier.local_blobs import Blobs
from gateway.network.carrier.local_tables import Tables, fixed_lane, stream_of
from gateway.network.carrier.local_thread import News, StoreThread
from gateway.network.carrier.local_words import WAITING
from gateway.tasks import in_thread

T = TypeVar("T")


class _Listener:
    """Somebody who waits for news."""

    def __init__(self, carrier: LocalCarrier, topic: str, pattern: str = "") -> None:
        self._carrier = carrier
        self.topic = topic
        """A lane, a stream, ``bucket <name>`` or empty for words."""
        self.pattern = pattern
        self.news = asyncio.Event()
        self.words: deque[Message] = deque(maxlen=WAITING)
        carrier._listen(self, 1)  # noqa: SLF001  two halves of one thing

    def end(self) -> None:
        """Wait no more."""
        self._carrier._listen(self, -1)  # noqa: SLF001  likewise


class LocalCarrier:
    """See :class:`gateway.network.carrier.base.Carrier`.

    Args:
        folder: what the processes share; made if it is not there.
    """

    def __init__(self, folder: Path) -> None:
        self.url = f"local:{folder}"
        self._folder = folder
        self._blobs = Blobs(folder / "blobs")
        self._thread: StoreThread | None = None
        self._listeners: dict[str, set[_Listener]] = {}
        self._closed = asyncio.Event()

    async def open(self) -> None:
        """See the protocol."""
        thread = StoreThread(self._folder, self._tell)
        await thread.open()
        self._thread = thread
        await self._blob(self._blobs.open)

    async def close(self) -> None:
        """See the protocol."""
        self._closed.set()
        for waiting in self._listeners.values():
            for listener in waiting:
                listener.news.set()
        if self._thread is not None:
            await self._thread.close()

    @property
    def up(self) -> bool:
        """See the protocol."""
        return self._thread is not None and self._thread.well and not self._closed.is_set()

    def _opened(self) -> StoreThread:
        if self._thread is None:
            raise CarrierError(f"{self.url}: not open")
        return self._thread

    async def _write(self, call: Callable[[Tables], T]) -> T:
        return await self._opened().ask(call, writes=True)

    async def _read(self, call: Callable[[Tables], T]) -> T:
        return await self._opened().ask(call)

    def _checked(self, what: str, payload: bytes) -> None:
        if len(payload) > MAX_PAYLOAD:
            raise CarrierError(f"{self.url}: {what}: {len(payload)} bytes are more than {MAX_PAYLOAD}")

    # Streams

    async def publish(self, subject: str, payload: bytes, message_id: str = "") -> int:
        """See the protocol."""
        stream_of(subject)
        self._checked(subject, payload)
        return await self._write(lambda tables: tables.publish(subject, payload, message_id))

    async def consume(self, pattern: str, after: int = 0) -> AsyncIterator[list[Message]]:
        """See the protocol."""
        listener = _Listener(self, fixed_lane(pattern) or stream_of(pattern))
        try:
            while not self._closed.is_set():
                listener.news.clear()
                at = after
                found = await self._reading(lambda tables, at=at: tables.read(pattern, at))  # type: ignore[misc]
                if found is None:
                    continue
                after = found.after
                if found.messages:
                    yield found.messages
                elif not found.more:
                    await listener.news.wait()
        finally:
            listener.end()

    async def _reading(self, call: Callable[[Tables], T]) -> T | None:
        """Read for an iterator, which goes on: None when the file cannot be read now, a moment later."""
        try:
            return await self._read(call)
        except CarrierError:
            if not self._closed.is_set():
                await asyncio.sleep(1.0)
            return None

    async def purge(self, pattern: str, upto: int) -> None:
        """See the protocol."""
        stream_of(pattern)
        await self._write(lambda tables: tables.purge(pattern, upto))

    # Keys

    async def get(self, bucket: str, key: str) -> Entry | None:
        """See the protocol."""
        self._known(bucket)
        found = await self._read(lambda tables: tables.entry(bucket, key))
        return found if found is not None and found.value is not None else None

    async def put(self, bucket: str, key: str, value: bytes, revision: int | None = None) -> int:
        """See the protocol."""
        self._known(bucket)
        self._checked(f"{bucket}/{key}", value)
        return await self._write(lambda tables: tables.put(bucket, key, value, revision))

    async def delete(self, bucket: str, key: str, revision: int | None = None) -> None:
        """See the protocol."""
        self._known(bucket)
        await self._write(lambda tables: tables.delete(bucket, key, revision))

    def _known(self, bucket: str) -> None:
        if bucket not in BUCKETS:
            raise CarrierError(f"{self.url}: there is no bucket {bucket}")

    async def watch(self, bucket: str, pattern: str = "**") -> AsyncIterator[list[Entry]]:
        """See the protocol."""
        self._known(bucket)
        listener, known = _Listener(self, f"bucket {bucket}"), set[str]()
        since: int | None = None
        try:
            while not self._closed.is_set():
                listener.news.clear()
                at = since
                found = await self._reading(
                    lambda tables, at=at: tables.changes(bucket, pattern, at, known)  # type: ignore[misc]
                )
                if found is None:
                    continue
                entries = [entry for entry in found.entries if entry.value is not None or entry.key in known]
                for entry in entries:
                    (known.discard if entry.value is None else known.add)(entry.key)
                first, since = since is None, found.revision
                if entries or first:
                    yield entries
                else:
                    await listener.news.wait()
        finally:
            listener.end()

    # Blobs

    async def put_blob(self, name: str, data: bytes) -> None:
        """See the protocol."""
        await self._blob(self._blobs.put, name, data)

    async def get_blob(self, name: str) -> bytes | None:
        """See the protocol."""
        return await self._blob(self._blobs.get, name)

    async def delete_blob(self, name: str) -> None:
        """See the protocol."""
        await self._blob(self._blobs.delete, name)

    async def _blob(self, call: Callable[..., T], *args: Any) -> T:
        self._opened()
        try:
            return await in_thread(call, *args)
        except OSError as error:
            raise CarrierError(f"{self.url}: {error}") from error

    # Words

    async def tell(self, subject: str, payload: bytes) -> None:
        """See the protocol."""
        self._checked(subject, payload)
        await self._opened().say(subject, payload)

    def hear(self, pattern: str) -> AsyncIterator[Message]:
        """See the protocol; listens from this call on."""
        return self._hear(_Listener(self, "", pattern))

    async def _hear(self, listener: _Listener) -> AsyncIterator[Message]:
        try:
            while not self._closed.is_set():
                listener.news.clear()
                while listener.words:
                    yield listener.words.popleft()
                await listener.news.wait()
        finally:
            listener.end()

    # News from the thread

    def _listen(self, listener: _Listener, more: int) -> None:
        self._opened().listen(more, words=not listener.topic)
        waiting = self._listeners.setdefault(listener.topic, set())
        if more > 0:
            waiting.add(listener)
        else:
            waiting.discard(listener)

    def _tell(self, news: News) -> None:
        topics = {*news.touched.lanes, *(lane.partition("/")[0] for lane in news.touched.lanes)}
        topics |= {f"bucket {bucket}" for bucket in news.touched.buckets}
        for topic in topics:
            for listener in self._listeners.get(topic, ()):
                listener.news.set()
        for listener in self._listeners.get("", ()):
            heard = [word for word in news.words if takes(listener.pattern, word.subject)]
            if heard:
                listener.words.extend(heard)
                listener.news.set()
