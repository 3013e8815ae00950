"""Formulas over points: text to a tree, and the tree to numpy operations. Pure; nothing is ever executed as code.

Grammar, loosest binding first::

    any     = all {"or" all}
    all     = none {"and" none}
    none    = "not" none | order
    order   = sum [("<" | "<=" | ">" | ">=" | "==" | "!=") sum]
    sum     = product {("+" | "-") product}
    product = sign {("*" | "/") sign}
    sign    = ("-" | "+") sign | power
    power   = atom ["^" sign]                              2^3^2 is 2^9, and -2^2 is -4
    atom    = number | point | "pi" | function "(" any {"," any} ")" | "(" any ")"

A point is a name with a slash, ``m1/p``, or anything in single quotes. A segment may be ``*``, for "each device". Names
take every letter, digit, ``_``, ``.``, ``-``, ``/`` and ``#`` that follows without a blank: ``m1/p`` is a point and
``m1/p / 2`` a division, ``m1/p-l1`` is a point and ``m1/p - 1`` a difference.

Numbers are doubles as IEEE 754 has them: a division by 0 gives an infinity, the root of a negative number none (NaN).
Comparisons and logic give 1 or 0; anything but 0 is true; a NaN on either side gives NaN.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]
Tree = float | int | tuple[Any, ...]
"""A number (float), an input (int, its place among the names), or an operation and its operands."""

MAX_LENGTH: Final = 2_000
MAX_DEPTH: Final = 40
"""How deep brackets, functions, signs and powers may lie in one another."""
MAX_OPERATIONS: Final = 200
MAX_NAMES: Final = 64
_ANY_NUMBER: Final = 99

_SEGMENT: Final = r"(?:\*|[A-Za-z0-9_.\-]+)"
_TOKEN: Final = re.compile(
    rf"""\s*(?:
    (?P<number>(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?)
    |'(?P<quoted>[^'\n]*)'
    |(?P<point>(?:\*|[A-Za-z_][A-Za-z0-9_.\-]*)(?:/{_SEGMENT})+(?:\#[A-Za-z0-9_.\-]+)*)
    |(?P<word>[A-Za-z_][A-Za-z0-9_]*)
    |(?P<sign><=|>=|==|!=|\*\*|[-+*/^(),<>])
    )""",
    re.VERBOSE,
)
_SPACE: Final = re.compile(r"\s*")


class FormulaError(ValueError):
    """The text is no formula; the message says where, and what was expected."""


def _if(condition: Values, yes: Values, no: Values) -> Values:
    chosen = np.where(condition != 0, yes, no)
    return np.where(np.isnan(condition), np.nan, chosen)


def _judge(ufunc: Callable[..., Any]) -> Callable[[Values, Values], Values]:
    """A comparison or a logical operation on numbers that gives 1, 0, or NaN if an operand is NaN."""

    def judged(a: Values, b: Values) -> Values:
        return np.where(np.isnan(a) | np.isnan(b), np.nan, ufunc(a, b).astype(np.float64))

    return judged


def _not(a: Values) -> Values:
    return np.where(np.isnan(a), np.nan, (a == 0).astype(np.float64))


def _many(ufunc: Callable[..., Any]) -> Callable[..., Values]:
    def folded(*operands: Values) -> Values:
        result = operands[0]
        for operand in operands[1:]:
            result = ufunc(result, operand)
        return result

    return folded


def _clip(value: Values, low: Values, high: Values) -> Values:
    result: Values = np.minimum(np.maximum(value, low), high)
    return result


FUNCTIONS: Final[dict[str, tuple[int, int, Callable[..., Any]]]] = {
    "sqrt": (1, 1, np.sqrt),
    "abs": (1, 1, np.abs),
    "min": (2, _ANY_NUMBER, _many(np.minimum)),
    "max": (2, _ANY_NUMBER, _many(np.maximum)),
    "exp": (1, 1, np.exp),
    "log": (1, 1, np.log),
    "log10": (1, 1, np.log10),
    "sin": (1, 1, np.sin),
    "cos": (1, 1, np.cos),
    "tan": (1, 1, np.tan),
    "atan2": (2, 2, np.arctan2),
    "floor": (1, 1, np.floor),
    "ceil": (1, 1, np.ceil),
    "round": (1, 1, np.rint),
    "clip": (3, 3, _clip),
    "if": (3, 3, _if),
}
"""Functions by name: least and most operands, and what they do. Angles are in radians, ``round`` goes to even."""

_OPERATIONS: Final[dict[str, Callable[..., Any]]] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": np.divide,
    "^": np.power,
    "neg": np.negative,
    "not": _not,
    "and": _judge(np.logical_and),
    "or": _judge(np.logical_or),
    "<": _judge(np.less),
    "<=": _judge(np.less_equal),
    ">": _judge(np.greater),
    ">=": _judge(np.greater_equal),
    "==": _judge(np.equal),
    "!=": _judge(np.not_equal),
    **{name: how for name, (_, _, how) in FUNCTIONS.items()},
}
_COMPARISONS: Final = frozenset({"<", "<=", ">", ">=", "==", "!="})
_WORDS: Final = frozenset({"and", "or", "not"})


@dataclass(frozen=True)
class Formula:
    """A formula that was read: ``names`` are its points, ``tree`` refers to them by place."""

    names: tuple[str, ...]
    tree: Tree

    def __call__(self, inputs: Sequence[Values]) -> Values:
        """The values of the formula, [k], for the values of each name, [k] each."""
        result = np.empty(len(inputs[0]))
        with np.errstate(all="ignore"):
            result[:] = _value(self.tree, inputs)
        return result


def _value(tree: Tree, inputs: Sequence[Values]) -> Any:
    if isinstance(tree, int):
        return inputs[tree]
    if isinstance(tree, float):
        return np.float64(tree)
    name, *operands = tree
    return _OPERATIONS[name](*(_value(operand, inputs) for operand in operands))


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    at: int


def parse(text: str) -> Formula:
    """Read a formula.

    Raises:
        FormulaError: it is none, it is too long or too deep, or it names no point.
    """
    if len(text) > MAX_LENGTH:
        raise FormulaError(f"a formula has at most {MAX_LENGTH} characters; this one has {len(text)}")
    parser = _Parser(list(_tokens(text)))
    tree = parser.whole()
    if not parser.names:
        raise FormulaError("names no point; a point's name has a slash (m1/p) or stands in single quotes ('p')")
    return Formula(tuple(parser.names), tree)


def _tokens(text: str) -> list[_Token]:
    found: list[_Token] = []
    at = 0
    while (at := _end_of_space(text, at)) < len(text):
        # Behind an operand a star is a sign, before one it begins a name: 2*m1/p, and */p
        operand = bool(found) and (found[-1].kind not in {"sign", "word"} or found[-1].text in {")", "pi"})
        if operand and text[at] == "*" and text[at : at + 2] != "**":
            found.append(_Token("sign", "*", at))
            at += 1
            continue
        match = _TOKEN.match(text, at)
        if match is None or match.lastgroup is None:
            raise FormulaError(f"{text[at]!r} at {at + 1} means nothing here")
        found.append(_Token(match.lastgroup, match[match.lastgroup], at))
        at = match.end()
    found.append(_Token("end", "", len(text)))
    return found


def _end_of_space(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at


class _Parser:
    """Recursive descent; ``names`` are collected on the way."""

    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens = tokens
        self._at = 0
        self._depth = 0
        self._operations = 0
        self.names: dict[str, int] = {}

    @property
    def _next(self) -> _Token:
        return self._tokens[self._at]

    def _take(self) -> _Token:
        token = self._next
        self._at += 1
        return token

    def _is(self, *texts: str) -> bool:
        return self._next.kind in {"sign", "word"} and self._next.text in texts

    def _apply(self, name: str, *operands: Tree) -> Tree:
        self._operations += 1
        if self._operations > MAX_OPERATIONS:
            raise FormulaError(f"more than {MAX_OPERATIONS} operations; make it two steps")
        return (name, *operands)

    def whole(self) -> Tree:
        tree = self._any()
        if self._next.kind != "end":
            raise _unexpected(self._next, "an operator or the end")
        return tree

    def _deeper(self, rule: Callable[[], Tree]) -> Tree:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise FormulaError(f"nested deeper than {MAX_DEPTH}")
        tree = rule()
        self._depth -= 1
        return tree

    def _chain(self, rule: Callable[[], Tree], *signs: str) -> Tree:
        tree = rule()
        while self._is(*signs):
            sign = self._take().text
            tree = self._apply(sign, tree, rule())
        return tree

    def _any(self) -> Tree:
        return self._chain(self._all, "or")

    def _all(self) -> Tree:
        return self._chain(self._none, "and")

    def _none(self) -> Tree:
        if self._is("not"):
            self._take()
            return self._apply("not", self._deeper(self._none))
        return self._order()

    def _order(self) -> Tree:
        tree = self._sum()
        if self._is(*_COMPARISONS):
            sign = self._take().text
            tree = self._apply(sign, tree, self._sum())
            if self._is(*_COMPARISONS):
                raise FormulaError(f"comparisons do not chain (at {self._next.at + 1}): write a < b and b < c")
        return tree

    def _sum(self) -> Tree:
        return self._chain(self._product, "+", "-")

    def _product(self) -> Tree:
        return self._chain(self._sign, "*", "/")

    def _sign(self) -> Tree:
        if self._is("-", "+"):
            sign = self._take().text
            tree = self._deeper(self._sign)
            return self._apply("neg", tree) if sign == "-" else tree
        return self._power()

    def _power(self) -> Tree:
        tree = self._atom()
        if self._is("^"):
            self._take()
            return self._apply("^", tree, self._deeper(self._sign))
        return tree

    def _atom(self) -> Tree:
        token = self._take()
        if token.kind == "number":
            return _number(token)
        if token.kind in {"point", "quoted"}:
            return self._name(token)
        if token.kind == "sign" and token.text == "(":
            tree = self._deeper(self._any)
            self._close(token)
            return tree
        if token.kind == "word" and token.text not in _WORDS:
            return self._word(token)
        raise _unexpected(token, "a number, a point or a bracket")

    def _name(self, token: _Token) -> Tree:
        if not token.text or "**" in token.text:
            raise FormulaError(f"{token.text!r} at {token.at + 1} is no name of a point")
        place = self.names.setdefault(token.text, len(self.names))
        if place >= MAX_NAMES:
            raise FormulaError(f"names more than {MAX_NAMES} points")
        return place

    def _word(self, token: _Token) -> Tree:
        if self._is("("):
            return self._call(token)
        if token.text == "pi":
            return math.pi
        if token.text in FUNCTIONS:
            raise FormulaError(f"{token.text} at {token.at + 1} is a function: {token.text}(...)")
        raise FormulaError(
            f"{token.text!r} at {token.at + 1} is neither a function nor a point; a point's name has a slash"
            f" (m1/p) or stands in single quotes ('{token.text}')"
        )

    def _call(self, token: _Token) -> Tree:
        known = FUNCTIONS.get(token.text)
        if known is None:
            close = get_close_matches(token.text, FUNCTIONS, n=1)
            hint = f"; did you mean {close[0]}?" if close else f" (known: {', '.join(FUNCTIONS)})"
            raise FormulaError(f"unknown function {token.text} at {token.at + 1}{hint}")
        bracket = self._take()
        operands = [self._deeper(self._any)]
        while self._is(","):
            self._take()
            operands.append(self._deeper(self._any))
        self._close(bracket)
        least, most, _ = known
        if not least <= len(operands) <= most:
            wanted = f"{least}" if least == most else f"at least {least}"
            raise FormulaError(f"{token.text} at {token.at + 1} takes {wanted} operands, got {len(operands)}")
        return self._apply(token.text, *operands)

    def _close(self, opened: _Token) -> None:
        if not self._is(")"):
            raise _unexpected(self._next, f'")" for the bracket at {opened.at + 1}')
        self._take()


def _number(token: _Token) -> float:
    number = float(token.text)
    if not math.isfinite(number):
        raise FormulaError(f"{token.text} at {token.at + 1} is too large a number")
    return number


def _unexpected(token: _Token, wanted: str) -> FormulaError:
    if token.text == "**":
        return FormulaError(f'"**" at {token.at + 1}: a power is written ^')
    found = "the formula ends" if token.kind == "end" else f"found {token.text!r} at {token.at + 1}"
    return FormulaError(f"expected {wanted}, but {found}")
