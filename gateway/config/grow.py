"""Trees that are added to a configuration after it was read: what discovery found and the user trusts."""

from __future__ import annotations

from typing import Any

from gateway.config.nodes import Entry, Mapping, Mark, Node, Scalar, Sequence, value_text


def tree_of(value: dict[str, Any], source: str) -> Mapping:
    """Plain data as a tree; every node says that it stands in ``source``."""
    mark = Mark(source, 1, 1)
    return Mapping(mark, {str(key): Entry(mark, _node(item, mark)) for key, item in value.items()})


def _node(value: Any, mark: Mark) -> Node:
    if isinstance(value, dict):
        return tree_of(value, mark.file)
    if isinstance(value, list | tuple):
        return Sequence(mark, tuple(_node(item, mark) for item in value))
    return Scalar(mark, value_text(value), plain=not isinstance(value, str))


def grown(first: Mapping, second: Mapping) -> Mapping:
    """``first`` with what ``second`` has beyond it: mappings by key, lists by appending what is not there yet."""
    entries = dict(first.entries)
    for key, entry in second.entries.items():
        known = entries.get(key)
        entries[key] = entry if known is None else Entry(known.key, _joined(known.value, entry.value))
    return Mapping(first.mark, entries)


def _joined(first: Node, second: Node) -> Node:
    if isinstance(first, Mapping) and isinstance(second, Mapping):
        return grown(first, second)
    if isinstance(first, Sequence) and isinstance(second, Sequence):
        known = [_bare(item) for item in first.items]
        return Sequence(first.mark, (*first.items, *(item for item in second.items if _bare(item) not in known)))
    return first


def _bare(node: Node) -> Any:
    """A node without its marks."""
    if isinstance(node, Mapping):
        return {key: _bare(entry.value) for key, entry in node.entries.items()}
    if isinstance(node, Sequence):
        return [_bare(item) for item in node.items]
    return node.text
