"""Devices misbehave: one test for each row of the table of the field, named after it.

The adapter runs as in the gateway, against the scripted peer of ``faulty.py``; what each test asserts is what
the row says that the gateway does. ``FOREIGN`` is what the peer puts into answers that are nobody's.
"""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from adapters.base import WriteResult
from adapters.modbus.config import Register
from gateway import quality as q
from gateway.quality import Reason, reason_codes
from tests.adapters.modbus.commands import connected, writable, writes_in
from tests.adapters.modbus.faulty import FaultyPeer
from tests.adapters.modbus.peers import device, modbus, point
from tests.support.context import RecordingContext, running

FOREIGN = float(0x6363)
ONE = {"a": point("holding:7")}
FRAMINGS = pytest.mark.parametrize("framing", ["mbap", "rtu"])


def good(ctx, name):
    """The values of a point's good samples, in order."""
    return [value for _, value, quality in ctx.samples(name) if quality == q.GOOD]


def reasons(ctx, name):
    return [Reason(int(code)) for code in reason_codes(np.array([value for _, value, _ in ctx.samples(name)]))]


def asked(peer, function=3):
    """(address, count) of each read, in order."""
    return [(pdu[1] << 8 | pdu[2], pdu[3] << 8 | pdu[4]) for _, pdu in peer.requests if pdu[0] == function]


async def polled(config, until, ctx=None, timeout_s=10.0):
    """Run an adapter until ``until(ctx)``; its context."""
    ctx = ctx or RecordingContext()
    async with running(config.create(), ctx):
        await ctx.until(lambda: until(ctx), timeout_s)
    return ctx


async def test_many_units_behind_one_gateway_parallel_requests_are_lost():
    """One queue an endpoint, never in parallel by unit; writes pass through it, too."""
    async with FaultyPeer(parallel_lost=True, latency_s=0.002) as peer:
        devices = {f"m{i}": device(i, 0.02, ONE | {"set": writable("holding:20", settle=0)}) for i in range(1, 13)}
        adapter, ctx = modbus(peer.url, devices, timeout=1.0).create(), RecordingContext()
        async with running(adapter, ctx):
            await ctx.until(lambda: ctx.frames)
            await asyncio.gather(*(adapter.write(f"m{i}/set", 5) for i in range(1, 13)))
            await ctx.until(lambda: all(len(ctx.samples(f"{name}/a")) >= 3 for name in devices))
        assert peer.lost == 0
    assert {value for name in devices for value in good(ctx, f"{name}/a")} == {7.0}
    assert not ctx.stats.reasons


async def test_a_gateway_accepts_2_to_4_connections_an_inverter_one():
    """Devices of one endpoint share one connection."""
    async with FaultyPeer(most_connections=1) as peer:
        devices = {f"m{i}": device(i, 0.02, ONE) for i in range(1, 9)}
        ctx = await polled(
            modbus(peer.url, devices), lambda ctx: all(len(ctx.samples(f"{name}/a")) >= 3 for name in devices)
        )
        assert (peer.connections, peer.refused) == (1, 0)
    assert not ctx.stats.reasons


@pytest.mark.parametrize("delay", [0.0, 0.2])
async def test_requests_are_swallowed_after_connect(delay):
    """``connect_delay`` cures it; without, the first requests are lost (so the peer is worth its name)."""
    async with FaultyPeer(swallow_s=0.15) as peer:
        config = modbus(peer.url, {"m": device(points=ONE)}, timeout=0.05, connect_delay=delay)
        ctx = await polled(config, lambda ctx: good(ctx, "m/a"))
        assert bool(peer.lost) is not bool(delay)
    assert (reasons(ctx, "m/a")[0] is Reason.TIMEOUT) is not bool(delay)


@pytest.mark.parametrize("delay", [0.0, 0.03])
async def test_a_pause_is_needed_between_requests(delay):
    """``request_delay`` ends all time-outs."""
    async with FaultyPeer(pause_s=0.02) as peer:
        devices = {f"m{i}": device(i, 0.01, ONE) for i in (1, 2, 3)}
        config = modbus(peer.url, devices, timeout=0.05, request_delay=delay)
        ctx = await polled(config, lambda ctx: len(ctx.frames) >= 8)
        assert bool(peer.lost) is not bool(delay)
    assert ("timeout" in ctx.stats.reasons) is not bool(delay)


async def test_one_dead_unit_stalls_all_others():
    """A circuit breaker a unit, slow probing: the others keep their period."""
    async with FaultyPeer() as peer:
        peer.on("silent", unit=66)
        devices = {f"m{i}": device(i, 0.05, ONE) for i in (1, 2, 3)} | {"dead": device(66, 0.05, ONE)}
        ctx, loop = RecordingContext(), asyncio.get_running_loop()
        async with running(modbus(peer.url, devices, timeout=0.2).create(), ctx):
            await ctx.until(lambda: Reason.UNIT_SUSPENDED in reasons(ctx, "dead/a"))
            seen, start = len(ctx.samples("m1/a")), loop.time()
            await ctx.until(lambda: len(ctx.samples("m1/a")) >= seen + 16)
            took = loop.time() - start
        assert sum(unit == 66 for unit, _ in peer.requests) <= 6
    assert took < 16 * 0.05 * 1.5
    assert not good(ctx, "dead/a")
    assert {value for name in ("m1", "m2", "m3") for value in good(ctx, f"{name}/a")} == {7.0}


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [("exception-0b", Reason.GATEWAY_TARGET_FAILED), ("exception-0a", Reason.GATEWAY_PATH_UNAVAILABLE)],
)
async def test_exception_0x0b_means_the_unit(behaviour, reason):
    """0x0B suspends its unit, 0x0A (the gateway's own path) is told apart; neither touches the others."""
    async with FaultyPeer() as peer:
        peer.on(behaviour, unit=66)
        devices = {"m": device(1, 0.02, ONE), "dead": device(66, 0.02, ONE)}
        ctx = await polled(modbus(peer.url, devices), lambda ctx: len(ctx.samples("dead/a")) >= 6)
    assert reasons(ctx, "dead/a")[:3] == [reason] * 3
    assert (Reason.UNIT_SUSPENDED in reasons(ctx, "dead/a")) is (reason is Reason.GATEWAY_TARGET_FAILED)
    assert set(reasons(ctx, "m/a")) == {Reason.NONE}


@FRAMINGS
@pytest.mark.parametrize("behaviour", ["late-wrong", "held"])
async def test_a_late_answer_is_taken_for_the_next_request(framing, behaviour):
    """After a time-out drain; a late answer is counted, and never attributed."""
    async with FaultyPeer(framing) as peer:
        more = {"after": 0.12} if behaviour == "late-wrong" else {}
        rule = peer.on(behaviour, unit=1, nth={2, 6}, **more)
        devices = {"m": device(1, 0.03, ONE), "n": device(2, 0.03, ONE)}
        ctx = await polled(
            modbus(peer.url, devices, timeout=0.1),
            lambda ctx: rule.hits == 2 and len(good(ctx, "m/a")) >= 8 and len(good(ctx, "n/a")) >= 8,
        )
    assert set(good(ctx, "m/a")) == set(good(ctx, "n/a")) == {7.0}
    assert reasons(ctx, "m/a").count(Reason.TIMEOUT) == 2
    if framing == "mbap" or behaviour == "late-wrong":  # held on RTU, it comes in one piece with the next answer
        assert ctx.stats.reasons["late-answer"] == 2


async def test_a_hole_in_the_map_fails_the_whole_block_with_exception_2():
    """Bisect once, remember the hole (over a restart, too), keep the rest."""
    points = {f"p{i}": point(f"holding:{i}") for i in range(60)}
    async with FaultyPeer() as peer:
        peer.bank().holes.add(("holding", 33))
        config = modbus(peer.url, {"m": device(points=points)})
        ctx = await polled(config, lambda ctx: len(ctx.frames) >= 3)
        refused = ctx.stats.reasons["illegal-data-address"]
        later = RecordingContext()
        later.memory = ctx.memory
        peer.requests.clear()
        await polled(config, lambda ctx: len(ctx.frames) >= 3, later)
        assert all(not at <= 33 < at + count for at, count in asked(peer)), "remembered over the restart"
    assert 1 <= refused <= 8, "once, by halves"
    assert later.stats.reasons["illegal-data-address"] == 0
    for one in (ctx, later):
        assert all(set(good(one, f"m/p{i}")) == {float(i)} for i in range(60) if i != 33)
        assert set(reasons(one, "m/p33")) == {Reason.ILLEGAL_DATA_ADDRESS}


async def test_a_read_may_not_cut_a_32_or_64_bit_value():
    """Split on value boundaries only, also where a limit or a hole asks for a cut in the middle."""
    async with FaultyPeer() as peer:
        bank = peer.bank()
        bank.float32("holding", 0, *(float(i) for i in range(40)))
        bank.holding.update({100: 0, 101: 0, 102: 0, 103: 9})
        bank.values.append(("holding", 100, 4))
        bank.holes.add(("holding", 90))
        points = {f"f{i}": point(f"holding:{2 * i}", "float32") for i in range(40)}
        points |= {"hole": point("holding:90"), "wide": point("holding:100", "uint64")}
        config = modbus(peer.url, {"m": device(points=points)}, max_registers=33)
        ctx = await polled(config, lambda ctx: len(ctx.frames) >= 3)
        reads = asked(peer)
    assert max(count for _, count in reads) <= 33
    edges = {edge for at, count in reads for edge in (at, at + count)}
    assert not edges & {*range(1, 80, 2), 101, 102, 103}
    assert all(set(good(ctx, f"m/f{i}")) == {float(i)} for i in range(40))
    assert set(good(ctx, "m/wide")) == {9.0}
    assert set(reasons(ctx, "m/hole")) == {Reason.ILLEGAL_DATA_ADDRESS}


@pytest.mark.parametrize("most", [30, 50, 64, 100])
@pytest.mark.parametrize("code", [2, 3])
async def test_125_registers_by_the_standard_30_50_64_or_100_in_devices(most, code):
    """``max_registers`` is learned when it is not given, and remembered over a restart."""
    points = {f"p{i}": point(f"input:{i}") for i in range(120)}
    async with FaultyPeer() as peer:
        bank = peer.bank()
        bank.max_count, bank.max_code = most, code
        config = modbus(peer.url, {"m": device(every=0.02, points=points)})
        ctx = await polled(config, lambda ctx: all(good(ctx, f"m/p{i}") for i in range(120)))
        peer.requests.clear()
        later = RecordingContext()
        later.memory = ctx.memory
        await polled(config, lambda ctx: len(ctx.frames) >= 2, later)
        assert max(count for _, count in asked(peer, 4)) <= most
        reads = len(asked(peer, 4)) / len(later.frames)
    assert not later.stats.reasons
    assert reads <= 2 * -(-120 // most), "not in crumbs"
    assert all(set(good(one, f"m/p{i}")) <= {float(i)} for one in (ctx, later) for i in range(120))


@pytest.mark.parametrize("gap", [0, 10])
async def test_an_undefined_register_spoils_the_next_answer(gap):
    """``max_gap: 0`` never touches one; with a gap bridged the peer does spoil (so it is worth its name)."""
    async with FaultyPeer() as peer:
        peer.bank().poison.update(("holding", at) for at in range(100) if at not in {7, 10})
        points = {"a": point("holding:7"), "b": point("holding:10")}
        config = modbus(peer.url, {"m": device(every=0.02, max_gap=gap, points=points)})
        ctx = await polled(config, lambda ctx: len(ctx.frames) >= 4)
    values = set(good(ctx, "m/a") + good(ctx, "m/b"))
    assert values == ({7.0, 10.0} if gap == 0 else {7.0, 10.0, FOREIGN})


async def test_gaps_bridged_cut_200_requests_to_a_few():
    """The planner merges by default."""
    async with FaultyPeer() as peer:
        points = {f"p{i}": point(f"holding:{5 * i}") for i in range(200)}
        ctx = await polled(modbus(peer.url, {"m": device(points=points)}), lambda ctx: len(ctx.frames) >= 2)
        assert len(peer.requests) <= 9 * (len(ctx.frames) + 1), "1,000 registers, 125 a read"
    assert all(set(good(ctx, f"m/p{i}")) == {5.0 * i} for i in range(200))


async def test_lifetime_counters_read_0_at_night():
    """A lifetime zero is never passed on; a daily counter's zero is (its reset is told by value)."""
    points = {
        "life": point("holding:7", "uint32", never_zero=True),
        "solid": point("holding:9", "float32", never_zero=True),
        "day": point("holding:11"),
    }
    async with FaultyPeer() as peer:
        peer.bank().float32("holding", 9, 1234.5)
        night = peer.on("zeros", nth=range(3, 6))
        ctx = await polled(
            modbus(peer.url, {"m": device(every=0.02, points=points)}),
            lambda ctx: night.hits == 3 and len(ctx.frames) >= 8,
        )
    assert set(good(ctx, "m/life")) == {7.0 * 65536 + 8}
    assert set(good(ctx, "m/solid")) == {1234.5}
    assert reasons(ctx, "m/life")[2:5] == reasons(ctx, "m/solid")[2:5] == [Reason.NOT_IMPLEMENTED] * 3
    assert [value for _, value, _ in ctx.samples("m/day")][1:6] == [11.0, 0.0, 0.0, 0.0, 11.0]


@pytest.mark.parametrize("behaviour", ["exception-01", "exception-02", "write-dropped"])
@pytest.mark.parametrize(("refused", "taken"), [(6, 16), (16, 6)])
async def test_fc16_or_fc06_refused_or_silently_dropped_per_register(behaviour, refused, taken):
    """A write mode a point, verified by reading back."""
    points = {
        "picky": writable("holding:20", function=refused),
        "right": writable("holding:20", function=taken),
        "other": writable("holding:30", function=refused),
    }
    async with FaultyPeer() as peer:
        peer.on(behaviour, function=refused, address=20)
        async with connected(peer.url, points) as (adapter, _):
            picky = await adapter.write("m/picky", 5)
            assert (await adapter.write("m/right", 6)).result is WriteResult.DONE
            assert (await adapter.write("m/other", 7)).result is WriteResult.DONE, "register by register"
        assert [pdu[0] for pdu in writes_in(peer)] == [refused, taken, refused], "nothing is tried again"
    if behaviour == "write-dropped":
        assert (picky.result, picky.seen) == (WriteResult.MISMATCH, 20.0)
    else:
        assert picky.result is WriteResult.REFUSED
        assert picky.why == {"1": "illegal-function", "2": "illegal-data-address"}[behaviour[-1]]


@FRAMINGS
async def test_a_4g_modem_dials_in_to_the_gateway(framing, unused_tcp_port):
    """``listen+tcp://`` with a registration packet: who is unknown is refused, who comes again is served."""
    url = f"listen+tcp://127.0.0.1:{unused_tcp_port}?framing={'tcp' if framing == 'mbap' else 'rtu'}"
    config = modbus(url, {"m": device(points=ONE)}, register=Register(pattern="feeder-[0-9]"))
    async with FaultyPeer(framing) as peer:
        ctx = RecordingContext()
        async with running(config.create(), ctx):
            await dialled(peer, unused_tcp_port, b"stranger!")
            await ctx.until(lambda: sum(ctx.stats.reasons.values()) == 1)
            assert not peer.requests, "nothing is asked of a stranger"
            await dialled(peer, unused_tcp_port, b"feeder-7")
            await ctx.until(lambda: len(good(ctx, "m/a")) >= 2)
            peer.drop()
            await ctx.until(lambda: reasons(ctx, "m/a")[-1] is Reason.LINK_DOWN)
            seen = len(good(ctx, "m/a"))
            await dialled(peer, unused_tcp_port, b"feeder-7")
            await ctx.until(lambda: len(good(ctx, "m/a")) >= seen + 2)
    assert set(good(ctx, "m/a")) == {7.0}


async def dialled(peer, port, hello):
    async with asyncio.timeout(5):
        while True:
            try:
                return await peer.dial("127.0.0.1", port, hello)
            except ConnectionRefusedError:  # the adapter is on its way to listen
                await asyncio.sleep(0.01)


@FRAMINGS
async def test_odd_unit_ids(framing):
    """0 to 255 are allowed."""
    units = (0, 1, 3, 100, 126, 247, 255)
    async with FaultyPeer(framing, units=set(units)) as peer:
        for unit in units:
            peer.bank(unit).holding[7] = 1000 + unit
        devices = {f"m{unit}": device(unit, 0.05, ONE) for unit in units}
        ctx = await polled(
            modbus(peer.url, devices), lambda ctx: all(len(good(ctx, f"{name}/a")) >= 2 for name in devices)
        )
    assert all(set(good(ctx, f"m{unit}/a")) == {1000.0 + unit} for unit in units)


@pytest.mark.parametrize("retries", [0, 1])
async def test_a_sleeping_device_wakes_on_the_first_request(retries):
    """Retry once by policy (``retries: 1``); a write is never repeated."""
    points = {"a": point("holding:7"), "set": writable("holding:20", every=30)}
    async with FaultyPeer() as peer:
        asleep = peer.on("asleep", address=7, nth={1, 3 + retries})
        async with connected(peer.url, points, timeout_s=0.05, retries=retries) as (adapter, ctx):
            await ctx.until(lambda: asleep.hits == 2 and len(ctx.samples("m/a")) >= 4)
            peer.on("asleep", function=6, times=1)
            written = await adapter.write("m/set", 5)
        assert len(writes_in(peer)) == 1
    assert (written.result, written.why, written.seen) == (WriteResult.MISMATCH, "timeout", 20.0)
    assert reasons(ctx, "m/a").count(Reason.TIMEOUT) == (0 if retries else 2)
    assert set(good(ctx, "m/a")) == {7.0}


ODD = [
    "wrong-unit", "wrong-function", "wrong-count", "short-count", "wrong-byte-count", "wrong-transaction",
    "wrong-protocol", "wrong-length", "wrong-crc", "empty", "half", "only-echo", "noise", "exception-long",
    "exception-of-other-function",
]  # fmt: skip


@FRAMINGS
@pytest.mark.parametrize("behaviour", ODD)
async def test_wrong_unit_function_count_or_transaction_id_half_frames_echo_noise(framing, behaviour):
    """Bad quality with a reason, never another point's value; the line recovers within a second."""
    devices = {"m": device(1, 0.05, ONE), "n": device(2, 0.05, {"b": point("holding:300", "uint32")})}
    async with FaultyPeer(framing) as peer:
        rule = peer.on(behaviour, unit=1, nth=2)
        ctx, loop = RecordingContext(), asyncio.get_running_loop()
        async with running(modbus(peer.url, devices, timeout=0.2).create(), ctx):
            await ctx.until(lambda: rule.hits)
            since, start = len(ctx.samples("m/a")), loop.time()
            await ctx.until(lambda: 7.0 in [value for _, value, _ in ctx.samples("m/a")[since + 1 :]])
            assert loop.time() - start < 1.0
    assert set(good(ctx, "m/a")) == {7.0}
    assert set(good(ctx, "n/b")) == {300.0 * 65536 + 301}
    ((_, _, quality),) = [sample for sample in ctx.samples("m/a") if sample[2]]
    assert quality == q.INVALID | q.FAILURE
    assert reasons(ctx, "m/a")[1] in {Reason.MALFORMED_ANSWER, Reason.TIMEOUT}
    assert peer.connections == 1


@FRAMINGS
@pytest.mark.parametrize("behaviour", ["echo", "noise-before", "noise-after", "crumbs", "twice", "merged"])
async def test_what_can_still_be_read_is_read(framing, behaviour):
    """The other half of that row: on a serial line echo and noise around an answer do not spoil it."""
    async with FaultyPeer(framing) as peer:
        rule = peer.on(behaviour, nth={2, 3})
        config = modbus(peer.url, {"m": device(every=0.02, points=ONE)}, timeout=0.2)
        ctx = await polled(config, lambda ctx: rule.hits == 2 and len(good(ctx, "m/a")) >= 3)
    assert set(good(ctx, "m/a")) == {7.0}
    ruined = framing == "mbap" and behaviour in {"echo", "noise-before", "noise-after"}
    assert (len(good(ctx, "m/a")) == len(ctx.samples("m/a"))) is not ruined
