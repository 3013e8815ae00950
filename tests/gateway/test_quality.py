"""Quality words, their text, and reasons in the NaN's payload."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import quality as q

WORDS = st.lists(st.integers(0, 0xFFFF), min_size=1, max_size=20)


def test_every_word_has_a_text_of_its_own():
    texts = [q.to_text(word) for word in range(1 << 16)]
    assert len(set(texts)) == 1 << 16
    assert [q.from_text(text) for text in texts] == list(range(1 << 16))


@pytest.mark.parametrize(
    ("word", "text"),
    [
        (0, "good"),
        (1, "invalid"),
        (3 | 1 << 3, "questionable,out-of-range"),
        (1 << 10 | 1 << 13, "good,substituted,historical"),
        (0xC000, "good,clock-not-synchronised,bit15"),
    ],
)
def test_the_bits_are_those_of_iec_61850_8_1(word, text):
    assert q.to_text(word) == text
    assert q.from_text(text.replace(",", " , ")) == word


@pytest.mark.parametrize("text", ["", "fine", "old-data", "good,", "good,good", "good,sunny"])
def test_what_is_no_quality(text):
    with pytest.raises(ValueError, match="is not a"):
        q.from_text(text)


@pytest.mark.parametrize("reason", list(q.Reason)[1:])
def test_a_reason_survives_in_the_nan(reason):
    value = q.no_value(reason)
    assert math.isnan(value)
    assert q.reason_codes(np.array([1.0, value, math.inf])).tolist() == [0, reason, 0]
    assert q.reason_text(reason) == reason.text


def test_plain_nans_have_no_reason_and_unknown_codes_a_word():
    assert q.reason_codes(np.array([math.nan, -math.nan, q.no_value(q.Reason.NONE)])).tolist() == [0, 0, 0]
    assert q.reason_text(999) == "reason-999"


def test_reason_codes_reads_strided_columns():
    column = np.array([q.no_value(q.Reason.STALE), 1.0] * 3)
    assert q.reason_codes(column[::2]).tolist() == [q.Reason.STALE] * 3


def plain_severity(word: int) -> int:
    return {0: 0, 3: 1, 2: 2, 1: 3}[word & 3]


@given(WORDS)
def test_severity_orders_good_questionable_reserved_invalid(words):
    column = np.array(words, np.uint16)
    assert q.severity(column).tolist() == [plain_severity(word) for word in words]
    assert q.validity_of(q.severity(column)).tolist() == [word & 3 for word in words]
    assert q.is_invalid(column).tolist() == [plain_severity(word) >= 2 for word in words]


@given(WORDS, st.integers(0, 3), st.integers(0, 0xFFFF).map(lambda word: word & ~3))
def test_worse_never_gets_better_and_keeps_flags(words, validity, flags):
    made = q.worse(np.array(words, np.uint16), validity, flags)
    assert made.dtype == np.uint16
    for before, after in zip(words, made.tolist(), strict=True):
        assert plain_severity(after) == max(plain_severity(before), plain_severity(validity))
        assert after & ~3 == (before | flags) & ~3


@given(WORDS)
def test_worst_joins_flags_and_takes_the_worst_validity(words):
    joined = q.worst(words)
    assert plain_severity(joined) == max(map(plain_severity, words))
    assert joined & ~3 == np.bitwise_or.reduce(words) & ~3
    assert q.worst([]) == q.GOOD
