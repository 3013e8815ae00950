"""What goes over the wire when devices are asked: one thing at a time, again when it is lost, and no longer than
somebody waits for it (RFC 7252, 4). The peers are scripted."""

import asyncio
import itertools

import pytest
from aiocoap import VALID, Message
from aiocoap.numbers.codes import EMPTY, GET
from aiocoap.numbers.types import ACK, CON, NON, RST

from gateway import quality as q
from gateway.quality import Reason, reason_codes
from tests.adapters.coap.peers import adapter_of
from tests.adapters.coap.scripted import acknowledged, path_of, piggybacked, scripted, separate


def device(port, **options):
    return {"url": f"coap://127.0.0.1:{port}", "timeout": "1s", "every": "50ms"} | options


def values(ctx, name):
    return [value for _, value, word in ctx.samples(name) if word == q.GOOD]


def reasons(ctx, name):
    frame = ctx.frame
    chosen = (frame.point == ctx.points.find(name)) & (frame.quality != 0)
    return [Reason(code) for code in reason_codes(frame.value[chosen])]


class OneAtATime:
    """Answers late, and notes what is asked before the last question was acknowledged."""

    def __init__(self) -> None:
        self.open: set[int] = set()
        self.most = 0

    def __call__(self, peer, request):
        if request.mtype is CON:
            self.open.add(request.mid)
            self.most = max(self.most, len(self.open))
            asyncio.get_running_loop().call_later(0.005, self._acknowledge, peer, request)

    def _acknowledge(self, peer, request):
        self.open.discard(request.mid)
        observe = 1 if request.opt.observe == 0 else None
        if path_of(request) == "/slow":
            peer.send(acknowledged(request))
            peer.send(separate(request))
        elif not peer.transport.is_closing():
            peer.send(piggybacked(request, observe=observe))


async def test_one_question_at_a_time_reaches_an_address(ctx):
    answer = OneAtATime()
    async with scripted(answer) as peer:
        polls = {"p": "/p", "slow": "/slow"}
        observed = {f"o{n}": f"/o{n}" for n in range(4)}
        devices = {
            "a": device(peer.port, poll=polls, observe=observed, refresh="60ms"),
            "b": device(peer.port, poll=polls, observe=observed, refresh="60ms"),
        }
        async with adapter_of(ctx, devices=devices):
            await ctx.until(lambda: all(len(values(ctx, f"{d}/{p}")) > 3 for d in "ab" for p in (*polls, *observed)))
    assert answer.most == 1
    assert not ctx.stats.reasons


async def test_a_lost_question_is_sent_again_with_growing_waits(ctx):
    async with scripted(lambda *_: None) as peer:
        options = {"ack_timeout": "40ms", "max_retransmit": 2, "timeout": "5s", "every": "10s"}
        async with adapter_of(ctx, devices={"s": device(peer.port, poll={"p": "/p"}, **options)}):
            await ctx.until(lambda: ctx.samples("s/p"))
    assert reasons(ctx, "s/p") == [Reason.TIMEOUT]
    assert ("s", False, "no answer") in ctx.links
    first, second, third = peer.requests
    assert first.raw == second.raw == third.raw
    assert second.at - first.at > 0.035
    assert third.at - second.at > 0.07


async def test_an_answer_to_a_repeated_question_is_taken(ctx):
    def answer(peer, request):
        copies = [one for one in peer.requests if one.mid == request.mid]
        return [piggybacked(request, b"7")] if len(copies) == 3 else None

    async with scripted(answer) as peer:
        options = {"ack_timeout": "20ms", "timeout": "5s"}
        async with adapter_of(ctx, devices={"s": device(peer.port, poll={"p": "/p"}, **options)}):
            await ctx.until(lambda: values(ctx, "s/p"))
    assert not ctx.stats.reasons


async def test_a_question_that_nobody_waits_for_is_taken_back(ctx):
    async with scripted(lambda *_: None) as peer:
        options = {"ack_timeout": "80ms", "max_retransmit": 20, "timeout": "100ms", "every": "1ms"}
        async with adapter_of(ctx, devices={"s": device(peer.port, poll={"p": "/p"}, **options)}):
            await ctx.until(lambda: len(ctx.samples("s/p")) == 4)
    questions = dict.fromkeys(request.mid for request in peer.requests)
    order = [request.mid for request in peer.requests]
    assert len(questions) >= 4
    for mid in questions:  # once another was sent, the old one never comes again
        last = len(order) - 1 - order[::-1].index(mid)
        assert order[order.index(mid) : last + 1] == [mid] * (last + 1 - order.index(mid))


async def test_those_that_wait_for_a_silent_device_do_not_ask_it_one_by_one(ctx):
    async with scripted(lambda *_: None) as peer:
        options = {"timeout": "200ms", "every": "10s", "ack_timeout": "10s"}
        observed = {f"o{n}": f"/o{n}" for n in range(20)}
        async with adapter_of(ctx, devices={"s": device(peer.port, observe=observed, **options)}):
            await ctx.until(lambda: all(reasons(ctx, f"s/{name}") for name in observed))
            asked = len(peer.requests)
    assert asked < 5
    assert ctx.stats.reasons["timeout"] >= 20


async def test_an_answer_whose_acknowledgement_was_lost_ends_the_repetition(ctx):
    def answer(peer, request):
        return [separate(request, b"3", mtype=NON)]

    async with scripted(answer) as peer:
        options = {"ack_timeout": "20ms", "timeout": "5s"}
        async with adapter_of(ctx, devices={"s": device(peer.port, poll={"p": "/p"}, **options)}):
            await ctx.until(lambda: len(values(ctx, "s/p")) > 4)
    mids = [request.mid for request in peer.requests]
    assert len(mids) == len(set(mids))


async def test_a_separate_answer_holds_up_nobody_and_is_acknowledged(ctx):
    slow = []

    def answer(_, request):
        if path_of(request) == "/slow":
            slow.append(request)
            return [acknowledged(request)]
        return [piggybacked(request, observe=1 if request.opt.observe == 0 else None)]

    async with scripted(answer) as peer:
        devices = {
            "a": device(peer.port, poll={"slow": "/slow"}, timeout="10s"),
            "b": device(peer.port, poll={"p": "/p"}, observe={"o": "/o"}),
        }
        async with adapter_of(ctx, devices=devices):
            await ctx.until(lambda: slow and len(values(ctx, "b/p")) > 3 and values(ctx, "b/o"))
            assert not values(ctx, "a/slow")
            late = separate(slow[0], b"9")
            peer.send(late)
            await ctx.until(lambda: values(ctx, "a/slow") == [9])
            await ctx.until(lambda: any(one.mtype is ACK and one.mid == late.mid for one in peer.seen))
    assert not ctx.stats.reasons


async def test_a_device_that_acknowledges_and_never_answers_is_there(ctx):
    def answer(_, request):
        return [acknowledged(request)] if path_of(request) == "/x" else [piggybacked(request)]

    async with scripted(answer) as peer:
        devices = {"s": device(peer.port, poll={"x": "/x", "y": "/y"}, timeout="100ms")}
        async with adapter_of(ctx, devices=devices):
            await ctx.until(lambda: len(reasons(ctx, "s/x")) > 1 and len(values(ctx, "s/y")) > 1)
    assert set(reasons(ctx, "s/x")) == {Reason.TIMEOUT}
    assert not reasons(ctx, "s/y")
    assert [link for link in ctx.links if link[0] == "s"] == [("s", True, "")]


async def test_a_reset_is_a_refusal(ctx):
    def answer(_, request):
        return [Message(code=EMPTY, _mtype=RST, _mid=request.mid)]

    async with scripted(answer) as peer:
        devices = {"s": device(peer.port, poll={"p": "/p"}, observe={"o": "/o"})}
        async with adapter_of(ctx, devices=devices):
            await ctx.until(lambda: reasons(ctx, "s/p") and reasons(ctx, "s/o"))
    assert set(reasons(ctx, "s/p") + reasons(ctx, "s/o")) == {Reason.REFUSED}


async def test_tokens_cannot_be_guessed(ctx):
    async with (
        scripted(lambda _, request: [piggybacked(request)]) as peer,
        adapter_of(ctx, devices={"s": device(peer.port, poll={"p": "/p"}, every="5ms")}),
    ):
        await ctx.until(lambda: len(peer.requests) > 20)
    tokens = [int.from_bytes(request.token, "big") for request in peer.requests]
    assert all(len(request.token) == 4 for request in peer.requests)
    assert len({after - before for before, after in itertools.pairwise(tokens)}) == len(tokens) - 1


async def test_what_a_client_did_not_ask_for_is_rejected(ctx):
    """A request, and a notification of a registration that nobody has, confirmable or not."""
    async with (
        scripted(lambda _, request: [piggybacked(request)]) as peer,
        adapter_of(ctx, devices={"s": device(peer.port, poll={"p": "/p"})}),
    ):
        await ctx.until(lambda: values(ctx, "s/p"))
        unasked = [
            Message(code=GET, _mtype=CON, _token=b"1"),
            Message(code=GET, _mtype=NON, _token=b"2"),
            separate(Message(_token=b"nobody"), b"666", observe=4),
            separate(Message(_token=b"nobody"), b"666", mtype=NON, observe=5),
            separate(Message(_token=b"nobody"), b"666", mtype=NON),
        ]
        for message in unasked:
            peer.send(message)
        expected = {unasked[n].mid for n in (0, 2, 3)}
        await ctx.until(lambda: {one.mid for one in peer.seen if one.mtype is RST} >= expected)
        seen = len(values(ctx, "s/p"))
        await ctx.until(lambda: len(values(ctx, "s/p")) > seen + 2)
    assert {one.mid for one in peer.seen if one.mtype is RST} == expected
    assert set(values(ctx, "s/p")) == {1.0}


class Tagged:
    """A resource with an entity tag, which answers 2.03 to who has it."""

    def __init__(self) -> None:
        self.payload, self.etag = b"20.5", b"\x01"
        self.valid = 0
        self.mute = False

    def __call__(self, _peer, request):
        if self.mute:
            return None
        if self.etag in request.opt.etags:
            self.valid += 1
            return [piggybacked(request, b"", code=VALID, etag=self.etag)]
        return [piggybacked(request, self.payload, etag=self.etag)]


async def test_a_value_that_the_device_confirms_is_a_sample_of_now(ctx):
    tagged = Tagged()
    async with scripted(tagged) as peer, adapter_of(ctx, devices={"s": device(peer.port, poll={"p": "/p"})}):
        await ctx.until(lambda: len(values(ctx, "s/p")) == 4)
        assert tagged.valid >= 3
        tagged.payload, tagged.etag = b"21.5", b"\x02"
        await ctx.until(lambda: values(ctx, "s/p")[-3:] == [21.5] * 3)
        confirmed = tagged.valid
        assert ctx.stats.devices["s"]["revalidated"] in {confirmed, confirmed - 1}
    times = [time for time, _, _ in ctx.samples("s/p")]
    assert times == sorted(set(times))
    assert not ctx.stats.reasons


async def test_tags_of_a_device_that_was_away_are_forgotten(ctx):
    """It may have restarted, and given an old tag to a new value."""
    tagged = Tagged()
    async with (
        scripted(tagged) as peer,
        adapter_of(ctx, devices={"s": device(peer.port, poll={"p": "/p"}, timeout="60ms")}),
    ):
        await ctx.until(lambda: tagged.valid > 1)
        tagged.mute = True
        await ctx.until(lambda: reasons(ctx, "s/p"))
        tagged.payload, tagged.mute = b"99", False
        await ctx.until(lambda: values(ctx, "s/p")[-1] == 99)
    assert 20.5 not in values(ctx, "s/p")[values(ctx, "s/p").index(99) :]


async def test_a_tag_that_was_not_sent_confirms_nothing(ctx):
    def answer(_, request):
        return [piggybacked(request, b"", code=VALID, etag=b"other")]

    async with scripted(answer) as peer, adapter_of(ctx, devices={"s": device(peer.port, poll={"p": "/p"})}):
        await ctx.until(lambda: reasons(ctx, "s/p"))
    assert set(reasons(ctx, "s/p")) == {Reason.MALFORMED_ANSWER}


def in_blocks(body, tag=lambda: None):
    """Answers in blocks of 16 bytes."""

    def answer(_, request):
        whole = body() if callable(body) else body
        number = request.opt.block2.block_number if request.opt.block2 else 0
        part = whole[16 * number : 16 * number + 16]
        more = 16 * (number + 1) < len(whole)
        return [piggybacked(request, part, block2=(number, more, 0), etag=tag())]

    return answer


async def test_a_body_that_changes_while_it_is_read_is_read_again(ctx):
    asked = []

    def tag():
        asked.append(None)
        return b"\x01" if len(asked) <= 2 else b"\x02"

    async with (
        scripted(in_blocks(b"20.5".rjust(60), tag)) as peer,
        adapter_of(ctx, devices={"s": device(peer.port, poll={"p": "/p"}, timeout="5s")}),
    ):
        await ctx.until(lambda: values(ctx, "s/p"))
    assert not ctx.stats.reasons
    assert len(asked) >= 7


@pytest.mark.parametrize(
    ("answer", "options"),
    [
        (in_blocks(b"1" * 200), {"max_payload": "100B"}),
        (lambda _, request: [piggybacked(request, b"1" * 200)], {"max_payload": "100B"}),
        (lambda _, request: [piggybacked(request, b"", block2=(0, True, 2))], {}),
        (lambda _, request: [piggybacked(request, b"1" * 7, block2=(0, True, 2))], {}),
        (lambda _, request: [piggybacked(request, b"1" * 1024, block2=(0, True, 7))], {}),
        (lambda _, request: [piggybacked(request, b"1" * 16, block2=(0, True, 0), etag=request.token)], {}),
    ],
)
async def test_bodies_that_cannot_be(ctx, answer, options):
    async with scripted(answer) as peer:
        devices = {"s": device(peer.port, poll={"p": "/p"}, timeout="2s", **options)}
        async with adapter_of(ctx, devices=devices):
            await ctx.until(lambda: ctx.samples("s/p"))
    assert set(reasons(ctx, "s/p")) == {Reason.MALFORMED_ANSWER}


async def test_a_resource_is_read_in_blocks_by_one_at_a_time(ctx):
    """A server may keep one transfer of a resource for a client, and begin anew when asked for the first block."""
    transfers = []

    def answer(_, request):
        number = request.opt.block2.block_number if request.opt.block2 else 0
        if number == 0:
            transfers.append(None)
        part, tag = b"1".rjust(60)[16 * number : 16 * number + 16], b"%d" % len(transfers)
        observe = {"observe": 1} if request.opt.observe == 0 else {}
        return [piggybacked(request, part, block2=(number, number < 3, 0), etag=tag, **observe)]

    async with (
        scripted(answer) as peer,
        adapter_of(ctx, devices={n: device(peer.port, poll={"p": "/p"}, observe={"o": "/p"}) for n in "ab"}),
    ):
        await ctx.until(lambda: all(len(values(ctx, f"{n}/p")) > 5 and values(ctx, f"{n}/o") for n in "ab"))
    assert not ctx.stats.reasons
