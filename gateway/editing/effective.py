"""What holds in the running gateway and where each value comes from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from gateway.config.emit import path_filter, yaml_lines
from gateway.config.grow import grown, tree_of
from gateway.config.origins import DISCOVERY, Kind, Shown, effective, rows, selected
from gateway.tasks import in_thread

if TYPE_CHECKING:
    from gateway.inside import Inside

LIMIT: Final = 10_000
"""Rows of one answer."""


def tree(inside: Inside) -> Shown:
    """Everything with its origin; takes a while for thousands of points, so call it in a thread."""
    root = inside.loaded.root
    for key, finding in inside.joining.findings.joined.items():
        root = grown(root, tree_of({"adapters": finding.config.get("adapters", {})}, DISCOVERY + key))
    return effective(inside.config, root, lambda file: Path(file).name)


def printed(shown: Shown, glob: str = "", *, defaults: bool = True, origins: bool = True) -> str:
    """The same as YAML, with a comment behind each value."""
    fits = path_filter(glob) if glob else lambda _path: True
    kept = selected(shown, lambda row: fits(row.path) and (defaults or row.leaf.origin.kind is not Kind.DEFAULT))
    return "" if kept is None else "\n".join(yaml_lines(kept, origins=origins)) + "\n"


async def effective_rows(
    inside: Inside, glob: str = "", *, defaults: bool = True, offset: int = 0, limit: int = LIMIT
) -> dict[str, Any]:
    """``{"total": ..., "rows": [{"path", "value", "origin", "kind"}]}``; secrets are ``***``."""

    def look() -> dict[str, Any]:
        fits = path_filter(glob) if glob else lambda _path: True
        found = [
            row
            for row in rows(tree(inside))
            if fits(row.path) and (defaults or row.leaf.origin.kind is not Kind.DEFAULT)
        ]
        part = found[max(0, offset) : max(0, offset) + min(max(0, limit), LIMIT)]
        return {"total": len(found), "rows": [row.as_dict() for row in part]}

    return await in_thread(look)
