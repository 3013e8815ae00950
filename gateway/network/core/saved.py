"""A partition's snapshot in the carrier: written by compare-and-set, which is the fence between two workers.

The key ``core-PP`` in the bucket ``snapshots`` has the number of the snapshot, who wrote it, and the state; or, where
that is large, the name of a blob. Parts of the state that do not change any more (:class:`pipelines.base.Settled`) are
blobs of their own, written once and named by all snapshots that have them. Names of blobs are never used twice, so
that a worker that was fenced off cannot touch what its successor relies on.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import msgpack
import msgspec

from gateway.errors import OnpathError, PayloadError
from gateway.network.carrier.base import CarrierError, ConflictError
from gateway.store import state as codec
from pipelines.base import Settled

if TYPE_CHECKING:
    from gateway.network.carrier.base import Carrier, Entry
    from gateway.network.core.threads import Threads

log = logging.getLogger(__name__)

BUCKET: Final = "snapshots"
FORMAT: Final = 1
LARGE: Final = 256 << 10
"""A state of more bytes than this is a blob."""
PART: Final = 32 << 10
"""A settled part of fewer bytes stays in the state."""
RETRY_S: Final = 0.5
_NAME, _RAW = "\0part", "\0raw"


class FencedError(OnpathError):
    """Another worker has the partition."""


class _Head(msgspec.Struct, frozen=True, kw_only=True):
    onpath: int
    number: int
    token: str
    blob: str = ""
    state: bytes = b""
    parts: list[str] = []


@dataclass(slots=True)
class _Packed:
    """A state, ready to be written."""

    head: _Head
    blobs: list[tuple[str, bytes]]
    used: dict[int, tuple[Settled, str | bytes]] = field(default_factory=dict)
    """By identity: settled parts with their blob's name, or as they stand in the state."""


class Saved:
    """The snapshots of one partition, as its only writer."""

    def __init__(self, carrier: Carrier, threads: Threads, name: str) -> None:
        self._carrier, self._threads, self._name = carrier, threads, name
        self._revision = 0
        self.number = 0
        """Of the newest snapshot."""
        self.bytes = 0
        """Of its state, without parts."""
        self._token = secrets.token_hex(6)
        self._known: dict[int, tuple[Settled, str | bytes]] = {}
        self._blobs: set[str] = set()
        """Names of blobs that the newest snapshot needs."""

    async def load(self) -> dict[str, Any] | None:
        """The newest snapshot; None if there is none.

        Raises:
            CarrierError: it cannot be had now.
            PayloadError: it cannot be read.
        """
        entry = await self._carrier.get(BUCKET, self._name)
        if entry is None or entry.value is None:
            return None
        head = _head(entry.value)
        raw = {name: await self._blob(name) for name in [*head.parts, *([head.blob] if head.blob else [])]}
        self._revision, self.number, self._blobs = entry.revision, head.number, set(raw)
        state: dict[str, Any] = await self._threads.run(self._unpack, raw.get(head.blob, head.state), raw)
        return state

    async def _blob(self, name: str) -> bytes:
        found = await self._carrier.get_blob(name)
        if found is None:
            raise PayloadError("bad-state", f"{self._name}: blob {name} is missing")
        return found

    def _unpack(self, state: bytes, raw: dict[str, bytes]) -> Any:
        def whole(value: Any) -> Any:
            if isinstance(value, dict):
                if _NAME in value:
                    name = value[_NAME]
                    return self._keep(codec.decode(raw[name]), name)
                if _RAW in value:
                    return self._keep(codec.decode(value[_RAW]), value[_RAW])
                return {key: whole(one) for key, one in value.items()}
            return [whole(one) for one in value] if _nests(value) else value

        return whole(codec.decode(state))

    def _keep(self, content: dict[str, Any], where: str | bytes) -> Settled:
        part = Settled(content)
        self._known[id(part)] = part, where
        return part

    async def commit(self, state: dict[str, Any]) -> None:
        """Make a state the newest snapshot; it is durable when this returns. Waits for a carrier that is away.

        Raises:
            FencedError: another worker has written since; nothing of this state counts.
        """
        packed = await self._threads.run(self._pack, state)
        value = msgspec.msgpack.encode(packed.head)
        while True:
            try:
                for name, data in packed.blobs:
                    await self._carrier.put_blob(name, data)
                packed.blobs.clear()
                self._revision = await self._put(value)
                break
            except CarrierError as error:
                log.debug("%s: snapshot %d: %s", self._name, packed.head.number, error)
                await asyncio.sleep(RETRY_S)
        self.number, self.bytes, self._known = packed.head.number, len(value), packed.used
        needed = {*packed.head.parts, *([packed.head.blob] if packed.head.blob else [])}
        old, self._blobs = self._blobs - needed, needed
        for name in old:
            try:
                await self._carrier.delete_blob(name)
            except CarrierError as error:
                log.debug("%s: %s is not deleted: %s", self._name, name, error)

    async def _put(self, value: bytes) -> int:
        """Write the key; its revision, also where an earlier attempt had succeeded without our knowing."""
        try:
            return await self._carrier.put(BUCKET, self._name, value, self._revision)
        except ConflictError:
            entry: Entry | None = await self._carrier.get(BUCKET, self._name)
            if entry is not None and entry.value == value:
                return entry.revision
            raise FencedError(f"{self._name} belongs to another worker now") from None

    def _pack(self, state: dict[str, Any]) -> _Packed:
        number = self.number + 1
        prefix = f"{self._name}/{number}-{self._token}"
        blobs: list[tuple[str, bytes]] = []
        used: dict[int, tuple[Settled, str | bytes]] = {}

        def part(value: Settled) -> dict[str, Any]:
            where = self._known[id(value)][1] if id(value) in self._known else None
            if where is None:
                raw = codec.encode(dict(value))
                where = raw
                if len(raw) >= PART:
                    where = f"{prefix}-{len(blobs)}"
                    blobs.append((where, raw))
            used[id(value)] = value, where
            return {_NAME: where} if isinstance(where, str) else {_RAW: where}

        def cut(value: Any) -> Any:
            if isinstance(value, Settled):
                return part(value)
            if isinstance(value, dict):
                return {key: cut(one) for key, one in value.items()}
            return [cut(one) for one in value] if _nests(value) else value

        raw = codec.encode(cut(state))
        large = len(raw) > LARGE
        blob = f"{prefix}-state" if large else ""
        if large:
            blobs.append((blob, raw))
        names = [where for _, where in used.values() if isinstance(where, str)]
        head = _Head(
            onpath=FORMAT, number=number, token=self._token, blob=blob, state=b"" if large else raw, parts=names
        )
        return _Packed(head, blobs, used)


def _nests(value: Any) -> bool:
    """Whether it is a list that may hold parts; long lists of texts need not be looked through."""
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict)


def _head(value: bytes) -> _Head:
    try:
        head = msgspec.msgpack.decode(value, type=_Head)
    except (msgspec.DecodeError, UnicodeDecodeError, msgpack.UnpackException) as error:
        raise PayloadError("bad-state", str(error)) from error
    if head.onpath != FORMAT:
        raise PayloadError("bad-state", f"a snapshot of format {head.onpath}; is a newer onpath at work?")
    return head
