"""A dead unit costs the others nothing that can be measured."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from adapters.modbus.breaker import FULL, LEAST_S, OVERDUE_S, PATIENCE, SHARE, TRIES, Breaker, Ward
from gateway.quality import Reason
from tests.adapters.modbus.peers import Peer, device, frame, good, modbus, point
from tests.adapters.modbus.test_misbehaviour import reasons_of, values_of
from tests.support.context import RecordingContext, running

pytestmark = pytest.mark.alone

ONE = {"a": point("holding:7")}
PERIOD_S = 0.25
UNITS = 30
DEAD = frozenset({3, 4, 11, 20, 30})


def jitter_p99(ctx, units):
    """Of all periods of the units: the 99th percentile of the difference to the one asked for, in seconds."""
    gaps = [np.diff([time for time, _, _ in ctx.samples(f"m{unit}/a")]) / 1e9 for unit in units]
    return float(np.quantile(np.abs(np.concatenate(gaps) - PERIOD_S), 0.99))


async def beats(stalls):
    """How late the event loop itself is, in seconds: a busy machine's part in what is measured beside it."""
    loop = asyncio.get_running_loop()
    while True:
        began = loop.time()
        await asyncio.sleep(0.005)
        stalls.append(loop.time() - began - 0.005)


async def polled(dead):
    """Thirty units polled for about ten periods in a steady state, some of them dead."""

    def script(transaction, unit, pdu):
        return [] if unit in dead else [0.001, frame(transaction, unit, good(pdu))]

    async with Peer(script) as peer:
        ctx = RecordingContext()
        devices = {f"m{i}": device(i, PERIOD_S, ONE) for i in range(1, UNITS + 1)}
        async with running(modbus(peer.url, devices, timeout=0.1).create(), ctx):
            suspended = Reason.UNIT_SUSPENDED
            await ctx.until(lambda: all(suspended in reasons_of(ctx, f"m{i}/a") for i in dead) and len(ctx.frames) > 30)
            missed = [ctx.stats.devices[f"m{i}"]["missed"] for i in range(1, UNITS + 1)]
            ctx.frames.clear()
            asked = len(peer.requests)
            await ctx.until(lambda: len(ctx.frames) > 13 * UNITS)
            probes = sum(unit in dead for unit, _ in peer.requests[asked:])
        missed = [ctx.stats.devices[f"m{i}"]["missed"] - missed[i - 1] for i in range(1, UNITS + 1)]
    return ctx, probes, missed


async def test_thirty_units_five_of_them_dead(monkeypatch):
    monkeypatch.setattr("adapters.modbus.breaker.OVERDUE_S", 0.5)  # probes do go out while this runs,
    monkeypatch.setattr("adapters.modbus.breaker.SHARE", 0.1)  # and ten times as often as they would
    alive = [unit for unit in range(1, UNITS + 1) if unit not in DEAD]
    clean, none, _ = await polled(frozenset())
    stalls = []
    beating = asyncio.create_task(beats(stalls))
    ctx, probes, missed = await polled(DEAD)
    beating.cancel()
    stall = max(stalls)
    assert none == 0
    assert probes > 0
    assert jitter_p99(ctx, alive) <= 1.1 * jitter_p99(clean, alive) + PERIOD_S / 4 + stall
    spared = len(alive) if stall > PERIOD_S / 2 else 2  # a stall of the loop costs each of them a period
    assert sum(missed[unit - 1] for unit in alive) <= spared, "without isolation each period would be missed"
    counts = [len(ctx.samples(f"m{unit}/a")) for unit in alive]
    assert max(counts) - min(counts) <= 2
    assert all(values_of(ctx, f"m{unit}/a") == {7.0} for unit in alive)
    assert all(not values_of(ctx, f"m{unit}/a") for unit in DEAD)


def silenced(ward, breaker, now=0.0):
    for _ in range(TRIES):
        breaker.silent(now)
    return ward.patience_s(breaker)


def test_a_suspect_is_given_less_time_only_if_others_wait():
    one, other = Breaker(1.0), Breaker(1.0)
    ward = Ward([one, other], 1.0)
    assert ward.patience_s(one) is None, "in good health: the whole time-out"
    assert silenced(ward, one) is None, "nobody answers: perhaps it is the gateway"
    ward.answered(other, 0.1)
    assert ward.patience_s(one) == pytest.approx(PATIENCE * 0.1)
    ward.answered(other, 0.001)
    for _ in range(1000):
        ward.answered(other, 0.001)
    assert ward.patience_s(one) == LEAST_S
    one.took(0.05)
    assert ward.patience_s(one) == pytest.approx(PATIENCE * 0.05), "0x0B took so long"
    one.took(0.5)
    assert ward.patience_s(one) is None
    assert ward.patience_s(other) is None


def test_from_time_to_time_a_probe_waits_for_long():
    one, other = Breaker(1.0), Breaker(1.0)
    ward = Ward([one, other], 1.0)
    ward.answered(other, 0.001)
    waits = []
    for _ in range(3 * FULL):
        one.silent(0.0)
        waits.append(ward.patience_s(one))
    assert [i + 1 for i, wait in enumerate(waits) if wait is None] == [FULL, 2 * FULL, 3 * FULL]


def test_probes_wait_for_a_pause_but_not_for_ever_and_take_a_small_part_of_the_line():
    one, other = Breaker(1.0), Breaker(1.0)
    ward = Ward([one, other], 1.0)
    ward.answered(other, 0.001)
    silenced(ward, one)
    assert not ward.may_ask(one, 4.9, 1.0), "not due"
    assert ward.may_ask(one, 5.0, LEAST_S)
    assert not ward.may_ask(one, 5.0, LEAST_S / 2)
    assert ward.may_ask(one, 5.0 + OVERDUE_S, 0.0)
    ward.spent(one, 5.0, 0.2)
    assert not ward.may_ask(one, 5.0 + 0.2 / SHARE - 0.1, 1.0)
    assert ward.may_ask(one, 5.0 + 0.2 / SHARE, 1.0)
    assert ward.may_ask(other, 5.0, 0.0)


def test_when_the_gateway_returns_all_units_are_asked_at_once():
    breakers = [Breaker(1.0) for _ in range(3)]
    ward = Ward(breakers, 1.0)
    for breaker in breakers:
        silenced(ward, breaker)
    assert ward.all_suspended
    assert not any(breaker.may_ask(1.0) for breaker in breakers)
    ward.answered(breakers[0], 0.01)
    assert all(breaker.may_ask(1.0) for breaker in breakers)


async def test_the_units_of_a_gateway_that_was_away_come_back_together():
    away = True

    def script(transaction, unit, pdu):
        return [] if away else [frame(transaction, unit, good(pdu))]

    async with Peer(script) as peer:
        ctx = RecordingContext()
        devices = {f"m{i}": device(i, 0.02, ONE) for i in range(1, 7)}
        async with running(modbus(peer.url, devices, timeout=0.02).create(), ctx):
            await ctx.until(lambda: all(reasons_of(ctx, f"{m}/a")[-1:] == [Reason.UNIT_SUSPENDED] for m in devices))
            away = False
            await ctx.until(lambda: any(values_of(ctx, f"{m}/a") for m in devices))
            n = len(ctx.samples("m1/a"))
            await ctx.until(lambda: all(values_of(ctx, f"{m}/a") for m in devices))
            assert len(ctx.samples("m1/a")) - n <= 4


async def test_the_gateways_own_trouble_is_not_the_units():
    """0x0A: no path, at once, so there is nothing to save by asking less often. 0x0B: the unit is silent."""
    codes = {1: 0x0A, 2: 0x0B}

    def script(transaction, unit, pdu):
        code = codes.get(unit)
        return [frame(transaction, unit, bytes([pdu[0] | 0x80, code]) if code else good(pdu))]

    async with Peer(script) as peer:
        ctx = RecordingContext()
        devices = {"path": device(1, 0.02, ONE), "target": device(2, 0.02, ONE), "fine": device(3, 0.02, ONE)}
        async with running(modbus(peer.url, devices).create(), ctx):
            await ctx.until(lambda: len(ctx.samples("path/a")) >= 8 and len(ctx.samples("target/a")) >= 8)
    assert set(reasons_of(ctx, "path/a")) == {Reason.GATEWAY_PATH_UNAVAILABLE}
    assert reasons_of(ctx, "target/a")[:5] == [Reason.GATEWAY_TARGET_FAILED] * 3 + [Reason.UNIT_SUSPENDED] * 2
    details = {name: detail for name, up, detail in ctx.links if not up}
    assert details == {"path": "gateway-path-unavailable", "target": "gateway-target-failed"}
    assert values_of(ctx, "fine/a") == {7.0}


@pytest.mark.parametrize(("retries", "good_ones"), [(0, 0), (1, 5)])
async def test_a_sleeping_device_is_woken_by_a_second_request(retries, good_ones):
    n = 0

    def script(transaction, unit, pdu):
        nonlocal n
        n += 1
        return [frame(transaction, unit, good(pdu))] if n % 2 == 0 else []

    async with Peer(script) as peer:
        ctx = RecordingContext()
        devices = {"m": device(every=0.02, points=ONE, retries=retries)}
        async with running(modbus(peer.url, devices, timeout=0.02).create(), ctx):
            await ctx.until(lambda: len(ctx.frames) >= 5)
    samples = [reason is Reason.NONE for reason in reasons_of(ctx, "m/a")[:5]]
    assert sum(samples) == good_ones or (not retries and 0 < sum(samples) < 5)
    assert ctx.stats.reasons["timeout"] >= 2


async def test_exceptions_are_never_repeated():
    async with Peer(lambda t, u, p: [frame(t, u, bytes([p[0] | 0x80, 4]))]) as peer:
        ctx = RecordingContext()
        async with running(modbus(peer.url, {"m": device(every=0.02, points=ONE, retries=3)}).create(), ctx):
            await ctx.until(lambda: len(ctx.frames) >= 3)
            await asyncio.sleep(0)
        assert abs(len(peer.requests) - len(ctx.frames)) <= 1
