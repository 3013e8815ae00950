"""Ten thousand datagrams that are almost right do not stop a server that offers all it can."""

import asyncio
import socket

import aiocoap
import cbor2

from adapters.coap.messages import MAX_RECENT
from gateway import quality as q
from gateway.frame import Frame
from gateway.point import Point
from tests.adapters.coap.peers import adapter_of, pushing
from tests.adapters.coap.raw import packet
from tests.support.malformed import inputs

SERVE = {
    "listen": "127.0.0.1:0",
    "resources": {
        "/p/{device}": {},
        "/v/{device}/{point}": {},
        "/raw/{device}": {"payload": "octets", "points": {"t": {"value": "@0 uint16"}}},
    },
    "offer": {"/values/{point}": {"points": ["**"], "min_interval": "50ms"}, "/pack": {"points": ["**"]}},
    "directory": {"rules": [{"rt": "none*"}]},
}
SENML = cbor2.dumps([{-2: "d:", 0: "x", 2: 1.5}])
SEEDS = [
    packet("/p/d", b'{"t": 1}', mid=1, content_format=50),
    packet("/p/d", SENML, mid=2, content_format=112, code=aiocoap.PUT, mtype=aiocoap.NON),
    packet("/v/d/t", b"21.5", mid=3, token=b""),
    packet("/raw/d", b"\x01\x02", mid=4, content_format=42),
    packet("/p/d", bytes(1024), mid=5, block1=(0, True, 6), size1=5000),
    packet("/p/d", bytes(16), mid=6, block1=(70_000, False, 0)),
    packet("/values/m/x", mid=7, code=aiocoap.GET, observe=0, mtype=aiocoap.NON),
    packet("/pack", mid=8, code=aiocoap.GET, block2=(1, False, 2), accept=112, etags=[b"12345678"]),
    packet("/.well-known/core", mid=9, code=aiocoap.GET, query=["rt=onpath.*", "href=/v*"]),
    packet("/rd", b'</a>;rt="x y";obs,</b>', mid=10, query=["ep=n1", "lt=600", "base=coap://127.0.0.1:5683"]),
    packet("/rd/0011aabb", mid=11, query=["lt=60"]),
    packet("/.well-known/rd", mid=12, query=["ep=n2"]),
    packet("/rd-lookup/res", mid=13, code=aiocoap.GET, query=["rt=x*", "page=0", "count=9"]),
    packet("/p/d", mid=14, code=aiocoap.FETCH, no_response=26, echo=b"x" * 14),
    packet("", mid=15, code=aiocoap.GET, uri_path_abbrev=0),
    packet(code=aiocoap.EMPTY, mid=16, token=b""),
    packet(code=aiocoap.CONTENT, mid=17, mtype=aiocoap.ACK, payload=b"1", observe=5),
    packet(code=aiocoap.EMPTY, mid=18, mtype=aiocoap.RST, token=b""),
]


async def test_no_datagram_stops_the_server(ctx):
    problems = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: problems.append(context))
    async with adapter_of(ctx, serve=SERVE) as adapter:
        point = ctx.points.add(Point(name="m/x"))
        await ctx.emit(Frame.of([point], [1], [1.0], [q.GOOD]))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as noise:
            noise.connect(("127.0.0.1", adapter.port))
            for n, data in enumerate(inputs(SEEDS)):
                noise.send(data)
                await asyncio.sleep(0)
                if n % 500 == 0:
                    async with pushing(adapter.port) as push:  # it is heard all the time
                        assert (await push("/v/alive/n", b"%d" % n)).code == aiocoap.CHANGED
        async with pushing(adapter.port) as push:
            assert (await push("/v/after/n", b"1")).code == aiocoap.CHANGED
            assert b"/rd-lookup" in (await push("/.well-known/core", code=aiocoap.GET)).payload
        layer = adapter._server.request_interfaces[0].token_interface
        assert len(layer._recent) <= MAX_RECENT
        assert adapter._site._bodies.assembly.held <= 4 * 1024 * 1024
        assert len(adapter._site.registrations._directory) <= 256
    assert problems == []
    assert ctx.stats.reasons["malformed"] > 500
    assert ctx.points.find("d/t") is not None  # some of the packets were whole
