"""The controller: any number watch, one leads by a lease, plans, and writes what nodes follow.

Nothing depends on it while it is away: nodes go on with the last plan. A leader that has lost its lease without knowing
cannot write over its successor: the head of the plan and every node's key are written by compare-and-set.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NoReturn

import msgspec

from gateway.network.assignment import HEAD, encode
from gateway.network.carrier.base import CarrierError, ConflictError
from gateway.network.carrier.lease import TTL_S, Leases
from gateway.network.controller.deciding import Decider
from gateway.network.controller.knowing import Head, Known
from gateway.network.controller.planning import Planner, Turn
from gateway.network.lookup import everything
from gateway.network.plan import explanation
from gateway.network.plan.hysteresis import DWELL_S, Hysteresis
from gateway.tasks import in_thread, task_group

if TYPE_CHECKING:
    from gateway.network.assignment import Assignment
    from gateway.network.carrier.base import Carrier
    from gateway.network.carrier.lease import Lease

log = logging.getLogger(__name__)

LEASE: Final = "controller"
LOOK_S: Final = 1.0
"""How often it looks whether a node has died."""
REST: Final = 4
"""So it never takes a core for itself."""
EXPLAIN_S: Final = 60.0
"""How old explanations may become while the plan stays and figures change."""
SIDE_BY_SIDE: Final = 64
"""Keys that are written at once."""


@dataclass
class Counted:
    """What a controller did."""

    turns: int = 0
    writes: int = 0
    """Assignments."""
    moves: dict[str, int] = field(default_factory=dict)
    """By subtree of the core: how often it was changed."""
    leads: int = 0
    """How often it became the leader."""
    last: Turn | None = None
    """The last that is done, with all that followed from it written."""


class Controller:
    """One of any number.

    Args:
        carrier: an open one.
        name: of this controller.
        ttl_s: after which a leader that is silent is replaced.
        dwell_s: how long a subtree stays after a move.
        clock: monotonic, s.
        rest: so many times as long as a plan took it waits before the next one.
    """

    def __init__(
        self,
        carrier: Carrier,
        name: str,
        *,
        ttl_s: float = TTL_S,
        dwell_s: float = DWELL_S,
        clock: Callable[[], float] = time.monotonic,
        rest: float = REST,
    ) -> None:
        self.name = name
        self.counted = Counted()
        self.leading = False
        self._carrier, self._ttl_s, self._clock = carrier, ttl_s, clock
        self._known = Known(clock)
        self._dwell_s, self._rest = dwell_s, rest
        self._news = asyncio.Event()
        self._listed = (asyncio.Event(), asyncio.Event())
        """The first lists of nodes and of services have come."""
        self._explained: dict[str, tuple[int, float]] = {}
        self._left_out: Counter[tuple[str, str]] = Counter()

    async def run(self) -> None:
        """Watch, and lead whenever nobody else does. Ends by cancellation, or with the carrier's error."""
        async with Leases(self._carrier, self.name, ttl_s=self._ttl_s) as leases, task_group() as tasks:
            tasks.create_task(self._watch_nodes(), name="controller nodes")
            tasks.create_task(self._watch_services(), name="controller services")
            tasks.create_task(self._lead(leases.lease(LEASE)), name="controller")

    async def _watch_nodes(self) -> None:
        async for entries in self._carrier.watch("nodes"):
            if self._known.hear_nodes(entries):
                self._news.set()
            self._listed[0].set()

    async def _watch_services(self) -> None:
        async for entries in self._carrier.watch("services"):
            self._known.hear_services(entries)
            self._news.set()
            self._listed[1].set()

    async def _lead(self, lease: Lease) -> NoReturn:
        while True:
            await lease.acquire()
            try:
                await self._term(lease)
            except ConflictError as error:
                log.warning("controller: %s: somebody else has written the plan: %s", self.name, error)
            except CarrierError as error:
                log.warning("controller: %s: %s", self.name, error)
                await asyncio.sleep(LOOK_S)
            finally:
                self.leading = False

    async def _term(self, lease: Lease) -> None:
        """As long as the lease is held."""
        known = self._known
        known.plan.clear()
        known.revisions.clear()
        known.hear_plan((await everything(self._carrier, "plan")).values())
        for listed in self._listed:
            await listed.wait()
        self.leading = True
        self.counted.leads += 1
        log.info(
            "controller: %s leads; %d nodes, %d services, the plan is at epoch %d",
            self.name, len(known.living()), len(known.wanted), known.epoch,
        )  # fmt: skip
        hysteresis = Hysteresis(self._dwell_s, await self._last_change_s())
        planner = Planner(Decider(hysteresis, await self._left_out_before()))
        self._news.set()
        alive: frozenset[str] = frozenset()
        while lease.held:
            living = known.living()
            if self._news.is_set() or alive != living.keys():
                self._news.clear()
                alive = frozenset(living)
                began = time.monotonic()
                await self._turn(planner, lease)
                await asyncio.sleep(min(self._rest * (time.monotonic() - began), 30.0))
            else:
                await self._wait()
        log.warning("controller: %s leads no more", self.name)

    async def _last_change_s(self) -> float:
        """When whoever led before changed the plan, by our clock: what moved then does not move again at once."""
        head = await self._carrier.get("facts", HEAD)
        made_ms = _head_of(head.value if head else None).made_ms
        return self._clock() - max(0.0, time.time() - made_ms / 1000)

    async def _left_out_before(self) -> frozenset[tuple[str, str]]:
        """Services and nodes that whoever led before has left out."""
        found: set[tuple[str, str]] = set()
        for entry in (await everything(self._carrier, "facts", f"{explanation.KEY}/*")).values():
            with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError):
                shed = explanation.decode(entry.value or b"").plan.shed
                found.update((one.service, node) for one in shed for node in one.nodes)
        return frozenset(found)

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(LOOK_S):
                await self._news.wait()
        except TimeoutError:
            pass

    async def _turn(self, planner: Planner, lease: Lease) -> None:
        known, now_ns = self._known, time.time_ns()
        head = await self._carrier.get("facts", HEAD)
        epoch = max(known.epoch, _head_of(head.value if head else None).epoch) + 1
        wanted = [known.wanted[name] for name in sorted(known.wanted)]
        living = known.living()
        if not living:
            return
        turn = await in_thread(
            planner.turn, living, wanted, known.measured, dict(known.plan), epoch, (self._clock(), now_ns)
        )
        if not lease.held:
            return
        if turn.news:
            mine = msgspec.json.encode(Head(epoch=epoch, by=self.name, made_ms=now_ns // 1_000_000))
            await self._carrier.put("facts", HEAD, mine, head.revision if head else 0)
            await self._write(turn.news)
            for subtree in turn.decision.moved:
                self.counted.moves[subtree] = self.counted.moves.get(subtree, 0) + 1
            _log(turn, epoch)
        self._tell_left_out(turn)
        await self._explain(turn, epoch)
        self.counted.turns += 1
        self.counted.last = turn

    def _tell_left_out(self, turn: Turn) -> None:
        """One line a service, when it changes."""
        found: Counter[tuple[str, str]] = Counter()
        for drop in turn.plan.drops:
            found[turn.view.wanted[drop.service].name, drop.words] += int(drop.nodes.sum())
        if found != self._left_out:
            for (service, words), count in sorted(found.items()):
                log.warning("controller: %s is left out at %d nodes: %s", service, count, words)
        self._left_out = found

    async def _write(self, news: dict[str, Assignment]) -> None:
        known = self._known
        turns = asyncio.Semaphore(SIDE_BY_SIDE)

        async def one(node: str, assignment: Assignment) -> None:
            async with turns:
                revision = known.revisions.get(node, 0)
                known.revisions[node] = await self._carrier.put("plan", node, encode(assignment), revision)
                known.plan[node] = assignment
                self.counted.writes += 1

        async with task_group() as tasks:
            for node, assignment in sorted(news.items()):
                tasks.create_task(one(node, assignment), name=f"controller plan {node}")

    async def _explain(self, turn: Turn, epoch: int) -> None:
        """Write what has changed, or is old."""
        now_s = self._clock()
        for name, told in turn.explanations.items():
            before = self._explained.get(name)
            changed = any(name in assignment.services for assignment in turn.news.values())
            newest = epoch if changed or before is None else before[0]
            if changed or before is None or now_s - before[1] >= EXPLAIN_S:
                if not changed and before is None:
                    newest = self._known.epoch
                told = msgspec.structs.replace(told, epoch=newest)  # noqa: PLW2901
                await self._carrier.put("facts", explanation.key_of(name), explanation.encode(told))
                self._explained[name] = (newest, now_s)
        for name in self._explained.keys() - turn.explanations.keys():
            await self._carrier.delete("facts", explanation.key_of(name))
            del self._explained[name]


def _head_of(value: bytes | None) -> Head:
    try:
        return msgspec.json.decode(value or b"", type=Head)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Head(epoch=0, by="", made_ms=0)


def _log(turn: Turn, epoch: int) -> None:
    plan = turn.plan
    log.info(
        "controller: epoch %d: %d nodes told; cost %.4g, %.2f %% above the bound, by %s in %.2f s",
        epoch, len(turn.news), plan.cost, plan.distance, plan.method, plan.seconds,
    )  # fmt: skip
    for subtree, reason in sorted(turn.decision.moved.items()):
        log.info("controller: %s moves: %s", subtree, reason)
