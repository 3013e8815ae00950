import asyncio
import socket

import aiocoap
import pytest
from aiocoap import Message
from hypothesis import given
from hypothesis import strategies as st

from adapters.coap.options.credentials import OscoreOptions
from adapters.coap.security.not_secure import NotSecureError
from adapters.coap.security.oscore import RECEIVED_STEP, OscoreKey, option_of
from adapters.coap.security.oscore_option import OscoreOption, format_option, parse_option
from adapters.coap.security.oscore_state import Bounds
from gateway import quality as q
from gateway.errors import PayloadError
from gateway.quality import Reason
from tests.adapters.coap.oscore_peers import KEY, SALT, SECRET, device, peer_context, protected_pushing
from tests.adapters.coap.peers import Value, adapter_of, free_port, pushing
from tests.adapters.coap.test_oscore_state import crash
from tests.support.context import RecordingContext
from tests.support.malformed import survives

SECURITY = {"plant": {"oscore": KEY}}
OPTIONS = st.builds(
    OscoreOption,
    number=st.none() | st.integers(0, 2**40 - 1),
    kid=st.none() | st.binary(max_size=7),
    kid_context=st.none() | st.binary(max_size=64),
)


def asking(port, resources=None, **options):
    resources = resources or {"poll": {"t": "/t"}, "every": "50ms"}
    return {
        "security": SECURITY,
        "devices": {"d": {"url": f"coap://127.0.0.1:{port}", "security": "plant", "timeout": "2s"} | resources},
    } | options


def pushed(**options):
    served = {"listen": "127.0.0.1:0", "resources": {"/v/{device}/{point}": {"security": ["plant"]}}}
    return {"security": SECURITY, "serve": served} | options


def good(ctx, name):
    return [value for _, value, word in ctx.samples(name) if word == q.GOOD] if ctx.frames else []


def down(ctx, device="d"):
    return [detail for name, up, detail in ctx.links if name == device and not up]


# the option, and the key against the RFC


@given(option=OPTIONS)
def test_an_option_comes_back(option):
    assert parse_option(format_option(option)) == option


@given(data=st.binary(max_size=300))
def test_any_bytes_are_an_option_or_a_named_error(data):
    try:
        option = parse_option(data)
    except PayloadError as error:
        assert error.reason == "bad-oscore-option"
    else:
        assert parse_option(format_option(option)) == option


def test_malformed_options():
    seeds = [format_option(OscoreOption(20, b"", None)), format_option(OscoreOption(2**40 - 1, b"\1" * 7, b"c" * 60))]
    assert survives(parse_option, seeds) > 100


def test_what_cannot_be_written_is_refused():
    with pytest.raises(PayloadError):
        format_option(OscoreOption(2**40, None, None))
    with pytest.raises(PayloadError):
        format_option(OscoreOption(1, b"", b"c" * 254))


def test_keys_and_a_request_of_the_rfc():
    """RFC 8613, C.1.1 and C.4."""
    key = OscoreKey("rfc", OscoreOptions(secret=SECRET, salt=SALT, sender="", recipient="01"))
    assert key.sender_key.hex() == "f0910ed7295e6ad4b54fc793154302ff"
    assert key.recipient_key.hex() == "ffb14e093c94c9cac9471648b4f98710"
    assert key.common_iv.hex() == "4622d4dd6d944168eefb54987c"
    key.sender_sequence_number, key._bounds = 20, Bounds(sent=1000, received=0)
    request = Message(code=aiocoap.GET)
    request.opt.uri_host, request.opt.uri_path = "localhost", ("tv1",)
    outer, _ = key.protect(request)
    outer.mid, outer.mtype, outer.token = 0x5D1F, aiocoap.CON, bytes.fromhex("00003974")
    expected = "44025d1f00003974396c6f63616c686f7374620914ff612f1092f1776f1c1668b3825e"
    assert outer.encode().hex() == expected


def test_an_id_context_of_the_rfc():
    """RFC 8613, C.3.1: a client with an ID Context."""
    options = OscoreOptions(secret=SECRET, salt=SALT, sender="", recipient="01", id_context="37cbf3210017a2d3")
    key = OscoreKey("rfc", options)
    assert key.sender_key.hex() == "af2a1300a5e95788b356336eeecd2b92"
    assert key.common_iv.hex() == "2ca58fb85ff1b81c0b7181b85e"


# devices that are asked


async def test_a_device_is_polled_under_its_key(ctx, tmp_path):
    value = Value(b"21.5")
    with peer_context(tmp_path / "peer") as context:
        async with device(context, {"/t": value}) as (peer, port), adapter_of(ctx, **asking(port)):
            await ctx.until(lambda: len(good(ctx, "d/t")) >= 3)
        numbers = [option_of(outer).number for outer in peer.outer]
        assert all(outer.opt.uri_path == () and outer.code == aiocoap.POST for outer in peer.outer)
    assert len(set(numbers)) == len(numbers)
    assert not ctx.stats.errors
    assert ("d", True, "") in ctx.links


async def test_a_device_is_observed_under_its_key(ctx, tmp_path):
    value = Value(b"1")
    with peer_context(tmp_path / "peer") as context:
        async with device(context, {"/t": value}) as (_, port):
            async with adapter_of(ctx, **asking(port, {"observe": {"t": "/t"}})):
                for number in (1, 2, 3):
                    await ctx.until(lambda number=number: good(ctx, "d/t") == [float(n) for n in range(1, number + 1)])
                    value.set(b"%d" % (number + 1))
            await ctx.until(lambda: good(ctx, "d/t") == [1.0, 2.0, 3.0, 4.0] or not value.observers)


async def test_a_device_that_lost_its_replay_window_gets_its_echo(ctx, tmp_path):
    with peer_context(tmp_path / "peer", lost=True) as context:
        async with device(context, {"/t": Value(b"5")}) as (peer, port), adapter_of(ctx, **asking(port)):
            await ctx.until(lambda: good(ctx, "d/t"))
        assert len(peer.outer) >= 2
    assert not ctx.stats.errors


@pytest.mark.parametrize(
    "wrong", [{"secret": "00" * 16}, {"sender": "03"}, {"salt": ""}, {"recipient": "07"}, {"id-context_hex": "aa"}]
)
async def test_a_wrong_key_takes_the_link_down_and_says_why(ctx, tmp_path, wrong, caplog):
    with peer_context(tmp_path / "peer", **wrong) as context:
        async with device(context, {"/t": Value(b"5")}) as (_, port), adapter_of(ctx, **asking(port)):
            await ctx.until(lambda: down(ctx))
    assert not good(ctx, "d/t")
    reasons = {"answers without protection, which is not taken: 4.00 Bad Request Decryption failed"}
    assert set(down(ctx)) <= reasons | {"its answer does not fit the key"}
    assert ctx.stats.reasons["not-secure"] >= 1
    shown = f"{ctx.links} {ctx.rejected} {ctx.stats.as_dict()} {caplog.text}"
    assert SECRET not in shown
    assert repr(bytes.fromhex(SECRET)) not in shown


async def test_an_answer_in_the_clear_is_never_taken(ctx, tmp_path):
    with peer_context(tmp_path / "peer") as context:
        async with device(context, {"/t": Value(b"5")}) as (peer, port):
            peer.plain_answer = Message(code=aiocoap.CONTENT, payload=b"99", content_format=0)
            async with adapter_of(ctx, **asking(port)):
                await ctx.until(lambda: down(ctx))
                peer.plain_answer = None
                await ctx.until(lambda: good(ctx, "d/t"))
            assert all(outer.opt.oscore is not None for outer in peer.outer)
    assert set(good(ctx, "d/t")) == {5.0}
    assert "answers without protection" in down(ctx)[0]
    assert q.reason_codes(ctx.frame.value).max() == Reason.LINK_DOWN


async def test_an_old_notification_that_is_played_back_is_not_taken(ctx, tmp_path):
    """A scripted peer on the wire between the two: it repeats the second of three notifications at the end."""
    value, held, passed = Value(b"1"), [], []

    class Between(asyncio.DatagramProtocol):
        def connection_made(self, transport):
            self.transport, self.client = transport, None

        def datagram_received(self, data, addr):
            if addr[1] == port:
                held.append(data)
                self.transport.sendto(data, self.client)
            else:
                passed.append(data)
                self.client = addr
                self.transport.sendto(data, ("127.0.0.1", port))

    with peer_context(tmp_path / "peer") as context:
        async with device(context, {"/t": value}) as (_, port):
            loop = asyncio.get_running_loop()
            between, protocol = await loop.create_datagram_endpoint(Between, local_addr=("127.0.0.1", 0))
            middle = between.get_extra_info("sockname")[1]
            async with adapter_of(ctx, **asking(middle, {"observe": {"t": "/t"}})):
                for number in (1.0, 2.0, 3.0):
                    await ctx.until(lambda number=number: number in good(ctx, "d/t"))
                    if number < 3:
                        value.set(b"%d" % (number + 1))
                second = [data for data in held if Message.decode(data).opt.observe is not None][1]
                again = bytearray(second)
                again[2] ^= 0x80  # another Message ID: the message layer does not know it
                between.sendto(bytes(again), protocol.client)
                await ctx.until(lambda: ctx.stats.reasons["replayed"])
                value.set(b"4")
                await ctx.until(lambda: 4.0 in good(ctx, "d/t"))
            between.close()
    assert good(ctx, "d/t") == [1.0, 2.0, 3.0, 4.0]


# devices that push


async def test_a_push_under_the_key_is_taken_and_no_other(ctx, tmp_path):
    with peer_context(tmp_path / "a") as context, peer_context(tmp_path / "b", secret="00" * 16) as stranger:
        async with adapter_of(ctx, **pushed()) as adapter:
            async with protected_pushing(adapter.port, context) as push:
                assert (await push("/v/d/t", b"1")).code == aiocoap.CHANGED
                assert (await push("/v/d/t", b"2")).code == aiocoap.CHANGED
                assert (await push("/nothing", b"2")).code == aiocoap.NOT_FOUND
            async with pushing(adapter.port) as push:
                response = await push("/v/d/t", b"3")
                assert (response.code, response.payload) == (aiocoap.UNAUTHORIZED, b"only for those who have a key")
            async with protected_pushing(adapter.port, stranger) as push:
                response = await push("/v/d/t", b"4")
                assert (response.code, response.payload) == (aiocoap.BAD_REQUEST, b"Decryption failed")
    assert good(ctx, "d/t") == [1.0, 2.0]
    assert ctx.stats.reasons["not-secure"] == 2


async def test_an_unknown_key_is_counted(ctx, tmp_path):
    with peer_context(tmp_path / "a", sender="77") as context:
        async with adapter_of(ctx, **pushed()) as adapter, protected_pushing(adapter.port, context) as push:
            response = await push("/v/d/t", b"1")
    assert (response.code, response.payload) == (aiocoap.UNAUTHORIZED, b"Security context not found")
    assert response.opt.max_age == 0
    assert [(reason, detail) for reason, _, _, detail in ctx.rejected] == [
        ("not-secure", "no key has the recipient '77'")
    ]


async def test_a_key_with_a_device_pushes_for_no_other(ctx, tmp_path):
    options = pushed(security={"plant": {"oscore": KEY, "device": "d"}})
    with peer_context(tmp_path / "a") as context:
        async with adapter_of(ctx, **options) as adapter, protected_pushing(adapter.port, context) as push:
            assert (await push("/v/d/t", b"1")).code == aiocoap.CHANGED
            response = await push("/v/other/t", b"1")
    assert (response.code, response.payload) == (aiocoap.FORBIDDEN, b"this key is for d")
    assert ctx.points.find("other/t") is None


async def test_an_abbreviated_path_is_no_way_around_the_key(ctx):
    options = pushed()
    options["serve"]["resources"] = {"/{device}/{point}": {"security": ["plant"]}}
    async with adapter_of(ctx, **options) as adapter, pushing(adapter.port) as push:
        response = await push("", b"1", uri_path_abbrev=0)
    assert response.code == aiocoap.UNAUTHORIZED


async def test_all_of_a_server_can_want_a_key(ctx, tmp_path):
    served = {"listen": "127.0.0.1:0", "security": ["plant"], "resources": {"/v/{device}/{point}": {}}}
    with peer_context(tmp_path / "a") as context:
        async with adapter_of(ctx, security=SECURITY, serve=served) as adapter:
            async with pushing(adapter.port) as push:
                for path in ("/v/d/t", "/.well-known/core", "/nothing"):
                    assert (await push(path, b"3")).code == aiocoap.UNAUTHORIZED
            async with protected_pushing(adapter.port, context) as push:
                assert (await push("/v/d/t", b"1")).code == aiocoap.CHANGED


def replay(port, datagram):
    """Send once more what was sent, with another Message ID and port; what is answered."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as attacker:
        attacker.settimeout(10)
        attacker.sendto(datagram, ("127.0.0.1", port))
        return Message.decode(attacker.recv(2048))


async def test_a_replay_is_refused_also_after_a_restart(tmp_path):
    ctx = RecordingContext()
    stored = tmp_path / "stored"
    stored.mkdir()
    ctx.folder, port = stored, free_port()
    options = pushed()
    options["serve"]["listen"] = f"127.0.0.1:{port}"
    taken = []
    with peer_context(tmp_path / "a") as context:
        for _ in range(3):
            ctx.links.clear()
            async with adapter_of(ctx, **options), protected_pushing(port, context) as push:
                if taken:
                    before = await asyncio.to_thread(replay, port, taken[-1])
                    assert before.code == aiocoap.UNAUTHORIZED
                    assert before.payload == b"Replay detected"
                assert (await push("/v/d/t", b"1")).code == aiocoap.CHANGED
                taken.append(push.last.encode())
                assert (await asyncio.to_thread(replay, port, taken[-1])).code == aiocoap.UNAUTHORIZED
    assert len(good(ctx, "d/t")) == 3
    assert ctx.stats.reasons["replayed"] == 5


async def crashed(folder, numbers):
    """A key that took these numbers in a process that was killed."""
    with peer_context(folder.parent / "old") as context:
        key = await OscoreKey("plant", OscoreOptions(**KEY)).open(folder, 0)
        messages = []
        for number in numbers:
            context.sender_sequence_number = context.sequence_number_persisted = number
            outer, _ = context.protect(Message(code=aiocoap.POST, payload=b"1", uri_path=("v", "d", "t")))
            arrived = Message.decode(encoded(outer))
            key.open_request(arrived)
            await key.taken()
            messages.append(encoded(outer))
        await crash(key)
    return messages


def encoded(outer):
    outer.mid, outer.mtype, outer.token = 4711, aiocoap.CON, b"tk"
    return outer.encode()


async def test_after_a_crash_a_replay_is_challenged_and_echo_lets_the_device_in(ctx, tmp_path):
    ctx.folder = tmp_path / "stored"
    ctx.folder.mkdir()
    messages = await crashed(ctx.folder, [0, 1, 5])
    with peer_context(tmp_path / "a") as context:
        context.sender_sequence_number = context.sequence_number_persisted = 6
        async with adapter_of(ctx, **pushed()) as adapter, protected_pushing(adapter.port, context) as push:
            for message in messages:
                answer = await asyncio.to_thread(replay, adapter.port, message)
                assert answer.opt.oscore is not None  # a challenge, which only the device can open and answer
            response = await push("/v/d/t", b"7")
            assert response.code == aiocoap.UNAUTHORIZED
            assert (await push("/v/d/t", b"8", echo=response.opt.echo)).code == aiocoap.CHANGED
            assert (await push("/v/d/t", b"9")).code == aiocoap.CHANGED
            for message in messages:
                assert (await asyncio.to_thread(replay, adapter.port, message)).payload == b"Replay detected"
    assert good(ctx, "d/t") == [8.0, 9.0]


async def test_after_a_crash_a_device_without_echo_gets_in_once_it_is_beyond_the_bound(ctx, tmp_path):
    ctx.folder = tmp_path / "stored"
    ctx.folder.mkdir()
    await crashed(ctx.folder, [10])
    refused = 0
    with peer_context(tmp_path / "a") as context:
        context.sender_sequence_number = context.sequence_number_persisted = 11
        async with adapter_of(ctx, **pushed()) as adapter, protected_pushing(adapter.port, context) as push:
            while (await push("/v/d/t", b"7")).code == aiocoap.UNAUTHORIZED:
                refused += 1
    assert 0 < refused <= 2 * RECEIVED_STEP
    assert good(ctx, "d/t") == [7.0]


async def test_a_number_that_leaps_is_on_disk_before_it_counts(tmp_path):
    """A crash right after a push far beyond the bound: the push cannot be played back."""
    messages = await crashed(tmp_path, [3, 100_000])
    key = await OscoreKey("plant", OscoreOptions(**KEY)).open(tmp_path, 0)
    assert not key.recipient_replay_window.is_initialized()
    assert key._received > 100_000
    await key.close()
    assert messages


async def test_a_response_never_borrows_the_number_of_its_request(ctx, tmp_path):
    numbers = []
    with peer_context(tmp_path / "a") as context:
        unprotect = context.unprotect

        def watched(message, request_id=None):
            numbers.append(option_of(message).number)
            return unprotect(message, request_id)

        context.unprotect = watched
        async with adapter_of(ctx, **pushed()) as adapter, protected_pushing(adapter.port, context) as push:
            for _ in range(3):
                await push("/v/d/t", b"1")
    assert None not in numbers
    assert len(set(numbers)) == 3


async def test_malformed_protected_requests_are_refused(ctx, tmp_path):
    with peer_context(tmp_path / "a") as context:
        outer, _ = context.protect(Message(code=aiocoap.POST, payload=b"1", uri_path=("v", "d", "t")))
        seed = encoded(outer)
    key = await OscoreKey("plant", OscoreOptions(**KEY)).open(tmp_path, 0)

    def take(data):
        try:
            message = Message.decode(data)
        except (aiocoap.error.UnparsableMessage, UnicodeDecodeError):
            return
        if message.opt.oscore is None or message.code not in {aiocoap.POST, aiocoap.FETCH}:
            return
        message.remote = None
        try:
            key.open_request(message)
        except NotSecureError as error:
            raise PayloadError("not-secure", str(error)) from None

    survives(take, [seed], 3000)
    await key.close()
