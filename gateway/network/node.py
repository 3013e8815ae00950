"""This gateway as a node: says what it has, follows the plan, is asked by neighbours, and works in the core.

What it follows is remembered in the same transaction that exchanges the pipelines, so that a node that was killed, or
starts without anybody who plans, goes on where it was.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import secrets
from typing import TYPE_CHECKING, Any, Final, NoReturn

import msgspec

from gateway.errors import LinkError, OnpathError
from gateway.network import applied as applying
from gateway.network import assignment
from gateway.network.advert import decode as decode_advert
from gateway.network.advert import encode as encode_advert
from gateway.network.applied import Applied
from gateway.network.carrier.base import CarrierError
from gateway.network.carrier.opening import shared
from gateway.network.config import Tier
from gateway.network.extended import extended
from gateway.supervisor import LinkState, supervise
from gateway.tasks import ended, task_group

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from gateway.config import GatewayConfig
    from gateway.inside import Inside
    from gateway.network.advert import Advert
    from gateway.network.assignment import ServiceRecord
    from gateway.network.carrier.base import Carrier
    from gateway.network.config import NetworkConfig
    from gateway.network.core.workers import CoreWorkers
    from gateway.network.measuring import Measuring
    from gateway.store.store import Memory

log = logging.getLogger(__name__)

OWNER: Final = " network"
"""Under this name the store keeps what is followed; no adapter can have it."""
APPLIED: Final = "applied"
ASKS: Final = "asks"
HOLDER: Final = "holder"
TWIN: Final = (
    "another process runs with this node's name, and what children send is counted twice: give one of them another name"
)
LONGEST_PAUSE_S: Final = 10.0
RETRY_S: Final = 0.5
TURN_S: Final = 0.2
"""How often it looks whether something begins, or has run out."""


class Network:
    """The node in a running gateway; does nothing without ``network:``."""

    def __init__(self, inside: Inside, change: Callable[[], Awaitable[None]]) -> None:
        """``change`` brings what :meth:`extend` gives now into effect."""
        self._inside = inside
        self._change = change
        self.applied = Applied()
        """What is to run."""
        self.effective = self.applied
        """What runs; the same but for the moment of a change."""
        self.asks: dict[str, list[str]] = {}
        self.services: dict[str, ServiceRecord] = {}
        self.workers: CoreWorkers | None = None
        self.twin = False
        """Whether another process says that it is this node."""
        self._measuring: Measuring | None = None
        self._running: asyncio.Task[None] | None = None
        self._options: NetworkConfig | None = None
        self._news = asyncio.Event()
        """An advert should go out at once."""
        self._listed = asyncio.Event()
        """What services there are is known: an advert without would say that nothing here is of use to any."""
        self._link = LinkState("network", lambda _state: None)

    def recall(self, memory: Memory) -> None:
        """What was followed before; called before the pipelines are made."""
        self.applied = self.effective = applying.decode(memory.get((OWNER, APPLIED)))
        try:
            self.asks = msgspec.json.decode(memory.get((OWNER, ASKS), b"{}"), type=dict[str, list[str]])
        except msgspec.DecodeError:
            self.asks = {}

    def learned(self) -> Memory:
        """What is to be remembered with an exchange of the pipelines."""
        if self._options is None and not self.applied.epoch:
            return {}
        return {(OWNER, APPLIED): applying.encode(self.applied), (OWNER, ASKS): msgspec.json.encode(self.asks)}

    def extend(self, config: GatewayConfig) -> GatewayConfig:
        """The configuration with the node's own adapters, uplinks and pipelines."""
        return extended(config, self.applied, self.asks)

    async def use(self, config: GatewayConfig) -> None:
        """Be the node that the configuration says, from now on."""
        if config.network == self._options:
            return
        await self.stop()
        self._options = config.network
        if config.network is not None:
            run = functools.partial(self._run, config.gateway, config.network)
            self._running = asyncio.create_task(supervise("network", run, self._link, LONGEST_PAUSE_S), name="network")

    async def stop(self) -> None:
        """Leave the network in order: partitions are handed over."""
        running, self._running = self._running, None
        await ended(running)

    async def _run(self, node: str, options: NetworkConfig) -> None:
        """Connected until the link is gone; the node goes on with what it follows meanwhile."""
        try:
            async with shared(options.carrier, node) as carrier:
                await self._serve(carrier, node, options)
        except CarrierError as error:
            raise LinkError(str(error)) from error

    async def _serve(self, carrier: Carrier, node: str, options: NetworkConfig) -> None:
        from gateway.network.measuring import Measuring

        self._link.set(up=True, detail=f"node of tier {options.tier} at {carrier.url}")
        self._measuring = measuring = Measuring(self._inside, self, options)
        if options.tier is Tier.CORE:
            from gateway.network.core.workers import CoreWorkers

            self.workers = CoreWorkers(carrier, node, options, self._texts, again=f"{node}/{self._holder()}")
        try:
            async with task_group() as tasks:
                tasks.create_task(measuring.calibrate(), name="network calibration")
                tasks.create_task(self._watch_services(carrier), name="network services")
                tasks.create_task(self._advertise(carrier, node, measuring), name="network advert")
                if self.workers is not None:
                    tasks.create_task(self.workers.run(), name="network core")
                else:
                    tasks.create_task(self._follow(carrier, node), name="network plan")
                    tasks.create_task(self._begin(), name="network plan clock")
                    tasks.create_task(self._watch_asks(carrier, node), name="network asks")
                tasks.create_task(self._ask(carrier, node, options), name="network neighbours")
        finally:
            self.workers = None

    def _holder(self) -> str:
        """A word for this state folder, the same over restarts; the store sees to it that one process has it."""
        kept = self._inside.intake.memory.get((OWNER, HOLDER))
        word = secrets.token_hex(8) if kept is None else kept.decode()
        self._inside.intake.remember(OWNER, HOLDER, word.encode())
        return word

    def _texts(self) -> dict[str, tuple[int, str]]:
        """All services by name: version and YAML."""
        return {name: (one.version, one.yaml) for name, one in self.services.items() if not one.removed}

    async def _watch_services(self, carrier: Carrier) -> None:
        async for entries in carrier.watch("services"):
            for entry in entries:
                if entry.value is None:
                    self.services.pop(entry.key, None)
                    continue
                try:
                    self.services[entry.key] = assignment.record_of(entry.value)
                except msgspec.DecodeError as error:
                    log.warning("network: service %s cannot be read: %s", entry.key, error)
            self._news.set()
            self._listed.set()

    async def _follow(self, carrier: Carrier, node: str) -> None:
        async for entries in carrier.watch("plan", node):
            for entry in entries:
                if entry.value is None:
                    continue  # whoever planned has gone; the plan holds
                try:
                    news = assignment.assignment_of(entry.value)
                except msgspec.DecodeError as error:
                    log.warning("network: the plan cannot be read: %s", error)
                    continue
                await self._apply(applying.heard(self.applied, news, self._inside.clock.now_ns()))

    async def _begin(self) -> NoReturn:
        while True:
            await asyncio.sleep(TURN_S)
            await self._apply(applying.passed(self.applied, self._inside.clock.now_ns()))

    async def _apply(self, fresh: Applied) -> None:
        if fresh == self.applied:
            return
        self.applied = fresh
        while True:
            try:
                await self._change()
                break
            except OnpathError as error:
                log.error("network: the plan of epoch %d is not applied yet: %s", fresh.epoch, error)  # noqa: TRY400
                await asyncio.sleep(LONGEST_PAUSE_S)
        self.effective = self.applied
        for (owner, key), value in self.learned().items():  # also where no pipeline has changed, but the way up
            self._inside.intake.remember(owner, key, value)
        log.info("network: plan of epoch %d: %s", fresh.epoch, _told(fresh))
        self._news.set()

    async def _watch_asks(self, carrier: Carrier, node: str) -> None:
        """Neighbours that ask for points."""
        listed = False
        async for entries in carrier.watch("asks", f"{node}/*"):
            asks, listed = dict(self.asks) if listed else {}, True  # the first list is all that there is
            for entry in entries:
                other = entry.key.split("/")[1]
                globs = [] if entry.value is None else _globs(entry.value)
                asks.pop(other, None)
                if globs:
                    asks[other] = globs
            if asks != self.asks:
                self.asks = asks
                await self._change()

    async def _ask(self, carrier: Carrier, node: str, options: NetworkConfig) -> None:
        """Ask neighbours for their points, and take back what is not asked for any more."""
        wanted = {f"{other}/{node}": msgspec.json.encode(one.points) for other, one in options.neighbours.items()}
        async for entries in carrier.watch("asks", f"*/{node}"):
            for entry in entries:
                if entry.value is not None and entry.key not in wanted:
                    await carrier.delete("asks", entry.key)
            break
        for key, globs in wanted.items():
            await carrier.put("asks", key, globs)

    async def _advertise(self, carrier: Carrier, node: str, measuring: Measuring) -> NoReturn:
        """However long the carrier is away: all else here goes on, and a worker of the core keeps its leases."""
        detail = self._link.detail
        await self._listed.wait()
        written = 0
        while True:
            advert = await measuring.advert()
            try:
                twin = await _other(carrier, advert, written)
                written = await carrier.put("nodes", node, encode_advert(advert))
            except CarrierError as error:
                self._link.set(up=False, detail=str(error))
                await asyncio.sleep(RETRY_S)
                continue
            if twin and not self.twin:
                log.error("network: %s", TWIN)
            self.twin = twin
            self._link.set(up=True, detail=TWIN if twin else detail)
            await measuring.wait(self._news)

    def status(self) -> dict[str, Any] | None:
        """For ``status``: plain JSON types; None if it is no node."""
        if self._options is None:
            return None
        found: dict[str, Any] = {
            "tier": self._options.tier.value,
            "site": self._options.site,
            "carrier": self._options.carrier.url,
            "link": "up" if self._link.up else "down",
            "detail": TWIN if self.twin else self._link.detail,
            "epoch": self.effective.epoch,
            "services": {
                name: {
                    "version": part.version,
                    "epoch": part.epoch,
                    "cut": part.cut,
                    "parent": part.parent,
                    "since_ms": part.since_ns // 1_000_000,
                }
                for name, part in self.effective.services.items()
            },
            "draining": sorted(self.effective.draining),
            "waiting": sorted(self.effective.waiting),
            "asked_by": dict(self.asks),
        }
        if self.workers is not None:
            found["core"] = self.workers.status()
        return found


async def _other(carrier: Carrier, advert: Advert, written: int) -> bool:
    """Whether somebody else has said that he is this node, since we wrote it under this revision."""
    found = await carrier.get("nodes", advert.node) if written else None
    if found is None or found.value is None or found.revision == written:
        return False
    try:
        return decode_advert(found.value).boot != advert.boot
    except (msgspec.DecodeError, UnicodeDecodeError):
        return True


def _told(applied: Applied) -> str:
    parts = [f"{name} up to stage {part.cut}" for name, part in applied.services.items()]
    waiting = [f"{name} from its next window on" for name in applied.waiting]
    return ", ".join(parts + waiting) or "nothing to do"


def _globs(value: bytes) -> list[str]:
    try:
        return msgspec.json.decode(value, type=list[str])
    except msgspec.DecodeError:
        return []
