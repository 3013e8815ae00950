"""The configuration as it holds, with where each value comes from: a file, a default, a variable, a profile ...

Walks the finished structs with the tree beside them that they were made of. Secrets never leave here.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable, Iterator
from collections.abc import Mapping as MappingABC
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import msgspec

from gateway.config.describe import written
from gateway.config.expand import CREDENTIAL
from gateway.config.nodes import Entry, Mapping, Mark, Node, Path, Scalar, Sequence, path_text
from gateway.config.profiles import points_of_profile
from gateway.config.secret import HIDDEN, is_secret_key, secret_options, without_login
from gateway.units import QUANTITIES

DISCOVERY: Final = "discovery "
"""Begins the source of a tree that discovery made; behind it stands the key of the finding."""


class Kind(enum.StrEnum):
    """What a value comes from."""

    FILE = "file"
    DEFAULT = "default"
    VARIABLE = "variable"
    CREDENTIAL = "credential"
    PROFILE = "profile"
    DISCOVERY = "discovery"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value comes from: the kind, and words for people."""

    kind: Kind
    text: str


_DEFAULT: Final = Origin(Kind.DEFAULT, "default")


@dataclass(frozen=True, slots=True)
class Leaf:
    """One value, in plain JSON types, as YAML would have it."""

    value: Any
    origin: Origin


Shown = Leaf | dict[str, "Shown"] | list["Shown"]


@dataclass(frozen=True, slots=True)
class Row:
    """A leaf with its path."""

    path: str
    leaf: Leaf

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        origin = self.leaf.origin
        return {"path": self.path, "value": self.leaf.value, "origin": origin.text, "kind": origin.kind.value}


def effective(config: msgspec.Struct, root: Mapping, name_of: Callable[[str], str] = str) -> dict[str, Shown]:
    """Everything that holds, in the order of the options.

    Args:
        config: what the tree was converted to.
        root: the tree.
        name_of: how a file is called, given what its marks say.
    """
    shown = _Walker(name_of, _DEFAULT).struct(config, root)
    assert isinstance(shown, dict)
    return shown


def rows(shown: Shown, path: Path = ()) -> Iterator[Row]:
    """The leaves, flat; an empty mapping or list is one too."""
    if isinstance(shown, Leaf):
        yield Row(path_text(path), shown)
    elif isinstance(shown, dict):
        for key, value in shown.items():
            yield from rows(value, (*path, key))
    else:
        for at, value in enumerate(shown):
            yield from rows(value, (*path, at))


def selected(shown: Shown, wanted: Callable[[Row], bool], path: Path = ()) -> Shown | None:
    """The tree with the leaves that are wanted; None if none is."""
    if isinstance(shown, Leaf):
        return shown if wanted(Row(path_text(path), shown)) else None
    if isinstance(shown, dict):
        kept = {key: selected(value, wanted, (*path, key)) for key, value in shown.items()}
        return {key: value for key, value in kept.items() if value is not None} or None
    items = [selected(value, wanted, (*path, at)) for at, value in enumerate(shown)]
    return [item for item in items if item is not None] or None


class _Walker:
    """``otherwise`` is where a value comes from that stands in no tree and is not its option's default."""

    def __init__(self, name_of: Callable[[str], str], otherwise: Origin) -> None:
        self._name_of = name_of
        self._otherwise = otherwise

    def struct(self, value: msgspec.Struct, node: Node | None) -> Shown:
        """A struct by its options; those that are not set at all (of a step) are left out."""
        entries = _entries(node)
        config = value.__struct_config__
        shown: dict[str, Shown] = {}
        if config.tag is not None and config.tag_field is not None:
            shown[config.tag_field] = Leaf(config.tag, self._origin(_value(entries, config.tag_field)))
        secrets = secret_options(type(value))
        names = zip(value.__struct_fields__, value.__struct_encode_fields__, strict=True)
        for (name, encoded), default in zip(names, _defaults(type(value)), strict=True):
            found = getattr(value, name)
            if found is msgspec.UNSET:
                continue
            origin = _DEFAULT if found == default else self._otherwise
            inner = _Walker(self._name_of, origin)
            shown[encoded] = inner.value(found, _value(entries, encoded), encoded, secret=name in secrets)
        self._add_profiles(value, shown)
        return shown

    def _add_profiles(self, value: msgspec.Struct, shown: dict[str, Shown]) -> None:
        for path, (profile, options) in points_of_profile(value).items():
            inner = _Walker(self._name_of, Origin(Kind.PROFILE, f"profile {profile}"))
            point = selected(inner.struct(options, None), lambda row: row.leaf.origin.kind is not Kind.DEFAULT)
            if point is not None:
                _below(shown, ("devices", *path))[path[-1]] = point

    def value(self, value: Any, node: Node | None, option: str, *, secret: bool) -> Shown:
        """Any value; ``option`` is the key that it stands under."""
        if isinstance(value, msgspec.Struct):
            return self.struct(value, node)
        if isinstance(value, MappingABC) and value:
            entries = _entries(node)
            return {
                str(key): self.value(item, _value(entries, str(key)), option, secret=is_secret_key(option, str(key)))
                for key, item in value.items()
            }
        if isinstance(value, list | tuple | set | frozenset) and value and not secret:
            items = node.items if isinstance(node, Sequence) and len(node.items) == len(value) else (None,) * len(value)
            return [self.value(item, at, option, secret=False) for item, at in zip(value, items, strict=True)]
        return Leaf(_plain(value, node, secret=secret), self._origin(node))

    def _origin(self, node: Node | None) -> Origin:
        if node is None:
            return self._otherwise
        if node.mark.file.startswith(DISCOVERY):
            return Origin(Kind.DISCOVERY, node.mark.file)
        place = _place(node.mark, self._name_of)
        references = node.references if isinstance(node, Scalar) else ()
        if not references:
            return Origin(Kind.FILE, place)
        kind = Kind.CREDENTIAL if any(name.startswith(CREDENTIAL) for name in references) else Kind.VARIABLE
        return Origin(kind, f"{', '.join(references)} ({place})")


@lru_cache(maxsize=256)
def _defaults(cls: type[msgspec.Struct]) -> tuple[Any, ...]:
    """Of each field; what stands for a missing one equals nothing."""
    fields = msgspec.structs.fields(cls)
    return tuple(
        field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory() for field in fields
    )


def _below(shown: dict[str, Shown], path: tuple[str, ...]) -> dict[str, Shown]:
    """The mapping that holds the last part of ``path``."""
    for part in path[:-1]:
        inner = shown.get(part)
        if not isinstance(inner, dict):
            inner = shown[part] = {}
        shown = inner
    return shown


def _place(mark: Mark, name_of: Callable[[str], str]) -> str:
    return f"{name_of(mark.file)}:{mark.line}:{mark.column}"


def _entries(node: Node | None) -> MappingABC[str, Entry]:
    return node.entries if isinstance(node, Mapping) else {}


def _value(entries: MappingABC[str, Entry], key: str) -> Node | None:
    entry = entries.get(key)
    return None if entry is None else entry.value


def _plain(value: Any, node: Node | None, *, secret: bool) -> Any:
    """As YAML would have it; a secret hidden."""
    if (isinstance(node, Scalar) and node.secret) or (secret and value not in {None, ""}):
        return HIDDEN
    if isinstance(value, QUANTITIES) and isinstance(node, Scalar):
        return node.text  # as the user wrote it, to the last digit
    plain = written(value)
    if isinstance(plain, MappingABC):
        return {}
    if isinstance(plain, list | tuple | set | frozenset):
        return []
    if isinstance(plain, float) and not math.isfinite(plain):
        return "-.inf" if plain < 0 else ".inf"
    return without_login(plain)
