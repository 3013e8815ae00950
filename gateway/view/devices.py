"""Devices of all adapters: whether they answer, how often they are asked, what is wrong with them."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from gateway import quality as q
from gateway.config.plugins import tag_of
from gateway.latest import NEVER

if TYPE_CHECKING:
    from gateway.inside import Inside
    from gateway.links import AdapterLink
    from gateway.view.flows import Flows
    from gateway.view.points import Points
    from gateway.view.shapes import DeviceRow, DevicesView, LastError

AT_ONCE: Final = 500
"""Rows that are made in one go."""
Device = tuple[str, str]
"""(adapter, device)."""


async def devices(inside: Inside, flows: Flows, points: Points) -> DevicesView:
    """All that are configured, were heard, or have told of themselves."""
    counting = flows.attention.active
    await flows.look()
    await points.look()
    owned, bad, periods = _of_points(inside)
    of_adapter: dict[str, list[str]] = {}
    for adapter, device in owned:
        of_adapter.setdefault(adapter, []).append(device)
    rows: list[DeviceRow] = []
    samples = flows.devices() if counting else {}
    for name, link in list(inside.adapters.items()):
        told = [*link.config.devices_named(), *link.stats.devices, *of_adapter.get(name, ())]
        for device in dict.fromkeys(told):
            key = (name, device)
            row = _device(link, device, owned[key], bad.get(key, Counter()), periods.get(key, 0.0))
            row["samples"] = samples.get(key, 0) if counting else None
            rows.append(row)
            if len(rows) % AT_ONCE == 0:
                await asyncio.sleep(0)  # a site of ten thousand devices holds up nobody
    return {"devices": rows}


def _of_points(inside: Inside) -> tuple[Counter[Device], dict[Device, Counter[str]], dict[Device, float]]:
    """Points of each device, those of them without a value by reason, and the period it has promised."""
    total = len(inside.directory)
    owners, names = inside.shared.liveness.owners(total), inside.shared.liveness.devices()
    points = np.flatnonzero(owners >= 0).astype(np.int32)
    latest = inside.shared.latest.columns(points)
    owned: Counter[Device] = Counter()
    for number, count in enumerate(np.bincount(owners[points], minlength=len(names)).tolist()):
        if (device := names[number]) is not None:
            owned[device[0], device[1]] = count
    without = np.flatnonzero((latest.time != NEVER) & np.isnan(latest.value))
    codes = owners[points[without]].astype(np.int64) << 16 | q.reason_codes(latest.value[without])
    bad: dict[Device, Counter[str]] = {}
    for code, count in zip(*(column.tolist() for column in np.unique(codes, return_counts=True)), strict=True):
        if (device := names[code >> 16]) is not None:
            bad.setdefault((device[0], device[1]), Counter())[q.reason_text(code & 0xFFFF)] = count
    periods = {(device[0], device[1]): device[2] for device in names if device is not None}
    return owned, bad, periods


def _device(link: AdapterLink, device: str, points: int, bad: Counter[str], period_s: float) -> DeviceRow:
    facts: dict[str, Any] = link.stats.devices.get(device, {})
    asked = facts.get("period_asked_s") or (period_s if 0 < period_s < float("inf") else None)
    known: DeviceRow = {
        "adapter": link.name,
        "type": tag_of(type(link.config)),
        "device": device,
        "link": facts.get("link") or (link.stats.link if points or link.stats.link == "down" else ""),
        "detail": facts.get("detail", ""),
        "stale": bool(facts.get("stale", False)),
        "period_asked_s": asked,
        "period_achieved_s": facts.get("period_achieved_s"),
        "missed": facts.get("missed", 0),
        "samples": None,
        "points": points,
        "bad": dict(bad),
        "last_error": _error(link, device),
    }
    return {**facts, **known}  # type: ignore[typeddict-item]  # protocols add facts of their own


def _error(link: AdapterLink, device: str) -> LastError | None:
    """Why it went down last, by itself or with its adapter."""
    found = max((link.errors[key] for key in (device, "") if key in link.errors), default=None)
    if found is None:
        return None
    return {"time_ms": found[0] // 1_000_000, "reason": found[1].split(":", 1)[0][:64], "text": found[1]}
