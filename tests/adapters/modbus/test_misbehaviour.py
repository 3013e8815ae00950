"""The adapter against peers that misbehave on cue; what devices in the field do."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from gateway import quality as q
from gateway.errors import LinkError
from gateway.quality import Reason, reason_codes
from tests.adapters.modbus.peers import Peer, device, frame, good, modbus, point
from tests.support.context import RecordingContext, running

ONE = {"a": point("holding:7")}


def reasons_of(ctx, name):
    values = np.array([value for _, value, _ in ctx.samples(name)])
    return [Reason(int(code)) for code in reason_codes(values)]


def values_of(ctx, name):
    return {value for _, value, quality in ctx.samples(name) if quality == 0}


class Nth:
    """A script that answers well, but the n-th request in its own way."""

    def __init__(self, n, odd):
        self.n, self.odd, self.count = n, odd, 0

    def __call__(self, transaction, unit, pdu):
        self.count += 1
        if self.count == self.n:
            return self.odd(transaction, unit, pdu)
        return [frame(transaction, unit, good(pdu))]


ODD = {
    "unit": lambda t, u, p: [frame(t, u + 1, good(p, 99))],
    "function": lambda t, u, p: [frame(t, u, b"\x04" + good(p, 99)[1:])],
    "count": lambda t, u, p: [frame(t, u, b"\x03\x04\0\x63\0\x63")],
    "byte count": lambda t, u, p: [frame(t, u, b"\x03\x03\0\x63")],
    "transaction": lambda t, u, p: [frame(t + 100, u, good(p, 99))],
    "protocol": lambda t, u, p: [frame(t, u, good(p, 99), protocol=1)],
    "length": lambda t, u, p: [frame(t, u, good(p, 99), length=9000)],
    "zero length": lambda t, u, p: [frame(t, u, good(p, 99), length=0)],
    "no data": lambda t, u, p: [frame(t, u, b"\x03")],
    "truncated": lambda t, u, p: [frame(t, u, good(p, 99))[:-1]],
    "nothing": lambda t, u, p: [],
    "noise": lambda t, u, p: [b"\xff" * 20],
    "long exception": lambda t, u, p: [frame(t, u, b"\x83\x02\x02")],
    "other exception": lambda t, u, p: [frame(t, u, b"\x84\x02")],
}


@pytest.mark.parametrize("name", ODD)
async def test_a_wrong_answer_is_a_bad_sample_and_the_next_is_good(name):
    async with Peer(Nth(2, ODD[name])) as peer:
        ctx = RecordingContext()
        async with running(modbus(peer.url, {"m": device(points=ONE)}).create(), ctx):
            await ctx.until(lambda: len(ctx.frames) >= 4)
    assert values_of(ctx, "m/a") == {7.0}, "never a value of something else"
    why = reasons_of(ctx, "m/a")
    silent = name in {"transaction", "nothing"}
    assert why[:4] == [
        Reason.NONE,
        Reason.TIMEOUT if silent else Reason.MALFORMED_ANSWER,
        Reason.NONE,
        Reason.NONE,
    ]
    assert ctx.samples("m/a")[1][2] == q.INVALID | q.FAILURE
    assert sum(ctx.stats.reasons.values()) == 1 + (name == "transaction")
    assert peer.connections == 1


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (1, Reason.ILLEGAL_FUNCTION),
        (2, Reason.ILLEGAL_DATA_ADDRESS),
        (3, Reason.ILLEGAL_DATA_VALUE),
        (4, Reason.DEVICE_FAILURE),
        (5, Reason.DEVICE_BUSY),
        (6, Reason.DEVICE_BUSY),
        (0x0A, Reason.GATEWAY_PATH_UNAVAILABLE),
        (0x0B, Reason.GATEWAY_TARGET_FAILED),
        (0x55, Reason.OTHER_EXCEPTION),
    ],
)
async def test_each_exception_has_its_reason(code, reason):
    async with Peer(lambda t, u, p: [frame(t, u, bytes([p[0] | 0x80, code]))]) as peer:
        ctx = RecordingContext()
        async with running(modbus(peer.url, {"m": device(points=ONE)}).create(), ctx):
            await ctx.until(lambda: ctx.frames)
    assert reasons_of(ctx, "m/a")[0] is reason
    flag = q.BAD_REFERENCE if code <= 3 else q.FAILURE
    assert ctx.samples("m/a")[0][2] == q.INVALID | flag
    assert ("m", code not in {0x0A, 0x0B}) in [link[:2] for link in ctx.links]


async def test_a_late_answer_is_counted_and_never_attributed():
    late = []

    def script(transaction, unit, pdu):
        if unit == 1 and not late:
            late.append(frame(transaction, unit, good(pdu, 99)))
            return []
        held = [late[0]] if len(late) == 1 else []
        late.extend(held)
        return [*held, frame(transaction, unit, good(pdu))]

    async with Peer(script) as peer:
        ctx = RecordingContext()
        devices = {"m": device(1, points=ONE), "n": device(2, points=ONE)}
        async with running(modbus(peer.url, devices).create(), ctx):
            await ctx.until(lambda: len(ctx.samples("m/a")) >= 3)
    assert values_of(ctx, "m/a") == values_of(ctx, "n/a") == {7.0}
    assert ctx.stats.reasons["late-answer"] == 1
    assert ctx.stats.reasons["timeout"] == 1


async def test_answers_in_pieces_and_merged_ones_are_put_together():
    def script(transaction, unit, pdu):
        whole = frame(transaction, unit, good(pdu))
        stale = frame(transaction - 1 & 0xFFFF, unit, good(pdu, 99))
        return [whole[:3], 0.01, whole[3:8], 0.01, whole[8:]] if unit == 1 else [stale + whole + stale]

    async with Peer(script) as peer:
        ctx = RecordingContext()
        devices = {"m": device(1, points=ONE), "n": device(2, points=ONE)}
        async with running(modbus(peer.url, devices).create(), ctx):
            await ctx.until(lambda: len(ctx.samples("m/a")) >= 3 and len(ctx.samples("n/a")) >= 3)
    assert {s[1:] for s in ctx.samples("m/a") + ctx.samples("n/a")} == {(7.0, 0)}
    assert set(ctx.stats.reasons) == {"late-answer"}


async def test_a_dead_unit_among_live_ones_keeps_their_period():
    def script(transaction, unit, pdu):
        return [] if unit == 66 else [frame(transaction, unit, good(pdu))]

    async with Peer(script) as peer:
        ctx = RecordingContext()
        devices = {f"m{i}": device(i, 0.05, points=ONE) for i in (1, 2, 3)}
        devices["dead"] = device(66, 0.05, points=ONE)
        loop = asyncio.get_running_loop()
        async with running(modbus(peer.url, devices, timeout=0.2).create(), ctx):
            await ctx.until(lambda: Reason.UNIT_SUSPENDED in reasons_of(ctx, "dead/a"))
            seen, start = len(ctx.samples("m1/a")), loop.time()
            await ctx.until(lambda: len(ctx.samples("m1/a")) >= seen + 16)
            took = loop.time() - start
        asked = sum(unit == 66 for unit, _ in peer.requests)
    assert took < 16 * 0.05 * 2.5, "without a breaker each cycle would wait 0.2 s"
    assert 3 <= asked <= 6
    why = reasons_of(ctx, "dead/a")
    assert why[:4] == [Reason.TIMEOUT] * 3 + [Reason.UNIT_SUSPENDED]
    assert len(why) > 8, "a bad sample each period, at no cost on the bus"
    assert ("dead", False, "timeout") in ctx.links
    assert values_of(ctx, "m2/a") == {7.0}


async def test_a_suspended_unit_comes_back_by_a_probe():
    dead = True

    def script(transaction, unit, pdu):
        return [] if dead else [frame(transaction, unit, good(pdu))]

    async with Peer(script) as peer:
        ctx = RecordingContext()
        async with running(modbus(peer.url, {"m": device(points=ONE)}, timeout=0.03).create(), ctx):
            await ctx.until(lambda: Reason.UNIT_SUSPENDED in reasons_of(ctx, "m/a"))
            dead = False
            await ctx.until(lambda: values_of(ctx, "m/a"))
    assert [link[1] for link in ctx.links if link[0] == "m"] == [False, True]


async def test_a_gateway_that_says_its_target_is_dead_suspends_the_unit():
    async with Peer(lambda t, u, p: [frame(t, u, bytes([p[0] | 0x80, 0x0B]))]) as peer:
        ctx = RecordingContext()
        async with running(modbus(peer.url, {"m": device(every=0.01, points=ONE)}).create(), ctx):
            await ctx.until(lambda: len(ctx.frames) >= 8)
    why = reasons_of(ctx, "m/a")
    assert why[:4] == [Reason.GATEWAY_TARGET_FAILED] * 3 + [Reason.UNIT_SUSPENDED]
    assert len(peer.requests) == 3


async def test_a_connection_that_drops_in_the_middle_is_a_link_error():
    async with Peer(Nth(3, lambda t, u, p: [frame(t, u, good(p))[:5], None])) as peer:
        ctx = RecordingContext()
        adapter = modbus(peer.url, {"m": device(points=ONE), "n": device(2, points=ONE)}).create()
        with pytest.raises(LinkError):
            await adapter.run(ctx)
        assert reasons_of(ctx, "m/a")[-1] is reasons_of(ctx, "n/a")[-1] is Reason.LINK_DOWN
        async with running(adapter, ctx):
            await ctx.until(lambda: ctx.samples("m/a")[-1][1:] == (7.0, 0))
    assert peer.connections == 2


async def test_answers_that_never_make_sense_end_the_connection():
    async with Peer(lambda t, u, p: [b"SSH-2.0-OpenSSH\r\n"]) as peer:
        ctx = RecordingContext()
        with pytest.raises(LinkError):
            await modbus(peer.url, {"m": device(every=0.01, points=ONE)}).create().run(ctx)
    assert ctx.stats.reasons["malformed-answer"] == 3


async def test_requests_go_one_at_a_time_with_a_pause_and_after_the_connect_delay():
    times = []
    under_way = 0

    def script(transaction, unit, pdu):
        nonlocal under_way
        under_way += 1
        assert under_way == 1
        times.append(asyncio.get_running_loop().time())
        yield 0.005
        under_way -= 1
        yield frame(transaction, unit, good(pdu))

    async with Peer(script) as peer:
        ctx = RecordingContext()
        devices = {f"m{i}": device(i, 0.01, points=ONE) for i in range(5)}
        start = asyncio.get_running_loop().time()
        options = {"request_delay": 0.02, "connect_delay": 0.1}
        async with running(modbus(peer.url, devices, **options).create(), ctx):
            await ctx.until(lambda: len(ctx.frames) >= 6)
    assert times[0] - start >= 0.1
    assert min(np.diff(times)) >= 0.024


async def test_no_connection_at_all_is_an_error_and_a_bad_sample():
    async with Peer(lambda *_: []) as peer:
        url = peer.url
    ctx = RecordingContext()
    with pytest.raises(OSError, match=r".*"):
        await modbus(url, {"m": device(points=ONE)}).create().run(ctx)
    assert reasons_of(ctx, "m/a") == [Reason.LINK_DOWN]


async def test_a_device_that_refuses_long_reads_is_read_in_parts():
    def script(transaction, unit, pdu):
        count = int.from_bytes(pdu[3:5], "big")
        return [frame(transaction, unit, good(pdu) if count <= 50 else bytes([pdu[0] | 0x80, 2]))]

    async with Peer(script) as peer:
        ctx = RecordingContext()
        points = {f"p{i}": point(f"input:{i}") for i in range(100)}
        async with running(modbus(peer.url, {"m": device(points=points)}).create(), ctx):
            await ctx.until(lambda: len(ctx.frames) >= 2)
    assert all({s[1:] for s in ctx.samples(f"m/p{i}")} == {(float(i), 0)} for i in range(100))


async def test_what_a_starting_device_refused_comes_back(monkeypatch):
    monkeypatch.setattr("adapters.modbus.group.RECHECK_S", 0.1)
    starting = True

    def script(transaction, unit, pdu):
        return [frame(transaction, unit, bytes([pdu[0] | 0x80, 2]) if starting else good(pdu))]

    async with Peer(script) as peer:
        ctx = RecordingContext()
        points = {f"p{i}": point(f"input:{i}") for i in range(4)}
        async with running(modbus(peer.url, {"m": device(points=points)}).create(), ctx):
            await ctx.until(lambda: len(ctx.frames) >= 2)
            starting = False
            await ctx.until(lambda: all(values_of(ctx, f"m/p{i}") for i in range(4)))
