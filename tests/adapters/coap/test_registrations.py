"""The resource directory on the wire: endpoints register, become devices, and leave."""

import aiocoap
import pytest
from aiocoap import resource

from gateway import quality as q
from tests.adapters.coap.peers import Fixed, Value, adapter_of, configured, free_port, pushing, serving
from tests.adapters.coap.raw import packet, raw_peer
from tests.support.context import RecordingContext

RULES = [
    {"rt": "temperature*", "unit": "Cel", "point": "{name}", "every": "50ms"},
    {"rt": "level", "observe": False, "every": "50ms"},
]


def serve(port=0, **directory):
    return {"serve": {"listen": f"127.0.0.1:{port}", "directory": {"rules": RULES} | directory}}


def values(ctx, name):
    return [value for _, value, word in ctx.samples(name) if word == q.GOOD]


LINKS = b'</s/temp>;rt="temperature-c";obs,</tank>;rt="level"'


async def test_an_endpoint_that_registers_is_asked_until_it_leaves(ctx):
    temperature, tank = Value(b"20"), Fixed(b"3")
    async with (
        serving({"/s/temp": temperature, "/tank": tank}) as there,
        adapter_of(ctx, **serve(foreign_base=True)) as adapter,
        pushing(adapter.port) as push,
    ):
        made = await push(f"/rd?ep=n1&lt=60&base=coap://127.0.0.1:{there}", LINKS, 40)
        assert made.code == aiocoap.CREATED
        assert made.opt.location_path[0] == "rd"
        await ctx.until(lambda: values(ctx, "n1/temp") == [20.0] and values(ctx, "n1/tank"))
        temperature.set(b"21")
        await ctx.until(lambda: values(ctx, "n1/temp") == [20.0, 21.0])
        assert ctx.points.point(ctx.points.find("n1/temp")).unit == "Cel"
        location = "/" + "/".join(made.opt.location_path)
        assert (await push(location, b"")).code == aiocoap.CHANGED  # it goes on as it is
        assert (await push(location, code=aiocoap.DELETE)).code == aiocoap.DELETED
        await ctx.until(lambda: ctx.links[-1][:2] == ("n1", False))
        await ctx.until(lambda: ctx.samples("n1/temp")[-1][2] & q.VALIDITY == q.INVALID)
        assert (await push(location, b"")).code == aiocoap.NOT_FOUND
    assert ctx.links.count(("n1", True, "")) == 1
    assert ctx.findings == []


async def test_a_lifetime_that_ends_ends_the_device(ctx):
    async with (
        serving({"/tank": Fixed(b"3")}) as there,
        adapter_of(ctx, **serve(foreign_base=True)) as adapter,
        pushing(adapter.port) as push,
    ):
        await push(f"/rd?ep=n1&lt=1&base=coap://127.0.0.1:{there}", LINKS, 40)
        await ctx.until(lambda: values(ctx, "n1/tank"))
        await ctx.until(lambda: ctx.links[-1][:2] == ("n1", False))
        listed = await push("/rd-lookup/ep", code=aiocoap.GET)
        assert (listed.code, listed.payload) == (aiocoap.CONTENT, b"")


async def test_registrations_outlive_a_restart(ctx):
    port = free_port()
    async with serving({"/s/temp": Value(b"20"), "/tank": Fixed(b"3")}) as there:
        async with adapter_of(ctx, **serve(port, foreign_base=True)), pushing(port) as push:
            made = await push(f"/rd?ep=n1&base=coap://127.0.0.1:{there}", LINKS, 40)
            gone = await push("/rd?ep=n2", b"", 40)
            await push("/" + "/".join(gone.opt.location_path), code=aiocoap.DELETE)
            await ctx.until(lambda: values(ctx, "n1/temp"))
        seen = len(values(ctx, "n1/tank"))
        ctx.links.clear()
        async with adapter_of(ctx, **serve(port, foreign_base=True)), pushing(port) as push:
            await ctx.until(lambda: len(values(ctx, "n1/tank")) > seen + 2)
            assert (await push("/" + "/".join(made.opt.location_path), b"")).code == aiocoap.CHANGED
            listed = await push("/rd-lookup/ep", code=aiocoap.GET)
            assert listed.payload.count(b"ep=") == 1


async def test_other_links_make_another_device(ctx):
    async with (
        serving({"/s/temp": Value(b"20"), "/tank": Fixed(b"3")}) as there,
        adapter_of(ctx, **serve(foreign_base=True)) as adapter,
        pushing(adapter.port) as push,
    ):
        made = await push(f"/rd?ep=n1&base=coap://127.0.0.1:{there}", LINKS[: LINKS.index(b",")], 40)
        await ctx.until(lambda: values(ctx, "n1/temp"))
        assert ctx.points.find("n1/tank") is None
        again = await push(f"/rd?ep=n1&base=coap://127.0.0.1:{there}", LINKS, 40)
        assert again.opt.location_path == made.opt.location_path
        await ctx.until(lambda: values(ctx, "n1/tank"))


async def test_a_simple_registration_is_answered_and_its_links_are_fetched(ctx):
    """RFC 9176, 5.1: the endpoint has a server at the port that it speaks from."""
    site = resource.Site()
    site.add_resource(["s", "temp"], temperature := Value(b"20"))
    temperature.rt = "temperature-c"
    site.add_resource([".well-known", "core"], resource.WKCResource(site.get_resources_as_linkheader, impl_info=None))
    node = await aiocoap.Context.create_server_context(site, bind=("127.0.0.1", free_port()), transports=["udp6"])
    try:
        async with adapter_of(ctx, **serve()) as adapter:
            uri = f"coap://127.0.0.1:{adapter.port}/.well-known/rd?ep=simple&lt=60"
            answer = await node.request(aiocoap.Message(code=aiocoap.POST, uri=uri)).response
            assert answer.code == aiocoap.CHANGED
            await ctx.until(lambda: values(ctx, "simple/temp") == [20.0])
    finally:
        await node.shutdown()


async def test_a_simple_registration_of_nobody_is_counted(ctx):
    async with adapter_of(ctx, **serve()) as adapter:
        with raw_peer(adapter.port) as peer:
            assert (await peer.ask(packet(".well-known/rd", query=["ep=a"]))).code == aiocoap.CHANGED
            asked = await peer.receive()
            assert (asked.code, asked.opt.uri_path) == (aiocoap.GET, (".well-known", "core"))
            peer.send(packet(code=aiocoap.NOT_FOUND, mtype=aiocoap.ACK, mid=asked.mid, token=asked.token))
            await ctx.until(lambda: ctx.stats.reasons["no-links"])
            refused = await peer.ask(packet(".well-known/rd", query=["ep=a", "base=coap://127.0.0.1"], mid=3))
            assert refused.code == aiocoap.BAD_REQUEST


async def test_an_endpoint_that_no_rule_fits_is_found(ctx):
    async with adapter_of(ctx, **serve()) as adapter, pushing(adapter.port) as push:
        await push("/rd?ep=n1", b"</other>;obs", 40)
    found = ctx.findings[0]
    assert (found.kind, found.identity, found.device, found.offers) == ("coap-directory", "n1", "n1", ("/other",))
    proposed = found.config["adapters"]["sensors"]["devices"]
    assert configured(devices=proposed).devices["n1"].observe == {"other": "/other"}


@pytest.mark.parametrize(
    ("path", "payload", "code", "answer", "reason"),
    [
        ("/rd", b"</x>", aiocoap.POST, aiocoap.BAD_REQUEST, "bad-registration"),
        ("/rd?ep=a", b"<", aiocoap.POST, aiocoap.BAD_REQUEST, "bad-link"),
        ("/rd?ep=a&base=coap://10.1.1.1", b"</x>", aiocoap.POST, aiocoap.FORBIDDEN, "foreign-base"),
        ("/rd?ep=a", b",".join([b"</x>"] * 65), aiocoap.POST, aiocoap.REQUEST_ENTITY_TOO_LARGE, "too-many-links"),
        ("/rd/none", b"", aiocoap.POST, aiocoap.NOT_FOUND, "not-registered"),
        ("/rd/none", b"", aiocoap.DELETE, aiocoap.NOT_FOUND, "not-registered"),
        ("/rd", b"", aiocoap.DELETE, aiocoap.METHOD_NOT_ALLOWED, None),
        ("/rd?ep=a", b"</x>", aiocoap.PUT, aiocoap.METHOD_NOT_ALLOWED, None),
        ("/rd/a/b", b"", aiocoap.POST, aiocoap.NOT_FOUND, None),
        ("/rd-lookup/ep?count=x", b"", aiocoap.GET, aiocoap.BAD_REQUEST, None),
        ("/rd-lookup/x", b"", aiocoap.GET, aiocoap.NOT_FOUND, None),
        ("/rd", b"", aiocoap.GET, aiocoap.NOT_FOUND, None),
    ],
)  # fmt: skip
async def test_what_is_refused(ctx, path, payload, code, answer, reason):
    async with adapter_of(ctx, **serve()) as adapter, pushing(adapter.port) as push:
        assert (await push(path, payload, 40 if payload else None, code)).code == answer
    assert [rejected[0] for rejected in ctx.rejected] == ([reason] if reason else [])


async def test_too_many_endpoints_hear_when_to_come_again(ctx):
    async with adapter_of(ctx, **serve(max_endpoints=1)) as adapter, pushing(adapter.port) as push:
        assert (await push("/rd?ep=a", b"</x>", 40)).code == aiocoap.CREATED
        answer = await push("/rd?ep=b", b"</x>", 40)
        assert (answer.code, answer.opt.max_age) == (aiocoap.SERVICE_UNAVAILABLE, 5)


async def test_a_configured_device_keeps_its_name(ctx):
    async with serving({"/x": Fixed(b"1")}) as there:
        devices = {"n1": {"url": f"coap://127.0.0.1:{there}", "poll": {"x": "/x"}}}
        async with adapter_of(ctx, devices=devices, **serve()) as adapter, pushing(adapter.port) as push:
            assert (await push("/rd?ep=n1", LINKS, 40)).code == aiocoap.CREATED
            await ctx.until(lambda: ctx.stats.reasons["name-taken"])
            await ctx.until(lambda: values(ctx, "n1/x"))
    assert ctx.points.find("n1/temp") is None
    assert ctx.findings[0].device == "n1"


async def test_a_large_registration_and_lookup_come_in_blocks(ctx):
    links = b",".join(b'</sensors/%03d>;rt="x";title="a sensor of some kind"' % n for n in range(60))
    async with adapter_of(ctx, **serve()) as adapter, pushing(adapter.port) as push:
        assert len(links) > 2048
        made = await push("/rd?ep=big", links, 40)
        assert made.code == aiocoap.CREATED
        found = await push("/rd-lookup/res?ep=big", code=aiocoap.GET)
        assert found.payload.count(b"<coap://127.0.0.1:") == 60


async def test_a_directory_alone_is_enough_to_serve(ctx):
    async with adapter_of(ctx, **serve()) as adapter:
        assert adapter.port
        assert adapter.config.devices_appear()


async def test_registrations_are_remembered_in_a_bounded_number_of_keys():
    ctx = RecordingContext("sensors")
    async with adapter_of(ctx, **serve(max_endpoints=2)) as adapter, pushing(adapter.port) as push:
        for n in range(6):
            made = await push(f"/rd?ep=n{n}", b"</x>", 40)
            if n % 2:
                await push("/" + "/".join(made.opt.location_path), code=aiocoap.DELETE)
            else:
                kept = made.opt.location_path
                await push("/" + "/".join(kept), code=aiocoap.DELETE)
    assert set(ctx.memory) == {"directory/0"}
