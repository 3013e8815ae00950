"""Cells as columns: numbers to the last bit as ``float`` reads them, and texts to their codes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.trial import cells
from gateway.trial.cells import Cells, Codes

PLAIN = st.from_regex(r"-?[0-9]{1,12}(\.[0-9]{0,3})?", fullmatch=True)
ANYTHING = st.one_of(
    PLAIN,
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.integers(-(10**17), 10**17).map(str),
    st.from_regex(r"[-+.0-9e/: ]{0,20}", fullmatch=True),
)


def column(texts):
    found = Cells.of(",".join(texts).encode(), len(texts), ",")
    return found, found.start[0], found.length[0]


@given(st.lists(ANYTHING, min_size=1, max_size=20))
def test_numbers_are_those_of_float_or_are_none(texts):
    found, start, length = column(texts)
    values, wrong = found.numbers(start, length)
    for text, value, odd in zip(texts, values.tolist(), wrong.tolist(), strict=True):
        if not odd:
            assert repr(value) == repr(float(text))
    assert found.texts(start, length) == [text.encode() for text in texts]


@given(st.lists(PLAIN, min_size=1, max_size=20))
def test_plain_numbers_are_all_read(texts):
    found, start, length = column(texts)
    assert not found.numbers(start, length)[1].any()


@given(st.lists(st.one_of(PLAIN.map(lambda t: t.rstrip(".")), st.just("")), min_size=1), st.floats(allow_nan=False))
def test_values_take_empty_cells_and_any_json_number(texts, number):
    texts = [text.lstrip("-").lstrip("0") or "0" if text else text for text in texts]
    texts = ["0" + text if text.startswith(".") else text for text in texts]
    if abs(number) < 1e300:
        texts.append(repr(number))
    found, start, length = column(texts)
    values = found.values(start, length)
    assert [repr(float(text)) if text else "nan" for text in texts] == [repr(value) for value in values.tolist()]


def test_what_is_no_number_is_told():
    for text in ("1x", "-", ".", "1.2.3", "--1", "1-", "0x10", "1_0", "nan", "+1"):
        found, start, length = column(["1", text])
        assert found.values(start, length) is None


@pytest.mark.parametrize("lines", [b"a,b\nc", b"a\nb,c", b"a,b\nc,d,e,f", b"a\nb,c,d", b"a,b,c\nd"])
def test_lines_of_other_widths_are_refused(lines):
    assert Cells.of(lines, 2, ",") is None


WORDS = st.sampled_from(
    ["", "a", "b", "ab", "a" * 8, "a" * 9, "a" * 40, "a" * 41, "é" * 9, "m1/voltage", "m10/voltage"]
)


@given(
    st.lists(st.lists(WORDS, min_size=1, max_size=30), min_size=1, max_size=5), st.booleans(), st.sampled_from([2, 99])
)
def test_codes_are_those_of_the_texts(blocks, remember, most):
    known = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cells, "KNOWN", most)
        codes = Codes(lambda text: known.setdefault(text, len(known)), remember=remember)
        for texts in blocks:
            found = codes(*column(texts))
            assert [known[text.encode()] for text in texts] == found.tolist()


def test_each_text_is_asked_once():
    asked = []
    codes = Codes(lambda text: asked.append(text) or len(asked))
    for _ in range(3):
        codes(*column(["a", "b", "a", "c", "b", "a"]))
    assert sorted(asked) == [b"a", b"b", b"c"]
    assert len(codes(Cells.of(b"a", 1, ","), np.empty(0, np.intp), np.empty(0, np.intp))) == 0
