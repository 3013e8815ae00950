"""The gateway's latest values offered: to read, to observe, in packs and in blocks."""

import asyncio
import json

import aiocoap
import cbor2
import pytest

from adapters.payloads.formats import Encoding
from adapters.payloads.senml import decode_senml
from gateway import quality as q
from gateway.errors import FieldError
from gateway.frame import Frame
from gateway.point import Kind, Point
from gateway.quality import Reason, no_value
from tests.adapters.coap.peers import adapter_of, configured, pushing
from tests.adapters.coap.raw import empty, packet, raw_peer

OFFER = {
    "/values/{point}": {"points": ["m1/**"], "min_interval": "50ms"},
    "/pack/main": {"points": ["**"], "min_interval": "50ms", "base_name": "gw/"},
    "/by/{device}": {"points": ["**"], "format": "senml-cbor", "max_age": "5s"},
}
NOW_NS = 1_700_000_000 * 10**9


def serve(offer=OFFER, **options):
    return {"serve": {"listen": "127.0.0.1:0", "offer": offer} | options}


class Source:
    """Sets points of the gateway, as other adapters do."""

    def __init__(self, ctx):
        self.ctx = ctx
        self.time_ns = NOW_NS

    async def set(self, quality=q.GOOD, **values):
        self.time_ns += 10**9
        names = [name.replace("__", "/") for name in values]
        ids = [self.ctx.points.add(Point(name=name, unit="V")) for name in names]
        count = len(ids)
        await self.ctx.emit(Frame.of(ids, [self.time_ns] * count, list(values.values()), [quality] * count))


@pytest.fixture
def source(ctx):
    return Source(ctx)


async def get(push, path, **options):
    return await push(path, code=aiocoap.GET, **options)


async def test_one_value_in_every_format(ctx, source):
    async with adapter_of(ctx, **serve()) as adapter, pushing(adapter.port) as push:
        await source.set(m1__voltage=230.5, m1__count=7, other__x=1)
        answer = await get(push, "/values/m1/voltage")
        assert (answer.code, answer.payload, int(answer.opt.content_format)) == (aiocoap.CONTENT, b"230.5", 0)
        assert answer.opt.max_age == 60
        assert (await get(push, "/values/m1/count")).payload == b"7"
        answer = await get(push, "/values/m1/voltage", accept=110)
        assert json.loads(answer.payload) == [{"n": "m1/voltage", "u": "V", "v": 230.5, "t": 1700000001}]
        answer = await get(push, "/values/m1/voltage", accept=112)
        assert cbor2.loads(answer.payload) == [{0: "m1/voltage", 1: "V", 2: 230.5, 6: 1700000001}]
        assert (await get(push, "/values/m1/voltage", accept=60)).code == aiocoap.NOT_ACCEPTABLE
        assert (await get(push, "/values/m1/none")).code == aiocoap.NOT_FOUND
        assert (await get(push, "/values/other/x")).code == aiocoap.NOT_FOUND
        assert (await get(push, "/values")).code == aiocoap.NOT_FOUND
        assert (await push("/values/m1/voltage", b"1")).code == aiocoap.NOT_FOUND


async def test_a_value_that_is_not_to_be_used_is_not_given(ctx, source):
    async with adapter_of(ctx, **serve()) as adapter, pushing(adapter.port) as push:
        await source.set(m1__a=5)
        await source.set(quality=q.INVALID | q.OLD_DATA, m1__a=no_value(Reason.STALE))
        await source.set(quality=q.QUESTIONABLE | q.OUT_OF_RANGE, m1__b=3)
        answer = await get(push, "/values/m1/a")
        assert (answer.code, answer.payload) == (aiocoap.SERVICE_UNAVAILABLE, b"no value: invalid,old-data")
        assert answer.opt.max_age == 5
        answer = await get(push, "/values/m1/a", accept=110)
        assert json.loads(answer.payload) == [{"n": "m1/a", "u": "V", "t": 1700000002, "q": "invalid,old-data"}]
        assert (await get(push, "/values/m1/b")).payload == b"3"
        answer = await get(push, "/values/m1/b", accept=110)
        assert json.loads(answer.payload)[0]["q"] == "questionable,out-of-range"


async def test_a_pack_of_all_points_is_what_our_own_decoder_reads(ctx, source):
    async with adapter_of(ctx, **serve()) as adapter, pushing(adapter.port) as push:
        assert json.loads((await get(push, "/pack/main")).payload) == [{"bn": "gw/"}]
        await source.set(m1__voltage=230.5)
        await source.set(**{"m1__power#mean": 4})
        mode = ctx.points.add(Point(name="m2/mode", kind=Kind.STATE))
        await ctx.emit(Frame.of([mode], [NOW_NS], [ctx.points.state(mode, "eco")], [q.GOOD]))
        await asyncio.sleep(0)
        for accept, encoding in ((None, Encoding.SENML_JSON), (112, Encoding.SENML_CBOR)):
            answer = await get(push, "/pack/main", accept=accept)
            records = decode_senml(answer.payload, encoding, 0)
            assert [(one.name, one.local, one.value, one.time_ns) for one in records] == [
                ("gw/m1/power:mean", "m1/power:mean", 4.0, NOW_NS + 2 * 10**9),
                ("gw/m1/voltage", "m1/voltage", 230.5, NOW_NS + 10**9),
                ("gw/m2/mode", "m2/mode", "eco", NOW_NS),
            ]
        answer = await get(push, "/by/m2")
        assert [record[0] for record in cbor2.loads(answer.payload)] == ["m2/mode"]
        assert answer.opt.max_age == 5
        assert (await get(push, "/pack/main", accept=0)).code == aiocoap.NOT_ACCEPTABLE


async def test_who_has_it_already_is_only_told_so(ctx, source):
    async with adapter_of(ctx, **serve()) as adapter, pushing(adapter.port) as push:
        await source.set(m1__a=1)
        etag = (await get(push, "/pack/main")).opt.etag
        answer = await get(push, "/pack/main", etags=[etag])
        assert (answer.code, answer.payload, answer.opt.etag) == (aiocoap.VALID, b"", etag)
        await source.set(m1__a=2)
        assert (await get(push, "/pack/main", etags=[etag])).code == aiocoap.CONTENT


async def test_changes_are_told_and_no_more_often_than_asked(ctx, source):
    offer = {"/values/{point}": {"points": ["m1/**"], "min_interval": "300ms"}}
    async with adapter_of(ctx, **serve(offer)) as adapter:
        await source.set(m1__a=0, m1__b=0)
        with raw_peer(adapter.port) as peer:
            first = await peer.ask(packet("/values/m1/a", code=aiocoap.GET, observe=0, mtype=aiocoap.NON))
            numbers, values, loop = [first.opt.observe], [], asyncio.get_running_loop()
            await source.set(m1__b=9)  # somebody else's
            began_s = loop.time()
            for n in range(1, 400):
                await source.set(m1__a=n)
                if peer.heard():
                    told = await peer.receive()
                    numbers.append(told.opt.observe)
                    values.append(float(told.payload))
                await asyncio.sleep(0.005)
                if len(values) == 4:
                    break
            lasted_s = loop.time() - began_s
    assert values == sorted(values)
    assert len(values) == 4
    assert lasted_s > 0.85  # 4 notifications are 3 intervals apart
    assert numbers == sorted(set(numbers))


async def test_an_observer_that_does_not_acknowledge_is_removed_and_gets_no_queue(ctx, source, monkeypatch):
    monkeypatch.setattr(aiocoap.numbers.constants.TransportTuning, "ACK_TIMEOUT", 0.1)
    monkeypatch.setattr(aiocoap.numbers.constants.TransportTuning, "MAX_RETRANSMIT", 2)
    async with adapter_of(ctx, **serve()) as adapter:
        await source.set(m1__a=0)
        with raw_peer(adapter.port) as peer:
            await peer.ask(packet("/values/m1/a", code=aiocoap.GET, observe=0))
            seen = set()
            layer = adapter._server.request_interfaces[0].token_interface
            for n in range(1, 500):
                await source.set(m1__a=n)
                assert sum(map(len, layer._backlogs.values())) == 0
                if peer.heard():
                    seen.add((await peer.receive()).payload)
                if not len(adapter._site._observers):
                    break
                await asyncio.sleep(0.01)
            assert len(adapter._site._observers) == 0
            assert len(seen) == 1  # the one that was never acknowledged, sent three times


async def test_a_slow_observer_gets_the_latest_state_and_not_all_of_them(ctx, source):
    async with adapter_of(ctx, **serve()) as adapter:
        await source.set(m1__a=0)
        with raw_peer(adapter.port) as peer:
            await peer.ask(packet("/values/m1/a", code=aiocoap.GET, observe=0))
            await source.set(m1__a=1)
            told = await peer.receive()
            for n in range(2, 30):
                await source.set(m1__a=n)
                await asyncio.sleep(0.01)
            peer.send(empty(aiocoap.ACK, told.mid))
            latest = await peer.receive()
            assert (told.payload, latest.payload) == (b"1", b"29")


async def test_a_value_that_goes_bad_ends_an_observation_of_text_and_not_one_of_senml(ctx, source):
    async with adapter_of(ctx, **serve()) as adapter:
        await source.set(m1__a=0)
        with raw_peer(adapter.port) as text, raw_peer(adapter.port) as pack:
            await text.ask(packet("/values/m1/a", code=aiocoap.GET, observe=0, mtype=aiocoap.NON))
            await pack.ask(packet("/values/m1/a", code=aiocoap.GET, observe=0, mtype=aiocoap.NON, accept=110))
            await source.set(quality=q.INVALID, m1__a=no_value(Reason.TIMEOUT))
            told = await text.receive()
            assert told.code == aiocoap.SERVICE_UNAVAILABLE
            assert told.opt.observe is None
            told = await pack.receive()
            assert "v" not in json.loads(told.payload)[0]
            assert len(adapter._site._observers) == 1
            await source.set(m1__a=4)
            assert json.loads((await pack.receive()).payload)[0]["v"] == 4
            assert not text.heard()


async def test_observers_are_bounded_and_can_leave(ctx, source):
    offer = {"/values/{point}": {"points": ["**"], "max_observers": 2, "min_interval": "50ms"}}
    async with adapter_of(ctx, **serve(offer)) as adapter:
        await source.set(m1__a=0)
        with raw_peer(adapter.port) as peer:
            ask = {"code": aiocoap.GET, "mtype": aiocoap.NON}
            answers = [
                await peer.ask(packet("/values/m1/a", **ask, observe=0, mid=n, token=b"%d" % n)) for n in range(3)
            ]
            assert [answer.opt.observe is not None for answer in answers] == [True, True, False]
            assert answers[2].payload == b"0"
            assert ctx.stats.reasons["too-many-observers"] == 1
            again = await peer.ask(packet("/values/m1/a", **ask, observe=0, mid=10, token=b"0"))  # renews
            assert again.opt.observe > answers[1].opt.observe
            left = await peer.ask(packet("/values/m1/a", **ask, observe=1, mid=11, token=b"1"))
            assert left.opt.observe is None
            await ctx.until(lambda: len(adapter._site._observers) == 1)


async def test_an_observer_is_told_again_when_its_value_is_not_fresh_any_more(ctx, source):
    offer = {"/values/{point}": {"points": ["**"], "max_age": "1s"}}
    async with adapter_of(ctx, **serve(offer)) as adapter:
        await source.set(m1__a=3)
        with raw_peer(adapter.port) as peer:
            first = await peer.ask(packet("/values/m1/a", code=aiocoap.GET, observe=0, mtype=aiocoap.NON))
            again = await peer.receive()
            assert (first.payload, again.payload) == (b"3", b"3")


async def test_a_large_pack_comes_in_blocks_of_one_state(ctx, source):
    async with adapter_of(ctx, **serve()) as adapter, pushing(adapter.port) as push:
        await source.set(**{f"m1__p{n:03}": n for n in range(200)})
        whole = json.loads((await get(push, "/pack/main")).payload)
        assert len(whole) == 200
        with raw_peer(adapter.port) as peer:
            body, number, etags = b"", 0, set()
            while True:
                block = await peer.ask(packet("/pack/main", code=aiocoap.GET, mid=number, block2=(number, False, 4)))
                body, number = body + block.payload, number + 1
                etags.add(block.opt.etag)
                await source.set(m1__p000=number)  # it changes all the time
                if not block.opt.block2.more:
                    break
            assert json.loads(body) == whole
            assert len(etags) == 1
            assert len(adapter._site._transfers) == 0
            beyond = packet("/pack/main", code=aiocoap.GET, mid=number + 1, block2=(number + 900, False, 4))
            assert (await peer.ask(beyond)).code == aiocoap.BAD_REQUEST


async def test_a_large_notification_is_fetched_in_blocks(ctx, source):
    async with adapter_of(ctx, **serve()) as adapter:
        await source.set(**{f"m1__p{n:03}": 0 for n in range(100)})
        with raw_peer(adapter.port) as peer:
            ask = {"code": aiocoap.GET, "mtype": aiocoap.NON}
            await peer.ask(packet("/pack/main", **ask, observe=0))
            await source.set(m1__p007=7)
            told = await peer.receive()
            body, number = told.payload, 1
            assert told.opt.block2.more
            while told.opt.block2.more:
                told = await peer.ask(
                    packet("/pack/main", **ask, mid=90 + number, token=b"u", block2=(number, False, 6))
                )
                body, number = body + told.payload, number + 1
            assert json.loads(body)[7]["v"] == 7


async def test_what_is_kept_of_transfers_is_bounded(ctx, source, monkeypatch):
    monkeypatch.setattr("adapters.coap.serving.representation.MAX_KEPT", 20)
    async with adapter_of(ctx, **serve()) as adapter:
        await source.set(**{f"m1__p{n:03}": 0 for n in range(50)})
        for n in range(60):
            with raw_peer(adapter.port) as peer:
                assert (await peer.ask(packet("/pack/main", code=aiocoap.GET, mid=n))).opt.block2.more
        assert len(adapter._site._transfers) == 20
        assert adapter._site._transfers._bytes < 20 * 5000


async def test_the_well_known_core_lists_and_filters(ctx, source):
    resources = {"/push/{device}": {}}
    async with adapter_of(ctx, **serve(resources=resources, directory={})) as adapter, pushing(adapter.port) as push:
        await source.set(m1__a=0)
        text = (await get(push, "/.well-known/core")).payload.decode()
        for link in (
            '</push/{device}>;rt="onpath.push";ct="0 50 60 110 112"',
            '</values/m1/a>;rt="onpath.value";ct="0 110 112";obs',
            '</pack/main>;rt="onpath.pack";ct="110 112";obs', '</by/m1>;rt="onpath.pack"', '</rd>;rt="core.rd";ct=40',
            '</rd-lookup/ep>;rt="core.rd-lookup-ep";ct=40', '</rd-lookup/res>;rt="core.rd-lookup-res";ct=40',
        ):  # fmt: skip
            assert link in text
        assert (await get(push, "/.well-known/core?rt=core.rd*")).payload.count(b"<") == 3
        assert (await get(push, "/.well-known/core?rt=onpath.value")).payload.startswith(b"</values/m1/a>")
        assert (await get(push, "/.well-known/core?href=/pack*")).payload.count(b"<") == 1
        answer = await get(push, "/.well-known/core?rt=none")
        assert (answer.code, answer.payload) == (aiocoap.CONTENT, b"")
        assert (await get(push, "/.well-known/core", accept=50)).code == aiocoap.NOT_ACCEPTABLE
        assert (await push("/.well-known/core", b"x")).code == aiocoap.NOT_FOUND


async def test_options_that_must_be_understood_are(ctx):
    async with adapter_of(ctx, **serve()) as adapter:
        with raw_peer(adapter.port) as peer:
            assert (await peer.ask(packet("/x", if_match=[b"a"]))).code == aiocoap.BAD_OPTION
            assert (await peer.ask(packet("/x", mid=2, proxy_uri="coap://else"))).code == aiocoap.PROXYING_NOT_SUPPORTED
            answer = await peer.ask(packet("", code=aiocoap.GET, mid=3, uri_path_abbrev=0))
            assert b"/pack/main" in answer.payload
            assert (await peer.ask(packet("", code=aiocoap.GET, mid=4, uri_path_abbrev=99))).code == aiocoap.BAD_OPTION


async def test_a_view_is_closed_at_the_end(ctx):
    async with adapter_of(ctx, **serve()):
        assert ctx.latest.watched
    assert not ctx.latest.watched


@pytest.mark.parametrize(
    ("offer", "says"),
    [
        ({"/v": {}}, "no points"),
        ({"v": {"points": ["**"]}}, "not a path"),
        ({"/v/{x}": {"points": ["**"]}}, "the parts with names"),
        ({"/{point}/v": {"points": ["**"]}}, "last part"),
        ({"/v//w": {"points": ["**"]}}, "a word"),
        ({"/v": {"points": ["**"], "format": "text"}}, "one value"),
        ({"/v": {"points": ["**"], "min_interval": "1ms"}}, "50ms"),
        ({"/v": {"points": ["**"], "max_age": "10ms"}}, "1s"),
        ({"/v": {"points": ["**"], "max_observers": 5000}}, "4096"),
        ({"/v": {"points": ["**"], "base_name": "-x"}}, "letters"),
    ],
)
def test_offers_that_make_no_sense(offer, says):
    with pytest.raises(Exception, match=says) as error:
        configured(**serve(offer))
    assert isinstance(error.value, FieldError) or isinstance(error.value.__cause__, FieldError)
