"""The whole gateway at a glance.

How many bytes the input would have been as JSON is estimated: samples, times the mean size that a sample of this
gateway's points takes in the format ``json``, which is measured on its newest values.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np

from gateway import __version__
from gateway.config.plugins import tag_of
from gateway.frame import Frame
from gateway.latest import NEVER
from gateway.status import spools
from gateway.view.box import Box
from gateway.view.health import health
from gateway.wire.record import TimeFormat, samples

if TYPE_CHECKING:
    from gateway.directory import Directory
    from gateway.inside import Inside
    from gateway.view.shapes import AlertCounts, LinkRow, Overview, RateRow, Series, SpoolSum, TotalRow
    from gateway.view.tally import Tally

KEPT: Final = 300
"""Seconds in the series."""
BROKEN_S: Final = 5.0
"""A gap from which on the series begins anew."""
MEASURED: Final = 200
"""Samples whose size as JSON is measured."""
TYPICAL: Final = 230.12
"""A value where none is known yet: six characters, as most have."""


@dataclass(frozen=True, slots=True)
class _Moment:
    at_s: float
    time_ms: int
    in_samples: float
    out_samples: float
    out_bytes: float
    cpu_percent: float


class Overviews:
    """What the overview is made of, and the series of its rates."""

    def __init__(self, inside: Inside, tally: Tally) -> None:
        self._inside = inside
        self._tally = tally
        self.box = Box(inside.shared.state)
        self._series: deque[_Moment] = deque(maxlen=KEPT)
        self._measured: tuple[int, float] = (-1, 0.0)

    async def view(self) -> Overview:
        """Now."""
        inside, tally = self._inside, self._tally
        fresh = tally.look()
        box, engine = await self.box.look(), await inside.intake.status()
        if fresh:
            self._note(box["own_cpu_percent"])
        state, reasons = health(inside, box["disk_free_bytes"] / max(box["disk_total_bytes"], 1))
        json_bytes = self._json_bytes()
        return {
            "gateway": inside.config.gateway,
            "version": __version__,
            "uptime_s": round(asyncio.get_running_loop().time() - inside.began, 3),
            "pid": os.getpid(),
            "points": len(inside.directory),
            "health": state,
            "reasons": reasons,
            "clock": {
                "synchronised": inside.clock.synchronised,
                "trusted": inside.clock.trusted,
                "steps": inside.clock.steps,
                "now_ms": inside.clock.now_ns() // 1_000_000,
            },
            "box": box,
            "rates": self._rates(json_bytes),
            "totals": self._totals(json_bytes),
            "links": links(inside),
            "spool": _spool(spools(engine, inside)),
            "alerts": _alerts(inside.alerts.counts),
            "findings": len(inside.joining.findings.rows()),
            "series": self._shown(),
        }

    def _rates(self, json_bytes: float) -> RateRow:
        tally = self._tally
        came = tally.rate_of("adapter", "samples")
        return {
            "in_samples": round(came, 2),
            "out_samples": round(tally.rate_of("uplink", "samples"), 2),
            "in_json_bytes": round(came * json_bytes, 1),
            "out_bytes": round(tally.rate_of("uplink", "bytes"), 1),
        }

    def _totals(self, json_bytes: float) -> TotalRow:
        tally = self._tally
        came, sent = tally.total_of("adapter", "samples"), tally.total_of("uplink", "bytes")
        return {
            "in_samples": came,
            "out_samples": tally.total_of("uplink", "samples"),
            "in_json_bytes": int(came * json_bytes),
            "out_bytes": sent,
            "ratio": round(came * json_bytes / sent, 2) if sent else None,
        }

    def _json_bytes(self) -> float:
        """Mean size of a sample as JSON."""
        total = len(self._inside.directory)
        if self._measured[0] != total:
            self._measured = (total, json_size(self._inside))
        return self._measured[1]

    def _note(self, cpu_percent: float) -> None:
        now_s, rates = asyncio.get_running_loop().time(), self._rates(0.0)
        if self._series and now_s - self._series[-1].at_s > BROKEN_S:
            self._series.clear()
        moment = _Moment(
            now_s,
            self._inside.clock.now_ns() // 1_000_000,
            rates["in_samples"],
            rates["out_samples"],
            rates["out_bytes"],
            cpu_percent,
        )
        self._series.append(moment)

    def _shown(self) -> Series:
        moments = list(self._series)
        return {
            "interval_s": 1.0,
            "times_ms": [moment.time_ms for moment in moments],
            "in_samples": [moment.in_samples for moment in moments],
            "out_samples": [moment.out_samples for moment in moments],
            "out_bytes": [moment.out_bytes for moment in moments],
            "cpu_percent": [moment.cpu_percent for moment in moments],
        }


def json_size(inside: Inside) -> float:
    """Mean bytes of a sample in the format ``json``, of up to :data:`MEASURED` points that adapters bring."""
    directory: Directory = inside.directory
    if not len(directory):
        return 0.0
    chosen = np.unique(np.linspace(0, len(directory) - 1, MEASURED).astype(np.int32))
    base = np.array([point for point in chosen.tolist() if "#" not in directory.name(point)], np.int32)
    points = base if len(base) else chosen
    known = inside.shared.latest.columns(points)
    never = known.time == NEVER
    frame = Frame(
        points,
        np.where(never, inside.clock.now_ns(), known.time),
        np.where(never, TYPICAL, known.value),
        known.quality,
    )
    return len(msgspec.json.encode(samples(frame, directory, TimeFormat.RFC3339))) / len(points)


def links(inside: Inside) -> list[LinkRow]:
    """Adapters, uplinks and the broker."""
    rows: list[LinkRow] = []
    for name, adapter in inside.adapters.items():
        devices = adapter.stats.devices.values()
        down = sum(facts.get("link") == "down" or facts.get("stale") is True for facts in devices)
        said = (adapter.stats.link, adapter.detail, len(devices), down)
        rows.append(_link("adapter", name, tag_of(type(adapter.config)), *said))
    for name, uplink in inside.uplinks.items():
        rows.append(_link("uplink", name, tag_of(type(uplink.config)), uplink.stats.link, uplink.detail, 0, 0))
    if inside.broker is not None:
        rows.append(_link("broker", "embedded", "nats", inside.broker.status()["link"], "", 0, 0))
    return rows


def _link(kind: str, name: str, tag: str, state: str, detail: str, devices: int, down: int) -> LinkRow:  # noqa: PLR0917
    return {
        "kind": kind,
        "name": name,
        "type": tag,
        "state": state,
        "detail": detail,
        "devices": devices,
        "devices_down": down,
    }


def _spool(rows: dict[str, dict[str, Any]]) -> SpoolSum:
    return {
        "samples": sum(row["samples"] for row in rows.values()),
        "bytes": sum(row["bytes"] for row in rows.values()),
        "oldest_s": max((row["oldest_s"] for row in rows.values()), default=0.0),
        "lost": sum(row["lost"] for row in rows.values()),
    }


def _alerts(counts: dict[str, int]) -> AlertCounts:
    return {"info": counts["info"], "warning": counts["warning"], "critical": counts["critical"]}
