"""Guessing what registers mean."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.modbus.place import Order, Table, ValueType
from adapters.modbus.tools.rank import Form, Seen, number, rank


def seen(at, data, second=None, table=Table.INPUT):
    def words(data):
        return {at + i: word for i, (word,) in enumerate(struct.iter_unpack(">H", data))}

    return Seen(table, words(data), words(second) if second else {})


def swapped(data, order):
    words = [data[i : i + 2] for i in range(0, len(data), 2)]
    pairs = [words[i : i + 2] for i in range(0, len(words), 2)]
    if order.swaps_words:
        pairs = [pair[::-1] for pair in pairs]
    return b"".join(word[::-1] if order.swaps_bytes else word for pair in pairs for word in pair)


@pytest.mark.parametrize("order", Order)
def test_the_order_of_three_voltages_is_found(order):
    data = swapped(struct.pack(">fff", 231.25, 229.5, 230.75), order)
    best = rank([seen(100, data)], 100)[0]
    assert (best.address, best.form, best.value) == (100, Form(ValueType.FLOAT32, order), 231.25)
    assert best.meaning == "voltage"
    assert "the next two values look alike" in best.why


@pytest.mark.parametrize(
    ("offset", "said"), [(1, "the address given is one too high"), (-1, "the address given is one too low")]
)
def test_an_address_beside_is_found(offset, said):
    """One too low looks nearly the same as swapped words: the high word of one value before the low word of it."""
    guesses = rank([seen(9, b"\0\0" + struct.pack(">fff", 231.25, 229.5, 230.75) + b"\0\0")], 10 + offset)[:2]
    best = next(guess for guess in guesses if guess.address == 10)
    assert (best.at, best.form, best.value) == ("input:10", Form(ValueType.FLOAT32, Order.ABCD), 231.25)
    assert said in best.why
    assert offset < 0 or best is guesses[0]


@pytest.mark.parametrize(
    ("code", "raw", "form", "meaning"),
    [
        ("H", (2301, 2295, 2310), Form(ValueType.UINT16, Order.ABCD, 0.1), "voltage"),
        ("H", (4998, 0, 0), Form(ValueType.UINT16, Order.ABCD, 0.01), "frequency"),
        ("I", (230123, 229950, 231007), Form(ValueType.UINT32, Order.ABCD, 0.001), "voltage"),
        ("f", (49.98, 12345.0, 0.0), Form(ValueType.FLOAT32, Order.ABCD), "frequency"),
        ("f", (0.95, 0.94, 0.96), Form(ValueType.FLOAT32, Order.ABCD), "power factor"),
        ("d", (231.5, 229.5, 230.5), Form(ValueType.FLOAT64, Order.ABCD), "voltage"),
    ],
)
def test_types_and_scales(code, raw, form, meaning):
    best = rank([seen(0, struct.pack(f">3{code}", *raw) + bytes(8))], 0)[0]
    assert (best.form, best.meaning) == (form, meaning)


def test_a_counter_is_known_by_its_growth():
    grown = rank([seen(0, struct.pack(">IHH", 12_345_678, 0, 0), struct.pack(">IHH", 12_345_690, 0, 0))], 0)
    still = rank([seen(0, struct.pack(">IHH", 12_345_678, 0, 0), struct.pack(">IHH", 12_345_678, 0, 0))], 0)

    def of(guesses):
        return next(g.score for g in guesses if g.form == Form(ValueType.UINT32, Order.ABCD) and g.address == 0)

    assert of(grown) == of(still) + 25
    assert "grew by 12 between two reads, as a counter does" in grown[0].why
    fallen = rank([seen(0, struct.pack(">IHH", 12_345_690, 0, 0), struct.pack(">IHH", 12_345_678, 0, 0))], 0)
    assert of(fallen) == of(still)


def test_what_the_display_shows_decides():
    data = struct.pack(">HHHH", 2301, 742, 2290, 2310)
    assert rank([seen(0, data)], 1)[0].meaning == "voltage"
    best = rank([seen(0, data)], 1, expect=7.4)[0]
    assert (best.address, best.form.scale, best.value) == (1, 0.01, 7.42)
    assert best.why[0] == "within 0.27 % of the 7.4 that was expected"


def test_the_other_table_is_told():
    nothing = seen(0, bytes(12), table=Table.HOLDING)
    best = rank([nothing, seen(0, struct.pack(">fff", 231.25, 229.5, 230.75))], 0)[0]
    assert best.at == "input:0"


def test_zeros_are_no_guess_worth_showing():
    assert rank([seen(0, bytes(24))], 1) == []


@given(st.binary(min_size=2, max_size=40).filter(lambda data: len(data) % 2 == 0), st.integers(0, 20))
def test_any_registers_give_sorted_scores_within_bounds(data, address):
    guesses = rank([seen(0, data, data)], address)
    scores = [guess.score for guess in guesses]
    assert scores == sorted(scores, reverse=True)
    assert all(10 <= score <= 100 for score in scores)
    for guess in guesses:
        raw = number(seen(0, data).first, guess.address, guess.form)
        assert guess.value == pytest.approx(raw * guess.form.scale, rel=1e-6)
        assert abs(guess.address - address) <= 1
