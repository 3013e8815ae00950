"""What a raw value means: values that stand for none, factors that the device states, texts, ratios."""

from __future__ import annotations

import math
import struct

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.modbus.config import ModbusPoint
from adapters.modbus.layout import Decoder, Layout
from adapters.modbus.planner import Limits, hull, plan
from gateway import quality as q
from gateway.errors import FieldError
from gateway.quality import Reason, reason_codes

NONE = (Reason.NOT_IMPLEMENTED, q.INVALID)


def make(**raw):
    return msgspec.convert(raw, ModbusPoint)


def decoded(points, words, start=0, states=None):
    """By point: the number, or why there is none; and the quality."""
    layouts = [Layout.of(make(**raw)) for raw in points]
    read = hull([one.span for one in layouts], range(len(layouts)))
    decoder = Decoder(layouts, read)
    value, quality = np.zeros(len(layouts)), np.zeros(len(layouts), np.uint16)
    data = struct.pack(f">{len(words)}H", *words)[2 * (read.address - start) :][: 2 * read.count]
    decoder.decode(data, value, quality, states or (lambda _, __: 0.0))
    codes = reason_codes(value)
    rows = {
        i: (Reason(int(codes[at])) if codes[at] else float(value[at]), int(quality[at]))
        for at, i in enumerate(decoder.order)
    }
    return [rows[i] for i in range(len(layouts))]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"as": "uint16", "invalid": [0xFFFF]}, [0xFFFF]),
        ({"as": "int16", "invalid": [0x8000]}, [0x8000]),
        ({"as": "int16", "invalid": [-32768]}, [0x8000]),
        ({"as": "int16", "invalid": [7, -1]}, [0xFFFF]),
        ({"as": "uint32", "invalid": [0xFFFFFFFF]}, [0xFFFF, 0xFFFF]),
        ({"as": "int32", "order": "CDAB", "invalid": [0x80000000]}, [0, 0x8000]),
        ({"as": "uint64", "invalid": [0xFFFFFFFFFFFFFFFF]}, [0xFFFF] * 4),
        ({"as": "int64", "invalid": [0x8000000000000000]}, [0x8000, 0, 0, 0]),
        ({"as": "float32", "invalid": [0x7FC00000]}, [0x7FC0, 0]),
        ({"as": "uint8", "byte": "high", "invalid": [0xFE]}, [0xFE00]),
        ({"as": "bool", "invalid": [0xFFFF]}, [0xFFFF]),
        ({"as": "uint16", "bit": 3, "invalid": [0xFFFF]}, [0xFFFF]),
        ({"as": "uint16", "texts": {"a": 1}, "invalid": [0xFFFF]}, [0xFFFF]),
        ({"as": "uint32", "never_zero": True}, [0, 0]),
        ({"as": "float32", "never_zero": True}, [0, 0]),
        ({"as": "float32", "never_zero": True}, [0x8000, 0]),
        ({"as": "string", "length": 2, "never_zero": True}, [0, 0]),
        ({"as": "string", "length": 2, "never_zero": True}, [0x2020, 0x2000]),
    ],
)
def test_a_raw_value_that_stands_for_none_gives_none_before_scaling(options, words):
    number = not {"bit", "texts", "length"} & options.keys() and options["as"] != "bool"
    scaled = {"scale": 0.1, "offset": 5} if number else {}
    assert decoded([{"at": "holding:0", **options, **scaled}], words) == [NONE]


def test_other_values_beside_it_are_what_they_are():
    points = [
        {"at": f"input:{i}", "as": kind, "invalid": [0xFFFF], "scale": 0.5}
        for i, kind in enumerate(["uint16", "int16", "uint16", "uint16"])
    ]
    assert decoded(points, [10, 0xFFFF, 0xFFFF, 0x8000]) == [(5.0, 0), NONE, NONE, (16384.0, 0)]
    assert decoded([{"at": "input:0", "as": "uint32", "never_zero": True}], [0, 1]) == [(1.0, 0)]
    nan = {"at": "input:0", "as": "float32", "invalid": [0x7FC00000]}
    assert decoded([nan], [0xFFC0, 0]) == [(Reason.NOT_A_NUMBER, q.INVALID)], "a NaN that is not that one"


@given(st.integers(-32768, 32767), st.integers(-10, 10))
def test_a_power_of_ten_is_exact(raw, power):
    one = {"at": "holding:7", "as": "int16", "scale_from": [{"at": "holding:5"}]}
    ((value, quality),) = decoded([one], [power & 0xFFFF, 0, raw & 0xFFFF], 5)
    assert (value, quality) == (raw * 10**power if power >= 0 else raw / 10**-power, 0)


@given(st.integers(0, 0xFFFF))
def test_a_factor_that_is_none_takes_the_value_along(word):
    one = {"at": "holding:0", "as": "uint16", "scale_from": [{"at": "holding:1"}]}
    ((value, quality),) = decoded([one], [5, word])
    signed = word - 0x10000 if word >= 0x8000 else word
    assert (value, quality) == NONE if abs(signed) > 10 else quality == 0


def test_factors_multiply_and_scale_and_offset_come_last():
    one = {
        "at": "holding:1", "as": "uint32", "scale": 0.01, "offset": 1,
        "scale_from": [{"at": "holding:0", "rule": "times"}, {"at": "holding:3"}],
    }  # fmt: skip
    other = {"at": "holding:3", "as": "int16"}
    assert decoded([one, other], [40, 1, 0x86A0, 0xFFFF]) == [(4001.0, 0), (-1.0, 0)]


@pytest.mark.parametrize(
    ("factor", "words", "wanted"),
    [
        ({"rule": "times"}, [0], NONE),
        ({"rule": "times"}, [0xFFFF], NONE),
        ({"rule": "times"}, [3], (15.0, 0)),
        ({"rule": "times", "as": "int16"}, [0xFFFF], NONE),
        ({"rule": "times", "as": "float32"}, [0x3FC0, 0], (7.5, 0)),
        ({"rule": "times", "as": "float32", "order": "CDAB"}, [0, 0x3FC0], (7.5, 0)),
        ({"rule": "times", "as": "float32"}, [0x7FC0, 0], NONE),
        ({"rule": "times", "as": "uint32"}, [0, 2], (10.0, 0)),
        ({"rule": "power", "as": "int32"}, [0xFFFF, 0xFFFF], (0.5, 0)),
        ({"rule": "power"}, [0x8000], NONE),
    ],
)
def test_factors_of_all_kinds(factor, words, wanted):
    one = {"at": "holding:0", "as": "uint16", "scale_from": [{"at": "holding:1", **factor}]}
    assert decoded([one], [5, *words]) == [wanted]


def test_a_value_and_its_factor_are_never_read_apart():
    """Other values lie between them, and a plain plan would cut there."""
    raw = [{"at": f"holding:{i}", "as": "uint16"} for i in range(0, 60, 2)]
    raw[0]["scale_from"] = [{"at": "holding:39"}]
    raw[10]["scale_from"] = [{"at": "holding:57"}]
    layouts = [Layout.of(make(**one)) for one in raw]
    spans = [one.span for one in layouts]
    assert (spans[0].address, spans[0].width) == (0, 40)
    for most in (40, 45, 58):
        for read in plan(spans, Limits(most, 10)):
            assert read.count <= most
            for i in read.members:
                assert read.address <= spans[i].address
                assert spans[i].end <= read.address + read.count
            Decoder(layouts, read).decode(
                bytes(2 * read.count),
                np.zeros(len(read.members)),
                np.zeros(len(read.members), np.uint16),
                lambda _, __: 0.0,
            )


def test_numbers_have_texts_and_are_looked_up_when_they_change():
    asked = []
    one = Layout.of(make(at="holding:0", texts={"off": 1, "mppt": 4}))
    decoder = Decoder([one], hull([one.span], [0]))
    for word in (4, 4, 1, 9):
        value = np.zeros(1)
        decoder.decode(
            struct.pack(">H", word), value, np.zeros(1, np.uint16), lambda _, text: asked.append(text) or 3.0
        )
        assert value[0] == 3.0
    assert asked == ["mppt", "off", "9"]


def test_a_text_without_room_is_an_overflow():
    one = {"at": "holding:0", "texts": {"off": 1}}
    ((value, quality),) = decoded([one], [1], states=lambda _, __: math.nan)
    assert (math.isnan(value), quality) == (True, q.INVALID | q.OVERFLOW)


@given(st.binary(min_size=24, max_size=24))
def test_any_bytes_give_values_or_none(data):
    points = [
        {"at": "holding:0", "as": "float64", "scale_from": [{"at": "holding:4"}, {"at": "holding:5", "rule": "times"}]},
        {"at": "holding:6", "as": "int64", "scale_from": [{"at": "holding:4", "as": "float32", "rule": "times"}]},
        {
            "at": "holding:10",
            "as": "uint16",
            "scale_from": [{"at": "holding:11"}],
            "invalid": [1, 2],
            "never_zero": True,
        },
    ]
    for value, quality in decoded(points, struct.unpack(">12H", data)):
        assert isinstance(value, Reason) == (quality & q.VALIDITY == q.INVALID)


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"at": "coil:1", "invalid": [1]}, ("invalid",)),
        ({"at": "holding:1", "as": "string", "length": 2, "invalid": [1]}, ("invalid",)),
        ({"at": "holding:1", "invalid": [1, 0x10000]}, ("invalid", 1)),
        ({"at": "holding:1", "as": "int16", "invalid": [-32769]}, ("invalid", 0)),
        ({"at": "coil:1", "never_zero": True}, ("never_zero",)),
        ({"at": "holding:1", "scale_from": [{"at": "input:2"}]}, ("scale_from", 0, "at")),
        ({"at": "holding:1", "as": "string", "length": 1, "scale_from": [{"at": "holding:2"}]}, ("scale_from",)),
        ({"at": "holding:1", "as": "bool", "scale_from": [{"at": "holding:2"}]}, ("scale_from",)),
        ({"at": "coil:1", "times": ["ct"]}, ("times",)),
        ({"at": "holding:1", "as": "float32", "texts": {"a": 1}}, ("texts",)),
        ({"at": "holding:1", "scale": 2, "texts": {"a": 1}}, ("texts",)),
        ({"at": "holding:1", "texts": {"a": 1, "b": 1}}, ("texts",)),
    ],
)  # fmt: skip
def test_options_that_make_no_sense(options, field):
    with pytest.raises(msgspec.ValidationError) as caught:
        make(**options)
    assert isinstance(caught.value.__cause__, FieldError)
    assert caught.value.__cause__.field == field


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"at": "coil:1"}, "at"),
        ({"at": "holdin:1"}, "at"),
        ({"at": "holding:65535", "as": "float32"}, "at"),
        ({"at": "holding:1", "as": "string"}, "as"),
    ],
)
def test_factors_that_make_no_sense(options, field):
    with pytest.raises(msgspec.ValidationError) as caught:
        make(at="holding:1", scale_from=[options])
    assert caught.value.__cause__.field == (field,)
