"""Every behaviour of the scripted peer, over both framings: what the adapter makes of it, and that it recovers."""

from __future__ import annotations

import asyncio

import pytest

from adapters.modbus.line import connect
from adapters.modbus.pdu import AnswerError, read_request
from adapters.modbus.place import Table
from adapters.modbus.url import parse_url
from gateway import quality as q
from gateway.errors import LinkError
from gateway.quality import Reason
from tests.adapters.modbus.bank import crc
from tests.adapters.modbus.faulty import BEHAVIOURS, EXCEPTIONS, FaultyPeer
from tests.adapters.modbus.peers import device, modbus, point
from tests.support.context import RecordingContext, running

GOOD = {"slow", "twice", "echo", "crumbs", "merged", "noise-after", "noise-before"}
"""Behaviours whose answer is still found. On MBAP an echo and noise around an answer ruin it."""
RUINED_ON_MBAP = {"echo", "noise-before", "noise-after"}
WRITES = {name for name in BEHAVIOURS if name.startswith("write-")}
CLOSING = {"closes", "half-and-close"}
TRUE_FORM = {"zeros": 0.0, "sentinels": 65535.0}
ELSEWHERE = {"exception-02", "poison-now"}  # remembered as a hole; cannot be seen in the answer it spoils
READS = sorted(set(BEHAVIOURS) - WRITES - CLOSING - ELSEWHERE)
FRAMINGS = pytest.mark.parametrize("framing", ["mbap", "rtu"])


@FRAMINGS
@pytest.mark.parametrize("name", READS)
async def test_no_foreign_value_and_a_good_one_again_within_a_second(framing, name):
    # of other lengths: on RTU, without transaction ids, nothing else tells two reads of one table apart
    points = {"a": point("holding:7"), "b": point("holding:300", "uint32")}
    async with FaultyPeer(framing) as peer:
        rule = peer.on(name, address=7, nth=2)
        ctx = RecordingContext()
        async with running(modbus(peer.url, {"m": device(points=points)}, timeout=0.1).create(), ctx):
            await ctx.until(lambda: rule.hits)
            since = len(ctx.samples("m/a"))
            async with asyncio.timeout(1.0):
                await ctx.until(lambda: any(s[1:] == (7.0, 0) for s in ctx.samples("m/a")[since + 1 :]))
    allowed = {7.0, TRUE_FORM.get(name, 7.0)}
    assert {value for _, value, quality in ctx.samples("m/a") if not quality} <= allowed
    assert {value for _, value, quality in ctx.samples("m/b") if not quality} <= {300.0 * 65536 + 301}
    spoiled = [s for s in ctx.samples("m/a") if s[2] & q.VALIDITY]
    fine = name in GOOD | set(TRUE_FORM) and not (framing == "mbap" and name in RUINED_ON_MBAP)
    assert bool(spoiled) is not fine


@FRAMINGS
@pytest.mark.parametrize("name", sorted(CLOSING))
async def test_a_connection_that_closes_is_a_link_error(framing, name):
    async with FaultyPeer(framing) as peer:
        peer.on(name, nth=2)
        with pytest.raises(LinkError):
            await modbus(peer.url, {"m": device(points={"a": point("holding:7")})}).create().run(RecordingContext())


async def ask(peer, *, address=7, count=1, unit=1, timeout_s=0.1):
    line = await connect(parse_url(peer.url), timeout_s=timeout_s, pause_s=0)
    try:
        data = await line.exchange(read_request(unit, Table.HOLDING, address, count))
        return [int.from_bytes(data[i : i + 2], "big") for i in range(0, len(data), 2)]
    finally:
        line.close()


@FRAMINGS
@pytest.mark.parametrize("code", EXCEPTIONS)
async def test_every_exception_code(framing, code):
    async with FaultyPeer(framing) as peer:
        peer.on(f"exception-{code:02x}", unit=1)
        with pytest.raises(AnswerError, match=f"exception {code}"):
            await ask(peer)
        assert await ask(peer, unit=2) == [7]


async def test_holes_cut_values_and_long_reads_are_refused():
    async with FaultyPeer() as peer:
        bank = peer.bank(1)
        bank.holes.add(("holding", 10))
        bank.float32("holding", 20, 230.5)
        bank.max_count = 8
        assert await ask(peer, address=20, count=2) == [0x4366, 0x8000]
        for address, count in ((9, 3), (20, 1), (21, 2), (30, 9)):
            with pytest.raises(AnswerError, match="exception 2"):
                await ask(peer, address=address, count=count)
        bank.max_count, bank.max_code = 4, 3
        with pytest.raises(AnswerError, match="exception 3"):
            await ask(peer, count=5)


async def test_poison_spoils_the_answer_behind():
    async with FaultyPeer() as peer:
        peer.bank(1).poison.add(("holding", 50))
        assert [await ask(peer, address=at) for at in (50, 7, 7)] == [[50], [0x6363], [7]]


async def test_the_traits_of_the_whole_peer():
    async with FaultyPeer(swallow_s=0.15, units={1}) as peer:
        with pytest.raises(AnswerError, match="timeout"):
            await ask(peer)
        assert (peer.lost, peer.connections) == (1, 1)
    async with FaultyPeer(pause_s=0.05, units={1}) as peer:
        assert await ask(peer) == [7]
        with pytest.raises(AnswerError, match="timeout"):
            await ask(peer, timeout_s=0.06)
        with pytest.raises(AnswerError, match="timeout"):
            await ask(peer, unit=2)
        assert peer.lost == 1
    async with FaultyPeer(parallel_lost=True, latency_s=0.05) as peer:
        answers = await asyncio.gather(ask(peer), ask(peer, unit=2), return_exceptions=True)
        assert sorted(map(str, answers)) == ["[7]", "timeout"]
    async with FaultyPeer(most_connections=1, latency_s=0.05) as peer:
        answers = await asyncio.gather(ask(peer), ask(peer), return_exceptions=True)
        assert {type(answer) for answer in answers} == {list, LinkError}
        assert peer.refused == 1


async def test_a_modem_dials_in_and_says_who_it_is():
    heard = asyncio.get_running_loop().create_future()

    async def serve(reader, writer):
        hello = await reader.readexactly(4)
        writer.write(bytes.fromhex("0001 0000 0006 01 03 0007 0001"))
        heard.set_result((hello, await reader.readexactly(11)))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server, FaultyPeer() as peer:
        await peer.dial(*server.sockets[0].getsockname(), b"IMEI")
        hello, answer = await asyncio.wait_for(heard, 5)
    assert (hello, answer) == (b"IMEI", bytes.fromhex("0001 0000 0005 01 03 02 0007"))


@FRAMINGS
async def test_writes_and_what_goes_wrong_with_them(framing):
    def asked(pdu):
        return peer.bank(1).answer(bytes.fromhex(pdu)).hex()

    async with FaultyPeer(framing) as peer:
        assert asked("06 0009 1234") == "0600091234"
        assert asked("10 000a 0002 04 0001 0002") == "10000a0002"
        assert asked("05 0003 ff00") == "050003ff00"
        assert asked("05 0003 1234") == "8503"
        assert asked("0f 0000 000a 02 cd01") == "0f0000000a"
        assert asked("16 0009 00f2 0025") == "16000900f20025"
        assert asked("03 0009 0003") == "0306" + "0035" + "0001" + "0002", "the standard's (a & mask) | (or & ~mask)"
        assert asked("01 0000 000a") == "0102cd01"
        assert asked("17 0000") == "9701"
        assert asked("03 0000") == "8303"
        assert [write[0] for write in peer.bank(1).writes] == [6, 16, 5, 15, 22]


@pytest.mark.parametrize(
    ("name", "answer", "kept"),
    [
        ("write-dropped", "06000904d2", 9),
        ("write-clamped", "06000904d2", 1),
        ("write-unheard", "", 1234),
        ("write-wrong-echo", "06000904d3", 1234),
        ("exception-04", "8604", 9),
    ],
)
async def test_each_way_a_write_can_fail(name, answer, kept):
    async with FaultyPeer() as peer:
        peer.on(name, function=6)
        reader, writer = await asyncio.open_connection("127.0.0.1", peer.port)
        writer.write(bytes.fromhex("0005 0000 0006 01 06 0009 04d2") + bytes.fromhex("0006 0000 0006 01 03 0009 0001"))
        written = (bytes.fromhex(f"0005 0000 {1 + len(answer) // 2:04x} 01") + bytes.fromhex(answer)) if answer else b""
        expected = written + bytes.fromhex("0006 0000 0005 01 03 02") + kept.to_bytes(2, "big")
        assert await reader.readexactly(len(expected)) == expected
        writer.close()
        await writer.wait_closed()


async def test_identification_comes_in_parts():
    bank = FaultyPeer().bank(1)
    assert bank.answer(bytes.fromhex("2b 0e 01 00")).hex() == "ab01"
    bank.objects = {0: "maker", 1: "x" * 200, 2: "1.0", 5: "model " + "y" * 60}
    first = bank.answer(bytes.fromhex("2b 0e 02 00"))
    assert first[:7].hex() == "2b0e0283ff0503"
    assert bank.answer(bytes.fromhex("2b 0e 02 05"))[4:7].hex() == "000001"


def test_the_check_sum_is_that_of_the_standard():
    assert crc(bytes.fromhex("01 03 0000 0001")).hex() == "840a"


def test_a_time_out_is_the_adapters_word():
    assert Reason.TIMEOUT.text == "timeout"
