"""How often a server syncs its streams to disk, as its monitoring port says it (``/jsz``)."""

from __future__ import annotations

from typing import Any, Final

import aiohttp

ALWAYS: Final = "always"
UNKNOWN: Final = "unknown"
_TIMEOUT_S: Final = 3.0
_NS: Final = 10**9


async def synced(monitor: str, server_id: str) -> str:
    """``always``, ``every 120 s``, or ``unknown (why)``.

    Args:
        monitor: URL of the monitoring port; empty if it is not known.
        server_id: the server that we are connected to; one of a cluster may not speak for another.
    """
    if not monitor:
        return f"{UNKNOWN} (no monitor given)"
    try:
        timeout = aiohttp.ClientTimeout(total=_TIMEOUT_S)
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(f"{monitor.rstrip('/')}/jsz", params={"config": "1"}) as response,
        ):
            response.raise_for_status()
            answer = await response.json(content_type=None)
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        return f"{UNKNOWN} ({monitor}: {error or type(error).__name__})"
    return _read(answer, server_id)


def _read(answer: Any, server_id: str) -> str:
    config = answer.get("config") if isinstance(answer, dict) else None
    if not isinstance(config, dict):
        return f"{UNKNOWN} (the monitor says nothing of JetStream)"
    other = "" if answer.get("server_id") == server_id else " at another server than ours"
    if config.get("sync_always"):
        return ALWAYS + other
    interval = config.get("sync_interval")
    if not isinstance(interval, int) or interval <= 0:
        return f"{UNKNOWN} (the monitor says nothing of sync_interval)"
    return f"every {interval / _NS:g} s{other}"
