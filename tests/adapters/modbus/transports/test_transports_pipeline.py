"""Several requests under way on one connection, told apart by their transaction ids."""

from __future__ import annotations

import asyncio
import contextlib
import random
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.modbus.line import connect
from adapters.modbus.parallel import ParallelLine
from adapters.modbus.pdu import AnswerError, read_request
from adapters.modbus.pipelined import PipelinedFraming
from adapters.modbus.place import Table
from adapters.modbus.url import parse_url
from gateway.errors import LinkError
from gateway.quality import Reason
from tests.adapters.modbus.peers import device, frame, good, modbus, point
from tests.support.context import RecordingContext, running


def ask(address, unit=1, count=1):
    return read_request(unit, Table.HOLDING, address, count)


def words(*values):
    return struct.pack(f">{len(values)}H", *values)


class Bag:
    """A peer that collects requests; ``script(batch)`` of (transaction, unit, pdu) gives bytes to write."""

    def __init__(self, size, script):
        self.size, self.script = size, script
        self.most = 0
        self.batches = 0
        self.tasks = set()
        self.writers = []
        self.news = asyncio.Event()

    async def __aenter__(self):
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"tcp://127.0.0.1:{self.server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_):
        self.server.close()
        self.drop()
        await asyncio.gather(*self.tasks)
        await self.server.wait_closed()

    def drop(self):
        for writer in self.writers:
            writer.transport.abort()

    async def until_asked(self, count):
        while self.most < count:
            self.news.clear()
            await self.news.wait()

    async def _serve(self, reader, writer):
        self.tasks.add(asyncio.current_task())
        self.writers.append(writer)
        batch = []
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                transaction, _, length, unit = struct.unpack(">HHHB", await reader.readexactly(7))
                batch.append((transaction, unit, await reader.readexactly(length - 1)))
                self.most = max(self.most, len(batch))
                self.news.set()
                if len(batch) == self.size:
                    self.batches += 1
                    for item in self.script(batch):
                        writer.write(item)
                    batch = []
        writer.close()


@contextlib.asynccontextmanager
async def line_to(url, depth, timeout_s=0.3):
    line = await connect(parse_url(url), timeout_s=timeout_s, depth=depth)
    try:
        yield line
    finally:
        line.close()


async def outcomes(line, requests):
    return await asyncio.gather(*(line.exchange(request) for request in requests), return_exceptions=True)


def reason_of(error):
    assert isinstance(error, AnswerError)
    return error.code


async def test_answers_in_any_order_reach_who_asked():
    def script(batch):
        random.shuffle(batch)
        return [b"".join(frame(t, u, good(p)) for t, u, p in batch)]

    async with Bag(8, script) as peer, line_to(peer.url, 8) as line:
        got = await outcomes(line, [ask(100 + i, unit=i % 3) for i in range(40)])
    assert isinstance(line, ParallelLine)
    assert got == [words(100 + i) for i in range(40)]
    assert (peer.most, peer.batches) == (8, 5)
    assert line.framing.late == 0


async def test_no_more_than_the_depth_is_under_way():
    async with Bag(100, lambda _: []) as peer, line_to(peer.url, 3, timeout_s=0.1) as line:
        got = await outcomes(line, [ask(i) for i in range(4)])
        assert {reason_of(error) for error in got} == {Reason.TIMEOUT}
        assert peer.most == 4, "the fourth went out when the first had timed out"
        asking = asyncio.gather(*(line.exchange(ask(i)) for i in range(10)), return_exceptions=True)
        await asyncio.sleep(0.03)
        assert peer.most == 7
        line.close()
        assert all(isinstance(error, (AnswerError, LinkError)) for error in await asking)


async def test_late_and_doubled_answers_are_counted_and_never_attributed():
    held = []

    def script(batch):
        late, held[:] = list(held), [frame(t, u, good(p, 999)) for t, u, p in batch]
        return [] if not late else [*late, *(frame(t, u, good(p)) for t, u, p in batch)] * 2

    async with Bag(4, script) as peer, line_to(peer.url, 4, timeout_s=0.1) as line:
        first = await outcomes(line, [ask(i) for i in range(4)])
        second = await outcomes(line, [ask(i) for i in range(4)])
        assert {reason_of(error) for error in first} == {Reason.TIMEOUT}
        assert second == [words(i) for i in range(4)]
        held.clear()
        await outcomes(line, [ask(0)])
        assert line.framing.late == 4 + 8, "four of the first round, then everything once more"


async def test_nonsense_fails_what_is_under_way_and_the_next_is_good():
    def script(batch):
        answers = [frame(t, u, good(p)) for t, u, p in batch]
        if peer.batches == 1:
            answers[2:2] = [b"\xff\xff\xff\xff\xff\xff\xff\xff"]
        return [b"".join(answers)]

    async with Bag(4, script) as peer, line_to(peer.url, 4) as line:
        first = await outcomes(line, [ask(i) for i in range(4)])
        second = await outcomes(line, [ask(i) for i in range(4)])
    assert {reason_of(error) for error in first} == {Reason.MALFORMED_ANSWER}
    assert second == [words(i) for i in range(4)]


async def test_a_frame_that_is_short_of_a_byte_does_not_take_it_from_the_next():
    def script(batch):
        answers = [frame(t, u, good(p)) for t, u, p in batch]
        return [answers[0][:-1], b"".join(answers[1:])] if peer.batches == 1 else answers

    async with Bag(4, script) as peer, line_to(peer.url, 4) as line:
        first = await outcomes(line, [ask(0x1234 + i) for i in range(4)])
        second = await outcomes(line, [ask(i) for i in range(4)])
    assert {reason_of(error) for error in first} <= {Reason.MALFORMED_ANSWER, Reason.TIMEOUT}
    assert second == [words(i) for i in range(4)]


async def test_a_stream_that_makes_no_sense_three_times_is_closed():
    async with Bag(1, lambda _: [b"SSH-2.0-OpenSSH\r\n"]) as peer, line_to(peer.url, 2) as line:
        for _ in range(3):
            with pytest.raises((AnswerError, LinkError)):
                await line.exchange(ask(0))
        with pytest.raises(LinkError, match="no sense"):
            await line.exchange(ask(0))


async def test_a_connection_that_goes_fails_all_that_wait():
    async with Bag(100, lambda _: []) as peer, line_to(peer.url, 4, timeout_s=5) as line:
        asking = asyncio.gather(*(line.exchange(ask(i)) for i in range(8)), return_exceptions=True)
        await peer.until_asked(4)
        peer.drop()
        assert {type(error) for error in await asyncio.wait_for(asking, 2)} == {LinkError}


async def test_an_exchange_that_is_cancelled_leaves_the_others_alone():
    def script(batch):
        return [frame(t, u, good(p)) for t, u, p in batch]

    async with Bag(3, script) as peer, line_to(peer.url, 3) as line:
        doomed = asyncio.create_task(line.exchange(ask(1)))
        await peer.until_asked(1)
        doomed.cancel()
        with pytest.raises(asyncio.CancelledError):
            await doomed
        assert await outcomes(line, [ask(2), ask(3)]) == [words(2), words(3)]
        assert line.framing.late == 1


async def test_times_are_those_of_the_exchange_that_has_just_returned():
    loop = asyncio.get_running_loop()

    async def timed(line, address, wait):
        await asyncio.sleep(wait)
        before = loop.time()
        await line.exchange(ask(address))
        return before, line.sent_at, line.answered_at, loop.time()

    def script(batch):
        return [frame(t, u, good(p)) for t, u, p in reversed(batch)]

    async with Bag(3, script) as peer, line_to(peer.url, 3, timeout_s=2) as line:
        times = await asyncio.gather(*(timed(line, i, 0.03 * i) for i in range(3)))
    for before, sent, answered, after in times:
        assert before <= sent < before + 0.02
        assert sent <= answered <= after
    assert times[0][1] + 0.05 < times[2][1]


async def test_a_whole_adapter_polls_through_a_pipeline():
    points = {f"p{i}": point(f"holding:{i * 7}") for i in range(20)}
    devices = {name: device(unit, points=points, max_gap=0) for unit, name in enumerate("mno")}
    ctx = RecordingContext()
    async with (
        Bag(3, lambda batch: [frame(t, u, good(p)) for t, u, p in reversed(batch)]) as peer,
        running(modbus(peer.url, devices, timeout=1.0, pipeline=3).create(), ctx),
    ):
        await ctx.until(lambda: all(len(ctx.samples(f"{name}/p0")) >= 3 for name in "mno"))
    for name in "mno":
        assert all({s[1:] for s in ctx.samples(f"{name}/p{i}")} == {(7.0 * i, 0)} for i in range(20))
    assert peer.most == 3
    assert not ctx.stats.reasons


# --- the framing alone --------------------------------------------------------------------------------

HOSTILE = {
    "right": lambda t, u, p: frame(t, u, good(p)),
    "another id": lambda t, u, p: frame(t + 1000, u, good(p, 0xDEAD)),
    "another unit": lambda t, u, p: frame(t, u + 1, good(p, 0xDEAD)),
    "another function": lambda t, u, p: frame(t, u, b"\x04" + good(p, 0xDEAD)[1:]),
    "another count": lambda t, u, p: frame(t, u, b"\x03\x08" + b"\xde\xad" * 4),
    "byte count lies": lambda t, u, p: frame(t, u, b"\x03\x03" + b"\xde\xad" * ((len(good(p)) - 2) // 2)),
    "exception": lambda t, u, p: frame(t, u, b"\x83\x04"),
    "nothing": lambda t, u, p: b"",
    "noise": lambda t, u, p: b"\xde\xad\xbe\xef" * 3,
    "cut": lambda t, u, p: frame(t, u, good(p))[:-1],
}


@given(
    st.lists(st.tuples(st.sampled_from(list(HOSTILE)), st.integers(1, 3)), min_size=1, max_size=8),
    st.randoms(use_true_random=False),
    st.integers(1, 40),
)
def test_hostile_answers_give_the_right_value_or_none(kinds, chance, cut):
    """Each answer holds the addresses asked for, so a value of another question would show."""
    framing = PipelinedFraming()
    asked = {}
    sent = []
    for i, (kind, count) in enumerate(kinds):
        request = ask(1000 * (i + 1), unit=i, count=count)
        transaction, wire = framing.send(request)
        assert wire == frame(transaction, i, request.pdu)
        asked[transaction] = words(*(1000 * (i + 1) + j for j in range(count)))
        sent.append(HOSTILE[kind](transaction, i, request.pdu))
    if all(kind != "cut" for kind, _ in kinds):
        chance.shuffle(sent)
    stream = b"".join(sent)
    for at in range(0, len(stream), cut):
        for transaction, outcome in framing.receive(stream[at : at + cut]):
            wanted = asked.pop(transaction)
            if isinstance(outcome, bytes) and all(kind != "cut" for kind, _ in kinds):
                assert outcome == wanted
            elif isinstance(outcome, bytes):
                assert outcome[:-1] == wanted[:-1], "at most the end that was not sent is unknown"
    for transaction in asked:
        assert framing.give_up(transaction).silent
    transaction, _ = framing.send(ask(7))
    framing.receive(b"")
    if not framing._buffer:
        assert framing.receive(frame(transaction, 1, good(ask(7).pdu))) == [(transaction, words(7))]


@given(st.lists(st.binary(max_size=300), max_size=8))
def test_any_bytes_give_nothing_or_a_named_error(chunks):
    framing = PipelinedFraming()
    for i in range(4):
        framing.send(ask(0x4142 + i, unit=0x43))
    for chunk in chunks:
        for _, outcome in framing.receive(chunk):
            assert isinstance(outcome, (AnswerError, bytes))
    assert len(framing._buffer) < 7 + 254


def test_an_answer_may_be_cut_at_every_byte():
    framing = PipelinedFraming()
    asked = [framing.send(ask(i))[0] for i in range(2)]
    whole = b"".join(frame(t, 1, good(ask(i).pdu)) for i, t in enumerate(asked))
    for cut in range(1, len(whole)):
        framing = PipelinedFraming()
        for i in range(2):
            framing.send(ask(i))
        got = framing.receive(whole[:cut]) + framing.receive(whole[cut:])
        assert got == [(1, words(0)), (2, words(1))]


def test_transaction_ids_wrap_without_zero_and_past_those_under_way():
    framing = PipelinedFraming()
    oldest, _ = framing.send(ask(1))
    assert oldest == 1
    for _ in range(65534):
        framing.give_up(framing.send(ask(2))[0])
    assert framing.send(ask(3))[0] == 2
    assert framing.receive(frame(1, 1, good(ask(1).pdu))) == [(1, words(1))]
