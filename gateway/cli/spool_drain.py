"""``onpath spool drain``: wait until the other side has what waits."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Final

from gateway.control import NotRunningError, ask
from gateway.errors import OnpathError
from gateway.store.reading import Reader, reading

LOOK_S: Final = 0.25


def drain_spool(state: Path, uplinks: list[str], timeout_s: float, *, as_json: bool) -> None:
    """Wait; a line a second shows how far it is, if somebody looks.

    Raises:
        NotRunningError: nobody sends.
        OnpathError: no such uplink, or it took longer than ``timeout_s``.
    """
    began = time.monotonic()
    left = asyncio.run(_drain(state, uplinks, timeout_s))
    result = {"drained": not any(left.values()), "rows": left, "seconds": round(time.monotonic() - began, 3)}
    if as_json:
        print(json.dumps(result))
    if not result["drained"]:
        rest = ", ".join(f"{name} {rows:,} rows" for name, rows in left.items() if rows)
        raise OnpathError(f"not drained within {timeout_s:g} s: {rest}")
    if not as_json:
        print(f"drained in {result['seconds']:.1f} s: {', '.join(left) or 'there is no uplink'}")


async def _drain(state: Path, wanted: list[str], timeout_s: float) -> dict[str, int]:
    """Rows that waited at the beginning and still do, by uplink, when all are gone or the time is over."""
    loop = asyncio.get_running_loop()
    end, shown = loop.time() + timeout_s, 0.0
    links = await _links(state)
    unknown = [name for name in wanted if name not in links]
    if unknown:
        raise OnpathError(f"there is no uplink {unknown[0]}; there are {', '.join(sorted(links))}")
    with Reader(state) as reader, reading():
        through = reader.db.execute("SELECT coalesce(max(seq), 0) FROM spool").get
        while True:
            left = {name: _waiting(reader, name, through) for name in wanted or links}
            if not any(left.values()) or loop.time() >= end:
                return left
            if loop.time() - shown >= 1:
                shown, links = loop.time(), await _links(state)
                _show(left, links)
            await asyncio.sleep(LOOK_S)


def _waiting(reader: Reader, uplink: str, through: int) -> int:
    query = "SELECT count(*) FROM spool WHERE uplink = ? AND delivered_ns IS NULL AND seq <= ?"
    return int(reader.db.execute(query, (uplink, through)).get)


async def _links(state: Path) -> dict[str, str]:
    """Each uplink's link."""
    try:
        answer = await ask(state, "status")
    except NotRunningError as error:
        hint = "only a running gateway sends; start it, or take the rows out with: onpath spool export"
        raise NotRunningError(f"{error}: {hint}") from None
    return {name: uplink["link"] for name, uplink in answer["status"]["uplinks"].items()}


def _show(left: dict[str, int], links: dict[str, str]) -> None:
    if sys.stderr.isatty():
        parts = (f"{name} ({links.get(name, 'gone')}) {rows:,} rows" for name, rows in left.items())
        print(f"\r\033[K{', '.join(parts)}", end="", file=sys.stderr, flush=True)
