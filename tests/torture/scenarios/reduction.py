"""Workers learn over a tree whose gateways are killed at any time: the weights are those of one process, to the bit."""

from __future__ import annotations

import asyncio
import random
import signal
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path

from gateway.demo.cluster_parts import Node, WorkerChild
from tests.torture.bench import Outcome

WORKERS = 4
ROUNDS = 100
TOKEN = "torture"


async def killed_nodes(n: int, folder: Path) -> Outcome:
    """``n`` runs, by AllReduce and a parameter server in turn; in each a node, or the root, goes and comes back."""
    outcome, dice, harms = Outcome(n), random.Random(n), Counter[str]()
    fallbacks = 0
    async with AsyncExitStack() as stack:
        nodes = await _tree(stack, folder)
        workers = [await stack.enter_async_context(WorkerChild(folder, WORKERS, 1, at)) for at in range(WORKERS)]
        central = await stack.enter_async_context(WorkerChild(folder, WORKERS, 1))
        await asyncio.gather(*(worker.begin() for worker in (*workers, central)))
        wanted = (await central.do("rounds", n=ROUNDS))["weights"]
        for run in range(n):
            root, left, right = (node.address for node in nodes)
            ways = [[left, right, root], [right, root]]
            joining = [
                worker.do("join", job=f"run-{run}", server=run % 2 == 1, token=TOKEN, addresses=ways[at % 2])
                for at, worker in enumerate(workers)
            ]
            await asyncio.gather(*joining)
            learned = asyncio.gather(*(worker.do("rounds", n=ROUNDS) for worker in workers))
            harms[await _harm(nodes, dice)] += 1
            found = {answer["weights"] for answer in await learned}
            outcome.expect(f"run {run}: other weights than those of one process", holds=found == {wanted})
            fallbacks += sum(left["fallbacks"] for left in await asyncio.gather(*(one.do("leave") for one in workers)))
    outcome.expect("nobody ever went to another node", holds=fallbacks > 0 or n < 3)
    outcome.facts |= {"went to another node": str(fallbacks)} | {what: str(count) for what, count in harms.items()}
    return outcome


async def _tree(stack: AsyncExitStack, folder: Path) -> list[Node]:
    """A root and two nodes below it."""
    nodes: list[Node] = []
    for name in ("root", "left", "right"):
        node = Node(name, folder, TOKEN, nodes[0].address if nodes else "")
        stack.push_async_callback(node.stop)
        await node.start()
        nodes.append(node)
    return nodes


async def _harm(nodes: list[Node], dice: random.Random) -> str:
    """Something happens to a node at any time; it is well again when this returns."""
    await asyncio.sleep(dice.uniform(0, 0.6))
    if dice.random() < 0.15:
        process = dice.choice(nodes[1:])._child.process
        process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(dice.choice((0.5, 5.0)))  # shorter and longer than workers are patient
        process.send_signal(signal.SIGCONT)
        return "frozen"
    node = dice.choice(nodes)
    await node.kill()
    await asyncio.sleep(dice.uniform(0, 0.5))
    await node.start()
    return "root killed" if node is nodes[0] else "aggregator killed"
