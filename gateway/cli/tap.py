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
from gateway.errors import OnpathError
from gateway.trial.saving import Saving


def tap_samples(state: Path, globs: Sequence[str], after: str | None, for_s: float | None, *, as_json: bool) -> None:
    """Print samples until stopped, or for a while; ``after`` a step only what leaves it."""
    _run(state, _request(globs, after), for_s, as_json=as_json)


def tap_rejected(state: Path, last: int, for_s: float | None, *, as_json: bool) -> None:
    """Print what adapters could not use."""
    _run(state, {"rejected": True, "last": last}, for_s, as_json=as_json)


def save_samples(state: Path, globs: Sequence[str], after: str | None, for_s: float | None, path: Path) -> None:
    """Write what adapters bring, or what leaves a step, as ``frame`` messages back to back; as :func:`tap_samples`.

    Raises:
        OnpathError: the file exists, or cannot be written.
    """
    try:
        file = path.open("xb")
    except FileExistsError:
        raise OnpathError(f"{path}: exists already; a capture is not added to") from None
    except OSError as error:
        raise OnpathError(f"{path}: {error.strerror}") from error
    saving = Saving(file)
    try:
        with file, contextlib.suppress(KeyboardInterrupt):
            asyncio.run(_save(state, _request(globs, after), for_s, saving))
    finally:
        if not saving.samples:
            path.unlink(missing_ok=True)
    print(f"{path}: {saving.samples:,} samples, {saving.missed:,} missed", file=sys.stderr)


def _request(globs: Sequence[str], after: str | None) -> dict[str, Any]:
    return {"globs": list(globs) or ["**"], "after": after}


async def _save(state: Path, request: dict[str, Any], for_s: float | None, saving: Saving) -> None:
    request |= {"made": False, "time": "ns"}
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(for_s), contextlib.aclosing(follow(state, "tap", **request)) as answers:
            async for answer in answers:
                saving.take(answer)


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
