"""Decoding and encoding values, without a device."""

from __future__ import annotations

import math
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.modbus.encode import encode
from adapters.modbus.layout import Decoder, Layout, text_of
from adapters.modbus.place import Byte, Order, Table, ValueType
from adapters.modbus.planner import Read
from gateway import quality as q
from gateway.quality import Reason, reason_codes

INTEGERS = [ValueType(f"{sign}int{bits}") for sign in ("", "u") for bits in (16, 32, 64)]
FLOATS = [ValueType.FLOAT16, ValueType.FLOAT32, ValueType.FLOAT64]
HOLDING = Table.HOLDING


def layout(kind, address=0, **more):
    width = more.pop("width", max(1, kind.size // 2))
    return Layout(more.pop("table", HOLDING), address, width, kind, **more)


def decoded(layouts, data, start=0, states=None):
    """Value and quality of each layout, in the order given."""
    read = Read(layouts[0].table, start, 0, tuple(range(len(layouts))))
    decoder = Decoder(layouts, read)
    value, quality = np.full(len(layouts), np.nan), np.zeros(len(layouts), np.uint16)
    decoder.decode(data, value, quality, states or (lambda _, __: 0.0))
    where = {i: at for at, i in enumerate(decoder.order)}
    return [(value[where[i]], int(quality[where[i]])) for i in range(len(layouts))]


def numbers(kind):
    bits = kind.size * 8
    if kind in FLOATS:
        return st.floats(width=bits, allow_nan=False, allow_infinity=False)
    signed = not kind.is_unsigned
    return st.integers(-(1 << bits - 1), (1 << bits - 1) - 1) if signed else st.integers(0, (1 << bits) - 1)


TYPED = st.sampled_from([*INTEGERS, *FLOATS]).flatmap(
    lambda kind: st.tuples(st.just(kind), st.sampled_from(list(Order)), numbers(kind))
)


@given(st.lists(TYPED, min_size=1, max_size=20), st.integers(0, 3))
def test_decode_is_the_inverse_of_encode(cases, lead):
    layouts, data, at = [], b"\xaa" * 2 * lead, lead
    for kind, order, number in cases:
        layouts.append(layout(kind, 100 + at, order=order))
        data += encode(layouts[-1], number)
        at += layouts[-1].width
    for (_, _, number), (value, quality) in zip(cases, decoded(layouts, data, 100), strict=True):
        assert value == float(number)
        assert quality == (q.QUESTIONABLE | q.INACCURATE if abs(float(number)) > 2**53 else 0) or isinstance(
            number, float
        )


@pytest.mark.parametrize(
    ("order", "wire"),
    [("ABCD", "0a0b0c0d"), ("CDAB", "0c0d0a0b"), ("BADC", "0b0a0d0c"), ("DCBA", "0d0c0b0a")],
)
def test_orders_of_32_bits_are_what_their_names_say(order, wire):
    one = layout(ValueType.UINT32, order=Order(order))
    assert encode(one, 0x0A0B0C0D).hex() == wire
    assert decoded([one], bytes.fromhex(wire)) == [(float(0x0A0B0C0D), 0)]


@pytest.mark.parametrize(
    ("order", "wire"),
    [
        ("ABCD", "0102030405060708"),
        ("CDAB", "0708050603040102"),
        ("BADC", "0201040306050807"),
        ("DCBA", "0807060504030201"),
    ],
)
def test_orders_of_64_bits_follow_the_same_rule(order, wire):
    assert encode(layout(ValueType.UINT64, order=Order(order)), 0x0102030405060708).hex() == wire


@given(st.binary(min_size=32, max_size=32), st.sampled_from(list(Order)))
def test_any_bytes_give_values(data, order):
    kinds = [*INTEGERS, *FLOATS, ValueType.BOOL, ValueType.UINT8, ValueType.INT8]
    layouts = [layout(kind, i, order=order, scale=1e300) for i, kind in enumerate(kinds)]
    layouts.append(layout(ValueType.STRING, 2, width=8))
    for value, quality in decoded(layouts, data):
        assert math.isfinite(value) or (math.isnan(value) and quality & q.VALIDITY == q.INVALID)


@given(st.floats(width=32), st.floats(-1e3, 1e3), st.floats(-1e3, 1e3))
def test_scale_then_offset(number, scale, offset):
    one = layout(ValueType.FLOAT32, scale=scale, offset=offset)
    ((value, quality),) = decoded([one], struct.pack(">f", number))
    wanted = number * scale + offset
    if math.isfinite(wanted):
        assert (value, quality) == (wanted, 0)
    else:
        assert quality == q.INVALID
        assert reason_codes(np.array([value])) == [Reason.NOT_A_NUMBER]


@given(st.integers(0, 2**32 - 1), st.integers(0, 31), st.integers(1, 32))
def test_bits_are_taken_from_the_least_significant(number, shift, count):
    count = min(count, 32 - shift)
    one = layout(ValueType.UINT32, shift=shift, bits=count)
    assert decoded([one], struct.pack(">I", number)) == [(float(number >> shift & (1 << count) - 1), 0)]


def test_eight_bits_say_which_byte():
    low, high = layout(ValueType.UINT8), layout(ValueType.UINT8, byte=Byte.HIGH)
    signed = layout(ValueType.INT8)
    assert [value for value, _ in decoded([low, high, signed], b"\x12\xfe")] == [0xFE, 0x12, -2]


@given(st.lists(st.booleans(), min_size=1, max_size=2000))
def test_coils_come_eight_to_a_byte(bits):
    data = np.packbits(bits, bitorder="little").tobytes()
    layouts = [Layout(Table.COIL, 50 + i, 1, ValueType.BOOL) for i in range(len(bits))]
    assert [value for value, _ in decoded(layouts, data, 50)] == [float(bit) for bit in bits]


def test_a_register_is_true_if_not_zero():
    layouts = [layout(ValueType.BOOL, i) for i in range(3)]
    assert [value for value, _ in decoded(layouts, b"\0\0\0\1\xff\0")] == [0.0, 1.0, 1.0]


@given(st.text(max_size=8).filter(lambda text: "\0" not in text and len(text.encode()) <= 16))
def test_strings_are_states(text):
    seen = {}
    one = layout(ValueType.STRING, width=8)
    ((value, quality),) = decoded([one], encode(one, text), states=lambda i, t: seen.setdefault(t, 5.0 + i))
    assert (value, quality) == (5.0, 0)
    assert list(seen) == [text.strip()]


def test_a_string_may_have_its_bytes_swapped_and_is_looked_up_when_it_changes():
    asked = []
    one = layout(ValueType.STRING, width=2, order=Order.BADC)
    decoder = Decoder([one], Read(HOLDING, 0, 2, (0,)))
    for data in (b"DSM6", b"DSM6", b"XSM6"):
        decoder.decode(data, np.zeros(1), np.zeros(1, np.uint16), lambda _, text: asked.append(text) or 0.0)
    assert asked == ["SD6M", "SX6M"]


def test_text_that_is_not_utf8_is_latin1():
    assert text_of(b" Z\xe4hler \0junk") == "Zähler"


def test_integers_beyond_2_53_are_flagged():
    layouts = [layout(ValueType.UINT64, 0), layout(ValueType.INT64, 4)]
    data = struct.pack(">Qq", 2**53, -(2**53) - 2)
    assert decoded(layouts, data) == [(2.0**53, 0), (-(2.0**53) - 2, q.QUESTIONABLE | q.INACCURATE)]
