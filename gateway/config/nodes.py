"""The light tree that YAML becomes: nodes that know where they stand, and what a scalar means.

Differences from YAML 1.1, which the parser speaks, are all on purpose:

* Plain scalars mean what YAML 1.2 (core schema) says: only ``true`` and ``false`` are booleans, ``null``,
  ``~`` and nothing are null. ``on``, ``off``, ``yes``, ``no`` are text; ``12:30`` is text and not 750.
* ``0x1F`` and ``0o17`` are integers; ``0123`` is text, because it is 83 to one reader and 123 to another.
* A key is always the text as written: a point may be called ``on`` or ``5``.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping as MappingABC
from dataclasses import dataclass

from gateway.errors import Problem

_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,39})|0x[0-9a-fA-F]{1,32}|0o[0-7]{1,40}")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_SPECIAL = re.compile(r"([-+]?)\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_BARE_KEY = re.compile(r"[\w*/+#$-]+")


@dataclass(frozen=True, slots=True, order=True)
class Mark:
    """A place in a file, 1-based."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"

    def problem(self, path: str, message: str) -> Problem:
        """A problem at this place."""
        return Problem(self.file, self.line, self.column, path, message)


@dataclass(frozen=True, slots=True)
class Scalar:
    """A leaf: its text, and whether it was plain (unquoted), so that it may be a number."""

    mark: Mark
    text: str
    plain: bool = True
    expanded: bool = False
    """The text was put together from ``${...}``."""
    secret: bool = False
    """A credential is part of the text: never show it."""
    failed: bool = False
    """Its expansion failed and was reported: nothing more can be said of it."""
    references: tuple[str, ...] = ()
    """What ``${...}`` in it named: ``variable NAME``, ``credential name``."""


@dataclass(frozen=True, slots=True)
class Sequence:
    """A list of nodes."""

    mark: Mark
    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Mapping:
    """Keys, as text, with their own places, and values."""

    mark: Mark
    entries: MappingABC[str, Entry]


@dataclass(frozen=True, slots=True)
class Entry:
    """One key of a mapping."""

    key: Mark
    value: Node


Node = Scalar | Sequence | Mapping
Path = tuple[str | int, ...]
"""Keys and list indices (from 0) from the top to a node."""


def path_text(path: Path) -> str:
    """``pipelines.p.steps[0].window``; keys that would be misread so are quoted."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            shown = part if _BARE_KEY.fullmatch(part) else json.dumps(part, ensure_ascii=False)
            text += f".{shown}" if text else shown
    return text


def resolve(scalar: Scalar) -> str | float | bool | None:
    """What a scalar is by YAML 1.2: quoted ones are text, plain ones may be null, bool, int or float."""
    text = scalar.text
    if not scalar.plain:
        return text
    if text in _NULL:
        return None
    if text in _BOOL:
        return _BOOL[text]
    if _INT.fullmatch(text):
        return int(text, 0)
    return _resolve_float(text)


def _resolve_float(text: str) -> str | float:
    special = _SPECIAL.fullmatch(text)
    if special is not None:
        return math.nan if special[1] is None else float(special[1] + "inf")
    if _FLOAT.fullmatch(text) and not re.fullmatch(r"[-+]?0[0-9]+", text):
        number = float(text)
        return text if math.isinf(number) else number
    return text


def kind(node: Node) -> str:
    """What a node is, in words."""
    match node:
        case Mapping():
            return "a mapping"
        case Sequence():
            return "a list"
        case _:
            value = resolve(node)
    if value is None:
        return "nothing"
    names = {bool: "a boolean", int: "an integer", float: "a number"}
    return names.get(type(value), "text")


def value_text(value: object) -> str:
    """A plain value as YAML would have it in a scalar: ``true`` and not ``True``."""
    return json.dumps(value) if isinstance(value, bool) or value is None else str(value)
