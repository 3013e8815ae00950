"""``coaps://`` between our client and our server, and the session below without a network."""

import asyncio
import socket
import subprocess
import sys
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import aiocoap
import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st

from adapters.coap.options.credentials import PskOptions
from adapters.coap.security import dtls_server
from adapters.coap.security.dtls import ClientKeys, DtlsError, Psk, ServerKeys
from adapters.coap.security.dtls_client import dtls_context
from adapters.coap.security.dtls_records import HEADER, MTU, datagrams, is_hello
from adapters.coap.security.dtls_server import DtlsServer
from adapters.coap.security.not_secure import SessionError
from gateway import quality as q
from gateway.errors import LinkError
from gateway.frame import Frame
from gateway.point import Point
from tests.adapters.coap.peers import adapter_of, configured, free_port, pushing
from tests.support.context import RecordingContext
from tests.support.malformed import inputs

KEY = "text:secretPSK"
SECURITY = {"meter": {"psk": {"identity": "gw", "key": KEY}}}
ROOT = Path(__file__).parents[3]


def record(length):
    return b"\x16\xfe\xfd" + bytes(8) + length.to_bytes(2, "big") + bytes(length)


@given(lengths=st.lists(st.integers(0, 3000), max_size=12))
def test_records_are_packed_whole_and_none_is_lost(lengths):
    stream = b"".join(map(record, lengths))
    cut = datagrams(stream)
    assert b"".join(cut) == stream
    assert all(len(datagram) <= MTU or len(datagram) - HEADER in lengths for datagram in cut)


@given(data=st.binary(max_size=200))
def test_any_bytes_can_be_asked_about(data):
    is_hello(data)
    assert b"".join(datagrams(data)) == data[: sum(map(len, datagrams(data)))]


# sessions without a network


def pair(client_key=b"secretPSK", server_key=b"secretPSK", identity=b"gw"):
    """A client's session, and a server that knows one key."""
    return ClientKeys(Psk(identity, client_key)).session(), ServerKeys({"meter": Psk(b"gw", server_key)})


def shake(client, keys, address=b"a", flights=8):
    """The handshake; the server's session, or None if it did not begin."""
    client.start()
    server = None
    for _ in range(flights):
        for datagram in client.outgoing():
            if server is None:
                server, answers = keys.greet(datagram, address)
                if server is not None:
                    server.start()
                    answers = server.outgoing()
            else:
                server.feed(datagram)
                answers = server.outgoing()
            for answer in answers:
                client.feed(answer)
    return server


def test_a_session_carries_messages_both_ways():
    client, keys = pair()
    server = shake(client, keys)
    assert client.established
    assert server.established
    assert keys.name_of(server) == "meter"
    client.send(b"to the server")
    (datagram,) = client.outgoing()
    assert b"to the server" not in datagram
    assert server.feed(datagram) == [b"to the server"]
    assert server.feed(datagram) == []  # a replay
    server.send(b"back")
    (datagram,) = server.outgoing()
    assert client.feed(datagram) == [b"back"]
    client.close()
    with pytest.raises(DtlsError, match="closed"):
        server.feed(client.outgoing()[0])


def test_nothing_is_kept_of_a_client_that_does_not_send_its_cookie_back():
    client, keys = pair()
    client.start()
    (hello,) = client.outgoing()
    session, (verify,) = keys.greet(hello, b"a")
    assert session is None
    assert len(verify) <= len(hello)
    client.feed(verify)
    (again,) = client.outgoing()
    assert keys.greet(again, b"another address")[0] is None
    assert keys.greet(again, b"a")[0] is not None


def test_a_wrong_key_gives_no_session():
    client, keys = pair(client_key=b"wrongPSK")
    try:
        server = shake(client, keys)
    except DtlsError as error:
        assert "wrongPSK" not in str(error)
    else:
        assert not server.established
    assert not client.established


def test_an_unknown_identity_gives_no_session():
    client, keys = pair(identity=b"stranger")
    with pytest.raises(DtlsError):
        shake(client, keys)
    assert keys.unknown == [b"stranger"]


def test_malformed_datagrams_bring_nothing():
    client, keys = pair()
    server = shake(client, keys)
    client.send(b"x" * 100)
    (good,) = client.outgoing()
    for at in range(HEADER, len(good)):
        changed = bytearray(good)
        changed[at] ^= 1
        assert server.feed(bytes(changed)) == []
    assert server.feed(good[:40]) == []
    assert server.feed(good) == [b"x" * 100]


@given(data=st.binary(max_size=300))
def test_any_bytes_leave_a_listener_as_it_was(data):
    client, keys = pair()
    keys.greet(data, b"a")
    assert shake(client, keys).established


def test_the_callbacks_need_no_memory_that_is_writable_and_executable():
    """As under systemd's MemoryDenyWriteExecute."""
    code = """
import ctypes, sys
PR_SET_MDWE = 65
if ctypes.CDLL(None).prctl(PR_SET_MDWE, 1, 0, 0, 0):
    sys.exit("cannot be forbidden here")
from tests.adapters.coap.test_dtls import pair, shake
client, keys = pair()
print(shake(client, keys).established)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    if "cannot be forbidden here" in done.stderr:
        pytest.skip("the kernel cannot forbid it (Linux 6.3 can)")
    assert done.stdout == "True\n", done.stderr


# adapters


def pushed_values(ctx):
    return [value for _, value, word in ctx.samples("d/t") if word == q.GOOD] if ctx.frames else []


def offering(port=0, key=KEY, identity="gw"):
    """A gateway that offers a value by DTLS, and takes pushes by DTLS only."""
    served = {"listen": "127.0.0.1:0", "secure_listen": f"127.0.0.1:{port}", "security": ["meter"]}
    offered = {
        "resources": {"/v/{device}/{point}": {}},
        "offer": {"/x/{point}": {"points": ["x/*"], "min_interval": "50ms"}},
    }
    return {"security": {"meter": {"psk": {"identity": identity, "key": key}}}, "serve": served | offered}


def asking(port, resources=None, **options):
    resources = resources or {"poll": {"t": "/x/x/temp"}, "every": "50ms"}
    device = {"url": f"coaps://127.0.0.1:{port}", "security": "meter", "timeout": "3s"} | resources
    return {"security": SECURITY, "devices": {"d": device}} | options


@asynccontextmanager
async def gateway(**options):
    """A gateway with a value ``x/temp``; its context and adapter."""
    ctx = RecordingContext("upper")
    point = ctx.points.add(Point(name="x/temp"))
    async with adapter_of(ctx, **offering(**options)) as adapter:
        await ctx.emit(Frame.of([point], [1], [21.5], [q.GOOD]))
        yield ctx, adapter, point


async def test_a_device_is_polled_by_coaps(ctx):
    async with gateway() as (_, upper, _), adapter_of(ctx, **asking(upper.secure_port)):
        await ctx.until(lambda: len(pushed_values(ctx)) >= 3)
    assert set(pushed_values(ctx)) == {21.5}
    assert not ctx.stats.errors


async def test_a_device_is_observed_by_coaps(ctx):
    observed = {"observe": {"t": "/x/x/temp"}}
    async with gateway() as (upper_ctx, upper, point), adapter_of(ctx, **asking(upper.secure_port, observed)):
        for value in (21.5, 22.5, 23.5):
            await upper_ctx.emit(Frame.of([point], [int(value)], [value], [q.GOOD]))
            await ctx.until(lambda value=value: value in pushed_values(ctx))
    assert not ctx.stats.errors


@pytest.mark.parametrize("wrong", [{"key": "text:another key"}, {"identity": "another"}])
async def test_a_wrong_key_takes_the_link_down_and_says_why(ctx, wrong, caplog):
    async with gateway(**wrong) as (upper_ctx, upper, _), adapter_of(ctx, **asking(upper.secure_port)):
        await ctx.until(lambda: [up for name, up, _ in ctx.links if name == "d"])
    (name, up, why) = next(link for link in ctx.links if link[0] == "d")
    assert (name, up) == ("d", False)
    assert why in {
        "the DTLS handshake does not come to an end: is the key the right one?",
        "the key does not fit",
        "the identity is not known there",
    }
    assert not pushed_values(ctx)
    assert ctx.stats.reasons["not-secure"]
    assert upper_ctx.stats.reasons["not-secure"]
    assert "secretPSK" not in f"{ctx.links} {ctx.rejected} {upper_ctx.rejected} {ctx.stats.as_dict()} {caplog.text}"


async def test_a_session_is_made_anew_when_the_device_is_restarted(ctx):
    async with gateway() as (_, upper, _):
        port = upper.secure_port
        async with adapter_of(ctx, **asking(port)):
            await ctx.until(lambda: pushed_values(ctx))
            await upper._server.shutdown()  # its word of leave reaches the client, nothing answers any more
            await ctx.until(lambda: ("d", False) in {link[:2] for link in ctx.links})
            before = len(pushed_values(ctx))
            async with gateway(port=port):
                await ctx.until(lambda: len(pushed_values(ctx)) > before)


async def test_a_session_that_the_device_has_forgotten_is_made_anew(ctx):
    async with gateway() as (_, upper, _), adapter_of(ctx, **asking(upper.secure_port)):
        await ctx.until(lambda: pushed_values(ctx))
        (server,) = [layer for layer in transports(upper) if isinstance(layer, DtlsServer)]
        for guest in list(server._sessions.values()):
            guest.lost = True  # without a word, as by a loss of power
        server._sessions.clear()
        before = len(pushed_values(ctx))
        await ctx.until(lambda: len(pushed_values(ctx)) > before)
        assert len(server) == 1


def transports(adapter):
    return [tokens.token_interface.message_interface for tokens in adapter._server.request_interfaces]


async def test_a_push_by_coaps_is_taken_and_no_other(ctx):
    options = offering()
    options["security"]["meter"]["device"] = "d"
    async with adapter_of(ctx, **options) as adapter:
        async with secure_pushing(adapter.secure_port) as push:
            assert (await push("/v/d/t", b"1")).code == aiocoap.CHANGED
            assert (await push("/v/other/t", b"1")).code == aiocoap.FORBIDDEN
        async with pushing(adapter.port) as push:
            assert (await push("/v/d/t", b"2")).code == aiocoap.UNAUTHORIZED
    assert pushed_values(ctx) == [1.0]
    assert ctx.stats.reasons["not-secure"] == 2


@asynccontextmanager
async def secure_pushing(port, key=KEY):
    """As ``pushing``, by DTLS."""
    plain = aiocoap.Context()
    context = await dtls_context(
        "meter",
        PskOptions(identity="gw", key=key),
        plain,
        url=f"coaps://127.0.0.1:{port}",
        timeout_s=5,
        refused=lambda *_: None,
    )

    async def push(path, payload):
        message = aiocoap.Message(code=aiocoap.POST, uri=f"coaps://127.0.0.1:{port}{path}", payload=payload)
        return await context.request(message, handle_blockwise=False).response

    try:
        yield push
    finally:
        await context.shutdown()


async def test_handshakes_and_sessions_are_bounded(ctx, monkeypatch):
    monkeypatch.setattr(dtls_server, "MAX_SESSIONS", 2)
    async with adapter_of(ctx, **offering()) as adapter, AsyncExitStack() as stack:
        server = transports(adapter)[-1]
        pushes = [await stack.enter_async_context(secure_pushing(adapter.secure_port)) for _ in range(4)]
        for push in pushes:
            assert (await push("/v/d/t", b"1")).code == aiocoap.CHANGED
        assert len(server) == 2
        assert (await pushes[0]("/v/d/t", b"2")).code == aiocoap.CHANGED  # it has made another session
        assert len(server) == 2
        assert not server._handshakes


async def test_idle_sessions_and_dead_handshakes_are_swept(ctx, monkeypatch):
    async with adapter_of(ctx, **offering()) as adapter, secure_pushing(adapter.secure_port) as push:
        assert (await push("/v/d/t", b"1")).code == aiocoap.CHANGED
        server = transports(adapter)[-1]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as dead:
            dead.connect(("127.0.0.1", adapter.secure_port))
            dead.settimeout(5)
            client = ClientKeys(Psk(b"gw", b"secretPSK")).session()
            client.start()
            for _ in range(2):  # it sends the cookie back, and is silent then
                for datagram in client.outgoing():
                    dead.send(datagram)
                client.feed(await asyncio.to_thread(dead.recv, 2048))
            await ctx.until(lambda: server._handshakes)
            monkeypatch.setattr(dtls_server, "HANDSHAKE_S", -1.0)
            monkeypatch.setattr(dtls_server, "IDLE_S", -1.0)
            server._sweeper.cancel()
            server._sweep()
        assert not server._handshakes
        assert not len(server)
        assert not server.keys._used
        with suppress(SessionError):  # it may be sent before the word of leave arrives
            await push("/v/d/t", b"2")
        assert (await push("/v/d/t", b"3")).code == aiocoap.CHANGED


async def test_noise_on_the_port_does_no_harm(ctx):
    async with adapter_of(ctx, **offering()) as adapter, secure_pushing(adapter.secure_port) as push:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as noise:
            client = ClientKeys(Psk(b"gw", b"secretPSK")).session()
            client.start()
            for data in (b"", b"x", b"\x16\xfe\xfd" + bytes(20), *inputs(client.outgoing(), 300)):
                noise.sendto(data, ("127.0.0.1", adapter.secure_port))
        assert (await push("/v/d/t", b"1")).code == aiocoap.CHANGED
    assert pushed_values(ctx) == [1.0]


async def test_the_session_of_a_device_that_is_not_asked_any_more_is_ended(ctx):
    async with gateway() as (_, upper, _):
        options = asking(upper.secure_port)
        options["devices"]["other"] = {"url": "coap://127.0.0.1:9", "poll": {"t": "/t"}}
        async with adapter_of(ctx, **options) as adapter:
            await ctx.until(lambda: pushed_values(ctx))
            server = transports(upper)[-1]
            assert len(server) == 1
            del options["devices"]["d"]
            assert await adapter.reconfigure(configured(**options))
            await ctx.until(lambda: not len(server))


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_it_works_the_same_under_uvloop_and_with_ipv6(host):
    async def main():
        ctx, upper_ctx = RecordingContext(), RecordingContext("upper")
        options = offering()
        options["serve"]["secure_listen"] = f"{host}:0"
        async with adapter_of(upper_ctx, **options) as upper:
            point = upper_ctx.points.add(Point(name="x/temp"))
            await upper_ctx.emit(Frame.of([point], [1], [21.5], [q.GOOD]))
            asked = asking(upper.secure_port)
            asked["devices"]["d"]["url"] = f"coaps://{host}:{upper.secure_port}"
            async with adapter_of(ctx, **asked):
                await ctx.until(lambda: len(pushed_values(ctx)) >= 3)
        assert not ctx.stats.errors

    uvloop.run(main())


async def test_a_device_that_is_not_there_is_just_away(ctx):
    async with adapter_of(ctx, **asking(free_port(), {"poll": {"t": "/t"}, "timeout": "1s"})):
        await ctx.until(lambda: ("d", False) in {link[:2] for link in ctx.links})
    assert not ctx.stats.reasons["not-secure"]


async def test_a_port_that_is_taken_is_said(ctx):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        with pytest.raises(LinkError, match=r"cannot listen on 127\.0\.0\.1"):
            async with adapter_of(ctx, **offering(port=other.getsockname()[1])):
                pass
