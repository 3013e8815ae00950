"""Parts of configs/reference.yaml, as they stand there with their comments."""

from __future__ import annotations

import textwrap
from functools import lru_cache

from gateway.config.compose import parse
from gateway.config.nodes import Mapping, Sequence
from tests.support.documents import ROOT

MARKER = "from configs/reference.yaml"
_FILE = ROOT / "configs" / "reference.yaml"


@lru_cache(maxsize=1)
def _read() -> tuple[list[str], Mapping]:
    text = _FILE.read_text("utf-8")
    tree, problems = parse(text, _FILE.name)
    assert not problems
    assert isinstance(tree, Mapping)
    return text.splitlines(), tree


def section(name: str) -> str:
    """A key of the top level with what is below it; empty if the file does not show it."""
    lines, tree = _read()
    return _block(lines, tree.entries[name].key.line) if name in tree.entries else ""


def plug_in(kind: str, tag: str) -> str:
    """All adapters or uplinks of one type."""
    lines, tree = _read()
    entries = tree.entries[kind].value
    assert isinstance(entries, Mapping)
    chosen = [entry for entry in entries.entries.values() if _tag(entry.value) == tag]
    return "".join(_block(lines, entry.key.line) for entry in chosen)


def steps(operator: str) -> list[str]:
    """All steps of one operator, each as an item of a list."""
    lines, tree = _read()
    pipelines = tree.entries["pipelines"].value
    assert isinstance(pipelines, Mapping)
    found: list[str] = []
    for pipeline in pipelines.entries.values():
        assert isinstance(pipeline.value, Mapping)
        entry = pipeline.value.entries.get("steps")
        for item in entry.value.items if entry and isinstance(entry.value, Sequence) else ():
            assert isinstance(item, Mapping)
            found += [_block(lines, at.key.line) for name, at in item.entries.items() if name == operator]
    return found


def fenced(text: str) -> str:
    """As a block that the tests know for what it is."""
    return f"<!-- {MARKER} -->\n```yaml\n{textwrap.dedent(text).rstrip()}\n```\n" if text else ""


def _tag(node: object) -> str:
    return getattr(node.entries["type"].value, "text", "") if isinstance(node, Mapping) else ""


def _block(lines: list[str], first: int) -> str:
    """From line ``first`` (from 1) to the next that is not below it."""
    start = first - 1
    depth = len(lines[start]) - len(lines[start].lstrip())
    end = start + 1
    while end < len(lines) and (not lines[end].strip() or lines[end].startswith(" " * (depth + 1))):
        end += 1
    return "\n".join(lines[start:end]).rstrip() + "\n"
