"""Workers of the core are killed, come and go, while gateways feed them."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.gateway.network.core.crowd import Crowd
from tests.torture.bench import Outcome

PHASES = (1, 2, 4, 2)
"""How many workers there are, one after the other."""
SAMPLES = 1000
"""A batch."""


async def core_workers(n: int, folder: Path) -> Outcome:
    """``n`` kills over 1, 2, 4 and 2 workers: what came out at the end is what went in."""
    outcome = Outcome(n)
    async with Crowd(folder / "network", samples=SAMPLES) as crowd:
        for phase, many in enumerate(PHASES):
            feeding = asyncio.create_task(crowd.feed(8, 0.2))
            more = many - len(crowd.workers)
            await (crowd.add(more) if more > 0 else crowd.remove(-more))
            await feeding
            await crowd.settled()
            rate, cpu = await crowd.burst(6)
            outcome.facts[f"{phase + 1}: {many} workers"] = (
                f"{rate / many:,.0f} samples/s each, durable ({cpu:,.0f} a second of CPU)"
            )
            for _ in range(n * (phase + 1) // len(PHASES) - n * phase // len(PHASES)):
                feeding = asyncio.create_task(crowd.feed(8, 0.1))
                await asyncio.sleep(crowd.chance.uniform(0.0, 1.5))
                await crowd.kill()
                await feeding
        found = await crowd.finish()
    outcome.facts["samples"] = f"{found.samples:,}"
    outcome.expect(f"{found.lost} samples lost (below 0: doubled)", holds=not found.lost)
    outcome.expect(f"the sums are off by {found.wrong_sum}", holds=not found.wrong_sum)
    outcome.expect(f"{found.doubled} results published twice", holds=not found.doubled)
    outcome.expect(f"{found.unconfirmed} batches never confirmed", holds=not found.unconfirmed)
    outcome.expect(f"{found.kills} kills", holds=found.kills == n)
    return outcome
