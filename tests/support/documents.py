"""The documentation as data: files, fenced blocks, code, links and headings."""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
_PATTERNS = (
    "*.md", "docs/**/*.md", "adapters/**/README.md", "pipelines/README.md", "systemd/README.md", "gateway/**/README.md"
)  # fmt: skip
_NOT = {ROOT / "torture.md"}  # a report of make torture, no document
DOCUMENTS = sorted({path for pattern in _PATTERNS for path in ROOT.glob(pattern)} - _NOT)

_FENCE = re.compile(r"^( *)```(\w*)\s*$")
_MARKER = re.compile(r"^\s*<!-- (.*?) -->\s*$")
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)


@dataclass(frozen=True)
class Block:
    """One fenced block; ``marker`` is the text of an HTML comment on the line before it."""

    file: Path
    line: int
    language: str
    text: str
    marker: str

    def __str__(self) -> str:
        return f"{name(self.file)}:{self.line}"


def name(path: Path) -> str:
    """The path from the root, for messages."""
    return path.relative_to(ROOT).as_posix()


def blocks(path: Path) -> list[Block]:
    """All fenced blocks of a document."""
    lines = path.read_text("utf-8").splitlines()
    found: list[Block] = []
    at = 0
    while at < len(lines):
        opened = _FENCE.match(lines[at])
        if opened:
            end = next(i for i in range(at + 1, len(lines)) if lines[i].strip() == "```")
            marker = _MARKER.match(lines[at - 1]) if at else None
            text = textwrap.dedent("\n".join(lines[at + 1 : end])) + "\n"
            found.append(Block(path, at + 2, opened[2], text, marker[1] if marker else ""))
            at = end
        at += 1
    return found


def prose(path: Path) -> str:
    """The document without fenced blocks and comments."""
    out, inside = [], False
    for line in path.read_text("utf-8").splitlines():
        if line.strip().startswith("```"):
            inside = not inside
        elif not inside:
            out.append(line)
    assert not inside, f"{name(path)}: a block is not closed"
    return _COMMENT.sub("", "\n".join(out))


def code(path: Path) -> list[str]:
    """Inline code, one string each."""
    return [" ".join(text.split()) for text in re.findall(r"`([^`]+)`", prose(path))]


def commands(path: Path) -> list[str]:
    """What a reader may type: inline code, and the lines of console and shell blocks."""
    typed = code(path)
    for block in blocks(path):
        if block.language == "console":
            typed += [line[2:] for line in block.text.splitlines() if line.startswith("$ ")]
        elif block.language == "sh":
            typed += block.text.splitlines()
    return typed


def links(path: Path) -> list[str]:
    """Targets of links, without code."""
    return re.findall(r"\[[^\]]*\]\(([^)\s]+)\)", re.sub(r"`[^`]*`", "", prose(path)))


def images(path: Path) -> list[str]:
    """Sources of pictures, in Markdown or as HTML."""
    text = re.sub(r"`[^`]*`", "", prose(path))
    return re.findall(r"!\[[^\]]*\]\(([^)\s]+)\)", text) + re.findall(r'<img [^>]*src="([^"]+)"', text)


def anchors(path: Path) -> set[str]:
    """The anchors that headings get, by GitHub's rule."""
    titles = re.findall(r"^#+ +(.*?)\s*$", prose(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def section(path: Path, title: str) -> str:
    """The text below a second-level heading, up to the next."""
    found = re.search(rf"^## {re.escape(title)}$(.*?)(?=^## |\Z)", path.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert found, f"{name(path)} has no section {title}"
    return found[1]


def rows(text: str) -> list[list[str]]:
    """The cells of the tables in a text, without heads and rules."""
    table = [line for line in text.splitlines() if line.startswith("|")]
    rules = {i for i, line in enumerate(table) if set(line) <= set("|-: ")}
    kept = [line for i, line in enumerate(table) if i not in rules and i + 1 not in rules]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in kept]
