import math
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.payloads.fields import SIZES, FieldOptions, Order, field, parse_field
from adapters.payloads.layout import compile_layout
from gateway import quality as q
from gateway.errors import FieldError, PayloadError
from tests.support.malformed import survives


def fields(**texts):
    return [parse_field(name, text) for name, text in texts.items()]


def test_a_payload_of_many_types():
    layout = compile_layout(
        fields(
            voltage="@0 uint16 *0.1",
            temperature="@2 int24 little *0.01 -40",
            mode="@5 uint8 bits 4:6",
            alarm="@5 uint8 bits 0",
            energy="@6 bcd:4 *0.01",
            name="@10 text:4",
            on="@14 bool",
            current="@15 float16 x2",
        )
    )
    payload = struct.pack(">H", 2305) + (6050).to_bytes(3, "little") + bytes([0x53, 0x00, 0x12, 0x34, 0x56])
    payload += b"ab\0\0" + b"\x02" + struct.pack(">ee", 1.5, -2)
    assert layout.size == 19
    assert layout.read(payload) == [
        ("voltage", 230.5), ("temperature", 20.5), ("mode", 5.0), ("alarm", 1.0), ("energy", 1234.56),
        ("name", "ab"), ("on", 1.0), ("current.0", 1.5), ("current.1", -2.0),
    ]  # fmt: skip


@given(st.sampled_from(sorted(SIZES)), st.sampled_from(Order), st.binary(min_size=8, max_size=8), st.integers(0, 3))
def test_every_type_reads_as_python_does(kind, order, raw, before):
    layout = compile_layout([field("x", FieldOptions(at=before, as_=kind, order=order))])
    raw = raw[: SIZES[kind]]
    ((_, value),) = layout.read(bytes(before) + raw)
    if kind == "bool":
        assert value == (raw != b"\0")
    elif kind.startswith("float"):
        (wanted,) = struct.unpack((">" if order is Order.BIG else "<") + {2: "e", 4: "f", 8: "d"}[len(raw)], raw)
        assert value == wanted if math.isfinite(wanted) else math.isnan(value)
    else:
        assert value == float(int.from_bytes(raw, order.value, signed=kind.startswith("int")))


@given(st.integers(0, 2**48 - 1), st.integers(0, 47), st.integers(0, 47))
def test_bits_and_masks_take_the_same_part(raw, one, other):
    low, high = sorted((one, other))
    mask = ((1 << (high - low + 1)) - 1) << low
    layout = compile_layout(fields(a=f"@0 uint48 bits {one}:{other}", b=f"@0 int48 bits 0x{mask:x}"))
    wanted = float((raw & mask) >> low)
    assert [value for _, value in layout.read(raw.to_bytes(6, "big"))] == [wanted, wanted]


@given(st.lists(st.binary(min_size=9, max_size=9), min_size=1, max_size=20))
def test_many_payloads_at_once_give_what_one_gives(payloads):
    layout = compile_layout(fields(a="@0 uint16 x3/2 *0.1", b="@6 bcd:3", c="@1 float64"))
    many = layout.read_many(payloads)
    assert many.shape == (len(payloads), 5)
    one = np.array([[value for _, value in layout.read(payload)] for payload in payloads])
    assert np.array_equal(many.view(np.int64), one.view(np.int64))


def test_digits_and_numbers_that_are_none_have_a_reason():
    layout = compile_layout(fields(a="@0 bcd:1", b="@1 float32"))
    values = layout.read_many([b"\x1a\x7f\x80\x00\x00"])
    assert q.reason_codes(values[0]).tolist() == [q.Reason.NOT_A_NUMBER] * 2


@pytest.mark.parametrize("payload", [b"", b"\x00", b"\x00" * 3, b"\x00" * 100_000])
def test_another_length_is_refused(payload):
    with pytest.raises(PayloadError) as raised:
        compile_layout(fields(a="@0 uint16")).read(payload)
    assert raised.value.reason == "wrong-length"


def test_a_payload_may_be_longer_than_its_fields_if_that_is_said():
    assert compile_layout(fields(a="@1 uint8"), 4).read(b"\x00\x07\x00\x00") == [("a", 7.0)]
    with pytest.raises(ValueError, match="behind the end"):
        compile_layout(fields(a="@1 uint8"), 1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("uint16", "is not a field"), ("@0", "is not a field"), ("@0 uint7", "is not a type"),
        ("@0 uint16 bits 16", "bit 16 is not in"), ("@0 uint16 bits 0x5", "has a hole"),
        ("@0 float32 bits 1", "part of an integer"), ("@0 uint16 bits x", "are no bits"),
        ("@0 uint16 x0", "repeats less than once"), ("@0 uint32 x2/2", "cannot follow"),
        ("@0 text:4 *2", "has no scale"), ("@0 text:999", "is not a type"), ("@0 uint16 *0", "is not 0"),
        ("@65535 uint16", "lies outside"), ("@0 uint16 *1.2.3", "are numbers"), ("@0 bcd:0", "is not a type"),
    ],
)  # fmt: skip
def test_what_is_no_field_says_why(text, message):
    with pytest.raises(FieldError, match=message):
        parse_field("a", text)


def test_any_bytes_are_values_or_a_wrong_length():
    layout = compile_layout(fields(a="@0 uint16", b="@2 text:5", c="@7 bcd:2", d="@9 float32 little x2"))
    refused = survives(layout.read, [bytes(range(17)), b"\xff" * 17, b"\x00\x01hello\x12\x34" + b"\x00" * 8])
    assert refused
