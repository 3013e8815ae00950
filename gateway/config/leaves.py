"""One scalar of YAML to one value of a typed config struct, with messages for people.

What a leaf may be, on top of its own type: an integer stands for a float; a plain number or boolean stands
for text, as it is written (``version: 5``); what came out of ``${...}`` stands for whatever it reads as.
A quoted ``"5"`` is not a number, a number never a boolean, and NaN never a setting.
"""

from __future__ import annotations

import difflib
import enum
import json
import math
import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, Final

import msgspec.inspect as mi

from gateway.config.nodes import Node, Scalar, kind, resolve
from gateway.units import EXAMPLES, Bandwidth, Duration, Quantity, Rate, Size, decode_quantity

MAX_DURATION_S: Final = 9.2e9
"""The longest duration: what fits into 64 bits of nanoseconds, 291 years."""
MAX_SIZE: Final = 2**63 - 1
MAX_KNOWN: Final = 1000
"""Among more words than this no near one is looked for."""

_SHOWN: Final = 60
_NAMED: Final = 16
_PATTERNS = {
    r"^[A-Za-z0-9_.\-]+$": 'is not a name: letters, digits, "_", "." and "-" only',
}
_BOOLEAN_WORDS = {"on": "true", "yes": "true", "y": "true", "off": "false", "no": "false", "n": "false"}


class LeafError(ValueError):
    """The scalar is not what is wanted; the text says what is."""


def leaf(info: mi.Type, node: Scalar) -> Any:
    """The value of ``node`` as ``info`` wants it.

    Raises:
        LeafError: it is not, with what is expected and what is there.
    """
    reader = _READERS.get(type(info))
    if reader is None:
        raise mismatch(info, node)
    return reader(info, node)


def value_of(node: Scalar) -> str | float | bool | None:
    """What a leaf reads as; after expansion quotes no longer matter."""
    if node.expanded:
        return resolve(replace(node, plain=True)) if node.text else ""
    return resolve(node)


def shown(node: Scalar) -> str:
    """The scalar in a message: never a secret, never long."""
    if node.secret:
        return "a credential"
    value = value_of(node)
    if value is None:
        return "nothing"
    text = node.text if len(node.text) <= _SHOWN else node.text[: _SHOWN - 1] + "…"
    return json.dumps(text, ensure_ascii=False) if isinstance(value, str) else text


def mismatch(info: mi.Type, node: Node) -> LeafError:
    """The error for a node of the wrong kind."""
    there = shown(node) if isinstance(node, Scalar) else kind(node)
    return LeafError(f"expected {expected(info)}, got {there}")


def expected(info: mi.Type) -> str:
    """What a type wants, in words."""
    if isinstance(info, mi.Metadata):
        return expected(info.type)
    if isinstance(info, mi.UnionType):
        words = (expected(t) for t in info.types if not isinstance(t, mi.NoneType))
        return " or ".join(dict.fromkeys(words))
    if isinstance(info, mi.EnumType | mi.LiteralType):
        return _any_of(list(members_of(info)))
    if isinstance(info, mi.TupleType):
        return f"a list of {len(info.item_types)} values"
    if isinstance(info, mi.CustomType):
        return _QUANTITIES.get(info.cls, "a value")
    return next((words for types, words in _EXPECTED if isinstance(info, types)), "a value")


_WORDS = {Duration: "duration", Size: "size", Bandwidth: "bandwidth", Rate: "rate"}
_QUANTITIES = {cls: f"a {word} such as {EXAMPLES[cls]}" for cls, word in _WORDS.items()}
_EXPECTED: tuple[tuple[tuple[type[mi.Type], ...], str], ...] = (
    ((mi.StrType,), "text"),
    ((mi.BoolType,), "true or false"),
    ((mi.IntType,), "an integer"),
    ((mi.FloatType,), "a number"),
    ((mi.CollectionType,), "a list"),
    ((mi.StructType, mi.DictType), "a mapping"),
    ((mi.NoneType,), "nothing"),
)


def suggestion(word: str, known: Iterable[str]) -> str:
    """``; did you mean "every"?``, or the known words if none is near, to be put behind a message."""
    names = list(known)
    if len(names) > MAX_KNOWN:
        return ""
    near = difflib.get_close_matches(word[:100], names, n=1)
    if near:
        return f'; did you mean "{near[0]}"?'
    if not names or len(names) > _NAMED:
        return ""
    return f" (known: {', '.join(names)})"


def _any_of(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"one of {', '.join(words)}"


def _literal_text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _text(info: mi.StrType, node: Scalar) -> str:
    if value_of(node) is None:
        raise mismatch(info, node)
    text = node.text
    if info.min_length is not None and len(text) < info.min_length:
        raise LeafError("must not be empty" if not text else f"shorter than {info.min_length} characters")
    if info.max_length is not None and len(text) > info.max_length:
        raise LeafError(f"longer than {info.max_length} characters")
    if info.pattern is not None and not re.search(info.pattern, text):
        words = _PATTERNS.get(info.pattern, f"does not match {info.pattern}")
        raise LeafError(f"{shown(node)} {words}")
    return text


def _boolean(info: mi.BoolType, node: Scalar) -> bool:
    value = value_of(node)
    if isinstance(value, bool):
        return value
    hint = _BOOLEAN_WORDS.get(node.text.lower())
    raise LeafError(f"expected {expected(info)}, got {shown(node)}" + (f"; write {hint}" if hint else ""))


def _number(info: mi.IntType | mi.FloatType, node: Scalar) -> float:
    value = value_of(node)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise LeafError(f"expected {expected(info)}, got {shown(node)}{_number_hint(node)}")
    if isinstance(value, float) and math.isnan(value):
        raise LeafError("not a number")
    if isinstance(info, mi.FloatType):
        value = float(value)
    elif isinstance(value, float):
        raise mismatch(info, node)
    _check_range(info, node, value)
    return value


def _number_hint(node: Scalar) -> str:
    if not node.plain and isinstance(resolve(replace(node, plain=True)), int | float):
        return "; take the quotes off"
    if re.fullmatch(r"[-+]?0[0-9]+", node.text):
        return "; write it without the leading zero, or as 0o17 if it is octal"
    return ""


def _check_range(info: mi.IntType | mi.FloatType, node: Scalar, value: float) -> None:
    broken = (
        (info.ge, info.ge is not None and value < info.ge, "at least"),
        (info.gt, info.gt is not None and value <= info.gt, "above"),
        (info.le, info.le is not None and value > info.le, "at most"),
        (info.lt, info.lt is not None and value >= info.lt, "below"),
        (info.multiple_of, bool(info.multiple_of and value % info.multiple_of), "a multiple of"),
    )
    for bound, wrong, words in broken:
        if wrong:
            raise LeafError(f"must be {words} {bound}, got {shown(node)}")


def members_of(info: mi.EnumType | mi.LiteralType) -> dict[str, Any]:
    """The values that a choice offers, by the text that stands for each."""
    if isinstance(info, mi.LiteralType):
        return {_literal_text(value): value for value in info.values}
    members: list[enum.Enum] = list(info.cls)
    return {str(member.value): member for member in members}


def _choice(info: mi.EnumType | mi.LiteralType, node: Scalar) -> Any:
    members = members_of(info)
    if node.text in members:
        return members[node.text]
    if value_of(node) is None or node.secret:
        raise mismatch(info, node)
    raise LeafError(f"{shown(node)} is unknown{suggestion(node.text, members)}")


def _quantity(info: mi.CustomType, node: Scalar) -> Quantity:
    value = value_of(node)
    if value is None or isinstance(value, bool) or info.cls not in _QUANTITIES:
        raise mismatch(info, node)
    try:
        quantity: Quantity = decode_quantity(info.cls, value)
    except OverflowError:
        quantity = Duration(math.inf)
    except ValueError as error:
        raise LeafError(str(error)) from None
    duration = info.cls is Duration
    if quantity > (MAX_DURATION_S if duration else MAX_SIZE):
        raise LeafError(f"{shown(node)} is too {'long' if duration else 'large'}")
    return quantity


def _nothing(info: mi.NoneType, node: Scalar) -> None:
    if value_of(node) is not None:
        raise mismatch(info, node)


_READERS: dict[type[mi.Type], Callable[[Any, Scalar], Any]] = {
    mi.StrType: _text,
    mi.BoolType: _boolean,
    mi.IntType: _number,
    mi.FloatType: _number,
    mi.EnumType: _choice,
    mi.LiteralType: _choice,
    mi.CustomType: _quantity,
    mi.NoneType: _nothing,
}

_FITS: tuple[tuple[type[mi.Type], Callable[[object], bool], int], ...] = (
    (mi.NoneType, lambda value: value is None, 5),
    (mi.BoolType, lambda value: isinstance(value, bool), 4),
    (mi.IntType, lambda value: isinstance(value, int) and not isinstance(value, bool), 3),
    (mi.FloatType, lambda value: isinstance(value, int | float) and not isinstance(value, bool), 2),
    (mi.StrType, lambda value: value is not None, 1),
    (mi.CustomType, lambda value: value is not None, 1),
)


def fits(info: mi.Type, node: Scalar) -> int:
    """How well a scalar suits one member of a union: 0 not at all, the highest wins."""
    if isinstance(info, mi.EnumType | mi.LiteralType):
        return 6 if node.text in members_of(info) else int(value_of(node) is not None)
    value = value_of(node)
    return next((score for cls, test, score in _FITS if isinstance(info, cls) and test(value)), 0)
