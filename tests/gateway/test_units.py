"""Durations and sizes: the parser, the schema's pattern, and that both agree."""

import re
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import units
from gateway.units import Duration, Size

SECONDS = {"ns": "1e-9", "us": "1e-6", "ms": "1e-3", "s": "1", "m": "60", "min": "60", "h": "3600", "d": "86400"}
BYTES = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
NUMBERS = st.one_of(st.integers(0, 10**6).map(str), st.decimals(0, 10**4, places=3).map(str))
SPACE = st.sampled_from(["", " "])
WRITTEN = st.text(alphabet="0123456789. smhdwunkMGTiB", max_size=12)


@given(st.lists(st.tuples(NUMBERS, SPACE, st.sampled_from(sorted(SECONDS)), SPACE), min_size=1, max_size=4))
def test_durations_add_up(parts):
    text = "".join(map("".join, parts))
    expected = sum(Decimal(number) * Decimal(SECONDS[unit]) for number, _, unit, _ in parts)
    parsed = Duration.parse(text)
    assert parsed == pytest.approx(float(expected))
    assert parsed.ns == pytest.approx(float(expected * 10**9), rel=1e-12, abs=1)
    assert re.match(units.DURATION_PATTERN, text.rstrip())


@given(st.lists(st.tuples(st.integers(0, 10**4), SPACE, st.sampled_from(sorted(BYTES))), min_size=1, max_size=3))
def test_sizes_add_up(parts):
    text = "".join(f"{number}{space}{unit}" for number, space, unit in parts)
    assert Size.parse(text) == sum(number * BYTES[unit] for number, _, unit in parts)
    assert re.match(units.SIZE_PATTERN, text)


@given(WRITTEN)
@pytest.mark.parametrize(("kind", "pattern"), [(Duration, units.DURATION_PATTERN), (Size, units.SIZE_PATTERN)])
def test_the_schema_accepts_what_the_parser_accepts(kind, pattern, text):
    text = text.strip()
    try:
        kind.parse(text)
    except ValueError:
        assert not re.match(pattern, text)
    else:
        assert re.match(pattern, text)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (Duration, ""), (Duration, "5"), (Duration, "s"), (Duration, "-1s"), (Duration, "5 parsecs"),
        (Duration, "1s5"), (Duration, "1,5s"), (Duration, "9" * 400 + "s"), (Size, "9" * 400 + "B"),
        (Size, "64"), (Size, "64mib"), (Size, "1K"), (Size, "5s"), (Duration, "1MB"),
    ],
)  # fmt: skip
def test_what_is_no_quantity(kind, text):
    with pytest.raises(ValueError, match=r"is not a|empty|too long"):
        kind.parse(text)


def test_a_zero_needs_no_unit_and_everything_else_does():
    class Options(msgspec.Struct):
        every: Duration
        room: Size

    read = msgspec.json.Decoder(Options, dec_hook=units.decode_quantity).decode
    assert read('{"every": "1m30s", "room": "2kB"}') == Options(Duration(90), Size(2000))
    assert read('{"every": 0, "room": "0"}') == Options(Duration(0), Size(0))
    for wrong in ("5", "true", "false", "null", "0.5", "[]"):
        with pytest.raises(msgspec.ValidationError, match="needs a unit, such as 5s"):
            read(f'{{"every": {wrong}, "room": "1B"}}')
    with pytest.raises(msgspec.ValidationError, match="such as 64MiB"):
        read('{"every": "1s", "room": 5}')


def test_the_hook_leaves_other_types_alone():
    with pytest.raises(NotImplementedError):
        units.decode_quantity(complex, "1")
