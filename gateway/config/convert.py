"""A tree of nodes to typed config structs, collecting every error on the way instead of the first.

The types are those that msgspec sees (:mod:`msgspec.inspect`), so that one struct beside the code that
uses it is the parser, the schema and the documentation. Rules beyond those of :mod:`gateway.config.leaves`:

* a key with nothing behind it is an empty mapping or list where one is wanted;
* a union is decided by the kind of the node (scalar, list, mapping), between structs by their tag;
* a struct is only constructed, and its ``__post_init__`` only asked, when all of its fields are right.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, ClassVar, Final, TypeVar, cast

import msgspec.inspect as mi

from gateway.config.leaves import LeafError, expected, fits, leaf, mismatch, shown, suggestion, value_of
from gateway.config.nodes import Entry, Mapping, Mark, Node, Path, Scalar, Sequence, kind, path_text
from gateway.errors import FieldError, Problem

BAD: Final = object()
"""Stands for a value that could not be converted; its problem has been noted."""
MAX_SUGGESTIONS: Final = 200
"""Looking for near words takes time: a file with more errors than this gets none for the rest."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value stands: its path, and the mark of its own key (of the value itself in a list)."""

    path: Path
    key: Mark

    def under(self, key: str, entry: Entry) -> Place:
        """The place of one key of a mapping."""
        return Place((*self.path, key), entry.key)


@lru_cache(maxsize=256)
def type_info(cls: Hashable) -> mi.Type:
    """What msgspec knows of a type; cached, since walking a large union takes milliseconds."""
    return mi.type_info(cls)


def convert(cls: type[T], node: Mapping) -> tuple[T | None, list[Problem]]:
    """The struct that a tree describes, or None and every problem of it."""
    converter = Converter()
    value = converter.value(type_info(cast("Hashable", cls)), node, Place((), node.mark))
    return (None if value is BAD else cast("T", value)), converter.problems


@dataclass(slots=True)
class Converter:
    """One conversion: walks types and nodes side by side."""

    problems: list[Problem] = field(default_factory=list)

    def report(self, mark: Mark, path: Path, message: str) -> object:
        """Note a problem; gives :data:`BAD` to return."""
        self.problems.append(mark.problem(path_text(path), message))
        return BAD

    def _suggest(self, word: str, known: list[str]) -> str:
        return suggestion(word, known) if len(self.problems) < MAX_SUGGESTIONS else ""

    def value(self, info: mi.Type, node: Node, place: Place) -> Any:
        """The value of ``node`` as ``info`` describes it, or :data:`BAD`."""
        if isinstance(node, Scalar) and node.failed:
            return BAD
        if isinstance(info, mi.Metadata):
            return self.value(info.type, node, place)
        walk = self._WALKS.get(type(info))
        return self._leaf(info, node, place) if walk is None else walk(self, info, node, place)

    def _any(self, info: mi.AnyType, node: Node, place: Place) -> Any:
        del info, place
        return plain(node)

    def _one_struct(self, info: mi.StructType, node: Node, place: Place) -> Any:
        return self._tagged([info], node, place)

    def _leaf(self, info: mi.Type, node: Node, place: Place) -> Any:
        try:
            if not isinstance(node, Scalar):
                raise mismatch(info, node)
            return leaf(info, node)
        except LeafError as error:
            return self.report(node.mark, place.path, str(error))

    def _wrong(self, info: mi.Type, node: Node, place: Place) -> Any:
        return self.report(node.mark, place.path, str(mismatch(info, node)))

    def _union(self, info: mi.UnionType, node: Node, place: Place) -> Any:
        types = [t.type if isinstance(t, mi.Metadata) else t for t in info.types]
        structs = [t for t in types if isinstance(t, mi.StructType)]
        if isinstance(node, Scalar):
            best = max(types, key=lambda t: fits(t, node))
            if fits(best, node):
                return self._leaf(best, node, place)
            if _nothing(node) and len(structs) == len(types):
                return self._tagged(structs, node, place)
            return self._wrong(info, node, place)
        if isinstance(node, Mapping) and structs:
            return self._tagged(structs, node, place)
        wanted = (mi.DictType,) if isinstance(node, Mapping) else (mi.CollectionType, mi.TupleType)
        chosen = next((t for t in types if isinstance(t, wanted)), None)
        return self.value(chosen, node, place) if chosen else self._wrong(info, node, place)

    def _tagged(self, structs: list[mi.StructType], node: Node, place: Place) -> Any:
        """A struct, chosen by its tag (``type:``) if there are several."""
        tag_field = structs[0].tag_field
        if structs[0].tag is None or tag_field is None:
            return self._struct(structs[0], node, place)
        mapping = _as_mapping(node)
        if mapping is None:
            return self._wrong(structs[0], node, place)
        chosen = self._chosen(tag_field, {str(struct.tag): struct for struct in structs}, mapping, place)
        return self._struct(chosen, mapping, place) if chosen else BAD

    def _chosen(
        self, tag_field: str, known: dict[str, mi.StructType], node: Mapping, place: Place
    ) -> mi.StructType | None:
        path = (*place.path, tag_field)
        entry = node.entries.get(tag_field)
        words = ", ".join(known)
        if entry is None:
            self.report(place.key, path, f"required key is missing (known: {words})")
        elif not isinstance(entry.value, Scalar) or _nothing(entry.value):
            self.report(entry.value.mark, path, f"expected one of {words}, got {kind(entry.value)}")
        elif entry.value.text in known:
            return known[entry.value.text]
        elif not entry.value.failed:
            text = entry.value.text
            message = f"{shown(entry.value)} is unknown{self._suggest(text, list(known))}"
            self.report(entry.value.mark, path, message)
        return None

    def _struct(self, info: mi.StructType, node: Node, place: Place) -> Any:
        mapping = _as_mapping(node)
        if mapping is None:
            return self._wrong(info, node, place)
        fields = {field.encode_name: field for field in info.fields}
        values: dict[str, Any] = {}
        for key, entry in mapping.entries.items():
            here = place.under(key, entry)
            if key in fields:
                values[fields[key].name] = self.value(fields[key].type, entry.value, here)
            elif key != info.tag_field:
                values[key] = self.report(entry.key, here.path, f"unknown key{self._suggest(key, list(fields))}")
        for name, wanted in fields.items():
            if wanted.required and name not in mapping.entries:
                values[name] = self.report(place.key, (*place.path, name), "required key is missing")
        if any(value is BAD for value in values.values()):
            return BAD
        return self._construct(info, values, mapping, place)

    def _construct(self, info: mi.StructType, values: dict[str, Any], node: Mapping, place: Place) -> Any:
        try:
            return info.cls(**values)
        except FieldError as error:
            names = {field.name: field.encode_name for field in info.fields}
            path = tuple(names.get(str(part), part) for part in error.field[:1]) + error.field[1:]
            mark = locate(node, path) or place.key
            return self.report(mark, (*place.path, *path), str(error))
        except ValueError as error:
            return self.report(place.key, place.path, str(error))

    def _dict(self, info: mi.DictType, node: Node, place: Place) -> Any:
        mapping = _as_mapping(node)
        if mapping is None:
            return self._wrong(info, node, place)
        result: dict[Any, Any] = {}
        for key, entry in mapping.entries.items():
            here = place.under(key, entry)
            name = self._leaf(info.key_type, Scalar(entry.key, key, plain=False, expanded=bool(key)), here)
            value = self.value(info.value_type, entry.value, here)
            result[name] = value if name is not BAD else BAD
        if any(value is BAD for value in result.values()):
            return BAD
        return self._sized(result, info, node, place)

    def _items(self, items: list[tuple[mi.Type, Node]], place: Place) -> list[Any] | None:
        """Each node as its type; None if one of them is not."""
        values = [self.value(info, node, Place((*place.path, at), node.mark)) for at, (info, node) in enumerate(items)]
        return None if any(value is BAD for value in values) else values

    def _collection(self, info: mi.CollectionType, node: Node, place: Place) -> Any:
        sequence = _as_sequence(node)
        if sequence is None:
            return self._wrong(info, node, place)
        values = self._items([(info.item_type, item) for item in sequence.items], place)
        if values is None:
            return BAD
        return self._sized(_COLLECTIONS[type(info)](values), info, node, place)

    def _sized(self, result: Any, info: mi.CollectionType | mi.DictType, node: Node, place: Place) -> Any:
        if info.min_length is not None and len(result) < info.min_length:
            few = "must not be empty" if not result else f"expected at least {info.min_length} entries"
            return self.report(node.mark, place.path, few)
        if info.max_length is not None and len(result) > info.max_length:
            return self.report(node.mark, place.path, f"expected at most {info.max_length} entries")
        return result

    def _tuple(self, info: mi.TupleType, node: Node, place: Place) -> Any:
        sequence = _as_sequence(node)
        if sequence is None:
            return self._wrong(info, node, place)
        if len(sequence.items) != len(info.item_types):
            message = f"expected {expected(info)}, got {len(sequence.items)}"
            return self.report(node.mark, place.path, message)
        values = self._items(list(zip(info.item_types, sequence.items, strict=True)), place)
        return BAD if values is None else tuple(values)

    _WALKS: ClassVar[dict[type[mi.Type], Callable[[Converter, Any, Node, Place], Any]]] = {
        mi.UnionType: _union,
        mi.StructType: _one_struct,
        mi.DictType: _dict,
        mi.ListType: _collection,
        mi.VarTupleType: _collection,
        mi.SetType: _collection,
        mi.FrozenSetType: _collection,
        mi.TupleType: _tuple,
        mi.AnyType: _any,
    }


_COLLECTIONS: dict[type[mi.Type], Callable[[list[Any]], Any]] = {
    mi.ListType: list,
    mi.VarTupleType: tuple,
    mi.SetType: set,
    mi.FrozenSetType: frozenset,
}


def locate(node: Node, path: Path) -> Mark | None:
    """Where the value at ``path`` stands, or the nearest thing above it; None if that is ``node`` itself."""
    mark = None
    for part in path:
        if isinstance(node, Mapping) and str(part) in node.entries:
            node = node.entries[str(part)].value
        elif isinstance(node, Sequence) and isinstance(part, int) and 0 <= part < len(node.items):
            node = node.items[part]
        else:
            break
        mark = node.mark
    return mark


def plain(node: Node) -> Any:
    """A tree as dicts, lists and scalars, for options whose type is anything."""
    if isinstance(node, Mapping):
        return {key: plain(entry.value) for key, entry in node.entries.items()}
    if isinstance(node, Sequence):
        return [plain(item) for item in node.items]
    return value_of(node)


def _tag_key(info: mi.StructType) -> list[str]:
    return [info.tag_field] if info.tag_field is not None and info.tag is not None else []


def _nothing(node: Node) -> bool:
    return isinstance(node, Scalar) and value_of(node) is None


def _as_mapping(node: Node) -> Mapping | None:
    if _nothing(node):
        return Mapping(node.mark, {})
    return node if isinstance(node, Mapping) else None


def _as_sequence(node: Node) -> Sequence | None:
    if _nothing(node):
        return Sequence(node.mark, ())
    return node if isinstance(node, Sequence) else None
