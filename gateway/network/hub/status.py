"""What a running hub says of itself, by its monitoring port, which is this machine's only."""

from __future__ import annotations

import asyncio
import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Final

from gateway.errors import OnpathError
from gateway.network.hub.config import HubConfig
from gateway.network.hub.run import FACTS

ANSWER_S: Final = 5.0


class NoHubError(OnpathError):
    """No hub answers for this state folder."""

    exit_code = 69  # EX_UNAVAILABLE


async def status(config: HubConfig) -> dict[str, Any]:
    """Plain JSON types.

    Raises:
        NoHubError: none runs here.
    """
    state = Path(config.state)
    try:
        facts = json.loads((state / FACTS).read_text("utf-8"))
        pages = await asyncio.to_thread(_pages, int(facts["monitor"]))
    except (OSError, ValueError, KeyError) as error:
        raise NoHubError(f"{state}: no hub runs here") from error
    server, streams = pages
    return _told(facts, server, streams)


def _pages(port: int) -> tuple[dict[str, Any], dict[str, Any]]:
    return _page(port, "varz"), _page(port, "jsz?streams=true")


def _page(port: int, what: str) -> dict[str, Any]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/{what}", timeout=ANSWER_S) as answer:
        found: dict[str, Any] = json.load(answer)
    return found


def _told(facts: dict[str, Any], server: dict[str, Any], jetstream: dict[str, Any]) -> dict[str, Any]:
    cluster = jetstream.get("meta_cluster") or {}
    accounts = jetstream.get("account_details") or []
    own = str(facts["name"])
    streams = [_stream(detail, own) for account in accounts for detail in account.get("stream_detail") or []]
    return {
        "name": facts["name"],
        "port": facts["port"],
        "pid": facts["server"],
        "starts": facts["starts"],
        "version": server["version"],
        "uptime": server["uptime"],
        "connections": server["connections"],
        "memory_bytes": server["mem"],
        "store_bytes": jetstream.get("storage", 0),
        "store_limit_bytes": (jetstream.get("config") or {}).get("max_storage", 0),
        "messages": jetstream.get("messages", 0),
        "cluster": _cluster(cluster, own) if cluster else None,
        "streams": sorted(streams, key=lambda stream: str(stream["name"])),
    }


def _cluster(cluster: dict[str, Any], own: str) -> dict[str, Any]:
    """Whether the others follow is known to the leader only."""
    leader = cluster.get("leader") or ""
    leads = leader == own
    others = [{"name": one["name"], "follows": _follows(one) if leads else None} for one in _replicas(cluster)]
    return {"name": cluster.get("name", ""), "leader": leader, "leads": leads, "others": others}


def _stream(detail: dict[str, Any], own: str) -> dict[str, Any]:
    state, cluster = detail.get("state") or {}, detail.get("cluster") or {}
    leader = cluster.get("leader") or ""
    behind = [one["name"] for one in _replicas(cluster) if not _follows(one)]
    return {
        "name": detail["name"],
        "messages": state.get("messages", 0),
        "bytes": state.get("bytes", 0),
        "consumers": state.get("consumer_count", 0),
        "leader": leader,
        "behind": behind if leader == own else None,
    }


def _replicas(cluster: dict[str, Any]) -> list[dict[str, Any]]:
    return cluster.get("replicas") or []


def _follows(replica: dict[str, Any]) -> bool:
    return bool(replica.get("current")) and not replica.get("offline")
