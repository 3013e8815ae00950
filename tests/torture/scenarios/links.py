"""The network fails: gone, half-open, one way, slow, bounced."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from tests.torture.bench import Outcome
from tests.torture.site import Site

SEEN_S = 30.0
"""Within which a dead link must be seen."""


async def upstream_gone(n: int, folder: Path) -> Outcome:
    """The upstream is away for ``n`` seconds: nothing is lost, live comes first, the backlog is drained fast."""
    outcome = Outcome(1)
    async with Site.running(folder) as site:
        await site.received(10)
        await site.north.cut()
        began = len(site.devices.acknowledged)
        await asyncio.sleep(n)
        waiting = len(site.devices.acknowledged) - began
        await site.north.heal()
        back = time.monotonic()
        await site.gateway.until(lambda s: s["uplinks"]["cloud"]["spool"]["rows"] <= 8, timeout_s=60 + n)
        drained_s = time.monotonic() - back
        outcome.facts |= {"away s": str(n), "waited": str(waiting), "drained s": f"{drained_s:.1f}"}
        await site.judge(outcome, in_order=True)
        first = next((b for b in site.receiver.log if b[0] > back), None)
        outcome.expect("the first batch after the return is not a live one", holds=bool(first and not first[1]))
    return outcome


async def half_open(n: int, folder: Path) -> Outcome:
    """The upstream goes silent without closing, ``n`` times: seen within 30 s, memory bounded, nothing lost."""
    return await _silent(n, folder, up=True, down=True)


async def one_way(n: int, folder: Path) -> Outcome:
    """Answers from upstream are lost while batches still arrive there: seen within 30 s, nothing doubled by id."""
    return await _silent(n, folder, up=False, down=True)


async def _silent(n: int, folder: Path, *, up: bool, down: bool) -> Outcome:
    outcome, slowest = Outcome(n), 0.0
    async with Site.running(folder) as site:
        await site.received(10)
        before = site.rss_mb()
        for _ in range(n):
            site.north.up.silent, site.north.down.silent = up, down
            slowest = max(slowest, await site.link("uplinks/cloud", "down", SEEN_S + 15))
            await site.north.heal()
            await site.link("uplinks/cloud", "up", 60)
            await site.received(3)
        outcome.expect(f"seen after {slowest:.1f} s", holds=slowest <= SEEN_S)
        grown = site.rss_mb() - before
        outcome.expect(f"memory grew by {grown:.0f} MB", holds=grown < 60)
        outcome.facts |= {"seen within s": f"{slowest:.1f}", "memory +MB": f"{grown:.0f}"}
        await site.judge(outcome, in_order=True)
    return outcome


async def device_side_silent(n: int, folder: Path) -> Outcome:
    """The devices' broker goes silent without closing, ``n`` times: seen, subscribed again, nothing lost."""
    outcome, slowest = Outcome(n), 0.0
    async with Site.running(folder) as site:
        await site.received(10)
        for _ in range(n):
            site.south.up.silent = site.south.down.silent = True
            slowest = max(slowest, await site.link("adapters/bus", "down", SEEN_S + 60))
            await site.south.heal()
            await site.link("adapters/bus", "up", 60)
            await site.received(3)
        outcome.facts["seen within s"] = f"{slowest:.1f}"
        outcome.expect(f"seen after {slowest:.1f} s", holds=slowest <= SEEN_S)
        await site.judge(outcome)
    return outcome


async def slow_receiver(n: int, folder: Path) -> Outcome:
    """The upstream takes 1 kB/s for ``n`` seconds: memory stays bounded, devices are served, nothing is lost."""
    outcome = Outcome(1)
    async with Site.running(folder, pause_s=0.01) as site:
        await site.received(10)
        before, began = site.rss_mb(), len(site.devices.acknowledged)
        site.north.up.rate = 1000
        await asyncio.sleep(n)
        grown, taken = site.rss_mb() - before, len(site.devices.acknowledged) - began
        await site.north.drop()
        await site.north.heal()
        outcome.expect(f"memory grew by {grown:.0f} MB", holds=grown < 60)
        outcome.expect(f"devices got only {taken} acknowledgements in {n} s", holds=taken > 20 * n)
        outcome.facts |= {"slow s": str(n), "memory +MB": f"{grown:.0f}", "taken meanwhile": str(taken)}
        await site.judge(outcome, in_order=True)
    return outcome


async def bad_network(n: int, folder: Path) -> Outcome:
    """Both links are cut ``n`` times at random moments, with delay between: nothing lost, doubled or reordered."""
    outcome = Outcome(n)
    async with Site.running(folder) as site:
        site.north.up.delay_s = site.north.down.delay_s = 0.005
        for trial in range(n):
            await site.received(2)
            await (site.north if trial % 2 else site.south).drop()
        await site.judge(outcome)
    return outcome


async def broker_bounced(n: int, folder: Path) -> Outcome:
    """The devices' broker is restarted ``n`` times: backs off with jitter, no tight loop, subscribed each time."""
    outcome = Outcome(n)
    async with Site.running(folder) as site:
        await site.received(3)
        tries, cpu, began = len(site.south.accepted), site.cpu_s(), time.monotonic()
        for _ in range(n):
            await site.brokers["south"].stop()
            await site.link("adapters/bus", "down", 40)
            await asyncio.sleep(0.3)
            await site.brokers["south"].start()
            await site.link("adapters/bus", "up", 60)
            await site.sent(8)
            await site.received(1)
        tries = len(site.south.accepted) - tries
        load = (site.cpu_s() - cpu) / (time.monotonic() - began)
        outcome.expect(f"{tries} connections for {n} returns", holds=tries <= 12 * n)
        outcome.expect(f"{load:.0%} of a processor", holds=load < 0.9)
        outcome.facts |= {"connections a bounce": f"{tries / n:.1f}", "cpu": f"{load:.0%}"}
        await site.judge(outcome)
    return outcome
