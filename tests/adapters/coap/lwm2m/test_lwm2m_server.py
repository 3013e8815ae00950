"""The LwM2M server with a scripted client: registration, reports, and what clients may do wrong."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from contextlib import asynccontextmanager

import aiocoap
import pytest

from adapters.coap.lwm2m.tlv import Tag, encode
from gateway import quality as q
from gateway.point import Kind
from gateway.quality import Reason, reason_codes
from tests.adapters.coap.lwm2m.lwm2m_client import OLD_JSON, SENML_CBOR, TLV, Single, lwm2m_client
from tests.adapters.coap.peers import adapter_of, free_port
from tests.support.context import RecordingContext


@pytest.fixture
def ctx():
    return RecordingContext("park")


def serving(ctx, **options):
    return adapter_of(ctx, serve={"listen": "127.0.0.1:0", "lwm2m": {"timeout": "500ms"} | options})


def good(ctx, name):
    return [value for _, value, word in ctx.samples(name) if word == q.GOOD]


def reasons(ctx, name):
    point = ctx.points.find(name)
    return [Reason(code) for code in reason_codes(ctx.frame.value[ctx.frame.point == point]).tolist() if code]


def has(ctx, name, *values):
    """A condition: the point exists and the last of its good values are these."""
    return lambda: ctx.points.find(name) is not None and good(ctx, name)[-len(values) :] == list(values)


async def test_a_client_is_observed_from_its_registration_on(ctx):
    async with serving(ctx) as adapter, lwm2m_client(adapter.port) as client:
        device = client.add("/3/0", r0="Acme", r2="4711", r7={0: 3800, 1: 5000}, r9=80, r11={0: 0})
        client.add("/1/0", r1=60)
        first = client.add("/3303/0", r5700=21.5, r5701="Cel")
        second = client.add("/3303/1", r5700=3.25)
        assert await client.register() == aiocoap.CREATED
        name = "urn-dev-os-7"
        await ctx.until(has(ctx, f"{name}/temperature.1", 3.25))
        await ctx.until(has(ctx, f"{name}/temperature", 21.5))
        first.set(r5700=22.5)
        second.set(r5700=4.0)
        device.set(r9=79)
        await ctx.until(has(ctx, f"{name}/temperature", 21.5, 22.5))
        await ctx.until(has(ctx, f"{name}/temperature.1", 3.25, 4.0))
        await ctx.until(has(ctx, f"{name}/battery", 80, 79))
        assert good(ctx, f"{name}/supply_voltage-1") == [5000.0, 5000.0]
        assert first.attributes == [("pmin=1", "pmax=60")]
        assert first.gets[0] == (0, TLV)
        assert ctx.links[-1] == (name, True, "")
        state = ctx.stats.devices[name]
        assert (state["maker"], state["serial"], state["not_observed"]) == ("Acme", "4711", ["/1/0"])
        assert (state["observed"], state["polled"]) == (3, 0)
        assert ctx.expected[name] == 60
        assert ctx.points.point(ctx.points.find(f"{name}/temperature")).unit == "Cel"


async def test_a_client_of_1_1_is_asked_for_senml_in_cbor(ctx):
    async with serving(ctx) as adapter, lwm2m_client(adapter.port, endpoint="m1", version="1.1") as client:
        meter = client.add("/3305/0", r5800=1500.0, r5805=12.5)
        await client.register()
        await ctx.until(has(ctx, "m1/energy", 12.5))
        meter.set(r5800=1600.0)
        await ctx.until(has(ctx, "m1/power", 1500.0, 1600.0))
        assert meter.gets[0] == (0, SENML_CBOR)
    assert ctx.points.point(ctx.points.find("m1/energy")).kind is Kind.COUNTER


async def test_a_client_that_has_another_format_only_chooses_itself(ctx):
    async with serving(ctx) as adapter, lwm2m_client(adapter.port, endpoint="m1", version="1.1") as client:
        meter = client.add("/3305/0", r5800=1500.0)
        meter.formats = {TLV}
        await client.register()
        await ctx.until(has(ctx, "m1/power", 1500.0))
        assert [accept for _, accept in meter.gets] == [SENML_CBOR, None]


async def test_the_format_can_be_said(ctx):
    async with serving(ctx, accept="json") as adapter, lwm2m_client(adapter.port, endpoint="m1") as client:
        meter = client.add("/3305/0", r5800=1500.0)
        await client.register()
        await ctx.until(has(ctx, "m1/power", 1500.0))
        assert meter.gets[0] == (0, OLD_JSON)


async def test_the_three_phase_meter(ctx):
    async with serving(ctx) as adapter, lwm2m_client(adapter.port, endpoint="m1") as client:
        client.add("/10242/0", r1="X3", r4=230.5, r14=231.0, r24=229.5, r34=12.25, r41=4711.0, r49=50.0)
        await client.register()
        await ctx.until(has(ctx, "m1/frequency", 50.0))
    assert good(ctx, "m1/voltage_l3") == [229.5]
    assert good(ctx, "m1/total_active_power") == [12.25]
    energy = ctx.points.point(ctx.points.find("m1/total_active_energy"))
    assert (energy.kind, energy.unit) == (Kind.COUNTER, "kW.h")


async def test_an_object_beyond_the_table_is_taken_as_far_as_ipso_says_what_it_means(ctx):
    async with serving(ctx, objects=[3311]) as adapter, lwm2m_client(adapter.port, endpoint="m1") as client:
        client.add("/3311/0", r5850=True, r9999=1)
        other = client.add("/3303/0", r5700=1.0)
        await client.register()
        await ctx.until(has(ctx, "m1/o3311_on", 1.0))
        assert other.gets == []


async def test_what_cannot_be_observed_is_polled(ctx):
    async with serving(ctx, max_period="1s") as adapter, lwm2m_client(adapter.port, endpoint="m1") as client:
        sensor = client.add("/3303/0", r5700=1.0)
        sensor.observable = False
        await client.register()
        await ctx.until(has(ctx, "m1/temperature", 1.0))
        sensor.resources[5700] = 2.0
        await ctx.until(has(ctx, "m1/temperature", 2.0))
        assert ctx.stats.devices["m1"]["polled"] == 1


async def test_a_client_that_knows_resources_only_is_asked_for_each(ctx):
    async with serving(ctx) as adapter, lwm2m_client(adapter.port, endpoint="m1") as client:
        instance = client.add("/3303/0", r5700=0, r5701=0, r1=0)
        instance.refuse = aiocoap.METHOD_NOT_ALLOWED
        value = client.place("/3303/0/5700", Single(20.5))
        await client.register()
        await ctx.until(has(ctx, "m1/temperature", 20.5))
        value.set(21.5)
        await ctx.until(has(ctx, "m1/temperature", 20.5, 21.5))


async def test_attributes_that_are_refused_do_not_keep_it_from_being_observed(ctx):
    async with serving(ctx, lifetime_max="100s") as adapter, lwm2m_client(adapter.port, endpoint="m1") as client:
        sensor = client.add("/3303/0", r5700=1.0)
        sensor.refuse_attributes = True
        await client.register()
        await ctx.until(has(ctx, "m1/temperature", 1.0))
        await ctx.until(lambda: ctx.expected.get("m1") == 100)  # it promised no more than its lifetime


async def test_a_client_that_took_pmax_and_is_silent_is_observed_anew(ctx):
    async with serving(ctx, max_period="1s") as adapter, lwm2m_client(adapter.port, endpoint="m1") as client:
        sensor = client.add("/3303/0", r5700=1.0)
        await client.register()
        await ctx.until(has(ctx, "m1/temperature", 1.0, 1.0))
        assert [observe for observe, _ in sensor.gets] == [0, 0]
        assert ctx.stats.reasons["silent"] == 1


async def test_a_client_that_promised_nothing_is_read_at_its_updates(ctx):
    options = {"max_period": 0, "awake": "10ms"}
    async with serving(ctx, **options) as adapter, lwm2m_client(adapter.port, endpoint="m1") as client:
        sensor = client.add("/3303/0", r5700=1.0)
        await client.register()
        await ctx.until(has(ctx, "m1/temperature", 1.0))
        sensor.resources[5700] = 2.0

        async def updates():
            while True:
                assert await client.update() == aiocoap.CHANGED

        updating = asyncio.create_task(updates())
        await ctx.until(has(ctx, "m1/temperature", 1.0, 2.0))
        updating.cancel()
        await asyncio.gather(updating, return_exceptions=True)
        assert sensor.gets[1] == (None, TLV)


async def test_periods_of_nought_are_not_written(ctx):
    periods = {"min_period": 0, "max_period": 0}
    async with serving(ctx, **periods) as adapter, lwm2m_client(adapter.port, endpoint="m1") as client:
        sensor = client.add("/3303/0", r5700=1.0)
        await client.register()
        await ctx.until(has(ctx, "m1/temperature", 1.0))
        assert sensor.attributes == []


async def test_objects_come_and_go_with_updates(ctx):
    async with serving(ctx) as adapter, lwm2m_client(adapter.port, endpoint="m1") as client:
        client.add("/3303/0", r5700=1.0)
        await client.register()
        await ctx.until(has(ctx, "m1/temperature", 1.0))
        client.add("/3304/0", r5700=40.0)
        assert await client.update(links="</3304/0>") == aiocoap.CHANGED
        await ctx.until(has(ctx, "m1/humidity", 40.0))
        await ctx.until(lambda: reasons(ctx, "m1/temperature") == [Reason.NOT_FOUND])


async def test_a_client_that_leaves_is_down(ctx):
    async with serving(ctx) as adapter, lwm2m_client(adapter.port, endpoint="m1") as client:
        client.add("/3303/0", r5700=1.0)
        await client.register()
        await ctx.until(has(ctx, "m1/temperature", 1.0))
        assert await client.leave() == aiocoap.DELETED
        await ctx.until(lambda: reasons(ctx, "m1/temperature") == [Reason.LINK_DOWN])
        assert ctx.links[-1] == ("m1", False, "de-registered")
        assert await client.update() == aiocoap.NOT_FOUND
        assert ctx.expected["m1"] == 0


async def test_a_registration_that_is_not_renewed_ends(ctx):
    async with serving(ctx) as adapter, lwm2m_client(adapter.port, endpoint="m1", lifetime=2) as client:
        client.add("/3303/0", r5700=1.0)
        await client.register()
        await ctx.until(has(ctx, "m1/temperature", 1.0))
        await ctx.until(lambda: reasons(ctx, "m1/temperature") == [Reason.LINK_DOWN])
        assert ctx.links[-1] == ("m1", False, "the registration was not renewed")
        assert await client.update() == aiocoap.NOT_FOUND
        assert await client.register() == aiocoap.CREATED
        await ctx.until(has(ctx, "m1/temperature", 1.0, 1.0))
        assert ctx.links[-1] == ("m1", True, "")


async def test_a_client_behind_another_port_of_its_nat_is_observed_anew(ctx):
    async with serving(ctx) as adapter, lwm2m_client(adapter.port, endpoint="m1") as client:
        sensor = client.add("/3303/0", r5700=1.0)
        await client.register()
        await ctx.until(has(ctx, "m1/temperature", 1.0))
        await client.move()
        sensor.resources[5700] = 2.0
        assert await client.update() == aiocoap.CHANGED
        await ctx.until(has(ctx, "m1/temperature", 1.0, 2.0))
        sensor.set(r5700=3.0)
        await ctx.until(has(ctx, "m1/temperature", 2.0, 3.0))


async def test_a_client_that_sends_its_updates_from_elsewhere_is_asked_where_it_listens(ctx):
    async with (
        serving(ctx) as adapter,
        lwm2m_client(adapter.port, endpoint="m1") as client,
        lwm2m_client(adapter.port) as elsewhere,
    ):
        sensor = client.add("/3303/0", r5700=1.0)
        await client.register()
        await ctx.until(has(ctx, "m1/temperature", 1.0))
        await elsewhere.close()  # and nobody listens there
        for number in (2.0, 3.0):
            sensor.resources[5700] = number
            await elsewhere.move()
            elsewhere.location = client.location
            assert await elsewhere.update() == aiocoap.CHANGED
            await elsewhere.close()
            if number == 2.0:
                await ctx.until(has(ctx, "m1/temperature", 1.0, 2.0))
        assert len(sensor.gets) == 2  # by its second update it is known
        sensor.set(r5700=4.0)
        await ctx.until(has(ctx, "m1/temperature", 2.0, 4.0))
        assert reasons(ctx, "m1/temperature") == []


async def test_a_client_that_restarts_replaces_its_registration(ctx):
    async with serving(ctx) as adapter, lwm2m_client(adapter.port, endpoint="m1") as client:
        sensor = client.add("/3303/0", r5700=1.0)
        client.add("/3304/0", r5700=40.0)
        await client.register()
        await ctx.until(has(ctx, "m1/humidity", 40.0))
        before = client.location
        await client.register("</3303/0>")
        assert client.location != before
        await ctx.until(lambda: len(sensor.gets) == 2)
        await ctx.until(lambda: reasons(ctx, "m1/humidity") == [Reason.NOT_FOUND])
        before, client.location = client.location, before
        assert await client.update() == aiocoap.NOT_FOUND


async def test_a_client_in_queue_mode_is_left_alone_while_it_sleeps(ctx):
    async with (
        serving(ctx, awake="300ms") as adapter,
        lwm2m_client(adapter.port, endpoint="m1", extra="&b=UQ") as client,
    ):
        sensor = client.add("/3303/0", r5700=1.0)
        await client.register()
        await ctx.until(has(ctx, "m1/temperature", 1.0))
        await client.close()  # asleep: nothing answers
        session = next(iter(adapter._lwm2m._sessions.values()))
        await ctx.until(lambda: not session.awake)
        for watch in session.watches:
            watch.due_s = 0.0
        session._news.set()
        await ctx.until(lambda: not session._news.is_set())
        assert ctx.links[-1] == ("m1", True, "")  # it was not asked, and so is not missed
        await client.open()
        sensor.resources[5700] = 2.0
        await client.update()
        await ctx.until(has(ctx, "m1/temperature", 1.0, 2.0))


async def test_a_client_that_does_not_answer_is_down_until_it_is_heard(ctx):
    async with serving(ctx) as adapter, lwm2m_client(adapter.port, endpoint="m1") as client:
        sensor = client.add("/3303/0", r5700=1.0)
        await client.register()
        await ctx.until(has(ctx, "m1/temperature", 1.0))
        await client.close()
        session = next(iter(adapter._lwm2m._sessions.values()))
        session.watches[0].due_s = 0.0
        session._news.set()
        await ctx.until(lambda: ctx.links[-1][:2] == ("m1", False))
        await ctx.until(lambda: bool(reasons(ctx, "m1/temperature")))
        assert set(reasons(ctx, "m1/temperature")) <= {Reason.TIMEOUT, Reason.LINK_DOWN}
        await client.open()
        sensor.resources[5700] = 2.0
        await client.update()
        await ctx.until(has(ctx, "m1/temperature", 1.0, 2.0))
        assert ctx.links[-1][:2] == ("m1", True)


@asynccontextmanager
async def silent_client(port, links):
    """Register, and never answer anything; gives the socket and the number of bytes that the registration had."""
    forged = aiocoap.Message(code=aiocoap.POST, _mid=7, _mtype=aiocoap.NON, _token=b"x")
    forged.opt.uri_path, forged.opt.uri_query = ("rd",), ("ep=m1", "lwm2m=1.0")
    forged.payload = ",".join(links).encode()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.setblocking(False)
        silent.bind(("127.0.0.1", 0))
        silent.sendto(forged.encode(), ("127.0.0.1", port))
        yield silent, len(forged.encode())


async def test_a_forged_registration_makes_us_send_only_a_little(ctx):
    async with (
        serving(ctx, timeout="50ms") as adapter,
        silent_client(adapter.port, ["</3303/0>", "</3304/0>"]) as (silent, size),
    ):
        await ctx.until(lambda: ctx.stats.reasons["timeout"] + ctx.stats.reasons["link-down"] == 3, 20)
        (session,) = adapter._lwm2m._sessions.values()
        await ctx.until(lambda: session._pause_s() is None)
        sent = []
        with contextlib.suppress(BlockingIOError):
            while True:
                sent.append(silent.recv(2048))
    asked = [data for data in sent if aiocoap.Message.decode(data).code.is_request()]
    assert len(asked) == 3
    assert sum(map(len, asked)) < 3 * size


async def test_after_a_restart_of_the_gateway_all_are_observed_at_once(ctx):
    again = RecordingContext("park")
    serve = {"listen": f"127.0.0.1:{free_port()}", "lwm2m": {"timeout": "500ms"}}
    async with lwm2m_client(0, endpoint="m1") as client:
        sensor = client.add("/3303/0", r5700=1.0)
        async with adapter_of(ctx, serve=serve) as adapter:
            client.server = f"coap://127.0.0.1:{adapter.port}"
            await client.register()
            await ctx.until(has(ctx, "m1/temperature", 1.0))
        again.memory = dict(ctx.memory)
        async with adapter_of(again, serve=serve):
            sensor.resources[5700] = 2.0
            await again.until(has(again, "m1/temperature", 2.0))
            assert await client.update() == aiocoap.CHANGED
            sensor.set(r5700=3.0)
            await again.until(has(again, "m1/temperature", 2.0, 3.0))


async def test_what_was_remembered_of_others_is_let_go(ctx):
    async with lwm2m_client(0, endpoint="m1") as client:
        client.add("/3303/0", r5700=1.0)
        async with serving(ctx) as adapter:
            client.server = f"coap://127.0.0.1:{adapter.port}"
            await client.register()
        for options in ({"endpoints": "x*"}, {"device": "park-{ep}"}):
            again = RecordingContext("park")
            again.memory = dict(ctx.memory)
            async with serving(again, **options) as adapter:
                assert len(adapter._lwm2m) == (1 if "device" in options else 0)
        again = RecordingContext("park")
        again.memory = dict.fromkeys(ctx.memory, b"\xc1 nothing of ours")
        async with serving(again) as adapter:
            assert len(adapter._lwm2m) == 0


async def test_endpoints_that_are_not_wanted_become_findings(ctx):
    async with serving(ctx, endpoints=["m?", "park-*"]) as adapter:
        async with lwm2m_client(adapter.port, endpoint="m1") as client:
            assert await client.register("</1/0>") == aiocoap.CREATED
        async with lwm2m_client(adapter.port, endpoint="urn:x[1]") as client:
            assert await client.register("</3/0>,</3303/0>") == aiocoap.FORBIDDEN
    (finding,) = ctx.findings
    assert (finding.kind, finding.identity, finding.device) == ("lwm2m", "urn:x[1]", "urn-x-1-")
    assert finding.offers == ("/3/0", "/3303/0")
    taken = {"type": "coap", "serve": {"lwm2m": {"endpoints": ["urn:x[[]1]"]}}}
    assert finding.config == {"adapters": {"park": taken}}


async def test_two_endpoints_never_share_a_device(ctx):
    devices = {"s1": {"url": "coap://127.0.0.1:9", "poll": {"t": "/t"}}}
    serve = {"listen": "127.0.0.1:0", "lwm2m": {}}
    async with adapter_of(ctx, serve=serve, devices=devices) as adapter:
        async with lwm2m_client(adapter.port, endpoint="a:b") as client:
            assert await client.register("</1/0>") == aiocoap.CREATED
        for taken in ("a-b", "s1"):
            async with lwm2m_client(adapter.port, endpoint=taken) as client:
                assert await client.register("</1/0>") == aiocoap.FORBIDDEN
    assert ctx.stats.reasons["name-taken"] == 2


async def test_there_is_room_for_so_many_endpoints(ctx):
    async with serving(ctx, max_endpoints=1) as adapter:
        async with lwm2m_client(adapter.port, endpoint="m1") as client:
            assert await client.register("</1/0>") == aiocoap.CREATED
            assert await client.register("</1/0>") == aiocoap.CREATED
        async with lwm2m_client(adapter.port, endpoint="m2") as client:
            assert await client.register("</1/0>") == aiocoap.SERVICE_UNAVAILABLE


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"endpoint": ""}, aiocoap.BAD_REQUEST),
        ({"endpoint": "x" * 129}, aiocoap.BAD_REQUEST),
        ({"lifetime": "soon"}, aiocoap.BAD_REQUEST),
        ({"version": "2.0"}, aiocoap.PRECONDITION_FAILED),
        ({"extra": "&b=S"}, aiocoap.BAD_REQUEST),
    ],
)
async def test_registrations_that_cannot_be_read_are_refused(ctx, options, code):
    async with serving(ctx) as adapter, lwm2m_client(adapter.port, **options) as client:
        assert await client.register("</3/0>") == code
        assert len(adapter._lwm2m) == 0
    assert ctx.rejected


@pytest.mark.parametrize(
    ("links", "code"),
    [
        ("", aiocoap.CREATED),
        ("</3/0", aiocoap.BAD_REQUEST),
        ("<" * 3000, aiocoap.BAD_REQUEST),
        (",".join(f"</3303/{at}>" for at in range(1500)), aiocoap.BAD_REQUEST),
        ("</../../etc>,</3303/99999>,</3303/-1>,</3303/0/1/2/3/4>", aiocoap.CREATED),
        ("</3303/\u0663>", aiocoap.CREATED),
    ],
)
async def test_hostile_links(ctx, links, code):
    async with serving(ctx) as adapter, lwm2m_client(adapter.port) as client:
        assert await client.register(links) == code
        sessions = list(adapter._lwm2m._sessions.values())
        assert all(session.watches == [] for session in sessions)


async def test_only_so_many_instances_of_one_client_are_observed(ctx):
    async with serving(ctx) as adapter, silent_client(adapter.port, [f"</3303/{at}>" for at in range(200)]):
        await ctx.until(lambda: len(adapter._lwm2m) == 1)
        (session,) = adapter._lwm2m._sessions.values()
        assert len(session.watches) == 128
        assert ctx.stats.reasons["too-many-instances"] == 72
        assert len(ctx.stats.devices[session.device]["not_observed"]) == 32


@pytest.mark.parametrize("payload", [b"\xc8", b"\xff" * 500, encode(Tag.OBJECT_INSTANCE, 9, b"")])
async def test_a_payload_that_cannot_be_read_is_kept_and_the_next_one_is_taken(ctx, payload):
    async with serving(ctx) as adapter, lwm2m_client(adapter.port, endpoint="m1") as client:
        sensor = client.add("/3303/0", r5700=1.0)
        await client.register()
        await ctx.until(has(ctx, "m1/temperature", 1.0))
        sensor.payload = payload
        sensor.updated_state()
        if payload[:1] != b"\x00":
            await ctx.until(lambda: ctx.rejected)
            assert ctx.rejected[0][1:3] == ("m1/3303/0", payload)
            await ctx.until(lambda: Reason.UNPARSABLE in reasons(ctx, "m1/temperature"))
        sensor.payload = None
        sensor.set(r5700=2.0)
        await ctx.until(has(ctx, "m1/temperature", 2.0))


async def test_what_a_client_sends_by_itself_is_on_disk_when_it_hears_so(ctx):
    pack = json.dumps([{"bn": "/3303/0/", "n": "5700", "v": 20.0}, {"bn": "/4/0/", "n": "2", "v": 1}]).encode()
    async with serving(ctx) as adapter, lwm2m_client(adapter.port, endpoint="m1", version="1.1") as client:
        assert (await client.ask("/dp", payload=pack, content_format=110)).code == aiocoap.NOT_FOUND
        await client.register("</3303>")
        ctx.hold = True
        answer = asyncio.create_task(client.ask("/dp", payload=pack, content_format=110))
        await ctx.until(lambda: ctx.receipts and ctx.receipts[-1].asked.is_set())
        assert not answer.done()
        ctx.receipts[-1].position.set_result(1)
        assert (await answer).code == aiocoap.CHANGED
        assert good(ctx, "m1/temperature") == [20.0]
        assert (await client.ask("/dp", payload=b"[", content_format=110)).code == aiocoap.BAD_REQUEST
        refused = await client.ask("/dp", payload=b"", content_format=TLV)
        assert refused.code == aiocoap.UNSUPPORTED_CONTENT_FORMAT
        await client.leave()
        await ctx.until(lambda: reasons(ctx, "m1/temperature") == [Reason.LINK_DOWN])


async def test_points_beyond_the_gateways_bound_are_counted():
    ctx = RecordingContext("park", limit=1)
    async with serving(ctx) as adapter, lwm2m_client(adapter.port, endpoint="m1") as client:
        client.add("/3303/0", r5700=1.0, r5601=0.0)
        await client.register()
        await ctx.until(lambda: ctx.stats.reasons["too-many-points"] == 1)
        await ctx.until(has(ctx, "m1/temperature", 1.0))
