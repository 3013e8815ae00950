"""Formulas: what they mean, that they compute what Python's floats do, and that nonsense is refused by name."""

from __future__ import annotations

import math
import random
import string
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.operators.shape.formula import FUNCTIONS, MAX_LENGTH, MAX_OPERATIONS, FormulaError, parse
from tests.pipelines.reference_formula import valued
from tests.support.malformed import inputs
from tests.support.trials import trials

NAMES = ("m1/p", "m1/q", "*/s#mean")
BINARY = ("+", "-", "*", "/", "^", "<", "<=", ">", ">=", "==", "!=", "and", "or")
EXACT = ("+", "-", "*", "/", "<", "<=", ">", ">=", "==", "!=", "and", "or", "neg", "not", "sqrt", "abs", "min", "max",
         "floor", "ceil", "round", "clip", "if")  # fmt: skip
NUMBERS = st.one_of(
    st.floats(0, 1e6).map(lambda x: x + 0.0), st.sampled_from([0.0, 1.0, 2.0, 0.5, 3.0]), st.floats(0, 1e308)
)
INPUTS = st.one_of(st.floats(), st.floats(-10, 10), st.sampled_from([0.0, -0.0, 1.0, -1.0, 2.0, math.inf]))


def arity(name):
    if name in FUNCTIONS:
        return FUNCTIONS[name][0]
    return 1 if name in {"neg", "not"} else 2


@st.composite
def trees(draw, names=EXACT, depth=4):
    """Trees as the parser gives them; the first name is always there."""
    if depth == 0 or draw(st.integers(0, 3)) == 0:
        return draw(st.one_of(st.integers(0, 2), NUMBERS))
    name = draw(st.sampled_from(names))
    return (name, *(draw(trees(names, depth - 1)) for _ in range(arity(name))))


def written(tree):
    """The tree as text, with brackets everywhere."""
    if isinstance(tree, int):
        return NAMES[tree]
    if isinstance(tree, float):
        return repr(tree)
    name, *operands = tree
    texts = [written(operand) for operand in operands]
    if name in FUNCTIONS:
        return f"{name}({', '.join(texts)})"
    if name in {"neg", "not"}:
        return f"({'-' if name == 'neg' else 'not'} ({texts[0]}))"
    return f"(({texts[0]}) {name} ({texts[1]}))"


def computed(text, values):
    """The formula's value for one row; NAMES are looked up by what it names."""
    formula = parse(text)
    columns = [np.array([values[NAMES.index(name)]]) for name in formula.names]
    return float(formula(columns)[0])


def same(a, b):
    return (math.isnan(a) and math.isnan(b)) or struct.pack("<d", a + 0.0) == struct.pack("<d", b + 0.0)


@settings(max_examples=trials(300), deadline=None)
@given(tree=trees(), values=st.tuples(INPUTS, INPUTS, INPUTS))
def test_arithmetic_and_logic_are_those_of_pythons_floats(tree, values):
    text = f"m1/p * 0 + 1 * ({written(tree)})"
    whole = ("+", ("*", 0, 0.0), ("*", 1.0, tree))
    if len(text) <= MAX_LENGTH:
        assert same(computed(text, values), valued(whole, values))


@settings(max_examples=trials(300), deadline=None)
@given(
    name=st.sampled_from(["^", "exp", "log", "log10", "sin", "cos", "tan", "atan2"]),
    a=st.one_of(INPUTS, st.floats(-1e3, 1e3)),
    b=st.one_of(INPUTS, st.integers(-9, 9).map(float)),
)
def test_functions_are_those_of_python_but_for_the_last_digit(name, a, b):
    tree = (name, 0, 1) if arity(name) == 2 else (name, 0)
    found, wanted = computed(f"{written(tree)} + 0 * (m1/q * 0)", (a, b, 0.0)), valued(tree, (a, b))
    if math.isnan(b * 0.0) or math.isnan(wanted):
        assert math.isnan(found)
    else:
        assert found == wanted or math.isclose(found, wanted, rel_tol=1e-14)


@settings(max_examples=trials(200), deadline=None)
@given(tree=trees())
def test_what_is_written_is_what_is_read(tree):
    text = written(tree)
    if len(text) > MAX_LENGTH:
        return
    order: dict[int, int] = {}

    def numbered(one):
        if isinstance(one, int):
            return order.setdefault(one, len(order))
        return one if isinstance(one, float) else (one[0], *map(numbered, one[1:]))

    wanted = numbered(tree)
    if order:
        assert parse(text).tree == wanted
    else:
        with pytest.raises(FormulaError, match="names no point"):
            parse(text)


P, Q = 3.0, 4.0


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("sqrt(m1/p^2 + m1/q^2)", 5.0),
        ("m1/p / m1/q", 0.75),
        ("2*m1/p", 6.0),
        ("m1/p*2", 6.0),
        ("m1/p - 1", 2.0),
        ("-m1/p^2", -9.0),
        ("2^-1 * m1/p", 1.5),
        ("2^3^2 + 0 * m1/p", 512.0),
        ("8 - 4 - 2 + 0*m1/p", 2.0),
        ("8 / 4 / 2 + 0*m1/p", 1.0),
        ("1 + 2 * m1/p", 7.0),
        ("m1/p < m1/q and m1/q <= 4", 1.0),
        ("not m1/p > m1/q", 1.0),
        ("not (1 or 0) + 0 * m1/p", 0.0),
        ("m1/p == 3 or 1 / 0 > 2", 1.0),
        ("if(m1/p > 3.5, m1/p, -m1/q)", -4.0),
        ("max(m1/p, m1/q, 10, 2)", 10.0),
        ("clip(m1/p, 0, 2.5)", 2.5),
        ("round(2.5) + round(3.5) + 0 * m1/p", 6.0),
        ("atan2(0, -1) - pi + m1/p", 3.0),
        ("'m1/p' + 1e1 + .5 + 2.", 15.5),
        ("+m1/p - -m1/q", 7.0),
        ("sqrt(-m1/p)", math.nan),
        ("m1/p / 0", math.inf),
    ],
)
def test_what_a_formula_means(text, value):
    formula = parse(text)
    found = formula([np.array([{"m1/p": P, "m1/q": Q}[name]] * 3) for name in formula.names])
    assert found.shape == (3,)
    assert same(float(found[0]), value)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("m1/p-l1 + m1/p_2.b", ("m1/p-l1", "m1/p_2.b")),
        ("*/p * */q*2", ("*/p", "*/q")),
        ("site/*/p#mean - m1/p", ("site/*/p#mean", "m1/p")),
        ("'a b/c' + 'x'", ("a b/c", "x")),
        ("m1/p + m1/p", ("m1/p",)),
        ("(*/p)*(*/q)", ("*/p", "*/q")),
    ],
)
def test_names(text, names):
    assert parse(text).names == names


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "the formula ends"),
        ("1 + 2", "names no point"),
        ("sqr(m1/p)", "did you mean sqrt"),
        ("zzz(m1/p)", "known: sqrt"),
        ("power + 1", "'power' at 1 is neither a function nor a point"),
        ("sqrt + m1/p", "is a function"),
        ("m1/p +", "the formula ends"),
        ("(m1/p", "bracket at 1"),
        ("m1/p)", "')' at 5"),
        ("m1/p 2", "an operator or the end"),
        ("m1/p ** 2", "a power is written ^"),
        ("1 < m1/p < 3", "do not chain"),
        ("min(m1/p)", "at least 2 operands, got 1"),
        ("sqrt(m1/p, 2)", "takes 1 operands, got 2"),
        ("sqrt()", "expected a number"),
        ("m1/p $ 2", "'$' at 6"),
        ("m1/p & m1/q", "'&'"),
        ("'m1/p", '"\'" at 1'),
        ("''", "no name"),
        ("1e999 + m1/p", "too large"),
        ("__import__('os')", "unknown function"),
        ("m1/p if 1 else 2", "an operator or the end"),
        ("lambda: m1/p", "':' at 7"),
        ("m1/p+" * 201 + "1", "operations"),
        ("(" * 60 + "m1/p" + ")" * 60, "nested deeper"),
        ("-" * 60 + "m1/p", "nested deeper"),
        ("not " * 60 + "m1/p", "nested deeper"),
        ("2^" * 60 + "m1/p", "nested deeper"),
        ("sqrt(" * 60 + "m1/p" + ")" * 60, "nested deeper"),
        (" + ".join(f"m{n}/p" for n in range(65)), "more than 64 points"),
    ],
)
def test_nonsense_is_refused_by_name(text, part):
    with pytest.raises(FormulaError) as caught:
        parse(text)
    assert part in str(caught.value)


@pytest.mark.parametrize("nested", ["(" * 100_000, "-" * 100_000, "sqrt(" * 100_000, "not " * 100_000, "2^" * 100_000])
def test_what_is_nested_100000_deep_is_refused_at_once(nested):
    with pytest.raises(FormulaError, match="at most 2000 characters"):
        parse(nested)


def test_the_longest_chain_there_may_be_is_computed():
    text = "m1/p" + "+m1/p" * MAX_OPERATIONS
    assert parse(text)([np.ones(2)]).tolist() == [MAX_OPERATIONS + 1.0] * 2


SEEDS = [
    b"sqrt(*/p^2 + */q^2)",
    b"if(m1/p > 3 and not m1/q <= 2, clip(m1/p, 0, 1e3), -'x y' / 2)",
    b"min(a/b, c/d#mean, pi) * 2 - 1 != .5e-3",
]


def test_malformed_texts_give_a_formula_or_a_named_error():
    chance = random.Random(7)
    letters = string.ascii_letters + string.digits + "+-*/^()<>=!,.'#_ *()/ \t\n\u00b2\u0663"
    words = ["and", "or", "not", "if(", "sqrt(", "m1/p", "*/q", "(", ")", "-", "^", "2", "1e9", ",", "'"]
    read = 0
    for number, data in enumerate(inputs(SEEDS, None)):
        text = data.decode("utf-8", "replace")
        if number % 3 == 1:
            text = "".join(chance.choices(letters, k=chance.randrange(60)))
        elif number % 3 == 2:
            text = " ".join(chance.choices(words, k=chance.randrange(20)))
        try:
            formula = parse(text)
        except FormulaError:
            continue
        read += 1
        with np.errstate(all="raise"):
            formula([np.array([1.5, math.nan, -math.inf])] * len(formula.names))
    assert read > 10
