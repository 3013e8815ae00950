"""A struct of options as a table, with the structs that its options lead to."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import msgspec.inspect as mi

from gateway.config.convert import type_info
from gateway.config.describe import field_docs, one_line
from tests.support.reference.types import default_text, type_text

BAR = r"\|"


@dataclass(frozen=True)
class Part:
    """A struct, and the path by which a reader comes to it: ``devices.NAME.points.NAME``."""

    cls: type
    path: str
    leave_out: frozenset[str] = frozenset()
    """Options that are told elsewhere."""

    def fields(self) -> list[mi.Field]:
        """Its options."""
        info = type_info(self.cls)
        assert isinstance(info, mi.StructType)
        return [field for field in info.fields if field.encode_name not in self.leave_out]


def parts(cls: type, *, leave_out: frozenset[str] = frozenset(), known: frozenset[type] = frozenset()) -> list[Part]:
    """The struct itself and all that lie below it, each once, in the order of its options."""
    found = [Part(cls, "", leave_out)]
    seen = {cls, *known}
    for part in found:
        for field in part.fields():
            for suffix, info in _structs(field.type):
                if info.cls not in seen:
                    seen.add(info.cls)
                    found.append(Part(info.cls, f"{part.path}.{field.encode_name}{suffix}".lstrip(".")))
    return found


def _structs(info: mi.Type, suffix: str = "") -> Iterator[tuple[str, mi.StructType]]:
    if isinstance(info, mi.StructType):
        yield suffix, info
    elif isinstance(info, mi.Metadata):
        yield from _structs(info.type, suffix)
    elif isinstance(info, mi.UnionType):
        for member in info.types:
            yield from _structs(member, suffix)
    elif isinstance(info, mi.DictType):
        yield from _structs(info.value_type, f"{suffix}.NAME")
    elif isinstance(info, mi.CollectionType):
        yield from _structs(info.item_type, f"{suffix}[]")


def described(cls: type) -> str:
    """The docstring up to its first example, as prose."""
    kept = []
    for paragraph in re.split(r"\n\s*\n", inspect.cleandoc(cls.__doc__ or "")):
        if paragraph.endswith("::") or paragraph.startswith("    "):
            break
        kept.append(plain(one_line(paragraph)))
    return "\n\n".join(kept)


def plain(text: str) -> str:
    """Text whose stars and angle brackets mean themselves, but in code."""
    pieces = re.split(r"(`[^`]*`)", text)
    return "".join(piece if piece.startswith("`") else re.sub(r"([*<])", r"\\\1", piece) for piece in pieces)


def table(part: Part, paths: Mapping[type, str]) -> str:
    """Its options, one a row; ``paths`` are those of the structs that have a table on this page."""
    docs = field_docs(part.cls)
    rows = ["| option | what may stand there | default | meaning |", "|---|---|---|---|"]
    for field in part.fields():
        below = [paths[info.cls] for _, info in _structs(field.type) if paths.get(info.cls)]
        more = "".join(f", [its options](#{slug(path)})" for path in below[:1])
        cells = (f"`{field.encode_name}`", type_text(field.type) + more, default_text(field))
        rows.append(row((*cells, plain(docs.get(field.name, "")))))
    return "\n".join(rows)


def slug(heading: str) -> str:
    """The anchor of a heading, by GitHub's rule."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def row(cells: Iterable[str]) -> str:
    """A row of a table; a bar in a cell is escaped."""
    return f"| {' | '.join(cell.replace('|', BAR) for cell in cells)} |"


def sections(found: list[Part], level: str, bare: str = "") -> str:
    """A heading, a sentence and a table for each part; the headings at the paths "" and ``bare`` are the caller's."""
    paths = {part.cls: part.path for part in found}
    text = []
    for part in found:
        if part.path not in {"", bare}:
            text.append(f"{level} `{part.path}`")
        if part.path:
            text.append(described(part.cls).split("\n\n")[0])
        if part.fields():
            text.append(table(part, paths))
    return "\n\n".join(text) + "\n"
