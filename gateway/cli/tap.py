"""``onpath tap``: samples of the running gateway as they go by, or what it could not use."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gateway.control import follow


def tap_samples(state: Path, globs: Sequence[str], for_s: float | None, *, as_json: bool) -> None:
    """Print samples until stopped, or for a while."""
    _run(state, {"globs": list(globs) or ["**"]}, for_s, as_json=as_json)


def tap_rejected(state: Path, last: int, for_s: float | None, *, as_json: bool) -> None:
    """Print what adapters could not use."""
    _run(state, {"rejected": True, "last": last}, for_s, as_json=as_json)


def _run(state: Path, request: dict[str, Any], for_s: float | None, *, as_json: bool) -> None:
    with contextlib.suppress(KeyboardInterrupt, BrokenPipeError):
        asyncio.run(_follow(state, request, for_s, as_json=as_json))


async def _follow(state: Path, request: dict[str, Any], for_s: float | None, *, as_json: bool) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(for_s), contextlib.aclosing(follow(state, "tap", **request)) as answers:
            async for answer in answers:
                _show(answer, as_json=as_json)
                sys.stdout.flush()


def _show(answer: dict[str, Any], *, as_json: bool) -> None:
    if answer.get("missed"):
        print(f"{answer['missed']} samples were too many to show", file=sys.stderr)
    rows = answer.get("samples") or [answer["rejected"]]
    for row in rows:
        if as_json:
            print(json.dumps(row))
        elif "reason" in row and "where" in row:
            print(f"{row['adapter']}  {row['reason']}  {row['where']}  {row['detail']}\n    {_payload(row)}")
        else:
            shown = row["value"] if row["value"] is not None else f"- ({row['reason']})"
            quality = "" if row["quality"] == "good" else f"  {row['quality']}"
            print(f"{row['time']}  {row['point']}  {shown}{quality}")


def _payload(row: dict[str, Any]) -> str:
    cut = f" ... ({row['size']} bytes)" if row["size"] > 1024 else ""
    return (row["payload"] if "payload" in row else f"0x{row['payload_hex']}") + cut
