"""CoAP over TCP (RFC 8323): against aiocoap's server, and against streams that no server should send."""

import asyncio
import random
import socket
from contextlib import asynccontextmanager

import aiocoap
import pytest
from aiocoap import resource
from aiocoap.transports.tcp import _decode_message, _extract_message_size, _serialize

from gateway import quality as q
from gateway.quality import Reason
from tests.adapters.coap.peers import Fixed, Value, adapter_of
from tests.adapters.coap.test_exchanges import reasons, values


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


CSM = bytes([0x00, 0xE1])
PONG = 0xE3


def device(port, **options):
    return {"url": f"coap+tcp://127.0.0.1:{port}", "timeout": "2s", "every": "50ms"} | options


@asynccontextmanager
async def serving(resources, port=None):
    """A device: aiocoap's server over TCP."""
    site = resource.Site()
    for path, item in resources.items():
        site.add_resource(path.strip("/").split("/"), item)
    port = port or free_port()
    context = await aiocoap.Context.create_server_context(site, bind=("127.0.0.1", port), transports=["tcpserver"])
    try:
        yield port
    finally:
        pool = list(context.request_interfaces[0].token_interface._pool)
        for connection in pool:  # aiocoap releases its connections and leaves them open
            connection._transport.close()
        await context.shutdown()


class Stream:
    """A device that sends what the test says, and takes requests apart."""

    def __init__(self, greeting=CSM, answer=None) -> None:
        self.greeting = greeting
        self.answer = answer
        self.requests = []
        self.writers = []
        self.connections = 0
        self.closed = 0
        self.tasks = []

    async def __call__(self, reader, writer):
        self.connections += 1
        self.tasks.append(asyncio.current_task())
        self.writers.append(writer)
        spool = b""
        try:
            writer.write(self.greeting)
            while data := await reader.read(65_536):
                spool += data
                while (size := _extract_message_size(spool)) is not None and sum(size) <= len(spool):
                    message, spool = _decode_message(spool[: sum(size)]), spool[sum(size) :]
                    self._take(message, writer)
        except ConnectionError:
            pass
        finally:
            self.closed += 1
            writer.close()

    def _take(self, message, writer):
        if message.code.is_request():
            self.requests.append(message)
            reply = self.answer(message) if self.answer else None
            if reply is not None:
                writer.write(reply)


def content(request, payload=b"1", **options) -> bytes:
    return _serialize(aiocoap.Message(code=aiocoap.CONTENT, payload=payload, _token=request.token, **options))


@asynccontextmanager
async def streaming(stream):
    server = await asyncio.start_server(stream, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in stream.writers:
            writer.transport.abort()
        await server.wait_closed()
        await asyncio.gather(*stream.tasks, return_exceptions=True)


async def test_a_device_is_polled_and_observed_over_tcp(ctx):
    value, large = Value(b"1"), Fixed(b"7".rjust(50_000), 0)
    async with serving({"/o": value, "/p": Fixed(b"5"), "/large": large}) as port:
        devices = {
            "a": device(port, observe={"o": "/o"}, poll={"p": "/p", "large": "/large"}),
            "b": device(port, poll={"p": "/p", "none": "/none"}),
        }
        async with adapter_of(ctx, devices=devices):
            await ctx.until(lambda: values(ctx, "a/o") == [1] and values(ctx, "a/large") and values(ctx, "b/p"))
            for n in range(2, 6):
                value.set(b"%d" % n)
                await ctx.until(lambda n=n: n in values(ctx, "a/o"))
            await ctx.until(lambda: len(values(ctx, "a/p")) > 2 and reasons(ctx, "b/none"))
    assert values(ctx, "a/o") == [1, 2, 3, 4, 5]
    assert set(values(ctx, "a/large")) == {7}
    assert set(reasons(ctx, "b/none")) == {Reason.NOT_FOUND}
    assert not reasons(ctx, "a/large")


async def test_one_connection_serves_all_questions_to_an_address(ctx):
    stream = Stream(answer=lambda request: content(request, observe=0 if request.opt.observe == 0 else None))
    async with streaming(stream) as port:
        observed = {f"o{n}": f"/o{n}" for n in range(5)}
        devices = {name: device(port, observe=observed, poll={"p": "/p"}) for name in "ab"}
        async with adapter_of(ctx, devices=devices):
            await ctx.until(lambda: all(values(ctx, f"{d}/{p}") for d in "ab" for p in (*observed, "p")))
            goodbyes = 2 * len(observed)
        await ctx.until(lambda: sum(one.opt.observe == 1 for one in stream.requests) == goodbyes)
        await ctx.until(lambda: stream.closed == 1)
    assert stream.connections == 1


async def test_the_number_of_a_notification_means_nothing_over_tcp(ctx):
    """RFC 8323, 7.1: a stream keeps the order; servers send an empty Observe."""
    stream = Stream(answer=lambda request: b"".join(content(request, b"%d" % n, observe=0) for n in range(5)))
    async with streaming(stream) as port, adapter_of(ctx, devices={"s": device(port, observe={"o": "/o"})}):
        await ctx.until(lambda: len(values(ctx, "s/o")) == 5)
    assert values(ctx, "s/o") == [0, 1, 2, 3, 4]


async def test_a_registration_is_renewed_over_tcp(ctx):
    stream = Stream(answer=lambda request: content(request, observe=0))
    async with (
        streaming(stream) as port,
        adapter_of(ctx, devices={"s": device(port, observe={"o": "/o"}, refresh="50ms")}),
    ):
        await ctx.until(lambda: len(values(ctx, "s/o")) > 3)
    assert len({request.token for request in stream.requests}) == 1
    assert not ctx.stats.reasons


async def test_a_device_that_restarts_is_connected_again(ctx):
    port = free_port()
    devices = {"s": device(port, observe={"o": "/o"}, poll={"p": "/p"})}
    async with serving({"/o": Value(b"1"), "/p": Fixed(b"1")}, port):
        context = adapter_of(ctx, devices=devices)
        await context.__aenter__()
        await ctx.until(lambda: values(ctx, "s/o") and values(ctx, "s/p"))
    try:
        await ctx.until(lambda: reasons(ctx, "s/o") and reasons(ctx, "s/p"))
        assert ctx.links[-1][:2] == ("s", False)
        async with serving({"/o": Value(b"2"), "/p": Fixed(b"2")}, port):
            await ctx.until(lambda: 2 in values(ctx, "s/o") and 2 in values(ctx, "s/p"))
        assert ("s", True, "") in ctx.links
    finally:
        await context.__aexit__(None, None, None)
    assert set(reasons(ctx, "s/p")) == {Reason.LINK_DOWN}


async def test_a_device_that_does_not_answer_is_connected_anew(ctx):
    stream = Stream()
    async with (
        streaming(stream) as port,
        adapter_of(ctx, devices={"s": device(port, poll={"p": "/p"}, timeout="100ms")}),
    ):
        await ctx.until(lambda: stream.connections > 1)
    assert set(reasons(ctx, "s/p")) == {Reason.TIMEOUT}
    assert ctx.links[-1] == ("s", False, "no answer")


GARBAGE = {
    "no greeting": (content, b""),
    "a token of 15 bytes": (lambda _: bytes([0x0F, 0x45]) + b"\0" * 15, CSM),
    "options that break off": (lambda _: bytes([0x10, 0x45, 0x0D]), CSM),
    "a path that is no text": (lambda _: bytes([0x30, 0x45, 0xB2, 0xFF, 0xFE]), CSM),
    "a thousand options": (lambda _: bytes([0xE0, 0x02, 0xDB, 0x45]) + b"\0" * 1000, CSM),
    "a code that is none": (lambda _: bytes([0x00, 0x20]), CSM),
    "a signal that is none": (lambda _: bytes([0x00, 0xFF]), CSM),
    "a critical option in a signal": (lambda _: bytes([0x10, 0xE1, 0x90]), CSM),
    "a web server": (lambda _: b"HTTP/1.1 400 Bad Request\r\nContent-Length: 5\r\n\r\nhello" + b"x" * 9000, CSM),
}


@pytest.mark.parametrize("name", GARBAGE)
async def test_garbage_closes_the_connection_and_is_counted(ctx, name):
    problems = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: problems.append(context))
    answer, greeting = GARBAGE[name]
    stream = Stream(greeting, answer)
    async with streaming(stream) as port:
        devices = {"s": device(port, poll={"p": "/p"}, max_payload="4KiB")}
        async with adapter_of(ctx, devices=devices):
            await ctx.until(lambda: stream.closed > 1 and len(reasons(ctx, "s/p")) > 1)
            assert ctx.stats.reasons["malformed"] + ctx.stats.reasons["too-large"] > 1
            stream.greeting, stream.answer = CSM, content
            await ctx.until(lambda: values(ctx, "s/p"))
    assert set(reasons(ctx, "s/p")) == {Reason.LINK_DOWN}
    assert problems == []


async def test_a_message_that_is_too_large_is_refused_when_it_is_announced(ctx):
    """15: four bytes of length follow."""
    stream = Stream(answer=lambda _: bytes([0xF0]) + (1 << 30).to_bytes(4, "big") + b"\x45" + b"x" * 100)
    async with streaming(stream) as port, adapter_of(ctx, devices={"s": device(port, poll={"p": "/p"}, timeout="9s")}):
        await ctx.until(lambda: ctx.stats.reasons["too-large"])
    assert ctx.rejected[0][:2] == ("too-large", f"127.0.0.1:{port}")


async def test_a_body_beyond_max_payload_is_refused(ctx):
    stream = Stream(answer=lambda request: content(request, b"1" * 200))
    async with (
        streaming(stream) as port,
        adapter_of(ctx, devices={"s": device(port, poll={"p": "/p"}, max_payload="100B")}),
    ):
        await ctx.until(lambda: reasons(ctx, "s/p"))
    assert set(reasons(ctx, "s/p")) == {Reason.MALFORMED_ANSWER}


async def test_a_peer_that_pings_and_never_reads_is_cut_off(ctx):
    """Each ping wants a pong; they would pile up here."""
    opened = asyncio.Event()

    async def flood(reader, writer):
        opened.set()
        reader._transport.pause_reading()
        writer.write(CSM)
        try:
            while True:
                writer.write(bytes([0x00, 0xE2]) * 100_000)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.transport.abort()

    listening = socket.create_server(("127.0.0.1", 0))
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    server = await asyncio.start_server(flood, sock=listening)
    port = listening.getsockname()[1]
    async with server, adapter_of(ctx, devices={"s": device(port, poll={"p": "/p"}, timeout="30s")}):
        await ctx.until(lambda: ctx.stats.reasons["flooded"], 30)
    assert opened.is_set()


async def test_signals_are_answered_and_requests_are_not_served(ctx):
    ping = bytes([0x01, 0xE2, 0x77])
    asked = bytes([0x01, 0x01, 0x78])
    stream = Stream(greeting=CSM + ping + bytes(2) + asked, answer=content)  # an empty message between them
    heard = []
    taken = stream._take

    def take(message, writer):
        heard.append((int(message.code), message.token))
        taken(message, writer)

    stream._take = take
    async with streaming(stream) as port, adapter_of(ctx, devices={"s": device(port, poll={"p": "/p"})}):
        await ctx.until(lambda: values(ctx, "s/p") and (PONG, b"\x77") in heard)
    assert (int(aiocoap.NOT_FOUND), b"\x78") in heard
    assert not ctx.stats.reasons


async def test_any_stream_gives_values_or_closes_and_stops_nothing(ctx):
    """Mutated answers, cut at any place; after them the device is heard as before."""
    problems = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: problems.append(context))
    chance, rounds = random.Random(3), []

    def answer(request):
        rounds.append(None)
        if len(rounds) > 150:
            return content(request, b"42")
        data = bytearray(content(request, b"1" * chance.randrange(300), observe=chance.randrange(9), max_age=3))
        for _ in range(chance.randrange(5)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        del data[chance.randrange(1, len(data) + 1) :]
        return bytes(data)

    stream = Stream(answer=answer)
    async with streaming(stream) as port:
        devices = {"s": device(port, poll={"p": "/p"}, timeout="20ms", every="1ms")}
        async with adapter_of(ctx, devices=devices):
            await ctx.until(lambda: 42 in values(ctx, "s/p"), 30)
    assert problems == []


async def test_many_small_messages_at_once_do_not_hold_up_others(ctx):
    """aiocoap would take all of a read in one go, and copy the rest of it for each of them."""
    flood = bytes([0x00, 0xE3]) * 50_000  # pongs that nobody asked for
    stream, other = Stream(answer=lambda request: flood + content(request, b"3")), Stream(answer=content)
    async with streaming(stream) as port, streaming(other) as port2:
        devices = {
            "s": device(port, poll={"p": "/p"}, every="60s", timeout="60s"),
            "t": device(port2, poll={"p": "/p"}, every="1ms"),
        }
        async with adapter_of(ctx, devices=devices):
            await ctx.until(lambda: values(ctx, "s/p") == [3], 60)
    assert len(values(ctx, "t/p")) > 20
    assert {word for _, _, word in ctx.samples("s/p")} == {q.GOOD}
