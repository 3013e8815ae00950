"""One registered client: its object instances are observed, or polled where it does not let them be.

A single task asks one thing at a time, because constrained clients take no more. It works on levels, not on
edges: whatever happens sets one event, and then all watches are looked at.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from adapters.base import Context
from adapters.coap.asking.client import Backoff
from adapters.coap.asking.exchange import ExchangeError
from adapters.coap.lwm2m.asking import MAX_WATCHES, NEVER, Asking
from adapters.coap.lwm2m.contents import Item, Path, read
from adapters.coap.lwm2m.options import Lwm2mOptions
from adapters.coap.lwm2m.peer import Peer
from adapters.coap.lwm2m.registration import MAX_INSTANCES, Offer, Registration, Terms
from adapters.coap.lwm2m.reports import Reports
from adapters.coap.lwm2m.watch import Mode, Watch
from adapters.coap.points import Row
from gateway.errors import PayloadError
from gateway.quality import Reason

SETTLE_S: Final = 0.2
"""Between a registration and the first question: coap-node closes its socket and opens it again."""
MAX_SILENCES: Final = 3
"""How often a client is asked that has never answered anything, until it is heard again."""


class Session:
    """What the server does about one registration."""

    def __init__(
        self, registration: Registration, peer: Peer, options: Lwm2mOptions, reports: Reports, ctx: Context
    ) -> None:
        self.registration = registration
        self.peer = peer
        self.device = reports.device
        self.watches: list[Watch] = []
        self._options = options
        self._reports = reports
        self._ctx = ctx
        self._loop = asyncio.get_running_loop()
        self._news = asyncio.Event()
        self._backoff = Backoff()
        self._paused_s = 0.0
        self._heard_s = self._loop.time()
        self._asking = Asking(peer, options, reports, ctx, watches=self.watches, news=self._news, deliver=self._deliver)
        self._asleep = False
        self._answers = False
        self._swapped = False
        """Whether its other place is tried."""
        self._elsewhere = False
        """Whether it listens elsewhere than it sends its updates from."""
        self._silences = 0
        self._offer(registration.instances)

    def begin(self, before: Session | None) -> None:
        """It has just registered, perhaps again: leave it a moment, and take over its points.

        Those of objects that it does not offer any more have no value.
        """
        mine = {watch.path: watch for watch in self.watches}
        for watch in self.watches:
            watch.due_s = self._loop.time() + SETTLE_S
        for watch in before.watches if before is not None else ():
            if watch.path in mine:
                mine[watch.path].points |= watch.points
            elif watch.path[:2] not in mine:
                self._reports.bad([watch], Reason.NOT_FOUND)

    # what the client says

    @property
    def ends_s(self) -> float:
        """When the registration ends if nothing more is heard, in the loop's time."""
        return self._heard_s + self.registration.lifetime_s

    @property
    def awake(self) -> bool:
        """Whether the client listens, as far as is known."""
        if not self.registration.queue:
            return True
        return not self._asleep and self._loop.time() < self._heard_s + self._options.awake

    def heard(self) -> None:
        """Anything came from the client: it is there, and listens."""
        self._heard_s = self._loop.time()
        if self._asleep or self._paused_s:
            self._asleep, self._paused_s, self._silences = False, 0.0, 0
            self._backoff.reset()
            self._news.set()
        self._reports.up()

    def renew(self, remote: Any, address: str, terms: Terms, offer: Offer | None) -> bool:
        """An update of the registration; whether it changes more than the time when it ends."""
        old = self.registration
        moved = self._locate(remote, address)
        lifetime_s = old.lifetime_s if terms.lifetime_s is None else self.capped(terms.lifetime_s)
        self.registration = msgspec.structs.replace(
            old,
            address=self.peer.address,
            lifetime_s=lifetime_s,
            queue=old.queue if terms.queue is None else terms.queue,
            root=old.root if offer is None else offer[0],
            instances=old.instances if offer is None else offer[1],
        )
        self.peer.root = self.registration.root
        if offer is not None:
            self._offer(offer[1])
        now_s = self._loop.time()
        for watch in self.watches:
            if moved:
                watch.drop()  # what it notifies from the new address bears a token of the old one
            if watch.mode is Mode.NEW or self._neglected(watch, now_s):
                watch.due_s = now_s + (SETTLE_S if moved else 0.0)
        self._swapped = False
        self.heard()
        self._news.set()
        return self.registration != old

    def _locate(self, remote: Any, address: str) -> bool:
        """Where to ask from now on; whether that is another place.

        Updates come from where the client is, unless it has turned out to listen elsewhere all the same, as
        coap-node does: it sends each update from a port of its own.
        """
        if address == self.peer.address:
            self.peer.found(remote, address)
            return False
        if self._elsewhere:
            self.peer.also(remote, address)
            return False
        self.peer.moved(remote, address)
        return True

    def capped(self, lifetime_s: float) -> float:
        """The lifetime that holds; 0 means for ever in LwM2M 1.1."""
        return min(lifetime_s or NEVER, self._options.lifetime_max)

    def _neglected(self, watch: Watch, now_s: float) -> bool:
        """Whether an update is the time to ask for a value again: nobody promised to send one meanwhile."""
        if watch.mode is Mode.POLLED:
            return self.registration.queue or not self._options.max_period
        return watch.mode is Mode.OBSERVED and not watch.attributes and now_s - watch.heard_s > self._options.awake

    def _offer(self, instances: Sequence[tuple[int, int]]) -> None:
        """Watch the instances that are offered and wanted, and no others."""
        wanted = [path for path in instances if path[0] in self._options.objects]
        if len(wanted) > MAX_INSTANCES:
            self._ctx.stats.reasons["too-many-instances"] += len(wanted) - MAX_INSTANCES
        taken = set(wanted[:MAX_INSTANCES])
        gone = [watch for watch in self.watches if watch.path[:2] not in taken]
        for watch in gone:
            watch.drop()
            self._reports.bad([watch], Reason.NOT_FOUND)
        self.watches[:] = [watch for watch in self.watches if watch.path[:2] in taken]
        known = {watch.path[:2] for watch in self.watches}
        self.watches += [Watch(path) for path in wanted[:MAX_INSTANCES] if path not in known]
        left = [f"/{number}/{instance}" for number, instance in instances if (number, instance) not in taken]
        self._reports.state(not_observed=left[:32])

    def sent(self, path: Path, items: Sequence[Item], now_ns: int) -> list[tuple[Row, int]]:
        """Values that came unasked, as rows with their times; of objects that are not wanted none."""
        if path[0] not in self._options.objects:
            return []
        watch = next((it for it in self.watches if it.path == path), None)
        if watch is None:
            if len(self.watches) >= MAX_WATCHES:
                self._ctx.stats.reasons["too-many-instances"] += 1
                return []
            watch = Watch(path)
            watch.mode, watch.due_s = Mode.REFUSED, NEVER  # it is not offered: never ask for it
            self.watches.append(watch)
        return self._reports.rows(watch, items, now_ns)

    def resume(self, left_s: float, delay_s: float) -> None:
        """After a restart of the gateway: the registration has ``left_s`` to go; ask after ``delay_s``.

        A client in queue mode sleeps until it is heard; one that has to shake hands first (``coaps://``) as well.
        """
        now_s = self._loop.time()
        self._heard_s = now_s + left_s - self.registration.lifetime_s
        self._asleep = self.registration.queue
        if not self.registration.address.startswith("coap://"):
            self._paused_s = NEVER
        for watch in self.watches:
            watch.due_s = now_s + delay_s

    def over(self, why: str) -> None:
        """The registration has ended."""
        self._reports.gone(why, self.watches)
        self._reports.expect(0.0)

    # what is asked of it

    async def run(self) -> None:
        """Keep everything observed that is offered, until cancelled."""
        try:
            while True:
                self._news.clear()
                await self._tend()
                self._summarise()
                try:
                    async with asyncio.timeout(self._pause_s()):
                        await self._news.wait()
                except TimeoutError:
                    continue
        finally:
            for watch in self.watches:
                watch.drop()

    async def _tend(self) -> None:
        """Look at all watches once, and ask what is due."""
        try:
            for watch in list(self.watches):
                await self._collect(watch)
            for watch in list(self.watches):
                if watch.due_s <= self._loop.time() and self.awake and self._loop.time() >= self._paused_s:
                    await self._asking.ask(watch)
        except ExchangeError as error:
            self._away(error)

    def _pause_s(self) -> float | None:
        """How long nothing is to be done; None: until there is news."""
        now_s = self._loop.time()
        due_s = min((watch.due_s for watch in self.watches), default=NEVER)
        wait_s = max(0.0, due_s - now_s, self._paused_s - now_s)
        return None if wait_s == NEVER or not self.awake else wait_s

    async def _collect(self, watch: Watch) -> None:
        """What became of an observation since it was last looked at.

        Raises:
            ExchangeError: the client does not answer.
        """
        report = watch.report
        if report is None:
            return
        if report.partial is not None:
            first, report.partial = report.partial, None
            self._deliver(watch, await self.peer.complete(watch.text, first))
        if watch.mode is Mode.POLLED:
            watch.report = None
        elif report.ended:
            failed = report.failed or ExchangeError(Reason.LINK_DOWN, "the client ended the observation")
            watch.drop()
            watch.due_s = self._loop.time() + watch.backoff.next_s()
            if failed.away:
                raise failed
            self._reports.failed(failed, [watch])

    # what came of it

    def _deliver(self, watch: Watch, message: Any) -> None:
        self.heard()
        self._answers, self._swapped = True, False
        self._asking.schedule(watch)
        if watch.report is not None:  # not the answer to the registration only
            watch.backoff.reset()
        now_ns = self._ctx.now_ns()
        try:
            items = read(watch.path, message.payload, message.opt.content_format, now_ns)
        except PayloadError as error:
            self._ctx.reject(error.reason, f"{self.device}{watch.text}", message.payload, str(error))
            self._reports.bad([watch], Reason.UNPARSABLE)
        else:
            self._reports.take(watch, items, now_ns)

    def _away(self, error: ExchangeError) -> None:
        """Nothing was heard: a client in queue mode sleeps, any other is gone.

        An address that has never answered is not asked for ever: the registration may have been forged to let
        us send there.
        """
        for watch in self.watches:
            watch.drop()  # aiocoap gives up all that waits for this address
            watch.due_s = 0.0 if watch.mode is Mode.NEW else watch.due_s
        if not self._swapped and self.peer.swap():
            self._swapped, self._elsewhere = True, not self._elsewhere
            self.registration = msgspec.structs.replace(self.registration, address=self.peer.address)
            return
        self._silences += 1
        given_up = not self._answers and self._silences >= MAX_SILENCES
        self._paused_s = NEVER if given_up else self._loop.time() + self._backoff.next_s()
        if self.registration.queue:
            self._asleep = True
        else:
            self._reports.down(error, self.watches)

    def _summarise(self) -> None:
        modes = [watch.mode for watch in self.watches]
        self._reports.state(observed=modes.count(Mode.OBSERVED), polled=modes.count(Mode.POLLED))
        promised = any(watch.attributes or watch.mode is Mode.POLLED for watch in self.watches)
        period_s = self._options.max_period if promised and not self.registration.queue else 0.0
        self._reports.expect(period_s or self.registration.lifetime_s)
