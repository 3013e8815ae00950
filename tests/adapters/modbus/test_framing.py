"""Requests, answers and frames, without a line."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymodbus.framer import FramerRTU, FramerSocket
from pymodbus.pdu import DecodePDU

from adapters.modbus.framing import MbapFraming, RtuFraming
from adapters.modbus.pdu import AnswerError, quality_of, read_request
from adapters.modbus.place import Table
from adapters.modbus.write_pdu import write_registers
from gateway import quality as q
from gateway.quality import Reason
from tests.adapters.modbus.peers import frame, good

READ = read_request(17, Table.HOLDING, 0x6B, 3)
ANSWER = bytes.fromhex("03 06 022b 0000 0064")  # the example of the standard
DATA = ANSWER[2:]


def sealed(unit, pdu):
    body = bytes([unit]) + pdu
    return body + FramerRTU.compute_CRC(body).to_bytes(2, "big")


def mbap(transaction, unit, pdu):
    return frame(transaction, unit, pdu)


def test_requests_are_those_of_the_standard():
    assert READ.pdu.hex() == "03006b0003"
    assert read_request(1, Table.COIL, 0x13, 0x13).pdu.hex() == "0100130013"
    assert read_request(1, Table.DISCRETE, 0xC4, 0x16).pdu.hex() == "0200c40016"
    assert read_request(1, Table.INPUT, 8, 1).pdu.hex() == "0400080001"


@pytest.mark.parametrize(
    ("table", "address", "count"),
    [(Table.HOLDING, 0, 126), (Table.COIL, 0, 2001), (Table.INPUT, 0, 0), (Table.INPUT, 70000, 1)],
)
def test_impossible_reads_are_refused(table, address, count):
    with pytest.raises(ValueError, match="<="):
        read_request(1, table, address, count)


@given(st.sampled_from(list(Table)), st.integers(0, 65535), st.integers(1, 125), st.integers(0, 255))
def test_pymodbus_understands_what_is_sent(table, address, count, unit):
    request = read_request(unit, table, address, count)
    decoder = DecodePDU(True)
    for framing, framer in ((MbapFraming(), FramerSocket(decoder)), (RtuFraming(), FramerRTU(decoder))):
        used, pdu = framer.handleFrame(framing.send(request), 0, 0)
        assert used > 0
        assert (pdu.function_code, pdu.address, pdu.count, pdu.dev_id) == (
            request.pdu[0],
            address,
            count,
            unit,
        )


def test_standard_answer_over_both():
    tcp, rtu = MbapFraming(), RtuFraming()
    tcp.send(READ)
    rtu.send(READ)
    assert tcp.receive(mbap(1, 17, ANSWER)) == DATA
    assert rtu.receive(sealed(17, ANSWER)) == DATA


@pytest.mark.parametrize("make", [MbapFraming, RtuFraming])
@pytest.mark.parametrize("pdu", [ANSWER, b"\x83\x02", b"\x03\x02\0\0"])
def test_an_answer_may_be_cut_at_every_byte(make, pdu):
    whole = mbap(1, 17, pdu) if make is MbapFraming else sealed(17, pdu)
    for cut in range(len(whole)):
        framing = make()
        framing.send(READ)
        assert framing.receive(whole[:cut]) is None
        outcome = []
        with contextlib.suppress(AnswerError):
            outcome.append(framing.receive(whole[cut:]))
        assert outcome in ([DATA], [], [None])
        assert (outcome == [DATA]) is (pdu is ANSWER)
        # cut off for good: never a value, and the next exchange is clean
        framing = make()
        framing.send(READ)
        assert framing.receive(whole[:cut]) is None
        assert framing.give_up().code is (Reason.MALFORMED_ANSWER if cut else Reason.TIMEOUT)
        framing.send(READ)
        assert framing.receive(mbap(2, 17, ANSWER) if make is MbapFraming else sealed(17, ANSWER)) == DATA


@given(st.lists(st.binary(max_size=40), max_size=8), st.sampled_from([MbapFraming, RtuFraming]))
def test_any_bytes_give_nothing_or_a_named_error(chunks, make):
    framing = make()
    framing.send(READ)
    for chunk in chunks:
        with contextlib.suppress(AnswerError):
            assert framing.receive(chunk) in {None, DATA}
    framing.give_up()
    framing.send(READ)
    answer = mbap(2, 17, ANSWER) if make is MbapFraming else sealed(17, ANSWER)
    assert framing.receive(answer) == DATA


@given(st.binary(min_size=2, max_size=253))
def test_any_answer_gives_data_or_a_reason(pdu):
    try:
        data = READ.data_of(pdu)
    except AnswerError as error:
        assert error.code is not Reason.NONE
        assert quality_of(error.code) & q.VALIDITY == q.INVALID
    else:
        assert pdu == b"\x03\x06" + data
        assert len(data) == 6


@given(st.integers(0, 65535), st.integers(0, 255), st.binary(min_size=1, max_size=20))
def test_only_our_transaction_and_unit_count(transaction, unit, pdu):
    framing = MbapFraming()
    framing.send(READ)
    answer = None
    with contextlib.suppress(AnswerError):
        answer = framing.receive(mbap(transaction, unit, pdu))
    ours = transaction == 1 and unit == 17 and len(pdu) == 8 and pdu[:2] == b"\x03\x06"
    assert (answer is not None) is ours
    assert framing.late == (transaction != 1)


def test_transaction_ids_wrap_without_zero():
    framing = MbapFraming()
    ids = [int.from_bytes(framing.send(READ)[:2], "big") for _ in range(65537)]
    assert ids[:2] == [1, 2]
    assert ids[65534:] == [65535, 1, 2]


def test_a_stray_frame_on_a_line_is_counted_when_nobody_waits():
    framing = RtuFraming()
    assert framing.receive(sealed(17, ANSWER)[:4]) is None
    assert framing.receive(sealed(17, ANSWER)[4:]) is None
    assert framing.late == 1


def test_a_request_echoed_is_not_an_answer():
    """A read of 17 to 24 coils at 0x03xx looks, echoed, just like its own answer would."""
    request = read_request(1, Table.COIL, 0x0300, 20)
    framing = RtuFraming()
    echo = framing.send(request)
    assert echo[:3] == bytes([1, 1, 3])
    assert framing.receive(echo) is None
    assert framing.late == 0
    assert framing.receive(sealed(1, good(request.pdu))) == b"\xff\xff\xff"


def test_a_single_write_is_echoed():
    request = write_registers(1, 5, b"\0\7", function=6)
    for framing, answer in ((MbapFraming(), mbap(1, 1, request.pdu)), (RtuFraming(), sealed(1, request.pdu))):
        framing.send(request)
        assert framing.receive(answer) == b""
    framing = MbapFraming()
    framing.send(request)
    with pytest.raises(AnswerError, match="malformed"):
        framing.receive(mbap(1, 1, request.pdu[:-1] + b"\x08"))


def test_noise_does_not_grow():
    framing = RtuFraming()
    framing.send(READ)
    for _ in range(100):
        framing.receive(b"\x55" * 100)
    assert len(framing._buffer) <= 1024
    assert framing.receive(sealed(17, ANSWER)) == DATA


def test_two_answers_in_one_chunk_are_none():
    """A late answer of the same unit, function and length looks like the next one; RTU has nothing to tell them."""
    framing = RtuFraming()
    framing.send(READ)
    late = sealed(17, bytes.fromhex("03 06 1111 1111 1111"))
    with pytest.raises(AnswerError, match="two answers"):
        framing.receive(late + sealed(17, ANSWER))
    framing.send(READ)
    assert framing.receive(sealed(17, ANSWER)) == DATA
