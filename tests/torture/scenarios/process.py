"""The process or its machine fails: stopped, starved of descriptors, ended, run for long."""

from __future__ import annotations

import asyncio
import resource
import signal
import time
from pathlib import Path

from tests.torture.bench import Outcome
from tests.torture.site import Site

SLOPE_MIB_H = 1.0
WARM_S = 60.0
"""Memory of the first minute is not judged: tables and buffers still grow to their size."""


async def stopped_world(n: int, folder: Path) -> Outcome:
    """The whole process stands still for 5 s, ``n`` times: goes on, loses nothing."""
    outcome = Outcome(n)
    async with Site.running(folder) as site:
        for _ in range(n):
            await site.received(3)
            site.gateway.process.send_signal(signal.SIGSTOP)
            await asyncio.sleep(5)
            site.gateway.process.send_signal(signal.SIGCONT)
            await site.received(3)
        await site.judge(outcome)
    return outcome


async def no_descriptors(n: int, folder: Path) -> Outcome:
    """No file or socket can be opened while links are cut, ``n`` times: no spin, and it recovers by itself."""
    outcome = Outcome(n)
    async with Site.running(folder) as site:
        pid = site.gateway.process.pid
        for _ in range(n):
            await site.received(3)
            whole = resource.prlimit(pid, resource.RLIMIT_NOFILE)
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, whole[1]))
            await site.north.drop()
            await site.south.drop()
            cpu = site.cpu_s()
            await asyncio.sleep(4)
            load = (site.cpu_s() - cpu) / 4
            outcome.expect(f"spins at {load:.0%} of a processor", holds=load < 0.5)
            resource.prlimit(pid, resource.RLIMIT_NOFILE, whole)
            await site.link("adapters/bus", "up", 60)
            await site.link("uplinks/cloud", "up", 60)
        await site.judge(outcome)
    return outcome


async def short_memory(n: int, folder: Path) -> Outcome:
    """No more memory can be had for 4 s under load, ``n`` times: goes on, or ends and is started again."""
    outcome, ended = Outcome(n), 0
    async with Site.running(folder) as site:
        for _ in range(n):
            await site.received(3)
            pid = site.gateway.process.pid
            whole = resource.prlimit(pid, resource.RLIMIT_AS)
            resource.prlimit(pid, resource.RLIMIT_AS, (site.address_space(), whole[1]))
            cpu = site.cpu_s()
            await asyncio.sleep(4)
            if site.gateway.process.poll() is None:
                load = (site.cpu_s() - cpu) / 4
                outcome.expect(f"spins at {load:.0%} of a processor", holds=load < 0.9)
                resource.prlimit(pid, resource.RLIMIT_AS, whole)
            else:
                ended += 1
                await site.gateway.start()
            await site.received(3)
        outcome.facts["ended by itself"] = str(ended)
        await site.judge(outcome)
    return outcome


async def ended_under_load(n: int, folder: Path) -> Outcome:
    """SIGTERM under load, ``n`` times: clean within 10 s, and what was not delivered is there at the next start."""
    outcome, slowest = Outcome(n), 0.0
    async with Site.running(folder) as site:
        for trial in range(n):
            await site.received(3)
            if trial % 2:
                await site.north.cut()
            began = time.monotonic()
            code = await asyncio.to_thread(site.gateway.stop, 30)
            slowest = max(slowest, time.monotonic() - began)
            outcome.expect(f"ended with {code}", holds=code == 0)
            await site.north.heal()
            await site.gateway.start()
        outcome.expect(f"took {slowest:.1f} s to end", holds=slowest <= 10)
        outcome.facts["slowest end s"] = f"{slowest:.1f}"
        await site.judge(outcome)
    return outcome


async def soak(n: int, folder: Path) -> Outcome:
    """``n`` seconds of load: memory and descriptors do not grow."""
    outcome = Outcome(1)
    async with Site.running(folder) as site:
        await asyncio.sleep(min(WARM_S, n / 4))
        descriptors, marks = site.descriptors(), []
        began = time.monotonic()
        while time.monotonic() - began < n:
            await asyncio.sleep(min(5.0, n / 20))
            marks.append((time.monotonic() - began, site.rss_mb()))
        slope = _slope(marks) * 3600 / 1.048576
        outcome.facts |= {"seconds": str(n), "MiB/h": f"{slope:.1f}", "descriptors": str(site.descriptors())}
        if n >= 3600:  # on minutes the slope says more of the allocator than of a leak
            outcome.expect(f"memory grows by {slope:.1f} MiB an hour", holds=slope <= SLOPE_MIB_H)
        grown = max(mb for _, mb in marks) - marks[0][1]
        outcome.expect(f"memory grew by {grown:.0f} MB", holds=grown < 30)
        outcome.expect(
            f"descriptors: {descriptors}, later {site.descriptors()}", holds=site.descriptors() <= descriptors
        )
        await site.judge(outcome)
    return outcome


def _slope(marks: list[tuple[float, float]]) -> float:
    """Of the least-squares line, in MB a second."""
    mean_t = sum(t for t, _ in marks) / len(marks)
    mean_m = sum(m for _, m in marks) / len(marks)
    spread = sum((t - mean_t) ** 2 for t, _ in marks)
    return sum((t - mean_t) * (m - mean_m) for t, m in marks) / spread if spread else 0.0
