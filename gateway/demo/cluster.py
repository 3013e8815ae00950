"""``onpath demo cluster``: workers learn together over a tree of gateways, and get the bits of a single process.

Four ways with the same seeds and the same number of rounds: all workers straight to a parameter server, which is what
the tree is compared with; AllReduce over the tree; the same with an aggregator killed in the middle of a round; and the
parameter server behind the tree. One process then does the work of all without any network.
"""

from __future__ import annotations

import asyncio
import secrets
import tempfile
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

import msgspec

from gateway.demo.cluster_parts import Node, WorkerChild
from gateway.demo.cluster_report import Alone, Phase, Report, phase_of, report
from gateway.errors import OnpathError

ROUNDS: Final = 40
CHUNK: Final = 10
"""Rounds between two looks at the clock, if the time is given."""
PHASES: Final = 4
JSON_EVERY: Final = 8
"""Of so many rounds one is written as JSON, to know what all would take."""
LEAST: Final = 8
"""Rounds, so that there are some before the aggregator is killed, without it, and after it is back."""
_HELD_S: Final = 20.0
_BACK_S: Final = 0.6
"""Longer than workers wait before they try their first node again."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What can be chosen."""

    workers: int = 8
    aggregators: int = 2
    rounds: int | None = None
    """Of each phase; None: as ``for_s`` says, or :data:`ROUNDS`."""
    for_s: float | None = None
    """About how long all phases may take together."""
    seed: int = 1
    packed: bool = True
    """Sums travel in as few bits as they need; else in 64 a number."""


class Cluster:
    """One run. :meth:`run` may be called once."""

    def __init__(self, options: Options, tell: Callable[[str], None]) -> None:
        self._options = options
        self._tell = tell
        self._token = secrets.token_urlsafe(16)
        self._root: Node
        self._aggregators: list[Node] = []
        self._workers: list[WorkerChild] = []
        self._phases: list[Phase] = []

    async def run(self) -> Report:
        """Start everything, learn, stop everything; nothing stays behind.

        Raises:
            OnpathError: a part does not start, or ends before its time.
        """
        options = self._options
        async with AsyncExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="onpath-demo-")))
            await self._start(stack, folder)
            phase = await self._phase("central server", "star", server=True)
            rounds = phase.rounds
            await self._phase("allreduce", "tree", rounds=rounds)
            await self._phase("allreduce, one killed", "tree", rounds=rounds, kill=True)
            await self._phase("server behind the tree", "tree", rounds=rounds, server=True)
            alone = await self._central(stack, folder, rounds)
        return report(self._phases, alone, workers=options.workers, aggregators=options.aggregators)

    async def _start(self, stack: AsyncExitStack, folder: Path) -> None:
        options = self._options
        self._tell(f"1 root, {options.aggregators} aggregators, {options.workers} workers")
        self._root = await self._node(stack, "root", folder)
        names = [f"aggregator-{number}" for number in range(options.aggregators)]
        self._aggregators = await asyncio.gather(
            *(self._node(stack, name, folder, self._root.address) for name in names)
        )
        self._workers = [
            await stack.enter_async_context(WorkerChild(folder, options.workers, options.seed, worker))
            for worker in range(options.workers)
        ]
        await asyncio.gather(*(worker.begin() for worker in self._workers))

    async def _node(self, stack: AsyncExitStack, name: str, folder: Path, parent: str = "") -> Node:
        node = Node(name, folder, self._token, parent)
        stack.push_async_callback(node.stop)
        await node.start()
        return node

    def _nearest(self, worker: int) -> Node:
        """Neighbours share an aggregator."""
        return self._aggregators[worker * len(self._aggregators) // len(self._workers)]

    async def _phase(
        self, name: str, shape: str, *, rounds: int | None = None, server: bool = False, kill: bool = False
    ) -> Phase:
        """Learn from the beginning, one way."""
        self._tell(f"{name} ({shape}) ...")
        job = f"{len(self._phases)}-{shape}"
        root = self._root.address
        before = await self._at_root()
        await asyncio.gather(
            *(
                worker.do(
                    "join",
                    job=job,
                    server=server,
                    token=self._token,
                    packed=self._options.packed,
                    addresses=[root] if shape == "star" else [self._nearest(number).address, root],
                )
                for number, worker in enumerate(self._workers)
            )
        )
        if kill:
            assert rounds is not None
            answers = await self._with_a_kill(job, rounds)
        else:
            answers = await self._rounds(rounds or self._options.rounds)
        left = await asyncio.gather(*(worker.do("leave") for worker in self._workers))
        came, went = await self._at_root()
        phase = phase_of(name, shape, answers, left, (came - before[0], went - before[1]))
        self._phases.append(phase)
        return phase

    async def _rounds(self, rounds: int | None) -> list[list[dict[str, Any]]]:
        """The answers of all workers, of one or more goes; without a number until the time is over."""
        for_s = self._options.for_s
        if rounds is None and for_s is None:
            rounds = ROUNDS
        if rounds is not None:
            return [await self._go(rounds)]
        assert for_s is not None
        answers, until = [await self._go(CHUNK)], time.monotonic() + for_s / PHASES
        while time.monotonic() < until:
            answers.append(await self._go(CHUNK))
        return answers

    async def _go(self, rounds: int) -> list[dict[str, Any]]:
        return await asyncio.gather(*(worker.do("rounds", n=rounds) for worker in self._workers))

    async def _with_a_kill(self, job: str, rounds: int) -> list[list[dict[str, Any]]]:
        """One worker holds back in the middle; what its aggregator has of the others' round dies with it."""
        first = max(rounds // 2, 2)
        victim, slow = self._aggregators[0], self._workers[0]
        others = [asyncio.create_task(worker.do("rounds", n=first)) for worker in self._workers[1:]]
        try:
            slow_at = await slow.do("rounds", n=first, hold=first // 2)
            await self._holds(victim, job, slow_at["waits"] + 1)
            await victim.kill()
            self._tell(f"  killed {victim.name} with -9 in the middle of round {slow_at['waits'] + 1}")
            slow.say(b"go on")
            answers = [[await slow.answer(), *await asyncio.gather(*others)]]
        finally:
            for task in others:
                task.cancel()
        await victim.start()
        self._tell(f"  {victim.name} is back")
        await asyncio.sleep(_BACK_S)
        return [*answers, await self._go(rounds - first)]

    async def _holds(self, node: Node, job: str, number: int) -> None:
        """Wait until the node has the numbers of all its workers but one, and so nothing to send up yet.

        Raises:
            OnpathError: that does not come about.
        """
        below = sum(self._nearest(worker) is node for worker in range(len(self._workers)))
        status: dict[str, Any] = {}
        try:
            async with asyncio.timeout(_HELD_S):
                while True:
                    status = (await node.reduction()).get("jobs", {}).get(job, {})
                    if status.get("open", {}).get(str(number), {}).get("workers", 0) == below - 1:
                        return
                    await asyncio.sleep(0.01)
        except TimeoutError:
            raise OnpathError(f"{node.name} does not get to the middle of round {number}: {status}") from None

    async def _at_root(self) -> tuple[int, int]:
        """Bytes that have come to the root, and gone from it."""
        sides = (await self._root.reduction())["bytes"].values()
        return sum(side["received"] for side in sides), sum(side["sent"] for side in sides)

    async def _central(self, stack: AsyncExitStack, folder: Path, rounds: int) -> Alone:
        """What one process has in the end, without a network, and what raw JSON would have taken.

        The text is written here, where nobody's time is measured.
        """
        self._tell("one process without a network ...")
        options = self._options
        central = await stack.enter_async_context(WorkerChild(folder, options.workers, options.seed))
        await central.begin()
        answer = await central.do("rounds", n=rounds, json_every=JSON_EVERY)
        text = answer["json_bytes"] * rounds / answer["json_rounds"]
        return Alone(weights=answer["weights"], bytes_raw=round(text))
