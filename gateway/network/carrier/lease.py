"""Leases: names that one holder has at a time, kept by compare-and-set in the bucket ``lease``. Needs no equal clocks.

A holder writes its lease again three times within its time to live. For everybody else it is over when its revision
has not changed for the whole of that time on their own clock. A holder gives up by itself earlier (at
:data:`SAFE_PART` of it, counted from before the last write that went well), so that it knows first. The clock counts
while the machine sleeps. Whoever takes a lease that is over names the revision it saw, so that of several one wins.

What a lease protects should be written by compare-and-set all the same: a process can be stopped between looking at
``held`` and writing.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import secrets
import time
from collections.abc import Callable
from types import TracebackType
from typing import Final, NamedTuple, Self

import msgspec

from gateway.network.carrier.base import Carrier, CarrierError, ConflictError, Entry
from gateway.tasks import ended

BUCKET: Final = "lease"
TTL_S: Final = 15.0
SAFE_PART: Final = 0.8
_RENEWALS: Final = 3
_SOON: Final = 0.1
"""Part of the time to live after which what failed is tried again."""


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """What stands under a lease's key, as JSON."""

    holder: str
    token: str
    """Names this holding among all of the same holder."""
    again: str = ""
    """The holder's word for itself over all its lives, if it has one."""
    ttl: float
    """s."""
    details: bytes = b""


class Seen(NamedTuple):
    """A lease as an observer knows it."""

    held: Held
    revision: int
    until_s: float
    """Over at this time of the observer's clock, if nothing changes."""


def clock_s() -> float:
    """Never jumps, and counts while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Lease:
    """One name. Made by :meth:`Leases.lease`."""

    def __init__(self, leases: Leases, name: str, details: bytes, on_lost: Callable[[], None] | None) -> None:
        self.name = name
        self.details = details
        """Shown to everybody; what is set here is written with the next renewal."""
        self.lost = asyncio.Event()
        """Set when it was held and is not any more, but for a release."""
        self.revision = 0
        """Of the key as it was written last; 0: not held."""
        self._leases = leases
        self._on_lost = on_lost
        self._token = ""
        self._holding = 0
        """Counts the times that it was given up."""
        self._until_s = 0.0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def held(self) -> bool:
        """Whether it is ours now. Look each time: it ends by the clock, also of a process that was stopped."""
        return self.revision > 0 and self._leases.clock() < self._until_s

    async def acquire(self) -> None:
        """Wait until it is ours."""
        while True:
            changed = self._leases.next_change()
            pause_s = self._leases.ttl_s * _SOON * random.uniform(0.5, 1)  # noqa: S311  spreads load, no secret
            with contextlib.suppress(CarrierError):
                if await self.try_acquire():
                    return
                pause_s = max(0.0, self._leases.over_in_s(self.name))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await changed.wait()

    async def try_acquire(self) -> bool:
        """Take it if nobody has it; whether it is ours.

        Raises:
            CarrierError: it is not known.
        """
        if self.held:
            return True
        leases = self._leases
        await leases.ready()
        seen = leases.seen.get(self.name)
        self._token = self._token or secrets.token_hex(8)
        lives = seen is not None and seen.held.token != self._token and leases.clock() < seen.until_s
        back = lives and seen is not None and leases.was_ours(self.name, seen.held)
        if lives and not back:
            return False
        took = await self._write(seen.revision if seen else leases.gone.get(self.name, 0), self._holding)
        if took and back:
            leases.taken_back.add(self.name)
        return took

    async def _write(self, revision: int, holding: int) -> bool:
        """Write it as ours in the place of a revision; whether that went well and it is ours.

        Raises:
            CarrierError: it is not known.
        """
        leases = self._leases
        asked_s = leases.clock()
        value = Held(
            holder=leases.holder, token=self._token, again=leases.again, ttl=leases.ttl_s, details=self.details
        )
        try:
            async with asyncio.timeout(leases.ttl_s / _RENEWALS):
                written = await leases.carrier.put(BUCKET, self.name, msgspec.json.encode(value), revision)
        except ConflictError:
            return await self._conflict(revision, holding)
        except TimeoutError:
            raise CarrierError(f"{leases.carrier.url}: lease {self.name}: no answer in time") from None
        if self._holding != holding:  # it was lost or released while this was on its way, and stays so
            await self._delete(written)
            return False
        self.revision, self._until_s = written, asked_s + SAFE_PART * leases.ttl_s
        self._set_timer()
        leases.took(self)
        return True

    async def _conflict(self, revision: int, holding: int) -> bool:
        """Somebody has written: perhaps we, without having been told."""
        leases = self._leases
        try:
            async with asyncio.timeout(leases.ttl_s / _RENEWALS):
                entry = await leases.carrier.get(BUCKET, self.name)
        except TimeoutError:
            raise CarrierError(f"{leases.carrier.url}: lease {self.name}: no answer in time") from None
        held = leases.note(self.name, entry)
        if entry is not None and held is not None and held.token == self._token and entry.revision != revision:
            return await self._write(entry.revision, holding)
        self._lose()
        return False

    async def renew(self) -> bool:
        """Write it again if it is held; whether all is well."""
        if not self.held:
            return True
        try:
            await self._write(self.revision, self._holding)
        except CarrierError:
            return False
        return True

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        left_s = max(0.0, self._until_s - self._leases.clock())
        self._timer = asyncio.get_running_loop().call_later(left_s, self._look)

    def _look(self) -> None:
        """The time is over, unless the clock says otherwise."""
        if self.held:
            self._set_timer()
        else:
            self._lose()

    def told(self, held: Held | None, revision: int) -> None:
        """Somebody else's word on it has come by the watch."""
        if self.revision and revision > self.revision and (held is None or held.token != self._token):
            self._lose()

    def _lose(self) -> None:
        if not self._put_down():
            return
        self.lost.set()
        if self._on_lost is not None:
            self._on_lost()

    def _put_down(self) -> bool:
        had, self.revision = self.revision, 0
        self._holding += 1
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._leases.dropped(self)
        return had > 0

    async def release(self) -> None:
        """Give it back, so that somebody else has it at once. Never fails: at worst it ends by its time."""
        revision = self.revision
        if not self._put_down():
            return
        await self._delete(revision)
        self._token = ""

    async def _delete(self, revision: int) -> None:
        leases = self._leases
        with contextlib.suppress(CarrierError, ConflictError, TimeoutError):
            async with asyncio.timeout(leases.ttl_s / _RENEWALS):
                try:
                    await leases.carrier.delete(BUCKET, self.name, revision)
                except ConflictError:  # a renewal that was cut off has arrived after all, or it is somebody else's
                    entry = await leases.carrier.get(BUCKET, self.name)
                    held = leases.note(self.name, entry)
                    if entry is not None and held is not None and held.token == self._token:
                        await leases.carrier.delete(BUCKET, self.name, entry.revision)


class Leases:
    """All leases of one holder: one watch, and one task that renews. ``async with Leases(...) as leases``.

    Args:
        carrier: an open one.
        holder: who holds; shown to others.
        ttl_s: how long a lease lives that is not renewed.
        clock: s; for tests.
        again: a word that is the same over restarts of one holder, of whom never two live: so it takes at once what it
            held before it was killed. Left out: it waits until that is over.
    """

    def __init__(
        self, carrier: Carrier, holder: str, *, ttl_s: float = TTL_S, clock: Callable[[], float] = clock_s,
        again: str = "",
    ) -> None:  # fmt: skip
        self.carrier = carrier
        self.holder = holder
        self.again = again
        self.taken_back: set[str] = set()
        """Leases of a life before this one, each once: a copy of the holder, which there should not be, would otherwise
        take them to and fro for ever."""
        self.ttl_s = ttl_s
        self.clock = clock
        self.seen: dict[str, Seen] = {}
        """All leases that are not given back, by name; also those that are over (see :meth:`holder_of`)."""
        self.gone: dict[str, int] = {}
        """Revisions at which leases were given back."""
        self._mine: dict[str, Lease] = {}
        self._ready = asyncio.Event()
        self._changed = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._tasks = [
            asyncio.create_task(self._watch(), name="leases: watch"),
            asyncio.create_task(self._renew(), name="leases: renew"),
        ]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await ended(*self._tasks)
        await asyncio.gather(*(lease.release() for lease in list(self._mine.values())))

    def lease(self, name: str, details: bytes = b"", on_lost: Callable[[], None] | None = None) -> Lease:
        """A lease, not yet held.

        Args:
            name: its key, without a slash.
            details: what the others are to see.
            on_lost: called when it is lost; see :attr:`Lease.lost`.
        """
        return Lease(self, name, details, on_lost)

    def was_ours(self, name: str, held: Held) -> bool:
        """Whether a lease was held by a life before this one, and is to be taken back."""
        return bool(self.again) and held.again == self.again and name not in self.taken_back

    async def ready(self) -> None:
        """Wait until it is known who holds what.

        Raises:
            CarrierError: that takes longer than a lease lives.
        """
        try:
            async with asyncio.timeout(self.ttl_s):
                await self._ready.wait()
        except TimeoutError:
            raise CarrierError(f"{self.carrier.url}: it is not known who holds the leases") from None

    def holder_of(self, name: str) -> Held | None:
        """Who has a lease as far as is known here; None: nobody, or its time is over."""
        seen = self.seen.get(name)
        return seen.held if seen is not None and self.clock() < seen.until_s else None

    def over_in_s(self, name: str) -> float:
        """When a lease can be taken if nothing changes; 0: now."""
        seen = self.seen.get(name)
        return 0.0 if seen is None else max(0.0, seen.until_s - self.clock())

    def next_change(self) -> asyncio.Event:
        """Set when any lease has changed hands since now, or was renewed."""
        return self._changed

    def note(self, name: str, entry: Entry | None) -> Held | None:
        """Take down a lease as it stands."""
        if entry is None or entry.value is None:
            self.seen.pop(name, None)
            if entry is not None:
                self.gone[name] = entry.revision
            else:
                self.gone.pop(name, None)
            return None
        before = self.seen.get(name)
        if before is not None and before.revision >= entry.revision:
            return before.held
        try:
            held = msgspec.json.decode(entry.value, type=Held)
        except msgspec.DecodeError:  # not of ours; it is kept until nobody has touched it for our own time
            held = Held(holder="?", token="", ttl=self.ttl_s)
        self.seen[name] = Seen(held, entry.revision, self.clock() + held.ttl)
        return held

    def took(self, lease: Lease) -> None:
        """A lease is ours, or was renewed."""
        lease.lost.clear()
        self._mine[lease.name] = lease

    def dropped(self, lease: Lease) -> None:
        """A lease is not ours any more."""
        if self._mine.get(lease.name) is lease:
            del self._mine[lease.name]

    async def _watch(self) -> None:
        async for entries in self.carrier.watch(BUCKET):
            for entry in entries:
                held = self.note(entry.key, entry)
                if (lease := self._mine.get(entry.key)) is not None:
                    lease.told(held, entry.revision)
            self._ready.set()
            changed, self._changed = self._changed, asyncio.Event()
            changed.set()

    async def _renew(self) -> None:
        pause_s = self.ttl_s / _RENEWALS
        while True:
            await asyncio.sleep(pause_s * random.uniform(0.9, 1))  # noqa: S311  spreads load, no secret
            well = await asyncio.gather(*(lease.renew() for lease in list(self._mine.values())))
            pause_s = self.ttl_s / _RENEWALS if all(well) else self.ttl_s * _SOON
