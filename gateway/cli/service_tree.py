"""A service's tree as text: the core above, what sends to it below, with what runs there and what leaves it. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.cli.top_table import Spans
from gateway.network.grouping import Group
from gateway.network.picture import amount


def tree_lines(root: Group) -> Iterator[Spans]:
    """A line a node, or for several that are alike."""
    yield _line(root, "", root=True)
    yield from _below(root, "")


def _below(group: Group, indent: str) -> Iterator[Spans]:
    for number, child in enumerate(group.children, 1):
        last = number == len(group.children)
        yield _line(child, indent + ("└─ " if last else "├─ "))
        yield from _below(child, indent + ("   " if last else "│  "))


def _line(group: Group, lead: str, *, root: bool = False) -> Spans:
    line: Spans = [(f"  {lead}", "dim"), (group.title, "bold")]
    if group.span:
        line.append((f" ({group.span})", "dim"))
    line.append((f"  {' ▸ '.join(group.stages) or 'passes on'}", ""))
    if not root:
        line.append((f"  {amount(group.bytes_s)}/s", "accent"))
        line.append((f" (raw {amount(group.raw_s)}/s)", "dim"))
    return line
