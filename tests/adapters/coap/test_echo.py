"""Echo (RFC 9175): addresses that could be false get no large answers."""

from types import SimpleNamespace

import aiocoap
import pytest

from adapters.coap.messages import Received
from adapters.coap.options.serve import EchoUse
from adapters.coap.serving.echo import MAX_PROVEN, PROVEN_S, EchoGuard
from adapters.coap.serving.refusal import RefusedError
from gateway import quality as q
from gateway.frame import Frame
from gateway.point import Point
from tests.adapters.coap.peers import adapter_of
from tests.adapters.coap.raw import packet, raw_peer

OFFER = {"/pack": {"points": ["**"]}, "/v/{point}": {"points": ["**"]}}


def serve(echo):
    return {"listen": "127.0.0.1:0", "offer": OFFER, "resources": {"/p/{device}/{point}": {}}, "echo": echo}


async def fill(ctx):
    ids = [ctx.points.add(Point(name=f"m/p{n}")) for n in range(20)]
    await ctx.emit(Frame.of(ids, [1] * 20, [1.0] * 20, [q.GOOD] * 20))


def ask(path, mid, **options):
    return packet(path, code=aiocoap.GET, mid=mid, **options)


async def test_a_large_answer_wants_proof_of_the_address_and_a_small_one_does_not(ctx):
    async with adapter_of(ctx, serve=serve("always")) as adapter:
        await fill(ctx)
        with raw_peer(adapter.port) as peer:
            assert (await peer.ask(ask("/v/m/p1", 1))).code == aiocoap.CONTENT
            challenge = await peer.ask(ask("/pack", 2))
            assert (challenge.code, challenge.payload) == (aiocoap.UNAUTHORIZED, b"")
            assert len(challenge.opt.echo) == 14
            with raw_peer(adapter.port) as liar:  # the value of another address is worth nothing
                assert (await liar.ask(ask("/pack", 3, echo=challenge.opt.echo))).code == aiocoap.UNAUTHORIZED
            assert (await peer.ask(ask("/pack", 4, echo=b"\0" * 14))).code == aiocoap.UNAUTHORIZED
            assert (await peer.ask(ask("/pack", 5, echo=challenge.opt.echo))).code == aiocoap.CONTENT
            assert (await peer.ask(ask("/pack", 6))).code == aiocoap.CONTENT  # proven for some time
            assert (await peer.ask(packet("/p/d/t", b"1", mid=7))).code == aiocoap.CHANGED


async def test_an_observation_wants_proof_whatever_its_size(ctx):
    async with adapter_of(ctx, serve=serve("always")) as adapter:
        await fill(ctx)
        with raw_peer(adapter.port) as peer:
            challenge = await peer.ask(ask("/v/m/p1", 1, observe=0))
            assert challenge.code == aiocoap.UNAUTHORIZED
            assert len(adapter._site._observers) == 0
            first = await peer.ask(ask("/v/m/p1", 2, observe=0, echo=challenge.opt.echo))
            assert first.opt.observe is not None


@pytest.mark.parametrize("echo", ["auto", "never"])
async def test_neighbours_need_no_proof(ctx, echo):
    async with adapter_of(ctx, serve=serve(echo)) as adapter:
        await fill(ctx)
        with raw_peer(adapter.port) as peer:
            assert (await peer.ask(ask("/pack", 1))).code == aiocoap.CONTENT


class Remote:
    """An address that this machine does not have."""

    def __init__(self, address):
        self.sockaddr = (address, 5683, 0, 0)
        self.hostinfo = address


def request(address, echo=None):
    return SimpleNamespace(
        received=Received(20, 1), remote=Remote(address), opt=SimpleNamespace(echo=echo), mid=1, token=b""
    )


def challenge(guard, address, now_s, size=100):
    with pytest.raises(RefusedError) as error:
        guard.check(request(address), size, now_s)
    return error.value.echo


@pytest.mark.parametrize(
    ("address", "asked"),
    [("::ffff:8.8.8.8", True), ("2001:4860:4860::8888", True), ("::ffff:10.0.0.9", False), ("fd00::1", False),
     ("fe80::1%eth0", False), ("::1", False), ("::ffff:192.168.1.1", False)],
)  # fmt: skip
def test_by_itself_only_the_internet_has_to_prove(address, asked):
    guard = EchoGuard(EchoUse.AUTO)
    guard.check(request(address), 60, 1.0)
    if asked:
        assert challenge(guard, address, 1.0)
    else:
        guard.check(request(address), 100, 1.0)


def test_proof_is_fresh_and_ends():
    guard = EchoGuard(EchoUse.ALWAYS)
    value = challenge(guard, "a", 10.0)
    with pytest.raises(RefusedError):
        guard.check(request("a", value), 100, 75.0)
    guard.check(request("a", value), 100, 20.0)
    guard.check(request("a"), 100, 20.0 + PROVEN_S - 1)
    challenge(guard, "a", 20.0 + PROVEN_S)
    with pytest.raises(RefusedError):
        EchoGuard(EchoUse.ALWAYS).check(request("a", value), 100, 20.0)


def test_what_is_known_of_addresses_is_bounded():
    guard = EchoGuard(EchoUse.ALWAYS)
    for n in range(MAX_PROVEN + 100):
        guard.check(request(str(n), challenge(guard, str(n), 1.0)), 100, 1.0)
    assert len(guard) == MAX_PROVEN
    challenge(guard, "0", 1.0)
    guard.check(request(str(MAX_PROVEN)), 100, 1.0)


def test_protected_requests_need_no_proof():
    message = request("::ffff:8.8.8.8")
    del message.received
    EchoGuard(EchoUse.ALWAYS).check(message, 10_000, 1.0)
