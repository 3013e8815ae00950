"""What :mod:`gateway.config.origins` gives, as YAML, with a comment behind each value that says where it comes from.

Without the defaults, some of which may not be said beside other options, and without secrets, it reads as the same
again. Pure.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any, Final

from gateway.config.nodes import Mark, Scalar, resolve
from gateway.config.origins import Leaf, Shown

_PLAIN = re.compile(r"[A-Za-z0-9_./][A-Za-z0-9_./+-]*")
_INDENT: Final = "  "


def yaml_lines(shown: Shown, *, origins: bool) -> Iterator[str]:
    """Block style; lists of plain values of one origin stand on one line."""
    yield from _block(shown, "", origins=origins)


def _block(shown: Shown, indent: str, *, origins: bool) -> Iterator[str]:
    if isinstance(shown, dict):
        for key, value in shown.items():
            yield from _entry(f"{indent}{scalar(key)}:", value, indent + _INDENT, origins=origins)
    elif isinstance(shown, list):
        for item in shown:
            yield from _item(item, indent, origins=origins)


def _entry(head: str, value: Shown, indent: str, *, origins: bool) -> Iterator[str]:
    line = _in_line(value)
    if line is None:
        yield head
        yield from _block(value, indent, origins=origins)
    else:
        yield f"{head} {line}{_comment(value, origins=origins)}"


def _item(item: Shown, indent: str, *, origins: bool) -> Iterator[str]:
    """An item of a list: the dash stands before the first of its lines."""
    line = _in_line(item)
    if line is not None:
        yield f"{indent}- {line}{_comment(item, origins=origins)}"
        return
    inner = list(_block(item, indent + _INDENT, origins=origins))
    yield f"{indent}- {inner[0].lstrip()}"
    yield from inner[1:]


def _in_line(value: Shown) -> str | None:
    if isinstance(value, Leaf):
        return _leaf(value.value)
    if isinstance(value, dict):
        return None if value else "{}"
    if any(not isinstance(item, Leaf) for item in value):
        return None
    leaves = [item for item in value if isinstance(item, Leaf)]
    if len({leaf.origin.kind for leaf in leaves}) > 1:
        return None
    return "[" + ", ".join(_leaf(leaf.value) for leaf in leaves) + "]"


def _leaf(value: Any) -> str:
    if isinstance(value, dict):
        return "{}"
    if isinstance(value, list):
        return "[]"
    if isinstance(value, str):
        return value if value in {".inf", "-.inf"} else scalar(value)
    return "null" if value is None else json.dumps(value)


def scalar(text: str) -> str:
    """A text, quoted where it would not be read as itself."""
    if _PLAIN.fullmatch(text) and resolve(Scalar(Mark("", 1, 1), text)) == text:
        return text
    return json.dumps(text, ensure_ascii=False).replace("${", "$${")


def _comment(value: Shown, *, origins: bool) -> str:
    first = value
    while isinstance(first, list):
        first = first[0]
    if not origins or not isinstance(first, Leaf):
        return ""
    return f"  # {first.origin.text}"


def path_filter(glob: str) -> Callable[[str], bool]:
    """Whether a path fits, or lies below one that does: ``*`` within a segment, ``**`` over several."""
    parts = {"**": ".*", "*": r"[^.\[]*", "?": r"[^.\[]"}
    words = [parts.get(part, re.escape(part)) for part in re.split(r"(\*\*|\*|\?)", glob)]
    pattern = re.compile("".join(words) + r"(?:[.\[].*)?")
    return lambda path: pattern.fullmatch(path) is not None
