"""Moments as people write them: ``2026-01-31T12:00:00Z``, ``1h`` (ago) or ``now``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

import typer

from gateway.errors import PayloadError
from gateway.units import Duration

NOW: Final = "now"


def moment(option: str, text: str, now_ns: int | None = None) -> int:
    """UTC in ns: a time span before now, RFC 3339 (without a zone: UTC), or seconds since 1970.

    Raises:
        typer.BadParameter: it is none of these.
    """
    from gateway.trial.times import TimeReader

    now = time.time_ns() if now_ns is None else now_ns
    text = text.strip()
    if text == NOW:
        return now
    try:
        return now - Duration.parse(text.removesuffix("ago").strip()).ns
    except ValueError:
        pass
    try:
        return TimeReader()[text]
    except PayloadError:
        message = f"{text!r} is neither a time span (1h, 30m, 7d) nor a time such as 2026-01-31T12:00:00Z"
        raise typer.BadParameter(message, param_hint=option) from None


def span(since: str | None, until: str | None, default: str | None = None) -> tuple[int, int]:
    """``--since`` and ``--until``, in ns; without bounds where nothing is said.

    Raises:
        typer.BadParameter: one is no moment, or the end lies before the beginning.
    """
    now = time.time_ns()
    since = default if since is None else since
    first = moment("--since", since, now) if since is not None else -(1 << 63)
    last = moment("--until", until, now) if until is not None else (1 << 63) - 1
    if last <= first:
        raise typer.BadParameter("lies before --since", param_hint="--until")
    return first, last


def age(then_ns: int, now_ns: int) -> str:
    """``12 s``, ``3 min``, ``5.2 h``, ``8 d``."""
    seconds = (now_ns - then_ns) / 1e9
    for unit, size, below in (("s", 1, 120), ("min", 60, 7200), ("h", 3600, 172_800)):
        if seconds < below:
            return f"{seconds / size:.0f} {unit}" if unit != "h" else f"{seconds / size:.1f} {unit}"
    return f"{seconds / 86400:.0f} d"


def is_folder_of_state(path: Path) -> bool:
    """Whether a folder holds a store."""
    return (path / "onpath.db").is_file()
