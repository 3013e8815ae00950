"""Types, limits and defaults of options as a reader of YAML has them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec.inspect as mi

from gateway.config.describe import written
from gateway.config.leaves import members_of
from gateway.config.nodes import value_text
from gateway.units import EXAMPLES, Bandwidth, Duration, Rate, Size

_QUANTITIES = {Duration: "duration", Size: "size", Bandwidth: "bandwidth", Rate: "rate"}
_PLAIN = ((mi.StrType, "text"), (mi.BoolType, "`true` or `false`"), (mi.IntType, "integer"), (mi.FloatType, "number"))
_NAME = r"^[A-Za-z0-9_.\-]+$"


def type_text(info: mi.Type) -> str:
    """What may stand there, in words: ``duration``, ``list of text``, the words of a choice."""
    if isinstance(info, mi.Metadata):
        return type_text(info.type)
    if isinstance(info, mi.UnionType):
        members = [type_text(member) for member in info.types if not _nothing(member)]
        return " or ".join(dict.fromkeys(members))
    return next((words(info) for cls, words in _TYPES if isinstance(info, cls)), _bounded(info))


def _choice(info: mi.EnumType | mi.LiteralType) -> str:
    return ", ".join(f"`{word}`" for word in members_of(info))


def _quantity(info: mi.CustomType) -> str:
    return f"{_QUANTITIES[info.cls]} (`{EXAMPLES[info.cls]}`)" if info.cls in _QUANTITIES else "value"


def _by_name(info: mi.DictType) -> str:
    return f"by name: {type_text(info.value_type)}{_count(info, 'entries')}"


def _list(info: mi.CollectionType) -> str:
    return f"list of {type_text(info.item_type)}{_count(info, 'entries')}"


def _tuple(info: mi.TupleType) -> str:
    return f"list of {len(info.item_types)}: " + ", ".join(map(type_text, info.item_types))


_TYPES: tuple[tuple[type[mi.Type], Callable[[Any], str]], ...] = (
    (mi.EnumType, _choice),
    (mi.LiteralType, _choice),
    (mi.CustomType, _quantity),
    (mi.DictType, _by_name),
    (mi.CollectionType, _list),
    (mi.TupleType, _tuple),
    (mi.StructType, lambda _: "mapping"),
)


def default_text(field: mi.Field) -> str:
    """``required``, ``none``, or the value as it would be written."""
    if field.required:
        return "required"
    if field.encode_name == "gateway":  # differs from host to host
        return "the host's name"
    value: Any = field.default
    if value is mi.NODEFAULT:
        value = None if field.default_factory is mi.NODEFAULT else field.default_factory()
    if hasattr(value, "__struct_fields__") or isinstance(value, mi.StructType):
        return "its own"
    value = written(value)
    if value is None or value in ("", [], {}) or "Unset" in type(value).__name__:
        return "none"
    if isinstance(value, dict):
        return "`{" + ", ".join(f"{key}: {value_text(item)}" for key, item in value.items()) + "}`"
    return f"`{value_text(value)}`"


def _nothing(info: mi.Type) -> bool:
    # an operator of a step that is not given is UNSET
    return isinstance(info, mi.NoneType) or "Unset" in type(info).__name__


def _bounded(info: mi.Type) -> str:
    words = next((words for cls, words in _PLAIN if isinstance(info, cls)), "value")
    if isinstance(info, mi.StrType) and info.pattern == _NAME:
        return "name"
    if isinstance(info, mi.StrType) and info.pattern:
        return f"text like `{info.pattern}`"
    if isinstance(info, mi.IntType | mi.FloatType):
        return words + _range(info)
    return words


def _range(info: mi.IntType | mi.FloatType) -> str:
    if info.ge is not None and info.le is not None:
        return f", {info.ge:g} to {info.le:g}" if abs(info.le) < 10_000 else f", {info.ge:g} to {info.le:,.0f}"
    bounds = (("at least", info.ge), ("above", info.gt), ("at most", info.le), ("below", info.lt))
    return "".join(f", {words} {bound:g}" for words, bound in bounds if bound is not None)


def _count(info: mi.CollectionType | mi.DictType, noun: str) -> str:
    if info.min_length and info.max_length:
        return f", {info.min_length} to {info.max_length:,} {noun}"
    if info.max_length:
        return f", at most {info.max_length:,} {noun}"
    return f", at least {info.min_length} {noun}" if info.min_length and info.min_length > 1 else ""
