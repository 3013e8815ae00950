"""Rows: the network's carrier in a folder and in NATS, beside SQLite and nats-py without it, in the same run."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from pathlib import Path

import apsw
import nats
from nats.js.client import JetStreamContext

from gateway.network.carrier.base import Carrier
from gateway.network.carrier.opening import carrier_of
from gateway.network.config import CarrierConfig
from tests.benchmarks.rows import Bench, Row, costs
from tests.support.nats import nats_broker

PAYLOAD = bytes(range(250)) * 2
IN_FLIGHT = 64
SERVER = "sync_interval: always"
BARE = "bare.x"


async def each(count: int, at_once: int, publish: Callable[[int], Awaitable[object]]) -> float:
    """Seconds a message when so many are under way at a time."""
    numbers = iter(range(count))

    async def one() -> None:
        for number in numbers:
            await publish(number)

    began = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(at_once)))
    return (time.perf_counter() - began) / count


async def opened(url: str, name: str) -> Carrier:
    carrier = carrier_of(CarrierConfig(url=url), name)
    await carrier.open()
    return carrier


async def read(carrier: Carrier, subject: str, count: int) -> float:
    """Seconds a message that waits to be read."""
    began, found = time.perf_counter(), 0
    async with aclosing(carrier.consume(f"{subject}/**")) as messages:
        while found < count:
            found += len(await anext(messages))
    return (time.perf_counter() - began) / count


def bare_sqlite(path: Path, count: int, a_commit: int) -> float:
    """Seconds a row in a table, so many in one synced transaction."""
    db = apsw.Connection(str(path))
    db.pragma("journal_mode", "wal")
    db.pragma("synchronous", "full")
    db.execute("CREATE TABLE m (seq INTEGER PRIMARY KEY AUTOINCREMENT, subject TEXT, id TEXT UNIQUE, payload BLOB)")
    began = time.perf_counter()
    for at in range(0, count, a_commit):
        with db:
            db.executemany(
                "INSERT INTO m (subject, id, payload) VALUES (?, ?, ?)",
                [("up/me/a", f"i/{number}", PAYLOAD) for number in range(at, min(count, at + a_commit))],
            )
    took = time.perf_counter() - began
    db.close()
    return took / count


async def hops(writer: Carrier, reader: Carrier, count: int) -> list[float]:
    """Seconds from a publish to another opening that waits for it."""
    found = []
    async with aclosing(reader.consume("up/hop/**")) as messages:
        waiting = asyncio.ensure_future(anext(messages))
        for _ in range(count):
            await asyncio.sleep(0.03)
            began = time.perf_counter()
            await writer.publish("up/hop/a", b"x")
            await waiting
            found.append(time.perf_counter() - began)
            waiting = asyncio.ensure_future(anext(messages))
        waiting.cancel()
        await asyncio.wait([waiting])
    return sorted(found)


async def rows(bench: Bench) -> list[Row]:
    """What a message costs: many at a time, one after the other, and from one process's hand to another's."""
    return [*await _local(bench), *await _nats(bench)]


async def _local(bench: Bench) -> list[Row]:
    many, alone = _counts(bench)
    ours: dict[str, list[float]] = {"many": [], "one": []}
    bare: dict[str, list[float]] = {"many": [], "one": []}
    waits = list[float]()
    for number in range(bench.sizes.rounds):
        folder = bench.folder / f"net-{number}"
        writer, reader = [await opened(f"local:{folder}", name) for name in ("w", "r")]
        try:
            for kind, count, flight in (("many", many, IN_FLIGHT), ("one", alone, 1)):
                bare[kind].append(1e6 * bare_sqlite(bench.folder / f"{kind}-{number}.db", count, flight))
                took = await each(count, flight, _publisher(writer, kind))
                ours[kind].append(1e6 * took)
            waits += await hops(writer, reader, 30)
        finally:
            await writer.close()
            await reader.close()
    waits.sort()
    return [
        costs("carrier-local-publish", ours["many"], bare["many"], "us/message", None, notes=_rate(ours["many"])),
        costs("carrier-local-alone", ours["one"], bare["one"], "us/message", None),
        Row(
            name="carrier-local-hop", measured=1e3 * waits[len(waits) // 2], unit="ms",
            notes=f"to another opening of the folder; 99 %: {1e3 * waits[int(0.99 * len(waits))]:.0f} ms",
        ),
    ]  # fmt: skip


async def _nats(bench: Bench) -> list[Row]:
    many, alone = _counts(bench)
    ours: dict[str, list[float]] = {"many": [], "one": [], "read": []}
    bare: dict[str, list[float]] = {"many": [], "one": [], "read": []}
    waits = list[float]()
    async with nats_broker(bench.folder / "nats", mqtt=False, jetstream=SERVER) as server:
        client = await nats.connect(server.url)
        plain = client.jetstream()
        await plain.add_stream(name="bare", subjects=["bare.>"], duplicate_window=7200)
        writer, reader = [await opened(server.url, name) for name in ("w", "r")]
        try:
            for number in range(bench.sizes.rounds):
                for kind, count, flight in (("many", many, IN_FLIGHT), ("one", alone, 1)):
                    took = await each(count, flight, _bare_publisher(plain, f"{kind}-{number}"))
                    bare[kind].append(1e6 * took)
                    took = await each(count, flight, _publisher(writer, f"{kind}-{number}"))
                    ours[kind].append(1e6 * took)
                bare["read"].append(1e6 * await _bare_read(plain, many))
                ours["read"].append(1e6 * await read(reader, f"up/many-{number}", many))
            waits = await hops(writer, reader, 30)
        finally:
            await writer.close()
            await reader.close()
            await client.close()
    return [
        costs("carrier-nats-publish", ours["many"], bare["many"], "us/message", None, notes=_rate(ours["many"])),
        costs("carrier-nats-alone", ours["one"], bare["one"], "us/message", None),
        costs("carrier-nats-read", ours["read"], bare["read"], "us/message", None, notes=_rate(ours["read"])),
        Row(name="carrier-nats-hop", measured=1e3 * waits[len(waits) // 2], unit="ms", notes="to another connection"),
    ]


def _counts(bench: Bench) -> tuple[int, int]:
    """Messages of a run many at a time, and one after the other."""
    many = min(20_000, bench.sizes.messages // 10)
    return many, max(20, many // 40)


def _publisher(carrier: Carrier, what: str) -> Callable[[int], Awaitable[object]]:
    return lambda number: carrier.publish(f"up/{what}/a", PAYLOAD, f"{what}/{number}")


def _bare_publisher(stream: JetStreamContext, what: str) -> Callable[[int], Awaitable[object]]:
    return lambda number: stream.publish(BARE, PAYLOAD, headers={"Nats-Msg-Id": f"{what}/{number}"})


async def _bare_read(stream: JetStreamContext, count: int) -> float:
    subscription = await stream.pull_subscribe(BARE, stream="bare")
    began, found = time.perf_counter(), 0
    while found < count:
        messages = await subscription.fetch(512)
        for message in messages:
            await message.ack()
        found += len(messages)
    took = time.perf_counter() - began
    await subscription.unsubscribe()
    return took / count


def _rate(costs_us: list[float]) -> str:
    return f"{1e6 / sorted(costs_us)[len(costs_us) // 2]:,.0f} messages/s, {len(PAYLOAD)} bytes each"
