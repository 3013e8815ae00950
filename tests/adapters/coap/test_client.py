import asyncio
import math

import aiocoap
import cbor2
import pytest
import uvloop

from gateway import quality as q
from gateway.point import Kind
from gateway.quality import Reason, reason_codes
from tests.adapters.coap.peers import Blocks, Fixed, Value, adapter_of, free_port, serving
from tests.adapters.coap.scripted import scripted
from tests.support.context import RecordingContext


def device(port, **options):
    return {"url": f"coap://127.0.0.1:{port}", "timeout": "1s"} | options


def values(ctx, name):
    return [value for _, value, word in ctx.samples(name) if word == q.GOOD]


def reasons(ctx, name):
    """Why the bad samples of a point have no value."""
    point = ctx.points.find(name)
    frame = ctx.frame
    return [Reason(code) for code in reason_codes(frame.value[(frame.point == point) & (frame.quality != 0)])]


def point(ctx, name):
    return ctx.points.point(ctx.points.find(name))


async def test_notifications_become_samples(ctx):
    temperature, co2 = Value(b"20.5"), Value(b"400")
    async with serving({"/temp": temperature, "/co2": co2}) as port:
        devices = {"s1": device(port, observe={"temperature": "/temp", "co2": "/co2"})}
        async with adapter_of(ctx, devices=devices):
            await ctx.until(lambda: values(ctx, "s1/temperature") and values(ctx, "s1/co2"))
            for n in range(5):
                temperature.set(str(21 + n).encode())
                await ctx.until(lambda n=n: 21 + n in values(ctx, "s1/temperature"))
            gets = temperature.gets
    assert values(ctx, "s1/temperature") == [20.5, 21, 22, 23, 24, 25]
    assert values(ctx, "s1/co2") == [400]
    assert ("s1", True, "") in ctx.links
    assert gets == 6  # one for the registration, one a notification: nothing was polled
    times = [time for time, _, _ in ctx.samples("s1/temperature")]
    assert times == sorted(times)
    assert abs(times[-1] - ctx.now_ns()) < 10e9


def test_it_works_the_same_under_uvloop():
    async def main():
        ctx = RecordingContext()
        value = Value(b"1")
        async with serving({"/v": value, "/p": Fixed(b"7")}) as port:
            devices = {"s1": device(port, observe={"v": "/v"}, poll={"p": "/p"}, every="50ms")}
            async with adapter_of(ctx, devices=devices):
                await ctx.until(lambda: values(ctx, "s1/v") and len(values(ctx, "s1/p")) > 2)
                value.set(b"2")
                await ctx.until(lambda: values(ctx, "s1/v") == [1, 2])
        async with adapter_of(ctx, devices={"s2": device(free_port(), observe={"v": "/v"})}):
            await ctx.until(lambda: reasons(ctx, "s2/v"))
        assert reasons(ctx, "s2/v") == [Reason.LINK_DOWN]

    uvloop.run(main())


async def test_ipv6_and_names_reach_the_device(ctx):
    async with serving({"/v": Fixed(b"1")}, host="::1") as port:
        devices = {
            "a": device(port, poll={"v": "/v"}, every="20ms") | {"url": f"coap://[::1]:{port}"},
        }
        async with adapter_of(ctx, devices=devices):
            await ctx.until(lambda: len(values(ctx, "a/v")) > 1)
    async with serving({"/v": Fixed(b"1")}) as port:
        devices = {"b": device(port, poll={"v": "/v"}) | {"url": f"coap://localhost:{port}"}}
        async with adapter_of(ctx, devices=devices):
            await ctx.until(lambda: values(ctx, "b/v"))


@pytest.mark.parametrize(
    ("payload", "content_format", "options", "value"),
    [
        (b"23.5", 0, {}, 23.5),
        (b"23.5", None, {}, 23.5),
        (b"true", 0, {}, 1.0),
        (b'{"rh": 40.5}', 50, {"value": "/rh"}, 40.5),
        (b'{"rh": 40.5}', None, {"value": "rh"}, 40.5),
        (b'{"a": [{"b": 7}]}', 0, {"value": "/a/0/b", "payload": "json"}, 7.0),
        (b"false", 50, {}, 0.0),
        (cbor2.dumps({"t": -3}), 60, {"value": "/t"}, -3.0),
        (cbor2.dumps(12), 60, {}, 12.0),
        (cbor2.dumps([{0: "x", 2: 4.5}]), 112, {}, 4.5),
        (b'[{"n":"x","v":1},{"n":"y","v":2}]', 110, {"value": "y"}, 2.0),
        (b'[{"bn":"urn:x:","n":"y","v":2}]', 110, {"value": "urn:x:y"}, 2.0),
    ],
)
async def test_payloads(ctx, payload, content_format, options, value):
    async with serving({"/x": Fixed(payload, content_format)}) as port:
        devices = {"s1": device(port, poll={"p": {"path": "/x", **options}})}
        async with adapter_of(ctx, devices=devices):
            await ctx.until(lambda: ctx.samples("s1/p"))
    assert [sample[1:] for sample in ctx.samples("s1/p")] == [(value, q.GOOD)]


async def test_a_pack_carries_several_points_with_units_and_times(ctx):
    pack = b'[{"bn":"urn:dev:1:","bt":1700000000,"n":"t","u":"Cel","v":21.5},{"n":"mode","vs":"eco","t":1}]'
    async with serving({"/sensors": Value(pack, 110)}) as port:
        devices = {"s2": device(port, observe={"all": {"path": "/sensors", "payload": "senml"}})}
        async with adapter_of(ctx, devices=devices):
            await ctx.until(lambda: ctx.frames)
    assert ctx.samples("s2/t") == [(1_700_000_000 * 10**9, 21.5, q.GOOD)]
    assert ctx.samples("s2/mode") == [(1_700_000_001 * 10**9, 0.0, q.GOOD)]
    assert point(ctx, "s2/t").unit == "Cel"
    assert point(ctx, "s2/mode").kind is Kind.STATE
    assert ctx.points.states(ctx.points.find("s2/mode")) == ["eco"]
    assert ctx.points.find("s2/all") is None


async def test_the_source_time_comes_from_the_payload(ctx):
    payload = b'{"v": 1, "at": "2023-11-14T22:13:20Z"}'
    async with serving({"/x": Fixed(payload, 50)}) as port:
        devices = {"s1": device(port, poll={"p": {"path": "/x", "value": "/v", "time": "/at"}})}
        async with adapter_of(ctx, devices=devices):
            await ctx.until(lambda: ctx.samples("s1/p"))
    assert ctx.samples("s1/p") == [(1_700_000_000 * 10**9, 1.0, q.GOOD)]


async def test_what_is_said_of_a_point_reaches_the_directory(ctx):
    options = {"path": "/x", "unit": "kW.h", "kind": "counter", "limits": [0, 1e9], "resolution": 0.1}
    async with serving({"/x": Fixed(b"5")}) as port, adapter_of(ctx, devices={"s1": device(port, poll={"e": options})}):
        await ctx.until(lambda: ctx.samples("s1/e"))
    known = point(ctx, "s1/e")
    assert (known.unit, known.kind, known.limits, known.resolution) == ("kW.h", Kind.COUNTER, (0, 1e9), 0.1)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (aiocoap.NOT_FOUND, Reason.NOT_FOUND),
        (aiocoap.UNAUTHORIZED, Reason.REFUSED),
        (aiocoap.FORBIDDEN, Reason.REFUSED),
        (aiocoap.METHOD_NOT_ALLOWED, Reason.REFUSED),
        (aiocoap.INTERNAL_SERVER_ERROR, Reason.DEVICE_FAILURE),
        (aiocoap.NOT_IMPLEMENTED, Reason.NOT_IMPLEMENTED),
        (aiocoap.SERVICE_UNAVAILABLE, Reason.DEVICE_BUSY),
        (aiocoap.GATEWAY_TIMEOUT, Reason.GATEWAY_TARGET_FAILED),
        (aiocoap.BAD_REQUEST, Reason.OTHER_EXCEPTION),
        (aiocoap.VALID, Reason.MALFORMED_ANSWER),
    ],
)
async def test_an_error_code_is_a_bad_sample_with_its_reason(ctx, code, reason):
    value = Value(b"1")
    value.code = code
    async with serving({"/x": value, "/y": value}) as port:
        devices = {"s1": device(port, poll={"p": "/x"}, observe={"o": "/y"})}
        async with adapter_of(ctx, devices=devices):
            await ctx.until(lambda: ctx.samples("s1/p") and ctx.samples("s1/o"))
    assert reasons(ctx, "s1/p") == reasons(ctx, "s1/o") == [reason]
    assert ctx.stats.reasons[reason.text] == 2
    assert not values(ctx, "s1/p")
    assert ctx.links[-1] == ("s1", True, "")  # it answers, so it is there


@pytest.mark.parametrize(
    ("payload", "content_format", "options", "word", "reason"),
    [
        (b"{", 50, {}, "unparsable", Reason.UNPARSABLE),
        (b"\xff\xff", 60, {}, "unparsable", Reason.UNPARSABLE),
        (b'{"a": 1}', 50, {"value": "/b"}, "missing", Reason.MISSING),
        (b'{"a": [1]}', 50, {"value": "/a"}, "not-a-value", Reason.UNPARSABLE),
        (b"[" * 1000, 50, {}, "too-deep", Reason.UNPARSABLE),
        (b"x", 42, {}, "unsupported-format", Reason.UNPARSABLE),
        (b"error", 0, {"unit": "V"}, "not-a-number", Reason.UNPARSABLE),
        (b'{"v": 1, "t": "x"}', 50, {"value": "/v", "time": "/t"}, "bad-time", Reason.UNPARSABLE),
        (b"", 0, {}, "empty", Reason.UNPARSABLE),
    ],
)
async def test_a_bad_payload_is_counted_and_is_a_bad_sample(ctx, payload, content_format, options, word, reason):
    async with serving({"/x": Value(payload, content_format)}) as port:
        devices = {"s1": device(port, observe={"p": {"path": "/x", **options}})}
        async with adapter_of(ctx, devices=devices):
            await ctx.until(lambda: ctx.samples("s1/p"))
    assert reasons(ctx, "s1/p") == [reason]
    assert ctx.stats.reasons[word] == 1


async def test_no_number_has_its_own_reason(ctx):
    async with (
        serving({"/x": Fixed(b"nan"), "/y": Fixed(b"null", 50)}) as port,
        adapter_of(ctx, devices={"s1": device(port, poll={"x": "/x", "y": "/y"})}),
    ):
        await ctx.until(lambda: ctx.samples("s1/x") and ctx.samples("s1/y"))
    assert reasons(ctx, "s1/x") == [Reason.NOT_A_NUMBER]
    assert reasons(ctx, "s1/y") == [Reason.MISSING]


async def test_numbers_and_texts_of_one_point_never_mix(ctx):
    value = Value(b"idle")
    async with serving({"/x": value}) as port, adapter_of(ctx, devices={"s1": device(port, observe={"p": "/x"})}):
        for n, payload in enumerate((b"idle", b"busy", b"4.5", b"busy")):
            value.set(payload)
            await ctx.until(lambda n=n: len(ctx.samples("s1/p")) > n)
            if n == 1:
                assert point(ctx, "s1/p").kind is Kind.STATE
            await asyncio.sleep(0.01)
    assert point(ctx, "s1/p").kind is Kind.GAUGE
    found = [value for _, value, _ in ctx.samples("s1/p")][-3:]
    assert found[:2] == [1.0, 4.5]
    assert math.isnan(found[2])


async def test_a_declared_state_codes_numbers_as_texts(ctx):
    value = Value(b"3")
    async with (
        serving({"/x": value}) as port,
        adapter_of(ctx, devices={"s1": device(port, observe={"p": {"path": "/x", "kind": "state"}})}),
    ):
        await ctx.until(lambda: values(ctx, "s1/p"))
        value.set(b"true")
        await ctx.until(lambda: len(values(ctx, "s1/p")) == 2)
    assert values(ctx, "s1/p") == [0.0, 1.0]
    assert ctx.points.states(ctx.points.find("s1/p")) == ["3", "true"]


async def test_a_silent_device_times_out_and_slows_nobody(ctx):
    async with scripted(lambda *_: None) as silent, serving({"/x": Fixed(b"2")}) as fast:
        devices = {
            "dead": device(silent.port, timeout="300ms", poll={"x": "/x", "y": "/y"}, every="20ms"),
            "alive": device(fast, poll={"x": "/x"}, every="20ms"),
        }
        async with adapter_of(ctx, devices=devices):
            await ctx.until(lambda: len(reasons(ctx, "dead/x")) == 2)
            alive = len(values(ctx, "alive/x"))
    assert alive >= 15  # 20 ms over 600 ms and more
    assert set(reasons(ctx, "dead/x")) == set(reasons(ctx, "dead/y")) == {Reason.TIMEOUT}
    assert {link for link in ctx.links if link[0] == "dead"} == {("dead", False, "no answer")}
    assert ctx.stats.devices["dead"]["missed_polls"] > 5
    bad = ctx.frame.quality[ctx.frame.point == ctx.points.find("dead/x")]
    assert set(bad.tolist()) == {q.INVALID | q.FAILURE}


async def test_polls_keep_their_period(ctx):
    async with (
        serving({"/x": Fixed(b"2")}) as port,
        adapter_of(ctx, devices={"s1": device(port, poll={"x": "/x"}, every="50ms")}),
    ):
        await ctx.until(lambda: len(ctx.samples("s1/x")) == 11)
    times = [time for time, _, _ in ctx.samples("s1/x")]
    assert times[-1] - times[0] == pytest.approx(500e6, abs=60e6)


async def test_a_device_that_cannot_be_observed_is_polled(ctx):
    fixed = Fixed(b"5")
    async with (
        serving({"/x": fixed}) as port,
        adapter_of(ctx, devices={"s1": device(port, observe={"x": "/x"}, every="50ms")}),
    ):
        await ctx.until(lambda: len(values(ctx, "s1/x")) > 3)
    assert not reasons(ctx, "s1/x")
    assert fixed.gets > 3


async def test_an_observation_comes_back_after_a_restart(ctx):
    port = free_port()
    devices = {"s1": device(port, observe={"x": "/x"}, timeout="500ms")}
    async with serving({"/x": Value(b"1", max_age=1)}, port):
        context = adapter_of(ctx, devices=devices)
        await context.__aenter__()
        await ctx.until(lambda: values(ctx, "s1/x") == [1])
    try:
        await ctx.until(lambda: reasons(ctx, "s1/x"))  # Max-Age passes, and nobody answers any more
        assert ("s1", False) in [link[:2] for link in ctx.links]
        restarted = Value(b"2", max_age=1)
        async with serving({"/x": restarted}, port):
            await ctx.until(lambda: 2 in values(ctx, "s1/x"))
            await ctx.until(lambda: restarted.observers == 1)
            restarted.set(b"3")
            await ctx.until(lambda: 3 in values(ctx, "s1/x"))
        assert ctx.links[-1] == ("s1", True, "")
    finally:
        await context.__aexit__(None, None, None)


async def test_a_silent_restart_is_found_when_max_age_has_passed(ctx):
    port = free_port()
    async with serving({"/x": Value(b"1", max_age=1)}, port) as port:
        context = adapter_of(ctx, devices={"s1": device(port, observe={"x": "/x"})})
        await context.__aenter__()
        await ctx.until(lambda: values(ctx, "s1/x") == [1])
    try:
        async with serving({"/x": (restarted := Value(b"2", max_age=60))}, port):
            await ctx.until(lambda: 2 in values(ctx, "s1/x"))
            restarted.set(b"3")
            await ctx.until(lambda: 3 in values(ctx, "s1/x"))
        assert not reasons(ctx, "s1/x")
    finally:
        await context.__aexit__(None, None, None)


async def test_refresh_bounds_a_long_max_age(ctx):
    value = Value(b"1", max_age=4_000_000_000)
    async with (
        serving({"/x": value}) as port,
        adapter_of(ctx, devices={"s1": device(port, observe={"x": "/x"}, refresh="100ms")}),
    ):
        await ctx.until(lambda: value.gets >= 3)


async def test_a_resource_that_goes_away_is_a_bad_sample(ctx):
    value = Value(b"1")
    async with serving({"/x": value}) as port, adapter_of(ctx, devices={"s1": device(port, observe={"x": "/x"})}):
        await ctx.until(lambda: values(ctx, "s1/x"))
        value.code = aiocoap.NOT_FOUND
        value.updated_state()
        await ctx.until(lambda: reasons(ctx, "s1/x"))
        value.code = aiocoap.CONTENT
        await ctx.until(lambda: len(values(ctx, "s1/x")) == 2)
        value.set(b"2")
        await ctx.until(lambda: 2 in values(ctx, "s1/x"))
    assert set(reasons(ctx, "s1/x")) == {Reason.NOT_FOUND}


async def test_a_body_in_blocks_is_put_together(ctx):
    def body(number):
        return b" " * 700 + b'{"v": %d}' % number

    value = Blocks(body(1), 50)
    fixed = Fixed(b" " * 5000 + body(7), 50)
    async with serving({"/x": value, "/y": fixed}) as port:
        observe, poll = {"path": "/x", "value": "/v"}, {"path": "/y", "value": "/v"}
        devices = {"s1": device(port, timeout="5s", observe={"x": observe}, poll={"y": poll})}
        async with adapter_of(ctx, devices=devices):
            await ctx.until(lambda: values(ctx, "s1/x") == [1] and values(ctx, "s1/y") == [7])
            value.set(body(2))
            await ctx.until(lambda: values(ctx, "s1/x") == [1, 2])
    assert not reasons(ctx, "s1/x")


async def test_a_body_without_end_is_refused(ctx):
    async with serving({"/x": Fixed(b"1" * 100_000, 50)}) as port:
        devices = {"s1": device(port, poll={"x": "/x"}, timeout="5s")}
        async with adapter_of(ctx, devices=devices):
            await ctx.until(lambda: ctx.samples("s1/x"))
    assert reasons(ctx, "s1/x") == [Reason.MALFORMED_ANSWER]


async def test_points_beyond_the_bound_are_counted_and_stop_nothing():
    ctx = RecordingContext(limit=1)
    async with serving({"/x": Fixed(b"1"), "/y": Fixed(b"2")}) as port:
        devices = {"s1": device(port, poll={"x": "/x", "y": "/y"}, every="20ms")}
        async with adapter_of(ctx, devices=devices):
            await ctx.until(lambda: len(values(ctx, "s1/x")) > 3)
    assert ctx.stats.reasons["too-many-points"] > 3
    assert len(ctx.points) == 1


async def test_notifications_of_a_moment_travel_in_few_frames(ctx):
    resources = {f"/{n}": Value(b"0") for n in range(20)}
    async with serving(resources) as port:
        devices = {"s1": device(port, observe={f"p{n}": f"/{n}" for n in range(20)})}
        async with adapter_of(ctx, devices=devices):
            await ctx.until(lambda: sum(len(frame) for frame in ctx.frames) == 20)
            before = len(ctx.frames)
            for value in resources.values():
                value.set(b"1")
            await ctx.until(lambda: sum(len(frame) for frame in ctx.frames) == 40)
    assert len(ctx.frames) - before < 20


@pytest.mark.parametrize(
    ("pack", "points"),
    [
        (b'[{"bn":"urn:dev:1:","n":"temp","v":21}]', ["s1/t"]),
        (b'[{"n":"temp","v":21},{"n":"hum","v":40}]', ["s1/t", "s1/temp", "s1/hum"]),
    ],
)
async def test_a_pack_that_was_not_asked_for_is_one_point_if_it_is_one_signal(ctx, pack, points):
    async with (
        serving({"/x": Fixed(pack, 110)}) as port,
        adapter_of(ctx, devices={"s1": device(port, poll={"t": "/x"})}),
    ):
        await ctx.until(lambda: ctx.frames)
    assert [ctx.points.name(n) for n in range(len(ctx.points))] == points
    assert 21.0 in values(ctx, points[-1] if len(points) == 1 else "s1/temp")


async def test_raw_bytes_of_a_device_are_read_by_a_field(ctx):
    async with serving({"/raw": Fixed(b"\x01\x02\x03\x04", 42)}) as port:
        poll = {"x": {"path": "/raw", "payload": "octets", "value": "@1 uint24 *0.5"}}
        async with adapter_of(ctx, devices={"s1": device(port, poll=poll)}):
            await ctx.until(lambda: values(ctx, "s1/x"))
    assert values(ctx, "s1/x")[0] == 0x020304 / 2
