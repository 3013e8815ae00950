"""ASCII frames, without a line."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymodbus.framer import FramerAscii
from pymodbus.pdu import DecodePDU

from adapters.modbus.ascii import AsciiFraming
from adapters.modbus.pdu import AnswerError, Request, read_request
from adapters.modbus.place import Table
from gateway.quality import Reason
from tests.adapters.modbus.peers import good

READ = read_request(17, Table.HOLDING, 0x6B, 3)
ANSWER = bytes.fromhex("03 06 022b 0000 0064")  # the example of the standard
DATA = ANSWER[2:]
WHOLE = b":110306022B0000006455\r\n"  # and its LRC by hand: 0x100 - (11+03+06+02+2B+64)


def sealed(unit, pdu):
    return FramerAscii(DecodePDU(False)).encode(pdu, unit, 0)


def asked(request=READ):
    framing = AsciiFraming()
    return framing, framing.send(request)


def test_the_standards_example():
    framing, sent = asked()
    assert sent == b":1103006B00037E\r\n"
    assert sealed(17, ANSWER) == WHOLE
    assert framing.receive(WHOLE) == DATA


@given(st.sampled_from(list(Table)), st.integers(0, 65535), st.integers(1, 125), st.integers(0, 255))
def test_pymodbus_understands_what_is_sent(table, address, count, unit):
    request = read_request(unit, table, address, count)
    used, pdu = FramerAscii(DecodePDU(True)).handleFrame(asked(request)[1], 0, 0)
    assert used > 0
    assert (pdu.function_code, pdu.address, pdu.count, pdu.dev_id) == (request.pdu[0], address, count, unit)


@pytest.mark.parametrize("pdu", [ANSWER, b"\x83\x02"])
def test_an_answer_may_be_cut_at_every_byte(pdu):
    whole = sealed(17, pdu)
    for cut in range(len(whole)):
        framing, _ = asked()
        assert framing.receive(whole[:cut]) is None
        outcome = None
        with contextlib.suppress(AnswerError):
            outcome = framing.receive(whole[cut:])
        assert outcome == (DATA if pdu is ANSWER else None)
        framing, _ = asked()
        assert framing.receive(whole[:cut]) is None
        assert framing.give_up().code is (Reason.MALFORMED_ANSWER if cut else Reason.TIMEOUT)
        framing.send(READ)
        assert framing.receive(WHOLE) == DATA


def test_an_exception_is_named():
    framing, _ = asked()
    with pytest.raises(AnswerError) as caught:
        framing.receive(sealed(17, b"\x83\x0b"))
    assert caught.value.code is Reason.GATEWAY_TARGET_FAILED


OTHERS = {
    "unit": sealed(18, ANSWER),
    "function": sealed(17, b"\x04" + ANSWER[1:]),
    "count": sealed(17, b"\x03\x02\0\0"),
    "byte count": sealed(17, b"\x03\x05" + DATA),
    "exception of another function": sealed(17, b"\x84\x02"),
    "long exception": sealed(17, b"\x83\x02\x02"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_a_whole_frame_of_something_else_is_late(name):
    framing, _ = asked()
    assert framing.receive(OTHERS[name]) is None
    assert framing.late == 1
    assert framing.receive(WHOLE) == DATA


JUNK = {
    "wrong check": WHOLE[:-4] + b"56\r\n",
    "no digits": b":11zz06022B0000006455\r\n",
    "odd digits": b":1103060\r\n",
    "too short": b":11EF\r\n",
    "no frame": b"login: \r\n",
    "noise": b"\xff\x00\xfe",
    "another beginning": b":1103060",
}


@pytest.mark.parametrize("name", JUNK)
def test_noise_does_no_harm(name):
    framing, sent = asked()
    assert framing.receive(JUNK[name]) is None
    assert framing.receive(sent + WHOLE) == DATA
    assert framing.late == 0
    framing.send(READ)
    framing.receive(JUNK[name])
    assert framing.give_up().code is Reason.MALFORMED_ANSWER


def test_an_echo_is_no_answer_but_a_write_is_answered_by_one():
    request = read_request(1, Table.COIL, 0x0300, 20)  # looks, echoed, just like its own answer would
    framing, echo = asked(request)
    assert framing.receive(echo) is None
    assert framing.late == 0
    assert framing.receive(sealed(1, good(request.pdu))) == b"\xff\xff\xff"
    pdu = bytes.fromhex("06 0005 0007")
    framing, echo = asked(Request(1, pdu, pdu, len(pdu)))
    assert framing.receive(echo) == b""


def test_what_comes_unasked_is_late():
    framing = AsciiFraming()
    assert framing.receive(WHOLE) is None
    assert framing.late == 1


@given(st.lists(st.binary(max_size=40) | st.sampled_from([b":", b"\r\n", b":11", WHOLE[:9]]), max_size=8))
def test_any_bytes_give_nothing_or_a_named_error(chunks):
    framing, _ = asked()
    for chunk in chunks:
        with contextlib.suppress(AnswerError):
            assert framing.receive(chunk) in {None, DATA}
    framing.give_up()
    framing.send(READ)
    assert framing.receive(WHOLE) == DATA


def test_noise_does_not_grow():
    framing, _ = asked()
    for _ in range(100):
        framing.receive(b"\x55" * 90 + b"\r\n")
    assert len(framing._buffer) <= 1024
    assert framing.receive(b"\r\n" + WHOLE) == DATA
