"""Rows: what it costs the gateway to be looked at.

100,000 points, 10,000 samples a second by MQTT. Two gateways take the same samples, one with a console and one without.
CPU of both is taken over the same seconds, first while nobody looks, nor has looked (latest values are kept for a
minute after that), then while three browsers follow overview, graph and 50 points each. So a machine that is busy with
other things does the same to both, but for chance: where it has much else to do, single rounds differ by 5 points.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from statistics import median

import aiohttp

from gateway.console.access import Access, Role
from gateway.control import ask
from tests.benchmarks import brokers, gateway, traffic
from tests.benchmarks.child import Child
from tests.benchmarks.rows import Bench, Row, shown
from tests.support.daemon import Daemon

RATE = 2_500
"""Messages a second, of four samples each."""
BROWSERS = 3
ROWS = 50
MOST = 5.0
"""Percentage points of a core that three browsers may cost."""
MOST_IDLE = 1.0
"""Those that a console may at which nobody looks: nothing, but this is what two that do the same differ by here."""
MOST_SEARCH_MS = 200.0
PIPELINES = f"""
pipelines:
  live: {{from: ["**"], steps: [{{limits: {{}}}}, {{{gateway.DEADBAND}}}], to: [up]}}
  power: {{from: ["*/power"], steps: [{{{gateway.DEADBAND}}}], to: [up]}}
"""


async def rows(bench: Bench) -> list[Row]:
    """Nobody, then three browsers, and the time of a search."""
    rounds = 2 * bench.sizes.paced_rounds + 1
    span_s = bench.sizes.paced_messages / bench.sizes.paced_rate
    known, settle_s = bench.sizes.looked_at, bench.sizes.look_s
    points = known * traffic.VALUES
    messages = int(RATE * (rounds * 2 * (span_s + settle_s) + 30))
    async with brokers.nats(bench.folder / "broker") as port, _both(bench, port) as (without, with_console):
        await _meet(port, known, [without, with_console])
        async with (
            _client(with_console) as client,
            Child("publisher", port, 0, messages, RATE, "ns", known) as devices,
        ):
            await devices.hears("ready")
            devices.tell("go")
            idle = [await _more(without, with_console, settle_s, span_s) for _ in range(rounds)]
            looked, searches = [], []
            for _ in range(rounds):
                async with _browsers(client):
                    looked.append(await _more(without, with_console, settle_s, span_s))
                    words = (f"m{known // 2}", "volt 77", "*/power")
                    searches += [await _search(client, one, points) for one in words]
    return [
        _row("console-nobody", idle, MOST_IDLE, points),
        _row("console-browsers", looked, MOST, points),
        Row(
            name="console-search",
            measured=median(searches),
            unit="ms",
            bar=f"at most {MOST_SEARCH_MS:g} ms",
            ok=median(searches) <= MOST_SEARCH_MS,
            notes=f"a page of {ROWS} among {points:,} points by HTTP while samples come; the first and longest "
            f"{max(searches):.0f} ms",
        ),
    ]


def _row(name: str, pairs: list[tuple[float, float]], most: float, points: int) -> Row:
    ours, bare = [pair[1] for pair in pairs], [pair[0] for pair in pairs]
    more = median(one - other for other, one in pairs)
    who = f"{BROWSERS} browsers" if name.endswith("browsers") else "nobody"
    return Row(
        name=name,
        measured=more,
        unit="% of a core",
        bar=f"at most {most:g} more",
        ok=more <= most,
        notes=f"{who} at {RATE * traffic.VALUES:,} samples/s, {points:,} points; with a console {shown(ours)}, without "
        f"{shown(bare)}",
    )


@contextlib.asynccontextmanager
async def _both(bench: Bench, port: int) -> AsyncIterator[tuple[Daemon, Daemon]]:
    def config(name: str) -> str:
        return gateway.mqtt(port, 0, name) + PIPELINES + gateway.uplink(port)

    async with gateway.running(bench.folder / "without", config("without")) as without:
        console = 'console: {listen: "127.0.0.1:0"}\n'
        async with gateway.running(bench.folder / "with", config("with") + console) as with_console:
            yield without, with_console


async def _meet(port: int, known: int, daemons: list[Daemon]) -> None:
    """Each device says something once."""
    async with Child("publisher", port, 0, known, 0, "ns", known) as devices:
        await devices.hears("ready")
        devices.tell("go")
        await devices.hears("sent")
        for daemon in daemons:
            await gateway.settled(daemon, lambda s: s["adapters"]["bus"]["messages"] >= known)


async def _more(without: Daemon, with_console: Daemon, settle_s: float, span_s: float) -> tuple[float, float]:
    """CPU of both over the same seconds, in percent of a core."""
    await asyncio.sleep(settle_s)
    before, began = [gateway.cpu_s(one) for one in (without, with_console)], time.monotonic()
    await asyncio.sleep(span_s)
    passed_s = time.monotonic() - began
    after = [gateway.cpu_s(one) for one in (without, with_console)]
    bare, ours = [100 * (one - other) / passed_s for one, other in zip(after, before, strict=True)]
    return bare, ours


@contextlib.asynccontextmanager
async def _client(daemon: Daemon) -> AsyncIterator[tuple[aiohttp.ClientSession, str]]:
    token = await asyncio.to_thread(Access(daemon.state).add_token, "bench", Role.READ)
    async with aiohttp.ClientSession(headers={"authorization": f"Bearer {token}"}) as session:
        yield session, (await ask(daemon.state, "console"))["url"]


@contextlib.asynccontextmanager
async def _browsers(client: tuple[aiohttp.ClientSession, str]) -> AsyncIterator[None]:
    """Each follows what its pages show, of points of its own."""
    session, url = client
    heard = [0] * BROWSERS

    async def follow(number: int) -> None:
        ids = ",".join(str(number * ROWS + point) for point in range(ROWS))
        async with session.get(f"{url}/api/live?topics=overview,graph,points&points={ids}", timeout=None) as answer:
            answer.raise_for_status()
            async for chunk in answer.content.iter_any():
                heard[number] += len(chunk)

    following = [asyncio.create_task(follow(number), name=f"browser {number}") for number in range(BROWSERS)]
    try:
        yield
        if not all(heard) or any(one.done() for one in following):
            raise RuntimeError(f"a browser heard nothing: {heard}")
    finally:
        for one in following:
            one.cancel()
        await asyncio.gather(*following, return_exceptions=True)


async def _search(client: tuple[aiohttp.ClientSession, str], words: str, points: int) -> float:
    """Time of a search, in ms; it finds something."""
    session, url = client
    began = time.monotonic()
    async with session.get(f"{url}/api/points", params={"q": words, "limit": str(ROWS)}) as answer:
        found = await answer.json()
    if not found["matched"] or found["total"] < points:
        raise RuntimeError(f"{words}: {found['matched']} of {found['total']}")
    return 1000 * (time.monotonic() - began)
