"""What runs here: versions, plug-ins, and whose work it is built on."""

from __future__ import annotations

import asyncio
import inspect
import platform
import re
import time
from collections.abc import Iterator, Mapping
from importlib import metadata
from typing import TYPE_CHECKING, Final

from gateway import __version__
from gateway.config.plugins import installed

if TYPE_CHECKING:
    from gateway.inside import Inside
    from gateway.view.shapes import About, LicenceRow, PluginRow

_NAME: Final = re.compile(r"[A-Za-z0-9._-]+")
_LONGEST: Final = 60
"""Characters of a licence; some packages put the whole text there."""


async def about(inside: Inside) -> About:
    """All of it; packages are looked up in a thread."""
    plugins = installed()
    uptime_s = asyncio.get_running_loop().time() - inside.began
    return {
        "version": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "gateway": inside.config.gateway,
        "state": str(inside.config.state),
        "config": str(inside.path),
        "started_ms": int((time.time() - uptime_s) * 1000),
        "plugins": {
            "adapters": _rows(plugins.adapters),
            "operators": _rows(plugins.operators),
            "uplinks": _rows(plugins.uplinks),
        },
        "licences": await asyncio.to_thread(licences),
    }


def _rows(found: Mapping[str, type]) -> list[PluginRow]:
    return [{"name": name, "doc": (inspect.getdoc(cls) or "").split("\n", 1)[0]} for name, cls in found.items()]


def licences() -> list[LicenceRow]:
    """The packages that onpath needs, itself first, those that they need included."""
    rows: dict[str, LicenceRow] = {}
    waiting = ["onpath"]
    while waiting:
        name = waiting.pop(0)
        key = re.sub(r"[-_.]+", "-", name).lower()
        if key in rows:
            continue
        try:
            found = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue  # of another platform, or an extra that is not installed
        rows[key] = {"name": found.name, "version": found.version, "licence": _licence(found)}
        waiting += _needed(found)
    own = rows.pop("onpath", None)
    return ([own] if own else []) + sorted(rows.values(), key=lambda row: row["name"].lower())


def _needed(found: metadata.Distribution) -> Iterator[str]:
    for requirement in found.requires or []:
        name = _NAME.match(requirement)
        if name is not None and "extra ==" not in requirement:
            yield name[0]


def _licence(found: metadata.Distribution) -> str:
    said = _said(found, "License-Expression")
    if not said:
        classes = [text for text in found.metadata.get_all("Classifier") or [] if text.startswith("License ::")]
        said = ", ".join(text.rpartition(" :: ")[2] for text in classes)
    if not said:
        said = _said(found, "License").strip().split("\n", 1)[0]
    return said[:_LONGEST]


def _said(found: metadata.Distribution, field: str) -> str:
    return str((found.metadata.get_all(field) or [""])[0])
