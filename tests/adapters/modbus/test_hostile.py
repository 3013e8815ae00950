"""Tens of thousands of hostile answers: not one value is taken for another point's, or for another time's.

Each register says where and when it was read: its word is a hash of unit, table, address and the number of
the request. So whatever is taken that was not the answer to the very request is seen. Not among the
answers is what no one can tell: bytes that are, each and all, those of a right answer.
"""

from __future__ import annotations

import contextlib
import os
import random
import struct
from dataclasses import dataclass
from functools import partial

import pytest

from adapters.modbus.framing import DatagramFraming, MbapFraming, RtuFraming, _frames_only
from adapters.modbus.pdu import AnswerError, Request, read_request
from adapters.modbus.pipelined import PipelinedFraming
from adapters.modbus.place import Table
from gateway.errors import LinkError
from tests.adapters.modbus.peers import Peer, device, frame, modbus, point
from tests.adapters.modbus.test_framing import sealed
from tests.support.context import RecordingContext, running

HOSTILE = int(os.environ.get("ONPATH_HOSTILE", "25000"))
"""Beside right ones: of all requests, a third more, one in fifteen gets just its answer. ``make torture`` sets more."""
TABLES = [Table.HOLDING, Table.INPUT]


def words(unit, table, address, count, number):
    """What the registers hold when request ``number`` reads them."""
    seed = (unit * 7919 + (table is Table.INPUT) * 104729 + number * 15485863) & 0xFFFFFFFF
    found = []
    for i in range(address, address + count):
        mixed = (seed ^ (i * 0x9E3779B1)) * 0x85EBCA6B & 0xFFFFFFFF
        found.append((mixed ^ mixed >> 15) & 0xFFFF)
    return struct.pack(f">{count}H", *found)


@dataclass(frozen=True)
class Asked:
    """A request with the answer that belongs to it."""

    unit: int
    table: Table
    address: int
    count: int
    number: int

    @property
    def request(self) -> Request:
        return read_request(self.unit, self.table, self.address, self.count)

    @property
    def data(self) -> bytes:
        return words(self.unit, self.table, self.address, self.count, self.number)

    @property
    def pdu(self) -> bytes:
        return bytes([3 if self.table is Table.HOLDING else 4, 2 * self.count]) + self.data


def some(chance, number):
    table = chance.choice(TABLES)
    return Asked(chance.randrange(1, 5), table, chance.randrange(200), chance.choice([1, 2, 2, 10, 60]), number)


def wrong_pdu(chance, one):
    """An answer that claims to be the one asked for, and is not."""
    other = some(chance, one.number + 1)
    match chance.randrange(5):
        case 0:  # function
            return bytes([7 - one.pdu[0]]) + one.pdu[1:]
        case 1:  # count, and a byte count that goes with it
            fewer = Asked(one.unit, one.table, one.address, one.count % 100 + 1, one.number + 1)
            return fewer.pdu
        case 2:  # byte count
            return bytes([one.pdu[0], one.pdu[1] ^ 1]) + other.data[: len(one.data)]
        case 3:
            return bytes([one.pdu[0] | 0x80, chance.randrange(256)])
        case _:
            return chance.randbytes(chance.randrange(1, 40))


def right(answer, one):
    return answer == one.data


class Tcp:
    """Hostile answers with transaction ids; ``serial`` counts the transactions."""

    def __init__(self, chance):
        self.chance = chance
        self.past = [(0, some(chance, 0))]

    def late(self):
        transaction, one = self.chance.choice(self.past[-20:])
        return frame(transaction, one.unit, one.pdu)

    def segments(self, transaction, one):
        """What arrives on one request, in segments; the last of them may be the right answer."""
        chance, whole = self.chance, frame(transaction, one.unit, one.pdu)
        other = some(chance, one.number + 1)
        foreign = frame(transaction ^ chance.randrange(1, 0x10000), other.unit, other.pdu)
        kinds = {
            "right": lambda: [whole],
            "wrong id": lambda: [foreign],
            "wrong unit": lambda: [frame(transaction, one.unit + 1, other.pdu)],
            "wrong": lambda: [frame(transaction, one.unit, wrong_pdu(chance, one))],
            "late": lambda: [self.late()],
            "truncated": lambda: [whole[: chance.randrange(1, len(whole))]],
            "short, then another": lambda: self.short(whole, foreign),
            "merged": lambda: [self.late() + whole],
            "merged behind": lambda: [whole + self.late()],
            "merged, in pieces": lambda: self.cut(self.late() + foreign + whole + foreign),
            "echo": lambda: [frame(transaction, one.unit, one.request.pdu)],
            "length": lambda: [frame(transaction, one.unit, one.pdu, length=chance.randrange(0x10000))],
            "noise": lambda: [chance.randbytes(chance.randrange(1, 60))],
            "noise before": lambda: [chance.randbytes(chance.randrange(1, 20)) + whole],
            "nothing": list,
        }
        return kinds[chance.choice(list(kinds))]()

    def cut(self, data):
        at = sorted(self.chance.sample(range(1, len(data)), 2))
        return [data[: at[0]], data[at[0] : at[1]], data[at[1] :]]

    def short(self, whole, foreign):
        """An answer of which some bytes are missing, and another one at once."""
        missing = self.chance.randrange(1, len(whole) - 8)
        return [] if missing == len(foreign) else [whole[:-missing] + foreign]


def outcome(framing, segments):
    """What a framing takes, or None."""
    try:
        for segment in segments:
            answer = framing.receive(segment)
            if answer is not None:
                return answer
    except AnswerError:
        return None
    framing.give_up()
    return None


@pytest.mark.parametrize(("kind", "n"), [(MbapFraming, HOSTILE * 4 // 5), (DatagramFraming, HOSTILE // 10)])
def test_answers_with_transaction_ids(kind, n):
    chance, framing = random.Random(20), kind()
    peer, taken = Tcp(chance), 0
    for number in range(1, n + 1):
        one = some(chance, number)
        transaction = int.from_bytes(framing.send(one.request)[:2], "big")
        answer = outcome(framing, peer.segments(transaction, one))
        assert answer is None or right(answer, one)
        taken += answer is not None
        peer.past.append((transaction, one))
        del peer.past[:-20]
    assert n * 0.15 < taken < n * 0.5, "the right ones are taken"


def completes(short, segment):
    """Whether noise makes a short answer as long as it says: the bytes of a right one, so that none can tell."""
    if len(short) < 6:
        return False
    missing = 6 + int.from_bytes(short[4:6], "big") - len(short)
    return len(segment) >= missing and _frames_only(segment[missing:])


def test_answers_to_several_requests_under_way():
    chance, framing = random.Random(21), PipelinedFraming()
    peer, n, taken, number = Tcp(chance), HOSTILE // 5, 0, 0
    for _ in range(n // 4):
        under_way = {}
        for _ in range(4):
            number += 1
            one = some(chance, number)
            under_way[framing.send(one.request)[0]] = one
        order = chance.sample(list(under_way.items()), 4)
        for transaction, one in order:
            segments = peer.segments(transaction, one)
            if framing._buffer:  # a new answer begins a new segment
                segments = [b"".join(segments)]
            for segment in segments:
                if completes(framing._buffer, segment):
                    continue
                for answered, found in framing.receive(segment):
                    asked = under_way.pop(answered)
                    assert isinstance(found, AnswerError) or right(found, asked)
                    taken += not isinstance(found, AnswerError)
        for transaction in list(under_way):
            framing.give_up(transaction)
        peer.past += order
        del peer.past[:-20]
    assert n * 0.05 < taken < n * 0.5


def serial_segments(chance, past, one):
    """What arrives on a serial line; late answers to the same question are the line's part (it waits)."""
    whole, other = sealed(one.unit, one.pdu), some(chance, one.number + 1)
    stale = [late for late in past if late.request.head != one.request.head or late.unit != one.unit]
    late = sealed(stale[-1].unit, stale[-1].pdu) if stale else b""
    other_unit = sealed(one.unit + 1, other.pdu)
    sent = sealed(one.unit, one.request.pdu)
    wrong = wrong_pdu(chance, one)
    kinds = [
        [whole],
        [sent + whole],
        [sent, whole],
        [other_unit],
        [sealed(one.unit, wrong)] if not wrong.startswith(one.request.head) else [],
        [late],
        [late + whole],
        [late, whole],
        [whole[: chance.randrange(1, len(whole))]],
        [whole[:-3] + late],
        [chance.randbytes(7) + whole],
        [bytes([whole[0]]) + whole],
        [whole[:4] + bytes([whole[4] ^ 1 << chance.randrange(8)]) + whole[5:]],
        [chance.randbytes(chance.randrange(1, 80))],
        [],
    ]
    return chance.choice(kinds)


def test_answers_on_a_serial_line():
    chance, framing, past = random.Random(22), RtuFraming(), []
    n, taken = HOSTILE // 5, 0
    for number in range(1, n + 1):
        one = some(chance, number)
        framing.send(one.request)
        answer = outcome(framing, serial_segments(chance, past, one))
        assert answer is None or right(answer, one)
        taken += answer is not None
        if answer is None and chance.random() < 0.3:
            framing.receive(sealed(one.unit, one.pdu))  # late, before the next request
        past = [*past[-3:], one]
    assert n * 0.3 < taken < n * 0.8


def over(peer, task):
    return len(peer.requests) >= 1500 or task.done()


async def test_hostile_answers_over_a_socket():
    chance = random.Random(23)
    hostile, legit, number = Tcp(chance), {}, 0

    def script(transaction, unit, pdu):
        nonlocal number
        number += 1
        table = Table.HOLDING if pdu[0] == 3 else Table.INPUT
        address, count = struct.unpack(">HH", pdu[1:])
        one = Asked(unit, table, address, count, number)
        whole = frame(transaction, unit, one.pdu)
        segments = hostile.segments(transaction, one)
        hostile.past = [*hostile.past[-20:], (transaction, one)]
        if any(whole in segment for segment in [*segments, b"".join(segments)]):
            for i, (word,) in enumerate(struct.iter_unpack(">H", one.data)):
                legit.setdefault((unit, table, address + i), set()).add(word)
        return segments

    points = {f"{table}{i}": point(f"{table}:{10 * i}") for table in TABLES for i in range(8)}
    async with Peer(script) as peer:
        ctx = RecordingContext()
        devices = {f"m{unit}": device(unit, 0.001, points, max_gap=unit) for unit in (1, 2, 3)}
        adapter = modbus(peer.url, devices, timeout=0.003).create()
        while len(peer.requests) < 1500:
            with contextlib.suppress(LinkError):  # what makes no sense three times in a row ends a connection
                async with running(adapter, ctx) as task:
                    await ctx.until(partial(over, peer, task), 60)
    good = 0
    for unit in (1, 2, 3):
        for table in TABLES:
            for i in range(8):
                for _, value, quality in ctx.samples(f"m{unit}/{table}{i}"):
                    good += quality == 0
                    assert quality or int(value) in legit[unit, table, 10 * i]
    assert good > 200
