"""Observations against scripted devices: order, freshness, renewal, and what a device may send instead (RFC 7641)."""

import asyncio

import pytest
from aiocoap import CONTENT, NOT_FOUND, Message
from aiocoap.numbers.types import ACK, CON, NON

from gateway import quality as q
from gateway.quality import Reason
from tests.adapters.coap import oscore_peers
from tests.adapters.coap.peers import Value, adapter_of
from tests.adapters.coap.scripted import acknowledged, piggybacked, scripted, separate
from tests.adapters.coap.test_exchanges import device, reasons, values


def registrations(peer):
    return [request for request in peer.requests if request.opt.observe == 0]


def observed_by(payload=b"0", **options):
    """Lets itself be observed; every other question is answered in the same words."""

    def answer(_, request):
        return [piggybacked(request, payload, **({"observe": 10} if request.opt.observe == 0 else {}), **options)]

    return answer


async def test_notifications_that_were_overtaken_are_never_delivered(ctx):
    async with scripted(observed_by()) as peer, adapter_of(ctx, devices={"s": device(peer.port, observe={"o": "/o"})}):
        await ctx.until(lambda: values(ctx, "s/o") == [0])
        asked = registrations(peer)[0]
        late = [14, 12, 11, 10, 15, 13, 9, 15]
        for number in late:
            peer.send(separate(asked, b"%d" % number, mtype=NON, observe=number))
        peer.send(separate(asked, b"16", observe=16))
        await ctx.until(lambda: 16 in values(ctx, "s/o"))
    assert values(ctx, "s/o") == [0, 14, 15, 16]


async def test_numbers_wrap(ctx):
    async with (
        scripted(lambda _, request: [piggybacked(request, b"0", observe=2**24 - 2)]) as peer,
        adapter_of(ctx, devices={"s": device(peer.port, observe={"o": "/o"})}),
    ):
        await ctx.until(lambda: values(ctx, "s/o") == [0])
        asked = registrations(peer)[0]
        for number, payload in ((2**24 - 1, b"1"), (0, b"2"), (2**24 - 1, b"1"), (1, b"3")):
            peer.send(separate(asked, payload, observe=number))
        await ctx.until(lambda: 3 in values(ctx, "s/o"))
    assert values(ctx, "s/o") == [0, 1, 2, 3]


async def test_a_repeated_notification_is_acknowledged_and_not_taken_twice(ctx):
    async with scripted(observed_by()) as peer, adapter_of(ctx, devices={"s": device(peer.port, observe={"o": "/o"})}):
        await ctx.until(lambda: values(ctx, "s/o") == [0])
        notification = separate(registrations(peer)[0], b"1", observe=11)
        for _ in range(3):
            peer.send(notification)
        await ctx.until(lambda: sum(one.mtype is ACK for one in peer.seen) == 3)
    assert values(ctx, "s/o") == [0, 1]


async def test_a_registration_is_renewed_with_its_token_when_max_age_has_passed(ctx):
    numbers = iter(range(10, 1000))

    def answer(_, request):
        return [piggybacked(request, b"1", observe=next(numbers), max_age=1)]

    async with scripted(answer) as peer:
        async with adapter_of(ctx, devices={"s": device(peer.port, observe={"o": "/o"}, every="60s")}):
            assert ctx.expected == {}
            await ctx.until(lambda: len(values(ctx, "s/o")) == 3)
            assert ctx.expected == {"s": 1.25}
        await ctx.until(lambda: peer.requests[-1].opt.observe == 1)
    asked = registrations(peer)
    assert len({one.token for one in asked}) == 1
    assert len({one.mid for one in asked}) == len(asked)
    assert asked[2].at - asked[1].at > 1.2
    goodbye = peer.requests[-1]
    assert (goodbye.token, goodbye.mtype) == (asked[0].token, NON)


async def test_a_device_that_restarted_and_counts_from_the_beginning_is_believed(ctx):
    """The answer to a renewal is newer than all before, whatever its number; its repetition later is not."""
    answers = []

    def answer(_, request):
        number = 500 if not answers else 2
        answers.append(piggybacked(request, b"%d" % number, observe=number))
        return [answers[-1]]

    async with scripted(answer) as peer:
        devices = {"s": device(peer.port, observe={"o": "/o"}, refresh="200ms")}
        async with adapter_of(ctx, devices=devices):
            await ctx.until(lambda: values(ctx, "s/o")[:2] == [500, 2])
            seen = len(registrations(peer))
            peer.send(separate(registrations(peer)[0], b"3", mtype=NON, observe=3))
            peer.send(answers[seen - 1])  # the same acknowledgement, on a longer way
            peer.send(separate(registrations(peer)[0], b"4", mtype=NON, observe=4))
            await ctx.until(lambda: 4 in values(ctx, "s/o"))
    taken = values(ctx, "s/o")
    assert taken[taken.index(3) : taken.index(4) + 1] == [3, 4]


async def test_a_renewal_that_nobody_answers_is_a_loss(ctx):
    mute = []

    def answer(_, request):
        return [] if mute else [piggybacked(request, b"1", observe=5)]

    async with scripted(answer) as peer:
        devices = {"s": device(peer.port, observe={"o": "/o"}, refresh="50ms", timeout="100ms")}
        async with adapter_of(ctx, devices=devices):
            await ctx.until(lambda: len(values(ctx, "s/o")) > 2)
            mute.append(True)
            await ctx.until(lambda: reasons(ctx, "s/o"))
            assert ctx.links[-1] == ("s", False, "no answer")
            mute.clear()
            seen = len(values(ctx, "s/o"))
            await ctx.until(lambda: len(values(ctx, "s/o")) > seen)
    assert set(reasons(ctx, "s/o")) == {Reason.TIMEOUT}
    assert ctx.links[-1] == ("s", True, "")


async def test_when_a_poll_finds_a_device_again_its_observations_are_renewed(ctx):
    """It may have forgotten them; Max-Age would find that a minute later."""
    mute = []

    def answer(_, request):
        observe = {"observe": 5} if request.opt.observe == 0 else {}
        return [] if mute else [piggybacked(request, b"1", **observe)]

    async with scripted(answer) as peer:
        devices = {"s": device(peer.port, observe={"o": "/o"}, poll={"p": "/p"}, timeout="60ms")}
        async with adapter_of(ctx, devices=devices):
            await ctx.until(lambda: values(ctx, "s/o") and values(ctx, "s/p"))
            mute.append(True)
            await ctx.until(lambda: reasons(ctx, "s/p"))
            assert len(registrations(peer)) == 1
            mute.clear()
            await ctx.until(lambda: len(registrations(peer)) == 2)
            await ctx.until(lambda: len(values(ctx, "s/o")) == 2)
    assert not reasons(ctx, "s/o")


async def test_a_body_in_blocks_that_was_overtaken_is_not_delivered_after_the_newer_one(ctx):
    held = []

    def answer(_, request):
        if request.opt.block2 is None:
            return [piggybacked(request, b"0", observe=1)]
        held.append(request)
        return None

    async with (
        scripted(answer) as peer,
        adapter_of(ctx, devices={"s": device(peer.port, observe={"o": "/o"}, timeout="9s")}),
    ):
        await ctx.until(lambda: values(ctx, "s/o") == [0])
        asked = registrations(peer)[0]
        peer.send(separate(asked, b" " * 16, observe=2, block2=(0, True, 0)))
        await ctx.until(lambda: held)
        peer.send(separate(asked, b"2", observe=3))
        await ctx.until(lambda: 2 in values(ctx, "s/o"))
        peer.send(piggybacked(held[0], b"1", block2=(1, False, 0)))
        peer.send(separate(asked, b"3", observe=4))
        await ctx.until(lambda: 3 in values(ctx, "s/o"))
    assert values(ctx, "s/o") == [0, 2, 3]


async def test_large_notifications_are_delivered_in_order_though_each_overtakes_the_one_before(ctx):
    def answer(peer, request):
        if request.opt.block2 is None:
            return [piggybacked(request, b"0", observe=1)]
        newer = separate(registrations(peer)[0], b"2".rjust(16), observe=3, block2=(0, True, 0))
        rest = piggybacked(request, b"5", block2=(1, False, 0))
        return [newer, rest] if len([one for one in peer.requests if one.opt.block2]) == 1 else [rest]

    async with scripted(answer) as peer, adapter_of(ctx, devices={"s": device(peer.port, observe={"o": "/o"})}):
        await ctx.until(lambda: values(ctx, "s/o") == [0])
        peer.send(separate(registrations(peer)[0], b"1".rjust(16), observe=2, block2=(0, True, 0)))
        await ctx.until(lambda: len(values(ctx, "s/o")) == 3)
    assert values(ctx, "s/o") == [0, 15, 25]


async def test_a_registration_may_be_answered_separately(ctx):
    def answer(_, request):
        return [acknowledged(request), separate(request, b"7", observe=3)]

    async with scripted(answer) as peer, adapter_of(ctx, devices={"s": device(peer.port, observe={"o": "/o"})}):
        await ctx.until(lambda: values(ctx, "s/o") == [7])
        peer.send(separate(registrations(peer)[0], b"8", mtype=NON, observe=4))
        await ctx.until(lambda: values(ctx, "s/o") == [7, 8])
    assert not ctx.stats.reasons


async def test_a_device_that_ends_an_observation_with_a_value_is_polled_then(ctx):
    async with (
        scripted(observed_by()) as peer,
        adapter_of(ctx, devices={"s": device(peer.port, observe={"o": "/o"}, every="80ms")}),
    ):
        await ctx.until(lambda: values(ctx, "s/o") == [0])
        peer.answer = lambda _, request: [piggybacked(request, b"2")]
        peer.send(separate(registrations(peer)[0], b"1"))
        await ctx.until(lambda: len(values(ctx, "s/o")) == 4)
        assert ctx.expected == {"s": 0.08}
    assert values(ctx, "s/o") == [0, 1, 2, 2]
    assert not ctx.stats.reasons


async def test_a_device_that_ends_an_observation_with_an_error_is_asked_again_later(ctx):
    async with scripted(observed_by()) as peer, adapter_of(ctx, devices={"s": device(peer.port, observe={"o": "/o"})}):
        await ctx.until(lambda: values(ctx, "s/o") == [0])
        peer.send(separate(registrations(peer)[0], b"", code=NOT_FOUND))
        await ctx.until(lambda: len(values(ctx, "s/o")) == 2)
    assert reasons(ctx, "s/o") == [Reason.NOT_FOUND]
    assert len({one.token for one in registrations(peer)}) == 2


@pytest.mark.parametrize(
    "options",
    [
        b"\x61\x05" + b"\x8d\xbb" + b"\xff" * 200,  # Observe, and a Max-Age of 200 bytes
        b"\x6d\x07" + b"\xff" * 20,  # an Observe of 20 bytes
        b"\x61\x05" + b"\x6d\x07" + b"\xff" * 20,  # a Content-Format of 20 bytes
        b"\x61\x05" + b"\xdd\x04\x07" + b"\xff" * 20,  # a Block2 of 20 bytes
        b"\x61\x05" + b"\x00" * 60_000,
    ],
)
async def test_options_that_cannot_be_stop_nothing(ctx, options):
    problems = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: problems.append(context))
    async with (
        scripted(observed_by()) as peer,
        adapter_of(ctx, devices={"s": device(peer.port, observe={"o": "/o"}, poll={"p": "/p"})}),
    ):
        await ctx.until(lambda: values(ctx, "s/o") and values(ctx, "s/p"))
        asked = registrations(peer)[0]
        head = Message(code=CONTENT, _mtype=CON, _mid=7, _token=asked.token).encode()
        peer.send_bytes(head + options + b"\xff9")
        seen = len(values(ctx, "s/p"))
        await ctx.until(lambda: len(values(ctx, "s/p")) > seen + 2)
        peer.send(separate(registrations(peer)[-1], b"1", observe=20))
        await ctx.until(lambda: 1 in values(ctx, "s/o") or reasons(ctx, "s/o"))
    assert problems == []
    assert {word for _, _, word in ctx.samples("s/p")} == {q.GOOD}


async def test_garbage_is_kept_for_who_looks_for_it(ctx):
    async with scripted(observed_by()) as peer, adapter_of(ctx, devices={"s": device(peer.port, observe={"o": "/o"})}):
        await ctx.until(lambda: values(ctx, "s/o"))
        peer.send_bytes(b"\x40")
        peer.send_bytes(b"\x60\x45\x00\x01" + b"\x00" * 65)
        await ctx.until(lambda: len(ctx.rejected) == 2)
    assert ctx.rejected[0] == ("malformed", f"127.0.0.1:{peer.port}", b"\x40", "")
    assert ctx.stats.reasons["malformed"] == 2


async def test_a_registration_under_a_key_is_renewed_by_another_one(ctx, tmp_path):
    """OSCORE chooses its tokens itself; the device forgets the old one at its next notification."""
    value = Value(b"1")
    with oscore_peers.peer_context(tmp_path / "peer") as context:
        async with oscore_peers.device(context, {"/t": value}) as (_, port):
            options = {"url": f"coap://127.0.0.1:{port}", "security": "plant", "timeout": "2s"}
            devices = {"d": options | {"observe": {"t": "/t"}, "refresh": "80ms"}}
            async with adapter_of(ctx, security={"plant": {"oscore": oscore_peers.KEY}}, devices=devices):
                await ctx.until(lambda: len(values(ctx, "d/t")) > 3)
                value.set(b"2")
                await ctx.until(lambda: 2 in values(ctx, "d/t"))
    assert not ctx.stats.reasons
