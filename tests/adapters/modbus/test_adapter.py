"""The adapter against a real pymodbus server."""

from __future__ import annotations

import asyncio
import struct
import time

import pytest
from pymodbus.simulator import DataType, SimData, SimDevice

from adapters.base import WriteResult
from gateway import quality as q
from gateway.errors import LinkError, PayloadError
from gateway.point import Kind
from gateway.quality import Reason, reason_codes
from tests.adapters.modbus.peers import device, modbus, point, registers, shared
from tests.support.context import RecordingContext, running


def last(ctx, name):
    return ctx.samples(name)[-1]


def reason_of(ctx, name):
    import numpy as np

    return Reason(int(reason_codes(np.array([last(ctx, name)[1]]))[0]))


def words(fmt, *values):
    data = struct.pack(">" + fmt, *values)
    return list(struct.unpack(f">{len(data) // 2}H", data))


async def test_all_types_and_tables_are_read(tcp_server):
    holding = [
        *words("f", 230.5),
        *words("i", -7),
        *words("Q", 2**60),
        *words("d", 0.1),
        *words("e", 1.5),
        0b1010,
        0x12FE,
    ]
    text = words("8s", b"SDM630\0\0")
    server = SimDevice(
        1,
        simdata=(
            [SimData(0, values=[False, True, False, True], datatype=DataType.BITS)],
            [SimData(0, values=[True, False], datatype=DataType.BITS)],
            [registers([*holding, *text])],
            [registers(words("I", 123456), at=72)],
        ),
    )
    url = await tcp_server([server])
    at = {"f": 0, "i": 2, "q": 4, "d": 8, "e": 12, "b": 13, "c": 14, "s": 15}
    points = {
        "f": point(f"holding:{at['f']}", "float32"),
        "i": point(f"holding:{at['i']}", "int32"),
        "q": point(f"holding:{at['q']}", "uint64"),
        "d": point(f"holding:{at['d']}", "float64"),
        "e": point(f"holding:{at['e']}", "float16"),
        "bit1": point(f"holding:{at['b']}", bit=1),
        "bit2": point(f"holding:{at['b']}", bit=2),
        "low": point(f"holding:{at['c']}", "int8"),
        "model": point(f"holding:{at['s']}", "string", length=4),
        "energy": point("input:72", "uint32", scale=0.01),
        "on": point("coil:3"),
        "off": point("coil:2"),
        "input": point("discrete:0"),
    }
    ctx = RecordingContext()
    async with running(modbus(url, {"m": device(points=points)}).create(), ctx):
        await ctx.until(lambda: len(ctx.frames) >= 2)
    got = {name: last(ctx, f"m/{name}")[1:] for name in points}
    assert got == {
        "f": (230.5, 0),
        "i": (-7.0, 0),
        "q": (2.0**60, q.QUESTIONABLE | q.INACCURATE),
        "d": (0.1, 0),
        "e": (1.5, 0),
        "bit1": (1.0, 0),
        "bit2": (0.0, 0),
        "low": (-2.0, 0),
        "model": (0.0, 0),
        "energy": (1234.56, 0),
        "on": (1.0, 0),
        "off": (0.0, 0),
        "input": (1.0, 0),
    }
    model = ctx.points.find("m/model")
    assert ctx.points.states(model) == ["SDM630"]
    assert ctx.points.point(model).kind is Kind.STATE
    assert len(ctx.frames[0]) == len(points), "one frame a cycle"
    assert ctx.links[0] == ("", True, "")
    assert ("m", True, "") in ctx.links
    assert ctx.stats.messages >= 8, "four tables, two cycles"
    assert not ctx.stats.reasons


async def test_two_periods_of_two_devices_run_on_their_own_grids(tcp_server):
    url = await tcp_server([shared(1, registers(range(100))), shared(2, registers(range(100, 200)))])
    devices = {
        "fast": device(1, 0.02, {"a": point("holding:5"), "slow": point("holding:7", every=0.1)}),
        "slow": device(2, 0.1, {"b": point("holding:5")}),
    }
    ctx = RecordingContext()
    async with running(modbus(url, devices).create(), ctx):
        await ctx.until(lambda: len(ctx.samples("slow/b")) >= 5)
    assert {value for _, value, _ in ctx.samples("fast/a")} == {5.0}
    assert {value for _, value, _ in ctx.samples("slow/b")} == {105.0}
    assert len(ctx.samples("fast/a")) >= 3 * len(ctx.samples("slow/b"))
    assert abs(len(ctx.samples("fast/slow")) - len(ctx.samples("slow/b"))) <= 1
    shown = ctx.stats.devices["fast"]
    assert shown["period_asked_s"] == 0.02
    assert 0.015 < shown["period_achieved_s"] < 0.1


async def test_time_is_between_request_and_answer(tcp_server):
    url = await tcp_server([shared(1, registers(range(10)))])
    ctx = RecordingContext()
    before = time.time_ns()
    async with running(modbus(url, {"m": device(points={"a": point("holding:0")})}).create(), ctx):
        await ctx.until(lambda: ctx.frames)
    assert before < last(ctx, "m/a")[0] < time.time_ns()


async def test_a_period_too_short_is_skipped_and_counted(tcp_server):
    url = await tcp_server([shared(1, registers(range(10)))])
    ctx = RecordingContext()
    config = modbus(url, {"m": device(every=1e-5, points={"a": point("holding:0")})})
    async with running(config.create(), ctx):
        await ctx.until(lambda: len(ctx.frames) >= 20)
    assert ctx.stats.devices["m"]["missed"] >= 20
    assert ctx.stats.devices["m"]["period_achieved_s"] > 1e-5


async def test_exceptions_have_reasons_and_the_rest_goes_on(tcp_server):
    url = await tcp_server([shared(1, registers(range(10))), shared(0, registers([1], at=5000))])
    devices = {
        "m": device(1, points={"a": point("holding:3"), "gone": point("input:9000", "float32")}),
        "n": device(9, points={"a": point("holding:3")}),
    }
    ctx = RecordingContext()
    async with running(modbus(url, devices).create(), ctx):
        await ctx.until(lambda: len(ctx.samples("m/a")) >= 3 and ctx.samples("n/a"))
    assert {sample[1:] for sample in ctx.samples("m/a")} == {(3.0, 0)}
    assert last(ctx, "m/gone")[2] == q.INVALID | q.BAD_REFERENCE
    assert reason_of(ctx, "m/gone") is Reason.ILLEGAL_DATA_ADDRESS
    assert ctx.stats.reasons["illegal-data-address"] == 2, "each refused value is asked for once"
    assert ("n", True, "") in ctx.links, "a refusal is an answer"


async def test_a_hole_is_found_once_and_planned_around(tcp_server):
    blocks = registers(range(40)), registers(range(41, 100), at=41)
    url = await tcp_server([shared(1, *blocks)])
    points = {f"p{i}": point(f"holding:{i}") for i in range(100)}
    ctx = RecordingContext()
    async with running(modbus(url, {"m": device(points=points)}).create(), ctx):
        await ctx.until(lambda: len(ctx.frames) >= 3)
        refused = ctx.stats.reasons["illegal-data-address"]
        messages = ctx.stats.messages
        seen = len(ctx.frames)
        await ctx.until(lambda: len(ctx.frames) >= seen + 3)
        asked = ctx.stats.messages - messages
    assert ctx.stats.reasons["illegal-data-address"] == refused <= 8, "bisected once"
    assert asked <= 2 * (len(ctx.frames) - seen + 1), "two reads a cycle, around the hole"
    first = ctx.frames[0]
    assert len(first) == 100
    for i in range(100):
        samples = ctx.samples(f"m/p{i}")
        assert {s[1] for s in samples} == {float(i)} or i == 40, "no cycle is lost to the search"
    assert last(ctx, "m/p40")[2] == q.INVALID | q.BAD_REFERENCE


async def test_a_hole_between_points_is_not_bridged_any_more(tcp_server):
    url = await tcp_server([shared(1, registers(range(5)), registers(range(5), at=8))])
    points = {"a": point("holding:4"), "b": point("holding:8")}
    ctx = RecordingContext()
    async with running(modbus(url, {"m": device(points=points)}).create(), ctx):
        await ctx.until(lambda: len(ctx.frames) >= 3)
    assert ctx.stats.reasons["illegal-data-address"] == 1
    assert {s[1:] for s in ctx.samples("m/a")} == {(4.0, 0)}
    assert {s[1:] for s in ctx.samples("m/b")} == {(0.0, 0)}


async def test_not_a_number_is_invalid(tcp_server):
    nan, inf = words("f", float("nan")), words("f", float("inf"))
    url = await tcp_server([shared(1, registers([*nan, *inf, *words("f", 1.0)]))])
    points = {n: point(f"holding:{2 * i}", "float32") for i, n in enumerate(("nan", "inf", "one"))}
    ctx = RecordingContext()
    async with running(modbus(url, {"m": device(points=points)}).create(), ctx):
        await ctx.until(lambda: ctx.frames)
    assert last(ctx, "m/nan")[2] == last(ctx, "m/inf")[2] == q.INVALID
    assert reason_of(ctx, "m/nan") is reason_of(ctx, "m/inf") is Reason.NOT_A_NUMBER
    assert last(ctx, "m/one")[1:] == (1.0, 0)


async def test_a_link_that_goes_gives_one_bad_sample_a_point(tcp_server):
    url = await tcp_server([shared(1, registers(range(10)))])
    ctx = RecordingContext()
    adapter = modbus(url, {"m": device(points={"a": point("holding:0"), "b": point("holding:1")})}).create()
    task = asyncio.create_task(adapter.run(ctx))
    await ctx.until(lambda: ctx.frames)
    await tcp_server.server.shutdown()
    with pytest.raises(LinkError):
        await task
    assert [len(frame) for frame in ctx.frames[-1:]] == [2]
    assert last(ctx, "m/a")[2] == q.INVALID | q.FAILURE | q.OLD_DATA
    assert reason_of(ctx, "m/b") is Reason.LINK_DOWN
    assert ctx.links[-1] == ("m", False, "link-down")
    frames = len(ctx.frames)
    with pytest.raises(OSError, match=r".*"):
        await adapter.run(ctx)
    assert len(ctx.frames) == frames, "one more attempt is not one more sample"


async def test_write_goes_through_the_same_connection(tcp_server):
    device_ = SimDevice(
        1,
        simdata=(
            [SimData(0, values=[False] * 8, datatype=DataType.BITS)],
            [SimData(0, values=[False] * 8, datatype=DataType.BITS)],
            [registers([0] * 10)],
            [registers([0] * 10)],
        ),
    )
    url = await tcp_server([device_])
    points = {
        "one": point("holding:1", "int16", scale=0.1, writable=True),
        "two": point("holding:2", "float32", "CDAB", writable=True),
        "on": point("coil:2", writable=True),
        "far": point("holding:500", writable=True),
        "read": point("holding:7"),
    }
    ctx = RecordingContext()
    adapter = modbus(url, {"m": device(every=0.02, points=points)}).create()
    async with running(adapter, ctx):
        await ctx.until(lambda: ctx.frames)
        await asyncio.gather(adapter.write("m/one", -12.5), adapter.write("m/two", 6.25), adapter.write("m/on", 1))
        seen = len(ctx.frames)
        await ctx.until(lambda: len(ctx.frames) > seen + 2)
        assert [last(ctx, f"m/{n}")[1] for n in ("one", "two", "on")] == [-12.5, 6.25, 1.0]
        for name, value in (("m/read", 1), ("m/one", 1e9)):
            with pytest.raises(PayloadError):
                await adapter.write(name, value)
        far = await adapter.write("m/far", 1)
        assert (far.result, far.why) == (WriteResult.REFUSED, "illegal-data-address")
    with pytest.raises(LinkError):
        await adapter.write("m/one", 1)
