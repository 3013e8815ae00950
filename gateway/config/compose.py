"""YAML text to the tree of :mod:`gateway.config.nodes`. No types, no I/O.

Composed from the parser's events, so that depth, size and aliases are bounded before anything is built,
and nothing is ever constructed. Anchors, aliases and ``<<`` work; tags do not, except those of YAML's own
scalars (``!!str 5``). One document a file; the same key twice in one mapping is an error.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

import yaml

from gateway.config.nodes import Entry, Mapping, Mark, Node, Scalar, Sequence, kind, path_text, resolve
from gateway.errors import Problem

MAX_NODES: Final = 100_000
"""Nodes of one file after aliases are expanded."""
MAX_DEPTH: Final = 100
"""Levels of nesting, aliases included."""

_TAG = "tag:yaml.org,2002:"
_TEXT_TAGS = frozenset({_TAG + "str", "!"})
_PLAIN_TAGS = frozenset({_TAG + name for name in ("int", "float", "bool", "null")})
_MAP_TAGS = frozenset({None, "!", _TAG + "map"})
_SEQ_TAGS = frozenset({None, "!", _TAG + "seq"})
_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_BARE_VARIABLE = re.compile(r"[{\[].*[:,\[ ]\s*\$\{")
_UNPRINTABLE = re.compile("[^\\t\\n\\r -~\\x85\\xa0-\\ud7ff\\ue000-\\ufffd\\U00010000-\\U0010ffff]")


class NodeError(Exception):
    """The text cannot be read any further; carries where and why."""

    def __init__(self, mark: Mark, message: str) -> None:
        self.mark = mark
        super().__init__(message)


def parse(text: str, file: str) -> tuple[Mapping, list[Problem]]:
    """The tree of one file, an empty mapping for an empty one, and what is wrong with it.

    Syntax errors end the reading; doubled keys do not, so that all of them are shown.
    """
    composer = _Composer(file)
    try:
        return composer.document(text), composer.problems
    except NodeError as error:
        composer.problems.append(error.mark.problem("", str(error)))
        return Mapping(Mark(file, 1, 1), {}), composer.problems


def _events(text: str, file: str) -> Iterator[yaml.Event]:
    """The parser's events; every way that it can fail becomes a :class:`NodeError`."""
    bad = _UNPRINTABLE.search(text)
    if bad is not None:
        raise NodeError(mark_at(text, bad.start(), file), f"character U+{ord(bad[0]):04X} is not allowed")
    try:
        yield from yaml.parse(text, Loader=_LOADER)
    except yaml.MarkedYAMLError as error:
        raise _syntax_error(error, text, file) from None
    except (yaml.YAMLError, ValueError) as error:
        # ValueError: the pure Python scanner lets chr() and int() speak for themselves
        raise NodeError(Mark(file, 1, 1), f"not YAML: {error}") from None


def _syntax_error(error: yaml.MarkedYAMLError, text: str, file: str) -> NodeError:
    place = error.problem_mark or error.context_mark
    mark = Mark(file, 1, 1) if place is None else Mark(file, place.line + 1, place.column + 1)
    message = error.problem or "cannot be parsed"
    if error.context:
        message += f" {error.context}"
        if error.context_mark is not None and error.context_mark.line + 1 != mark.line:
            message += f" that begins on line {error.context_mark.line + 1}"
    if _BARE_VARIABLE.search(line_at(text, mark.line)):
        message += '; inside { } and [ ] write "${...}" in quotes'
    return NodeError(mark, f"not YAML: {message}")


def _short(tag: str | None) -> str:
    return str(tag).replace(_TAG, "!!")


def mark_at(text: str, at: int, file: str) -> Mark:
    """The place of the character at index ``at``."""
    return Mark(file, text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at))


def line_at(text: str, line: int) -> str:
    """The line with this number, 1-based; empty past the end."""
    lines = text.split("\n", line)
    return lines[line - 1] if line <= len(lines) else ""


class _Composer:
    """Builds the tree of one document from events."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.problems: list[Problem] = []
        self._anchors: dict[str, tuple[Node, int, int] | None] = {}
        self._nodes = 0
        self._path: list[str | int] = []

    def document(self, text: str) -> Mapping:
        events = _events(text, self.file)
        root: Node | None = None
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                if root is not None:
                    raise NodeError(self._mark(event), "a second document; one file holds one document")
                root, _ = self._node(next(events), events, 0)
        if root is None or (isinstance(root, Scalar) and resolve(root) is None):
            return Mapping(Mark(self.file, 1, 1), {})
        if not isinstance(root, Mapping):
            raise NodeError(root.mark, f"expected a mapping of keys such as adapters:, got {kind(root)}")
        return root

    def _mark(self, event: yaml.Event) -> Mark:
        start = event.start_mark
        assert start is not None  # the parser sets it on every event
        return Mark(self.file, start.line + 1, start.column + 1)

    def _node(self, event: yaml.Event, events: Iterator[yaml.Event], depth: int) -> tuple[Node, int]:
        """The node that begins with ``event``, and how many levels it has."""
        self._count(event, 1)
        if depth > MAX_DEPTH:
            raise NodeError(self._mark(event), f"nested more than {MAX_DEPTH} levels deep")
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event, depth)
        assert isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent)  # no other begins a node
        anchor = event.anchor
        before = self._nodes
        if anchor is not None:
            self._anchors[anchor] = None
        node, height = self._collection(event, events, depth)
        if anchor is not None:
            self._anchors[anchor] = node, self._nodes - before, height
        return node, height

    def _count(self, event: yaml.Event, n: int) -> None:
        self._nodes += n
        if self._nodes > MAX_NODES:
            raise NodeError(self._mark(event), f"more than {MAX_NODES} values, those of aliases included")

    def _alias(self, event: yaml.AliasEvent, depth: int) -> tuple[Node, int]:
        name = event.anchor
        if name not in self._anchors:
            raise NodeError(self._mark(event), f"alias *{name} has no anchor &{name} before it")
        known = self._anchors[name]
        if known is None:
            raise NodeError(self._mark(event), f"alias *{name} refers to itself")
        node, size, height = known
        self._count(event, size)
        if depth + height > MAX_DEPTH:
            raise NodeError(self._mark(event), f"nested more than {MAX_DEPTH} levels deep")
        return node, height

    def _collection(
        self,
        event: yaml.ScalarEvent | yaml.CollectionStartEvent,
        events: Iterator[yaml.Event],
        depth: int,
    ) -> tuple[Node, int]:
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event), 0
        known = _SEQ_TAGS if isinstance(event, yaml.SequenceStartEvent) else _MAP_TAGS
        if event.tag not in known:
            raise NodeError(self._mark(event), f"tag {_short(event.tag)} is not supported")
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(event, events, depth)
        return self._mapping(event, events, depth)

    def _scalar(self, event: yaml.ScalarEvent) -> Scalar:
        mark, tag = self._mark(event), event.tag
        if tag is None:
            return Scalar(mark, event.value, plain=not event.style)
        if tag not in _TEXT_TAGS | _PLAIN_TAGS:
            raise NodeError(mark, f"tag {_short(tag)} is not supported")
        return Scalar(mark, event.value, plain=tag in _PLAIN_TAGS)

    def _sequence(self, start: yaml.Event, events: Iterator[yaml.Event], depth: int) -> tuple[Sequence, int]:
        items: list[Node] = []
        deepest = 0
        for event in events:
            if isinstance(event, yaml.SequenceEndEvent):
                break
            self._path.append(len(items))
            item, height = self._node(event, events, depth + 1)
            self._path.pop()
            items.append(item)
            deepest = max(deepest, height)
        return Sequence(self._mark(start), tuple(items)), deepest + 1

    def _mapping(self, start: yaml.Event, events: Iterator[yaml.Event], depth: int) -> tuple[Mapping, int]:
        entries: dict[str, Entry] = {}
        merges: list[Node] = []
        deepest = 0
        for event in events:
            if isinstance(event, yaml.MappingEndEvent):
                break
            key, _ = self._node(event, events, depth + 1)
            self._path.append(key.text if isinstance(key, Scalar) else "?")
            value, height = self._node(next(events), events, depth + 1)
            self._path.pop()
            deepest = max(deepest, height)
            if isinstance(key, Scalar) and key.plain and key.text == "<<":
                merges.append(value)
            else:
                self._enter(entries, key, value, self._mark(event))
        self._merge(entries, merges)
        return Mapping(self._mark(start), entries), deepest + 1

    def _enter(self, entries: dict[str, Entry], key: Node, value: Node, mark: Mark) -> None:
        if not isinstance(key, Scalar):
            raise NodeError(mark, f"a key must be text, not {kind(key)}")
        if key.text in entries:
            first = entries[key.text].key
            path = path_text((*self._path, key.text))
            self.problems.append(mark.problem(path, f"defined twice; also defined at {first}"))
            return
        entries[key.text] = Entry(mark, value)

    @staticmethod
    def _merge(entries: dict[str, Entry], merges: list[Node]) -> None:
        """``<<: *base``: keys of the mapping itself win, then those of the first base."""
        for merge in merges:
            for base in merge.items if isinstance(merge, Sequence) else (merge,):
                if not isinstance(base, Mapping):
                    raise NodeError(base.mark, f"<< takes a mapping or a list of mappings, not {kind(base)}")
                for key, entry in base.entries.items():
                    entries.setdefault(key, entry)
