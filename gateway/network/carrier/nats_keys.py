"""Keys in JetStream: buckets that any client of NATS can read as key-value stores.

Asked of the stream's leader and never of a follower, which may not have yet what was confirmed.
"""

from __future__ import annotations

import base64
import re
from collections.abc import AsyncIterator, Mapping
from typing import Final

import msgspec

from gateway.network.carrier.base import BUCKETS, CarrierError, ConflictError, Entry
from gateway.network.carrier.nats_link import Line, Link, RefusedError
from gateway.network.carrier.nats_pull import Pull, Raw
from gateway.network.carrier.nats_streams import bucket_prefix, bucket_stream
from gateway.network.carrier.subjects import subject, text, wildcards
from gateway.uplinks.nats.flight import PubAck

OPERATION: Final = "KV-Operation"
_GONE: Final = frozenset({"DEL", "PURGE"})
_EXPECTED: Final = "Nats-Expected-Last-Subject-Sequence"
_NO_MESSAGE: Final = 10037
_WRONG_LAST: Final = frozenset({10071, 10164})
_ACK = msgspec.json.Decoder(PubAck)
_MARKER = re.compile(rf"^{OPERATION}:\s*(DEL|PURGE)\s*$".encode(), re.MULTILINE)


def acknowledged(data: bytes, what: str) -> PubAck:
    """What a stream answers to a message.

    Raises:
        RefusedError: it refuses.
        CarrierError: it cannot be read.
    """
    try:
        ack = _ACK.decode(data)
    except msgspec.DecodeError as error:
        raise CarrierError(f"{what}: not an acknowledgement: {error}") from None
    if ack.error is not None:
        raise RefusedError(what, ack.error)
    return ack


async def get(line: Line, bucket: str, key: str) -> Entry | None:
    """The key as it stands, also one that says that it was deleted (value None)."""
    try:
        answer = await line.api(
            f"STREAM.MSG.GET.{bucket_stream(bucket)}", {"last_by_subj": subject(key, bucket_prefix(bucket))}
        )
    except RefusedError as error:
        if error.code == _NO_MESSAGE:
            return None
        raise
    message = answer["message"]
    marker = _MARKER.search(base64.b64decode(message.get("hdrs", "")))
    value = None if marker else base64.b64decode(message.get("data", ""))
    return Entry(key, value, int(message["seq"]))


async def put(line: Line, bucket: str, key: str, value: bytes, revision: int | None) -> int:
    """See the protocol of the carrier."""
    if revision != 0:
        return await _write(line, bucket, key, value, revision, {})
    try:
        return await _write(line, bucket, key, value, 0, {})
    except ConflictError:
        there = await get(line, bucket, key)
        if there is None or there.value is not None:
            raise
        return await _write(line, bucket, key, value, there.revision, {})  # there is only the word that it was deleted


async def delete(line: Line, bucket: str, key: str, revision: int | None) -> None:
    """See the protocol of the carrier."""
    there = await get(line, bucket, key)
    if there is not None and there.value is not None:
        await _write(line, bucket, key, b"", revision, {OPERATION: "DEL"})


async def _write(
    line: Line, bucket: str, key: str, value: bytes, revision: int | None, headers: Mapping[str, str]
) -> int:
    what = f"{bucket}/{key}"
    expected = {} if revision is None else {_EXPECTED: str(revision)}
    message = await line.ask(subject(key, bucket_prefix(bucket)), value, {**headers, **expected})
    try:
        return acknowledged(message.data, f"{line.url}: {what}").seq
    except RefusedError as error:
        if error.code in _WRONG_LAST:
            raise ConflictError(f"{what}: is not at {revision}") from None
        raise


class Watch:
    """The changes of a bucket over connections that come and go.

    What was told is remembered by key, so that after a lost connection all that there is can be compared with it. What
    went by its age meanwhile is then told as deleted.
    """

    def __init__(self, link: Link, bucket: str, pattern: str) -> None:
        if bucket not in BUCKETS:
            raise CarrierError(f"there is no bucket {bucket}")
        self._link = link
        self._bucket = bucket
        self._prefix = bucket_prefix(bucket)
        self._subject = wildcards(pattern, self._prefix)
        self._known: dict[str, int] = {}
        self._told = False

    async def entries(self) -> AsyncIterator[list[Entry]]:
        """See the protocol of the carrier."""
        while (line := await self._link.next_line()) is not None:
            pull = Pull(line, bucket_stream(self._bucket), self._subject, {"deliver_policy": "last_per_subject"})
            try:
                entries = self._differing(await self._all(pull))
                if entries or not self._told:
                    self._told = True
                    yield entries
                while True:
                    if changed := self._new(await pull.take()):
                        yield changed
            except CarrierError:
                await self._link.pause(line)
            finally:
                await pull.close()

    async def _all(self, pull: Pull) -> dict[str, Entry]:
        """All keys that there are; a quiet moment ends them too, for keys may go while they are read."""
        found = dict[str, Entry]()
        if not await pull.open():
            return found
        while raws := await pull.take():
            found.update((entry.key, entry) for entry in map(self._entry, raws))
            if not raws[-1].pending:
                break
        return found

    def _entry(self, raw: Raw) -> Entry:
        gone = (raw.headers or {}).get(OPERATION) in _GONE
        return Entry(text(raw.subject, self._prefix), None if gone else raw.data, raw.seq)

    def _differing(self, there: dict[str, Entry]) -> list[Entry]:
        gone = [Entry(key, None, revision + 1) for key, revision in self._known.items() if key not in there]
        for entry in gone:
            del self._known[entry.key]
        return gone + self._noted(sorted(there.values(), key=lambda entry: entry.revision))

    def _new(self, raws: list[Raw]) -> list[Entry]:
        return self._noted([self._entry(raw) for raw in raws])

    def _noted(self, entries: list[Entry]) -> list[Entry]:
        """Those that are news, which are told."""
        news = []
        for entry in entries:
            known = self._known.get(entry.key)
            if known is not None and entry.revision <= known:
                continue
            if entry.value is not None:
                self._known[entry.key] = entry.revision
                news.append(entry)
            elif known is not None:
                del self._known[entry.key]
                news.append(entry)
        return news
