"""Values to registers and the requests that write them, without a device."""

from __future__ import annotations

import math
import struct

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pymodbus.pdu.bit_message import WriteMultipleCoilsRequest, WriteSingleCoilRequest
from pymodbus.pdu.register_message import (
    MaskWriteRegisterRequest,
    WriteMultipleRegistersRequest,
    WriteSingleRegisterRequest,
)

from adapters.modbus.encode import UnfitError, encode, mask_of
from adapters.modbus.layout import Decoder, Layout, text_of
from adapters.modbus.pdu import AnswerError
from adapters.modbus.place import Byte, Order, Table, ValueType
from adapters.modbus.planner import Read
from adapters.modbus.write_pdu import write_coil, write_masked, write_registers
from gateway.errors import PayloadError

NUMBERS = [kind for kind in ValueType if kind not in {ValueType.BOOL, ValueType.STRING}]
INTEGERS = [kind for kind in NUMBERS if not kind.startswith("float")]
WIDE = [ValueType.INT64, ValueType.UINT64]


def layout(kind, **more):
    table = more.pop("table", Table.HOLDING)
    width = more.pop("width", max(1, kind.size // 2))
    return Layout(table, 7, width, kind, **more)


def decoded(one, data):
    texts = []
    value, quality = np.full(1, np.nan), np.zeros(1, np.uint16)
    read = Read(one.table, one.address, one.width, (0,))
    Decoder([one], read).decode(data, value, quality, lambda _, text: texts.append(text) or 0.0)
    return texts[0] if texts else float(value[0])


def integers(kind, bits=0):
    bits = bits or 8 * kind.size
    return st.integers(0, (1 << bits) - 1) if kind.is_unsigned else st.integers(-(1 << bits - 1), (1 << bits - 1) - 1)


@st.composite
def places(draw, kinds):
    """A layout of any type and order, in any byte, of a field of bits or a whole value."""
    kind = draw(st.sampled_from(kinds))
    if kind.size == 1:
        return layout(kind, byte=draw(st.sampled_from(list(Byte))))
    order = draw(st.sampled_from(list(Order)))
    if not kind.is_unsigned or draw(st.booleans()):
        return layout(kind, order=order)
    shift = draw(st.integers(0, 8 * kind.size - 1))
    return layout(kind, order=order, shift=shift, bits=draw(st.integers(1, 8 * kind.size - shift)))


@given(places(NUMBERS), st.data())
def test_encode_is_the_inverse_of_decode(one, data):
    """Any registers: what they decode to, written over other registers, leaves all but the value alone."""
    was, other = (data.draw(st.binary(min_size=2 * one.width, max_size=2 * one.width)) for _ in range(2))
    value = decoded(one, was)
    assume(math.isfinite(value) and abs(value) <= 2**53)
    mask = mask_of(one)
    bits = encode(one, value)
    assert all(not b & ~m & 0xFF for b, m in zip(bits, mask, strict=True)), "no bit that is not its own"
    written = bytes(o & ~m & 0xFF | b for o, b, m in zip(other, bits, mask, strict=True))
    assert decoded(one, written) == value
    if one.type in INTEGERS:
        assert bits == bytes(w & m for w, m in zip(was, mask, strict=True)), "bit for bit"


@given(places(INTEGERS), st.data(), st.sampled_from([1.0, 0.1, 0.01, -0.5, 10.0, 1e-3, 3.0]), st.floats(-1e3, 1e3))
def test_scale_and_offset_are_undone(one, data, scale, offset):
    raw = data.draw(integers(one.type, one.bits))
    assume(abs(raw) <= 2**32)
    scaled = Layout(
        one.table, one.address, one.width, one.type, one.order, one.byte, one.shift, one.bits, scale, offset
    )
    assert encode(scaled, raw * scale + offset) == encode(one, raw)


@given(st.integers(-(2**63), 2**63 - 1), st.integers(0, 2**64 - 1), st.sampled_from(list(Order)))
def test_integers_beyond_2_53_are_written_to_the_last_digit(signed, unsigned, order):
    for kind, number, letter in ((ValueType.INT64, signed, "q"), (ValueType.UINT64, unsigned, "Q")):
        words = struct.unpack(">4H", encode(layout(kind, order=order), number))
        words = words[::-1] if order.swaps_words else words
        data = struct.pack("<4H" if order.swaps_bytes else ">4H", *words)
        assert struct.unpack(f">{letter}", data) == (number,)


@given(places(NUMBERS), st.floats() | st.integers(-(2**70), 2**70))
def test_any_number_is_encoded_within_half_a_step_or_refused_by_name(one, value):
    try:
        data = encode(one, value)
    except PayloadError as error:
        assert isinstance(error, UnfitError)
        assert error.reason == ("out-of-range" if math.isfinite(value) else "not-a-number")
        return
    if one.type in WIDE:
        return
    got = decoded(one, data)
    if one.type in INTEGERS:
        assert abs(got - value) <= 0.5
    else:
        assert got == pytest.approx(float(value), rel=2**-10, abs=2**-24)


@given(st.text(max_size=10), st.sampled_from([Order.ABCD, Order.BADC]))
def test_text_is_padded_and_never_cut(text, order):
    one = layout(ValueType.STRING, width=8, order=order)
    if len(text.encode()) > 16:
        with pytest.raises(UnfitError, match="out-of-range"):
            encode(one, text)
    else:
        assert decoded(one, encode(one, text)) == text_of(text.encode())


@pytest.mark.parametrize(("value", "on"), [(0, 0), (1, 1), (True, 1), (False, 0), (1.0, 1)])
def test_flags_are_on_or_off(value, on):
    assert encode(Layout(Table.COIL, 7, 1, ValueType.BOOL), value) == bytes([on])
    assert encode(layout(ValueType.BOOL), value) == bytes([0, on])
    assert encode(layout(ValueType.BOOL, scale=-1.0, offset=1.0), value) == bytes([0, 1 - on]), "a contact that opens"


@pytest.mark.parametrize(
    ("one", "value", "reason"),
    [
        (layout(ValueType.UINT16), -1, "out-of-range"),
        (layout(ValueType.UINT16), 70000, "out-of-range"),
        (layout(ValueType.INT16, scale=0.1), 3276.8, "out-of-range"),
        (layout(ValueType.UINT8), 256, "out-of-range"),
        (layout(ValueType.INT8, byte=Byte.HIGH), 128, "out-of-range"),
        (layout(ValueType.UINT16, shift=4, bits=3), 8, "out-of-range"),
        (layout(ValueType.FLOAT16), 65520, "out-of-range"),
        (layout(ValueType.FLOAT32), 3.5e38, "out-of-range"),
        (layout(ValueType.FLOAT64, scale=1e-10), 1e300, "out-of-range"),
        (layout(ValueType.FLOAT32), math.nan, "not-a-number"),
        (layout(ValueType.FLOAT64), math.inf, "not-a-number"),
        (layout(ValueType.BOOL), 2, "out-of-range"),
        (layout(ValueType.BOOL, table=Table.COIL), 0.5, "out-of-range"),
        (layout(ValueType.UINT16), "1", "wrong-type"),
        (layout(ValueType.STRING, width=2), 1.0, "wrong-type"),
        (layout(ValueType.STRING, width=2), "\ud800", "wrong-type"),
        (layout(ValueType.STRING, width=2), "fünf", "out-of-range"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(one, value, reason):
    with pytest.raises(UnfitError) as caught:
        encode(one, value)
    assert caught.value.reason == reason


def test_a_part_of_a_register_has_its_mask():
    assert mask_of(layout(ValueType.UINT16)).hex() == "ffff"
    assert mask_of(layout(ValueType.UINT8)).hex() == "00ff"
    assert mask_of(layout(ValueType.INT8, byte=Byte.HIGH)).hex() == "ff00"
    assert mask_of(layout(ValueType.UINT16, shift=4, bits=3)).hex() == "0070"
    assert mask_of(layout(ValueType.UINT16, shift=4, bits=3, order=Order.BADC)).hex() == "7000"
    assert mask_of(layout(ValueType.UINT32, shift=20, bits=1)).hex() == "00100000"
    assert mask_of(layout(ValueType.UINT32, shift=20, bits=1, order=Order.CDAB)).hex() == "00000010"
    assert mask_of(layout(ValueType.STRING, width=2)).hex() == "ffffffff"
    assert encode(layout(ValueType.UINT16, shift=4, bits=3), 5).hex() == "0050"


@given(st.integers(0, 0xFFFF), st.booleans(), st.lists(st.integers(0, 0xFFFF), min_size=1, max_size=123))
def test_requests_are_those_of_pymodbus(address, on, words):
    data = struct.pack(f">{len(words)}H", *words)
    pairs = [
        (write_coil(3, address, on=on), WriteSingleCoilRequest(address=address, bits=[on])),
        (write_coil(3, address, on=on, function=15), WriteMultipleCoilsRequest(address=address, bits=[on])),
        (
            write_registers(3, address, data[:2], function=6),
            WriteSingleRegisterRequest(address=address, registers=words[:1]),
        ),
        (
            write_registers(3, address, data, function=16),
            WriteMultipleRegistersRequest(address=address, registers=words),
        ),
        (
            write_masked(3, address, b"\x12\x00", b"\xff\x0f"),
            MaskWriteRegisterRequest(address=address, and_mask=0x00F0, or_mask=0x1200),
        ),
    ]
    for ours, theirs in pairs:
        assert ours.pdu == bytes([theirs.function_code]) + theirs.encode()
        good = ours.pdu if theirs.function_code in {5, 6, 22} else ours.pdu[:5]
        assert ours.data_of(good) == b""
        for wrong in (good[:-1] + bytes([good[-1] ^ 1]), good[:-1], good + b"\0", b""):
            with pytest.raises(AnswerError, match="malformed"):
                ours.data_of(wrong)


def test_function_6_writes_one_register():
    with pytest.raises(ValueError, match="one register"):
        write_registers(1, 0, bytes(4), function=6)
