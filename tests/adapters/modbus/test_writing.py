"""What a write sends, and what its result says, against peers that misbehave on cue."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from adapters.base import WriteResult
from adapters.modbus.place import Order
from gateway.errors import LinkError, PayloadError
from gateway.quality import Reason, reason_codes, reason_text
from tests.adapters.modbus.commands import connected, writable, writes_in
from tests.adapters.modbus.faulty import FaultyPeer
from tests.adapters.modbus.peers import device, modbus, point
from tests.support.context import RecordingContext, running

DONE, REFUSED, UNKNOWN, MISMATCH = WriteResult
FRAMINGS = pytest.mark.parametrize("framing", ["mbap", "rtu"])


def outcome(written):
    return written.result, written.why


@pytest.mark.parametrize(
    ("one", "value", "wanted"),
    [
        (writable("coil:3"), 1, (5, 3, [1])),
        (writable("coil:3", function=5), 0, (5, 3, [0])),
        (writable("coil:3", function=15), 1, (15, 3, [1])),
        (writable("holding:3"), 70, (6, 3, [70])),
        (writable("holding:3", "int16", scale=0.1), -12.5, (6, 3, [0x10000 - 125])),
        (writable("holding:3", function=16), 70, (16, 3, [70])),
        (writable("holding:3", function=22), 70, (22, 3, [70])),
        (writable("holding:3", "uint32"), 70000, (16, 3, [1, 4464])),
        (writable("holding:3", "uint32", "CDAB"), 70000, (16, 3, [4464, 1])),
        (writable("holding:3", "float32", "DCBA"), 6.25, (16, 3, [0, 0xC840])),
        (writable("holding:3", "string", length=2), "on", (16, 3, [0x6F6E, 0])),
        (writable("holding:3", "bool"), 1, (6, 3, [1])),
        (writable("holding:3", bit=7), 1, (22, 3, [0x0F80])),
        (writable("holding:3", "uint8", byte="high"), 0x12, (22, 3, [0x1200])),
        (writable("holding:3", "int8"), -2, (22, 3, [0x0FFE])),
        (writable("holding:2", "uint32", bit=7), 1, (22, 3, [0x0F80])),
        (writable("holding:3", "uint32", "CDAB", bit=7), 1, (22, 3, [0x0F80])),
        (writable("holding:3", bit=7, function=16, read_modify_write=True), 1, (16, 3, [0x0F80])),
        (writable("holding:3", bit=7, function=6, read_modify_write=True), 1, (6, 3, [0x0F80])),
        (
            writable("holding:3", "uint32", bits={"from": 14, "count": 4}, read_modify_write=True),
            9,
            (16, 3, [0x0F02, 0x4004]),
        ),
        (writable("holding:3", texts={"off": 0, "running": 2}), "running", (6, 3, [2])),
        (writable("holding:3", texts={"off": 0, "running": 2}), "7", (6, 3, [7])),
    ],
)
async def test_each_function_writes_what_the_point_says(one, value, wanted):
    async with FaultyPeer() as peer:
        peer.bank().holding.update({3: 0x0F00, 4: 4} if one.field or one.type.endswith("t8") else {})
        async with connected(peer.url, {"p": one}) as (adapter, ctx):
            written = await adapter.write("m/p", value)
        assert peer.bank().writes == [wanted]
    assert (written.result, written.sent, written.seen, written.why) == (DONE, value, value, "")
    assert ctx.stats.devices["m"]["writes"] == {"done": 1}
    assert not ctx.stats.reasons


@FRAMINGS
async def test_every_type_and_order_is_read_back_as_it_was_written(framing):
    values = {
        "int16": -7, "uint16": 65000, "int32": -100_000, "uint32": 4_000_000_000, "int64": -(2**53),
        "uint64": 2**53, "float16": 1.5, "float32": 230.5, "float64": 0.1,
    }  # fmt: skip
    points, wanted = {}, {}
    for i, kind in enumerate(values):
        for j, order in enumerate(Order):
            name = f"{kind}-{order}"
            points[name] = writable(f"holding:{16 * i + 4 * j}", kind, order, settle=0)
            wanted[name] = float(values[kind])
    async with (
        FaultyPeer(framing) as peer,
        connected(peer.url, points, timeout_s=1.0, every=0.02) as (adapter, ctx),
    ):
        results = await asyncio.gather(*(adapter.write(f"m/{name}", wanted[name]) for name in points))
        assert {outcome(written) for written in results} == {(DONE, "")}
        seen = len(ctx.frames)
        await ctx.until(lambda: len(ctx.frames) >= seen + 2)
    assert {name: ctx.samples(f"m/{name}")[-1][1] for name in points} == wanted


@FRAMINGS
@pytest.mark.parametrize(
    ("code", "why"),
    [
        (1, "illegal-function"),
        (2, "illegal-data-address"),
        (3, "illegal-data-value"),
        (4, "device-failure"),
        (6, "device-busy"),
        (8, "memory-parity-error"),
        (0x0A, "gateway-path-unavailable"),
        (0x55, "exception-85"),
    ],
)
async def test_a_refusal_has_the_name_of_its_exception_and_is_not_repeated(framing, code, why):
    async with FaultyPeer(framing) as peer:
        name, more = ("exception-other", {"code": code}) if code == 0x55 else (f"exception-{code:02x}", {})
        peer.on(name, function=6, **more)
        async with connected(peer.url, {"p": writable("holding:3")}, retries=2) as (adapter, ctx):
            written = await adapter.write("m/p", 70)
            assert outcome(written) == (REFUSED, why)
            assert written.seen is None
        assert len(writes_in(peer)) == 1
    assert ctx.stats.devices["m"]["writes"] == {"refused": 1}


@pytest.mark.parametrize(("code", "why"), [(5, "acknowledge"), (0x0B, "gateway-target-failed")])
async def test_exceptions_that_do_not_say_no_are_looked_into(code, why):
    """5: the device has begun. 0x0B: the gateway has sent it on, and its target did not answer."""
    async with FaultyPeer() as peer:
        peer.on(f"exception-{code:02x}", function=6)
        points = {"p": writable("holding:3"), "blind": writable("holding:4", verify=False)}
        async with connected(peer.url, points) as (adapter, _):
            assert outcome(await adapter.write("m/p", 70)) == (MISMATCH, why)
            assert outcome(await adapter.write("m/blind", 70)) == (UNKNOWN, why)
            peer.clear()
            peer.bank().holding[3] = 70
            assert outcome(await adapter.check("m/p")) == (DONE, "")
        assert len(writes_in(peer)) == 2


async def test_what_is_dropped_silently_is_found_by_reading_back():
    async with FaultyPeer() as peer:
        peer.on("write-dropped", function={6, 16, 22})
        points = {
            "p": writable("holding:3"),
            "wide": writable("holding:8", "float32"),
            "bit": writable("holding:12", bit=0),
            "blind": writable("holding:4", verify=False),
        }
        async with connected(peer.url, points) as (adapter, ctx):
            written = await adapter.write("m/p", 70)
            assert (written.result, written.sent, written.seen) == (MISMATCH, 70.0, 3.0)
            assert (await adapter.write("m/wide", 1.5)).result is MISMATCH
            assert (await adapter.write("m/bit", 1)).result is MISMATCH
            assert (await adapter.write("m/blind", 70)).result is DONE, "who does not look, believes"
            assert outcome(await adapter.check("m/blind")) == (MISMATCH, "")
    assert ctx.stats.devices["m"]["writes"] == {"mismatch": 3, "done": 1}


@pytest.mark.parametrize(("tolerance", "result"), [(0.0, MISMATCH), (0.1, DONE), (0.09, MISMATCH)])
async def test_a_device_that_rounds_is_within_the_tolerance_or_not(tolerance, result):
    async with FaultyPeer() as peer:
        peer.on("write-clamped", function=6, to=123)
        one = writable("holding:3", scale=0.1, tolerance=tolerance)
        async with connected(peer.url, {"p": one}) as (adapter, _):
            written = await adapter.write("m/p", 12.4)
    assert (written.result, written.sent, written.seen) == (result, pytest.approx(12.4), pytest.approx(12.3))


async def test_what_was_sent_is_said_as_it_was_rounded():
    async with FaultyPeer() as peer, connected(peer.url, {"p": writable("holding:3", scale=0.5)}) as (adapter, _):
        assert await adapter.write("m/p", 12.3) == await adapter.check("m/p")
        assert (await adapter.check("m/p")).sent == 12.5


@pytest.mark.parametrize(("settle", "result"), [(0.0, MISMATCH), (0.15, DONE)])
async def test_a_slow_device_is_given_its_time(settle, result):
    async with FaultyPeer() as peer:
        peer.on("write-settles", function=6, after=0.08)
        async with connected(peer.url, {"p": writable("holding:3", settle=settle)}) as (adapter, _):
            assert (await adapter.write("m/p", 70)).result is result


@FRAMINGS
async def test_a_wrong_echo_is_not_believed(framing):
    async with FaultyPeer(framing) as peer:
        peer.on("write-wrong-echo", function={5, 6, 16})
        points = {
            "p": writable("holding:3"),
            "wide": writable("holding:8", "float32"),
            "blind": writable("coil:4", verify=False),
        }
        async with connected(peer.url, points) as (adapter, _):
            results = [await adapter.write(f"m/{name}", 1) for name in points]
    why = "malformed-answer" if framing == "mbap" else "timeout"  # on RTU it is nobody's answer
    assert [outcome(written) for written in results] == [(DONE, why), (DONE, why), (UNKNOWN, why)]


@pytest.mark.parametrize(("behaviour", "function", "why"), [("only-echo", 6, ""), ("only-echo", 16, "timeout")])
async def test_an_echo_of_the_line_is_no_proof(behaviour, function, why):
    """On RTU a single write's answer looks like its request: only reading back tells."""
    async with FaultyPeer("rtu") as peer:
        peer.on(behaviour, function=function)
        async with connected(peer.url, {"p": writable("holding:3", function=function)}) as (adapter, _):
            assert outcome(await adapter.write("m/p", 70)) == (MISMATCH, why)
            peer.clear()
            peer.on("echo")
            assert outcome(await adapter.write("m/p", 70)) == (DONE, "")
        assert len(writes_in(peer)) == 2


@FRAMINGS
async def test_a_late_echo_is_nobodys_and_nothing_is_sent_twice(framing):
    async with FaultyPeer(framing) as peer:
        late = peer.on("late", function=6, nth=1, after=0.13)
        async with connected(peer.url, {"p": writable("holding:3", settle=0.02)}, retries=1) as (adapter, ctx):
            assert outcome(await adapter.write("m/p", 70)) == (DONE, "timeout")
            seen = len(ctx.frames)
            await ctx.until(lambda: ctx.stats.reasons["late-answer"] or len(ctx.frames) > seen + 3)
            second = await adapter.write("m/p", 71)
        assert late.hits == 1
        assert outcome(second) == (DONE, "")
        assert [pdu[-1] for pdu in writes_in(peer)] == [70, 71]
    assert {value for _, value, quality in ctx.samples("m/p") if not quality} <= {3.0, 70.0, 71.0}


@FRAMINGS
@pytest.mark.parametrize(("behaviour", "result"), [("write-unheard", DONE), ("silent", MISMATCH)])
async def test_after_a_time_out_a_read_shows_which_it_was(framing, behaviour, result):
    async with FaultyPeer(framing) as peer:
        peer.on(behaviour, function=6)
        async with connected(peer.url, {"p": writable("holding:3")}, retries=2) as (adapter, _):
            assert outcome(await adapter.write("m/p", 70)) == (result, "timeout")
        assert len(writes_in(peer)) == 1


@pytest.mark.parametrize(("behaviour", "result"), [("write-unheard", DONE), ("silent", MISMATCH)])
async def test_it_stays_unknown_until_a_read_shows_it(behaviour, result):
    async with FaultyPeer() as peer:
        peer.on(behaviour, function=6)
        points = {"p": writable("holding:3", every=30), "blind": writable("holding:4", every=30, verify=False)}
        async with connected(peer.url, points, timeout_s=0.05) as (adapter, _):
            deaf = peer.on("silent", function=3)
            assert outcome(await adapter.write("m/p", 70)) == (UNKNOWN, "timeout")
            assert outcome(await adapter.write("m/blind", 70)) == (UNKNOWN, "timeout")
            assert (await adapter.check("m/p")).result is UNKNOWN
            peer._rules.remove(deaf)
            assert outcome(await adapter.check("m/p")) == (result, "")
            assert outcome(await adapter.check("m/blind")) == (result, "")
        assert len(writes_in(peer)) == 2


async def test_a_connection_that_goes_meanwhile_leaves_it_unknown():
    async with FaultyPeer() as peer:
        peer.on("closes", function=6)
        config = modbus(peer.url, {"m": device(points={"p": writable("holding:3")})})
        adapter, ctx = config.create(), RecordingContext()
        task = asyncio.create_task(adapter.run(ctx))
        await ctx.until(lambda: ctx.frames)
        assert outcome(await adapter.write("m/p", 70)) == (UNKNOWN, "link-down")
        with pytest.raises(LinkError):
            await task
        with pytest.raises(LinkError):
            await adapter.check("m/p")
        async with running(adapter, ctx):
            await ctx.until(lambda: ctx.samples("m/p")[-1][2] == 0)
            assert (await adapter.check("m/p")).result is MISMATCH
        assert len(writes_in(peer)) == 1


async def test_what_was_never_sent_is_an_error():
    async with FaultyPeer(latency_s=0.05) as peer:
        adapter = modbus(peer.url, {"m": device(points={"p": writable("holding:3")})}).create()
        with pytest.raises(LinkError):
            await adapter.write("m/p", 70)
        ctx = RecordingContext()
        task = asyncio.create_task(adapter.run(ctx))
        await ctx.until(lambda: len(peer.requests) > len(ctx.frames))
        write = asyncio.create_task(adapter.write("m/p", 70))
        await asyncio.sleep(0)
        peer.drop()
        with pytest.raises(LinkError):
            await write
        with pytest.raises(LinkError):
            await task
        assert not writes_in(peer)


async def test_a_write_that_is_cancelled_can_be_looked_into():
    async with FaultyPeer() as peer:
        peer.on("slow", function=6, after=0.05)
        async with connected(peer.url, {"p": writable("holding:3")}) as (adapter, _):
            with pytest.raises(PayloadError, match="never-written"):
                await adapter.check("m/p")
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(adapter.write("m/p", 70), 0.03)
            assert outcome(await adapter.check("m/p")) == (DONE, "")
        assert len(writes_in(peer)) == 1


@pytest.mark.parametrize("pipeline", [1, 3])
async def test_a_write_goes_before_all_polls(pipeline):
    """20 units ask without a pause; a write and its reading back wait for what is under way, no more."""
    async with FaultyPeer(latency_s=0.005) as peer:
        points = {"p": point("holding:7")}
        devices = {f"m{i}": device(i, 0.001, points) for i in range(1, 21)}
        devices["w"] = device(99, 30, {"set": writable("holding:3", settle=0.02)})
        adapter, ctx = modbus(peer.url, devices, timeout=1.0, pipeline=pipeline).create(), RecordingContext()
        async with running(adapter, ctx):
            await ctx.until(lambda: len(peer.requests) > 40)
            for value in (70, 71, 72):
                asked = len(peer.requests)
                assert (await adapter.write("w/set", value)).result is DONE
                since = [unit for unit, _ in peer.requests[asked:]]
                assert since.index(99) <= pipeline
        rows = [i for i, (unit, pdu) in enumerate(peer.requests) if unit == 99 and pdu[0] == 3 and i > 40]
        between = [peer.times[i] - peer.times[i - 1] for i in rows]
    assert len(rows) == 3
    assert max(between) < 0.05, "read back while the polls go on"


async def test_a_write_overtakes_the_poll_that_waits_already():
    async with FaultyPeer(latency_s=0.04) as peer:
        devices = {"m": device(1, 0.001, {"p": point("holding:7")})}
        devices["w"] = device(99, 30, {f"s{i}": writable(f"holding:{3 * i}", verify=False) for i in (1, 2, 3)})
        adapter, ctx = modbus(peer.url, devices, timeout=1.0).create(), RecordingContext()
        async with running(adapter, ctx):
            await ctx.until(lambda: len(ctx.frames) > 2)
            first = asyncio.create_task(adapter.write("w/s1", 1))
            await ctx.until(lambda: writes_in(peer))
            more = [adapter.write(f"w/s{i}", 1) for i in (2, 3)]
            assert {written.result for written in await asyncio.gather(first, *more)} == {DONE}
        functions = bytes(pdu[0] for _, pdu in peer.requests)
    assert b"\x06\x06\x06" in functions, "a poll has waited since the first of them was sent"


async def test_writes_to_one_point_keep_their_order():
    async with FaultyPeer(latency_s=0.002) as peer:
        points = {"p": writable("holding:3"), "other": writable("holding:9")}
        async with connected(peer.url, points, timeout_s=1.0) as (adapter, _):
            values = range(50, 58)
            writes = [adapter.write("m/p", value) for value in values]
            results = await asyncio.gather(*writes, adapter.write("m/other", 1))
        sent = [values[0] for _, address, values in peer.bank().writes if address == 3]
    assert sent == list(values)
    assert {written.result for written in results} == {DONE}, "each was read back before the next was sent"


async def test_parts_of_one_register_do_not_undo_each_other():
    async with FaultyPeer(latency_s=0.002) as peer:
        peer.bank().functions.discard(22)
        peer.bank().holding.update({3: 0, 4: 0})
        points = {f"b{i}": writable("holding:3", bit=i, read_modify_write=True) for i in range(2, 16, 3)}
        points["wide"] = writable("holding:3", "uint32", bits={"from": 14, "count": 4}, read_modify_write=True)
        async with connected(peer.url, points, timeout_s=1.0) as (adapter, _):
            results = await asyncio.gather(*(adapter.write(f"m/{name}", 1) for name in points))
        assert {outcome(written) for written in results} == {(DONE, "")}
        assert peer.bank().holding[3] == 0b0100100100100100
        assert peer.bank().holding[4] == 0x4000
        tried = [pdu[0] for pdu in writes_in(peer)]
    assert tried.count(22) == 1, "a unit without function 22 is asked once"
    assert (tried.count(6), tried.count(16)) == (5, 1)


async def test_without_leave_a_mask_write_that_is_refused_stays_refused():
    async with FaultyPeer() as peer:
        peer.bank().functions.discard(22)
        points = {"may": writable("holding:3", bit=2, read_modify_write=True), "not": writable("holding:4", bit=2)}
        async with connected(peer.url, points) as (adapter, _):
            assert (await adapter.write("m/may", 1)).result is DONE
            assert outcome(await adapter.write("m/not", 1)) == (REFUSED, "illegal-function")
        assert [pdu[0] for pdu in writes_in(peer)] == [22, 6, 22]


async def test_nothing_is_written_if_the_rest_of_the_register_cannot_be_read():
    async with FaultyPeer() as peer:
        peer.bank().holes.add(("holding", 3))
        one = writable("holding:3", bit=2, function=6, read_modify_write=True)
        async with connected(peer.url, {"p": one}) as (adapter, _):
            with pytest.raises(PayloadError, match="not-written"):
                await adapter.write("m/p", 1)
        assert not writes_in(peer)


async def test_a_point_that_cannot_be_read_back_is_unknown():
    async with FaultyPeer() as peer:
        peer.on("exception-02", function=3)
        async with connected(peer.url, {"p": writable("holding:3")}) as (adapter, _):
            assert outcome(await adapter.write("m/p", 70)) == (UNKNOWN, "not-read")


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("read", 1, "not-writable"),
        ("none", 1, "not-writable"),
        ("p", 70000, "out-of-range"),
        ("p", -1, "out-of-range"),
        ("p", float("nan"), "not-a-number"),
        ("p", "full", "wrong-type"),
        ("limited", 50.1, "out-of-range"),
        ("limited", -1, "out-of-range"),
        ("absent", 0xFFFF, "out-of-range"),
        ("state", "flying", "wrong-type"),
    ],
)
async def test_what_does_not_fit_is_an_error_and_nothing_is_sent(name, value, reason):
    points = {
        "read": point("holding:2"),
        "p": writable("holding:3"),
        "limited": writable("holding:4", limits=(0, 50)),
        "absent": writable("holding:5", invalid=[0xFFFF]),
        "state": writable("holding:6", texts={"off": 0, "on": 1}),
    }
    async with FaultyPeer() as peer, connected(peer.url, points) as (adapter, _):
        with pytest.raises(PayloadError) as caught:
            await adapter.write(f"m/{name}", value)
        assert caught.value.reason == reason
        assert not writes_in(peer)


async def test_a_factor_of_the_device_is_read_first():
    one = writable("holding:3", "int16", scale_from=[{"at": "holding:5"}])
    async with FaultyPeer() as peer:
        peer.bank().holding.update({3: 0, 5: 0xFFFF})  # 10**-1
        async with connected(peer.url, {"p": one}) as (adapter, _):
            written = await adapter.write("m/p", 12.5)
            assert (written.result, written.sent, written.seen) == (DONE, 12.5, 12.5)
            peer.bank().holding[5] = 0xFFFE  # it has changed since
            assert (await adapter.check("m/p")).result is MISMATCH, "the same register means another value now"
            assert (await adapter.write("m/p", 12.5)).result is DONE
            with pytest.raises(PayloadError, match="out-of-range"):
                await adapter.write("m/p", 1000)
            peer.bank().holding[5] = 0x8000
            with pytest.raises(PayloadError, match="no-factor"):
                await adapter.write("m/p", 1)
        assert peer.bank().writes == [(6, 3, [125]), (6, 3, [1250])]


async def test_a_suspended_unit_is_written_to_and_comes_back():
    async with FaultyPeer() as peer:
        deaf = peer.on("silent", function=3)
        async with connected(peer.url, {"p": writable("holding:3", verify=False)}, timeout_s=0.04) as (adapter, ctx):
            await ctx.until(lambda: ctx.samples("m/p") and Reason.UNIT_SUSPENDED.text in said(ctx))
            peer._rules.remove(deaf)
            assert (await adapter.write("m/p", 70)).result is DONE
            await ctx.until(lambda: ctx.samples("m/p")[-1][1:] == (70.0, 0), 0.15)


def said(ctx):
    values = np.array([value for _, value, _ in ctx.samples("m/p")])
    return {reason_text(int(code)) for code in reason_codes(values)}


async def test_a_point_that_only_a_profile_names_is_writable(tmp_path):
    (tmp_path / "heater.yaml").write_text("""
title: A heater
source: this test
points:
  power: {at: "holding:1", unit: W}
  limit: {at: "holding:2", unit: "%", limits: [0, 100], write: {function: 16, settle: 0}}
  relay: {at: "coil:0", writable: true}
""")
    async with FaultyPeer() as peer:
        devices = {"m": device(every=0.05, profile="heater")}
        adapter, ctx = modbus(peer.url, devices, profiles=str(tmp_path)).create(), RecordingContext()
        async with running(adapter, ctx):
            await ctx.until(lambda: ctx.frames)
            assert (await adapter.write("m/limit", 60)).result is DONE
            assert (await adapter.write("m/relay", 1)).result is DONE
            with pytest.raises(PayloadError, match="not-writable"):
                await adapter.write("m/power", 60)
        assert peer.bank().writes == [(16, 2, [60]), (5, 0, [1])]
