"""Registrations over a restart, in a fixed number of remembered values, so that few bytes change at a time."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from adapters.base import Context
from adapters.coap.lwm2m.registration import Registration

SHARDS: Final = 64

_DECODER = msgspec.msgpack.Decoder(list[Registration])


class Memory:
    """What is remembered of the registrations, written a little later than it changes."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._changed: set[int] = set()

    def recall(self, now_ns: int) -> list[Registration]:
        """Those whose lifetime has not passed."""
        found = []
        for shard in range(SHARDS):
            kept = self._ctx.recall(_key(shard))
            try:
                registrations = _DECODER.decode(kept) if kept else []
            except msgspec.MsgspecError:
                self._ctx.log.warning("what was remembered of LwM2M registrations cannot be read, part %d", shard)
                continue
            found += [registration for registration in registrations if registration.until_ns > now_ns]
        return found

    def changed(self, endpoint: str) -> None:
        """The registration of an endpoint is new, another, longer, or over."""
        self._changed.add(_shard(endpoint))

    def save(self, registrations: Callable[[], Iterable[Registration]]) -> None:
        """Remember all those that share a value with one that changed."""
        if not self._changed:
            return
        parts: dict[int, list[Registration]] = {shard: [] for shard in self._changed}
        for registration in registrations():
            shard = _shard(registration.endpoint)
            if shard in parts:
                parts[shard].append(registration)
        for shard, part in parts.items():
            self._ctx.remember(_key(shard), msgspec.msgpack.encode(part))
        self._changed.clear()


def _shard(endpoint: str) -> int:
    return zlib.crc32(endpoint.encode()) % SHARDS


def _key(shard: int) -> str:
    return f"lwm2m/{shard}"
