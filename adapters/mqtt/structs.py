"""Struct types generated for the points of a subscription: JSON or MessagePack to attributes in one C call.

Members that no point wants are skipped without an object being made for them. A missing number is
:data:`~adapters.mqtt.columns.ABSENT` by default, so that it needs no look of its own later.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Annotated, Any, NamedTuple, TypeAlias

import msgspec

from adapters.mqtt.columns import ABSENT, NAN
from adapters.payloads.pointer import Pointer

NUMBER = float | bool | None
STATE = str | float | bool | None
UNIX_TIME = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)] | float | None
TEXT_TIME = str | None


AnyDecoder: TypeAlias = msgspec.json.Decoder[Any] | msgspec.msgpack.Decoder[Any]


class Leaf(NamedTuple):
    """What stands at the end of a pointer: its type and what it is when it is missing."""

    kind: Any
    default: Any


Tree = dict[str, "Leaf | Tree"]


class Fast(NamedTuple):
    """A compiled way through a payload."""

    decode: Callable[[bytes], Any]
    """The payload as the generated struct; raises msgspec's errors where it does not fit."""
    get: Callable[[Any], Any]
    """The wanted attributes as a tuple; a bare value if there is only one."""


def compile_fast(
    pointers: Sequence[Pointer],
    states: Sequence[int],
    time: Pointer | None,
    *,
    text_time: bool,
    decoder: type[AnyDecoder] = msgspec.json.Decoder,
    records: Pointer | None = None,
) -> Fast | None:
    """A decoder for values at ``pointers`` and, last, the time; None if one struct cannot serve them all.

    Args:
        pointers: where the values stand.
        states: indexes of those that may be texts.
        time: where the source time stands, if the payload has one.
        text_time: whether it is a text, rather than a number.
        decoder: of the payload's codec.
        records: where an array of such records stands; ``get`` then gives a list, an item a record.
    """
    tree: Tree = {}
    paths = []
    for number, pointer in enumerate(pointers):
        leaf = Leaf(STATE if number in states else NUMBER, ABSENT)
        paths.append(_insert(tree, pointer, leaf))
    if time is not None:
        leaf = Leaf(TEXT_TIME, None) if text_time else Leaf(UNIX_TIME, NAN)
        paths.append(_insert(tree, time, leaf))
    if None in paths:
        return None
    record = _struct(tree, "Record")
    get = attrgetter(*(path for path in paths if path))
    if records is None:
        return Fast(decoder(record).decode, get)
    return _each(decoder, record, get, records)


def _each(
    decoder: type[AnyDecoder], record: type[msgspec.Struct], get: Callable[[Any], Any], records: Pointer
) -> Fast | None:
    """The same for an array of records, which has to be there."""
    array: Any = list[record]  # type: ignore[valid-type]  # made while running
    if not records:
        return Fast(decoder(array).decode, lambda found: list(map(get, found)))
    outer: Tree = {}
    path = _insert(outer, records, Leaf(array, msgspec.NODEFAULT))
    if path is None:
        return None
    find = attrgetter(path)
    return Fast(decoder(_struct(outer, "Message")).decode, lambda found: list(map(get, find(found))))


def _insert(tree: Tree, pointer: Pointer, leaf: Leaf) -> str | None:
    """Add a leaf. Returns the attribute's path, or None if something else stands there already."""
    names = []
    for token in pointer[:-1]:
        names.append(_name(tree, token))
        below = tree.setdefault(token, {})
        if isinstance(below, Leaf):
            return None
        tree = below
    if not pointer or tree.setdefault(pointer[-1], leaf) != leaf:
        return None
    return ".".join([*names, _name(tree, pointer[-1])])


def _name(tree: Tree, token: str) -> str:
    """Attributes are numbered, because a member's key may be any text."""
    return f"f{list(tree).index(token) if token in tree else len(tree)}"


def _struct(tree: Tree, name: str) -> type[msgspec.Struct]:
    """The type for an object; nested objects that are missing have all their members missing."""
    fields: list[tuple[str, Any, Any]] = []
    for number, below in enumerate(tree.values()):
        if isinstance(below, Leaf):
            fields.append((f"f{number}", below.kind, below.default))
        else:
            inner = _struct(below, f"{name}_{number}")
            needed = any(field.required for field in msgspec.structs.fields(inner))
            default = msgspec.NODEFAULT if needed else msgspec.field(default_factory=inner)
            fields.append((f"f{number}", inner, default))
    keys = {f"f{number}": key for number, key in enumerate(tree)}
    return msgspec.defstruct(name, fields, rename=keys, gc=False, kw_only=True)
