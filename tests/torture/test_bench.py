"""The torture bench itself: it sees what it must see, its proxy misbehaves as told, and its list names real tests."""

import asyncio
import contextlib
import time
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.torture.bench import Outcome, Scale, counts, report, summary
from tests.torture.oracle import Devices, Receiver, check
from tests.torture.proxy import Proxy
from tests.torture.rows import SCENARIOS
from tests.torture.scenarios import datagrams, links
from tests.torture.tests_as_scenarios import ROOT, Tests


def batch(seq, *numbers, historical=False):
    samples = [{"point": "d0/n", "value": float(n)} for n in numbers]
    return {
        "gateway": "g1", "epoch": 1, "seq": seq, "pipeline": "raw", "historical": historical, "samples": samples,
    }  # fmt: skip


def judged(acknowledged, *batches, unknown=()):
    devices, receiver = Devices(0, acknowledged=[("d0", n) for n in acknowledged]), Receiver(0)
    devices.unknown = {("d0", n) for n in unknown}
    for each in batches:
        receiver.take(each)
    return {kind: found for kind, found in check(devices, receiver).items() if found}, receiver


def test_the_oracle_sees_each_kind_of_failure():
    assert judged([0, 1, 2], batch(1, 0, 1), batch(2, 2))[0] == {}
    assert judged([0, 1, 2], batch(1, 0, 1))[0] == {"lost": [("d0", 2)]}
    assert judged([0], batch(1, 0), batch(2, 0))[0] == {"doubled": [("d0", 0)]}
    assert judged([0, 1], batch(1, 1), batch(2, 0))[0] == {"reordered": ["d0"]}
    assert judged([0], batch(1, 0, 1))[0] == {"invented": [("d0", 1)]}
    assert judged([0], batch(1, 0, 1), unknown=[1])[0] == {}
    found, receiver = judged([0], batch(1, 0), batch(1, 0))
    assert (found, receiver.repeated, receiver.differing) == ({}, 1, []), "the record id removes a repetition"
    assert judged([0], batch(1, 0), batch(1, 5))[1].differing, "one record id with two contents"


def test_the_report_ends_with_a_summary_of_n_and_failures():
    good, bad = Outcome(300, facts={"seen": "1 s"}), Outcome(4, ["d0 lost"])
    results = {"kill": (SCENARIOS[0], good), "soak": (SCENARIOS[-1], bad)}
    text = report(Scale.SMOKE, results)
    assert "| 300 | 0 | p < 0.01 |" in text
    assert "* d0 lost" in text
    assert text.strip().splitlines()[-1] == summary(results)
    assert summary(results) == "torture: 2 scenarios, N = 304, 1 failures (soak)"


def test_scenarios_have_names_of_their_own_and_grow_with_the_scale():
    names = [scenario.name for scenario in SCENARIOS]
    assert len(set(names)) == len(names)
    for scenario in SCENARIOS:
        assert list(scenario.counts) == list(Scale)
        assert sorted(scenario.counts.values()) == list(scenario.counts.values()), scenario.name
    assert counts(1, 2, 3, 4)[Scale.NIGHTLY] == 3


@pytest.mark.parametrize(
    "node", sorted({node for one in SCENARIOS if isinstance(one, Tests) for node in one.nodes}), ids=str
)
def test_the_tests_that_scenarios_name_are_there(node):
    file, _, test = node.partition("::")
    assert (ROOT / file).exists()
    if test:
        assert f"def {test.partition('[')[0]}(" in (ROOT / file).read_text()


@asynccontextmanager
async def echo():
    """(proxy, reader, writer) before a server that sends back what it gets."""

    handlers = set()

    async def serve(reader, writer):
        handlers.add(asyncio.current_task())
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            while chunk := await reader.read(1000):
                writer.write(chunk)
        writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server, Proxy(server.sockets[0].getsockname()[1]).running() as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        try:
            yield proxy, reader, writer
        finally:
            writer.transport.abort()
            for handler in handlers:
                handler.cancel()
            await asyncio.gather(*handlers, return_exceptions=True)
            await asyncio.sleep(0)  # an aborted transport closes its socket in the loop's next round


async def answer(reader, timeout_s=10.0):
    async with asyncio.timeout(timeout_s):
        return await reader.read(100_000)


async def ended(reader):
    """Whether the connection was closed, orderly or not."""
    try:
        return await answer(reader) == b""
    except ConnectionError:
        return True


async def test_the_proxy_cuts_and_heals():
    async with echo() as (proxy, reader, writer):
        writer.write(b"one")
        assert await answer(reader) == b"one"
        await proxy.cut()
        assert await ended(reader)
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", proxy.port)
        await proxy.heal()
        _, again = await asyncio.open_connection("127.0.0.1", proxy.port)
        again.transport.abort()


async def test_the_proxy_goes_silent_and_what_was_lost_stays_lost():
    async with echo() as (proxy, reader, writer):
        proxy.down.silent = True
        writer.write(b"lost")
        with pytest.raises(TimeoutError):
            await answer(reader, 0.2)
        await proxy.heal()
        writer.write(b"still lost")
        with pytest.raises(TimeoutError):
            await answer(reader, 0.2)


async def test_the_proxy_throttles():
    async with echo() as (proxy, reader, writer):
        proxy.up.rate = 1000
        began = time.monotonic()
        writer.write(b"x" * 500)
        got = b""
        while len(got) < 500:
            got += await answer(reader)
        assert time.monotonic() - began >= 0.4


async def test_a_story_passes_at_a_small_scale(tmp_path: Path):
    outcome = await links.upstream_gone(2, tmp_path)
    assert outcome.failures == []
    assert int(outcome.facts["messages"]) > 100


async def test_datagrams_are_lost_and_doubled_and_pushes_are_not(tmp_path: Path):
    outcome = await datagrams.bad_datagrams(64, tmp_path)
    assert outcome.failures == []
    assert int(outcome.facts["lost"]) > 0
    assert int(outcome.facts["doubled"]) > 0
    assert int(outcome.facts["acknowledged"]) > 50
