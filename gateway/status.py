"""Everything the daemon counts, as plain JSON types: ``onpath status --json``."""

from __future__ import annotations

import asyncio
import os
from typing import Any

from gateway import __version__
from gateway.config.hidden import hidden
from gateway.inside import Inside


async def status(inside: Inside) -> dict[str, Any]:
    """One look at all counters."""
    engine = await inside.intake.status()
    waiting = spools(engine, inside)
    del engine["store"]["spool"]
    unseen = hidden(inside.config)
    return {
        "gateway": inside.config.gateway,
        "version": __version__,
        "pid": os.getpid(),
        "uptime_s": round(asyncio.get_running_loop().time() - inside.began, 3),
        "clock": inside.clock.status(),
        "points": len(inside.directory),
        "adapters": {name: adapter.stats.as_dict() for name, adapter in inside.adapters.items()},
        "pipelines": {name: row for name, row in engine["pipelines"].items() if name not in unseen},
        "hidden": {name: row for name, row in engine["pipelines"].items() if name in unseen},
        "alerts": inside.alerts.status(),
        "broker": inside.broker.status() if inside.broker is not None else None,
        "network": inside.network.status(),
        "reduction": inside.reduction.status(),
        "findings": len(inside.joining.findings.rows()),
        "uplinks": {name: uplink.status() | {"spool": waiting[name]} for name, uplink in inside.uplinks.items()},
        "store": engine["store"],
        "reloads": inside.reloads,
    }


def spools(engine: dict[str, Any], inside: Inside) -> dict[str, dict[str, Any]]:
    """What waits before each uplink; ``engine`` is what :meth:`gateway.intake.Intake.status` says."""
    found, now_ns = engine["store"]["spool"], inside.clock.now_ns()
    return {name: _spool(found.get(name), now_ns) for name in inside.uplinks}


def _spool(found: dict[str, Any] | None, now_ns: int) -> dict[str, Any]:
    if not found:
        nothing: dict[str, Any] = {"kept_bytes": 0, "lost": 0, "thinned": 0, "pipelines": {}}
        return {"rows": 0, "bytes": 0, "samples": 0, "oldest_s": 0.0} | nothing
    pipelines = {name: _aged(row, now_ns) for name, row in found["pipelines"].items()}
    return _aged(found, now_ns) | {"pipelines": pipelines}


def _aged(found: dict[str, Any], now_ns: int) -> dict[str, Any]:
    """With ``oldest_s`` for ``oldest_ns``."""
    oldest = found["oldest_ns"]
    age_s = max(0.0, round((now_ns - oldest) / 1e9, 3)) if oldest else 0.0
    return {name: value for name, value in found.items() if name != "oldest_ns"} | {"oldest_s": age_s}
