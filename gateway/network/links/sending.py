"""To the parent: batches into the carrier's stream, done when the receiver has them on disk.

A change of the parent holds for rows that did not go out before. What the old parent may have taken already must not be
counted by another one as well; it is in the carrier's stream, durably, and waits there for the old one, however long
that is away, and nothing waits for it.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from typing import TYPE_CHECKING, Final, NoReturn

import msgspec

from gateway.batch import record_id
from gateway.errors import LinkError
from gateway.network.carrier.base import MAX_PAYLOAD, UP, CarrierError
from gateway.network.carrier.opening import shared
from gateway.tasks import task_group
from gateway.uplinks.base import Uplink
from gateway.uplinks.outgoing import Announced, Outgoing
from gateway.uplinks.receipts import Receipts

if TYPE_CHECKING:
    from gateway.batch import Batch
    from gateway.network.carrier.base import Carrier
    from gateway.network.links.config import ParentConfig
    from gateway.uplinks.base import UplinkContext

ROUTES: Final = "routes"
"""Remembered under it: JSON, (lowest seq, receiver), the oldest first: where rows go, and may have gone."""
FORMER: Final = "former"
"""Remembered under it: JSON, seqs of single rows that went to a receiver that is not the one of their route."""
MOST_ROUTES: Final = 64
"""With more it is looked which of them no row needs any more."""
SENT: Final = "sent"
"""Remembered under it: JSON, seqs that have gone out and are not confirmed, by receiver; empty while nobody knows."""
FORMER_FIRST_S: Final = 30.0
"""What waits for a former parent is said again after so long, for its receipt may be lost; then after four times as
long, and so on, ..."""
FORMER_S: Final = 6 * 3600.0
"""... up to this: while a former parent is away, its stream does not fill with repetitions."""
ASKED: Final = "former-asked"
"""Counted under it: how often that was."""
RENEW_S: Final = 86_400.0
"""Directory messages are written anew after so long; the carrier keeps them for longer."""
LOOK_S: Final = 0.5


class ParentUplink(Uplink):
    """See :class:`gateway.network.links.config.ParentConfig`."""

    def __init__(self, config: ParentConfig) -> None:
        self._config = config

    async def run(self, ctx: UplinkContext) -> None:
        """See the base class."""
        config = self._config
        try:
            async with shared(config.carrier, config.node) as carrier:
                await _Sending(config, ctx, carrier).serve()
        except CarrierError as error:
            raise LinkError(str(error)) from error


class _Sending:
    """From a connection to its end."""

    def __init__(self, config: ParentConfig, ctx: UplinkContext, carrier: Carrier) -> None:
        self._config, self._ctx, self._carrier = config, ctx, carrier
        self._loop = asyncio.get_running_loop()
        self._receipts = Receipts(ctx.gateway, config.receipt_timeout, self._confirmed)
        self._outgoing = Outgoing(config, ctx, RENEW_S, sparse=True)
        self._room = asyncio.Event()
        self._routes = _routes(ctx.recall(ROUTES))
        self._former = {seq: to for to, seqs in (_seqs(ctx.recall(FORMER)) or {}).items() for seq in seqs}
        self._regained = False
        self._asked = ctx.stats.counts[ASKED]
        self._until_s = self._loop.time() + min(FORMER_FIRST_S * 4**self._asked, FORMER_S)
        # A receipt may have been told while nobody listened. So what an earlier connection sent already is no double
        # to the stream: it comes to the receiver again, who knows it by its record id, and confirms it once more.
        self._connection = secrets.token_hex(4)

    def _confirmed(self, batch: Batch) -> None:
        self._room.set()
        self._ctx.done(batch)
        if not self._receipts.parked:
            self._ctx.stats.counts[ASKED] = 0
        if self._regained and self._is_current(batch):  # the parent lives: what it said meanwhile is lost
            self._regained = False
            self._receipts.hasten(self._loop.time())

    async def serve(self) -> None:
        await self._turn()
        name = self._ctx.name
        try:
            async with task_group() as tasks:
                tasks.create_task(self._hear(), name=f"uplink {name} receipts")
                tasks.create_task(self._repeat(), name=f"uplink {name} repetitions")
                tasks.create_task(self._watch(), name=f"uplink {name} link")
                await self._pump()
        finally:
            sent: dict[str, list[int]] = {}
            for seq in self._receipts.open:
                sent.setdefault(self._to(seq), []).append(seq)
            self._ctx.remember(SENT, msgspec.json.encode(sent))

    async def _turn(self) -> None:
        """Note where rows go that did not go out yet."""
        to, sent = self._config.to, _seqs(self._ctx.recall(SENT))
        if not self._routes:
            self._routes.append((0, to))
        elif sent is None:  # what ran before was killed: each row that there is may have gone out
            self._routes.append((self._ctx.newest + 1, to))
        else:  # also where nothing has turned: this connection may end before all of that has gone out once more
            self._former |= {seq: other for other, seqs in sent.items() for seq in seqs}
            self._routes[-1] = self._routes[-1][0], to
        if self._former or len(self._routes) > MOST_ROUTES:
            oldest = await self._ctx.oldest()
            self._routes = _needed(self._routes, oldest)
            self._former = {seq: other for seq, other in self._former.items() if seq >= oldest}
        former: dict[str, list[int]] = {}
        for seq, other in self._former.items():
            former.setdefault(other, []).append(seq)
        self._ctx.remember(ROUTES, msgspec.json.encode(self._routes))
        self._ctx.remember(FORMER, msgspec.json.encode(former))
        self._ctx.remember(SENT, b"")  # from here on something may go out that nobody writes down
        await self._ctx.saved()

    def _to(self, seq: int) -> str:
        found = self._former.get(seq)
        if found is None:
            found = next((to for lowest, to in reversed(self._routes) if seq >= lowest), self._routes[0][1])
        return found

    def _is_current(self, batch: Batch) -> bool:
        return self._to(batch.seq) == self._config.to

    async def _watch(self) -> NoReturn:
        was_up = True
        while True:
            up = self._carrier.up
            if up and not was_up:
                self._regained = True
                self._receipts.hasten(self._loop.time(), 1)  # one is asked about; its receipt says the rest
            was_up = up
            self._ctx.link(up=up, detail=f"{self._config.to} at {self._carrier.url}")
            await asyncio.sleep(LOOK_S)

    async def _pump(self) -> NoReturn:
        while True:
            if self._receipts.full:
                self._room.clear()
                await self._room.wait()
                continue
            batches = [await self._ctx.next(), *self._ctx.ready(self._config.in_flight - 1)]
            await self._send(batches)

    async def _send(self, batches: list[Batch], again: str = "") -> None:
        """Publish in order. ``again`` marks a repetition, which the stream would take for a double else."""
        messages: list[tuple[Batch, str, bytes]] = []
        for batch in batches:
            subject = f"{UP}/{self._to(batch.seq)}/{self._ctx.gateway}/{batch.pipeline}"
            # Directory messages are found by their hash, whatever subject they were needed for: one chain for all
            encoded = self._outgoing.encode(batch, UP, MAX_PAYLOAD)
            if encoded is None:
                self._receipts.forget(batch)
                continue
            payload, announced = encoded
            await self._announce(announced)
            messages.append((batch, subject, payload))
        now = self._loop.time()
        publishing = [self._publish(now, again, *message) for message in messages]
        await asyncio.gather(*publishing)

    async def _announce(self, announced: Announced) -> None:
        for name, directory in announced:
            await self._carrier.put("directories", name, directory)
            self._ctx.stats.bytes += len(directory)
            self._ctx.stats.counts["bytes directories"] += len(directory)

    async def _publish(self, now: float, again: str, batch: Batch, subject: str, payload: bytes) -> None:
        stats = self._ctx.stats
        stats.messages += 1
        stats.bytes += len(payload)
        stats.counts[f"bytes {batch.pipeline}"] += len(payload)
        self._receipts.sent(batch, now)
        record = record_id(self._ctx.gateway, batch.epoch, batch.seq)
        if self._is_current(batch):
            await self._carrier.publish(subject, payload, f"{record}/{self._connection}{again}")
            return
        await self._carrier.publish(subject, payload, f"{record}/{self._asked}/{int(time.time() // FORMER_S)}")
        if self._receipts.park(batch):
            self._room.set()
            self._ctx.park(batch)

    async def _hear(self) -> None:
        async for message in self._carrier.hear(f"{UP}/*/{self._ctx.gateway}/*/receipt"):
            if not self._receipts.take(message.payload):
                self._ctx.stats.counts["bad-receipts"] += 1

    async def _repeat(self) -> NoReturn:
        """Send again what nobody has confirmed in time; the receiver confirms doubles, too."""
        while True:
            await asyncio.sleep(min(1.0, self._config.receipt_timeout / 4))
            if self._receipts.parked and self._loop.time() > self._until_s:
                self._ctx.stats.counts[ASKED] += 1
                raise LinkError("begins anew, to say again what former parents have not confirmed")
            overdue = self._receipts.overdue(self._loop.time())
            if overdue:
                self._ctx.stats.counts["unconfirmed"] += len(overdue)
                await self._send(overdue, f"/{secrets.token_hex(4)}")


def _routes(kept: bytes | None) -> list[tuple[int, str]]:
    try:
        return msgspec.json.decode(kept or b"[]", type=list[tuple[int, str]])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return []


def _seqs(kept: bytes | None) -> dict[str, list[int]] | None:
    try:
        return msgspec.json.decode(kept or b"", type=dict[str, list[int]])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _needed(routes: list[tuple[int, str]], oldest: int) -> list[tuple[int, str]]:
    """Without those that only rows before the oldest went by."""
    first = max((at for at, (lowest, _) in enumerate(routes) if lowest <= oldest), default=0)
    return routes[first:]
