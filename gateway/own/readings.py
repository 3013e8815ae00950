"""Where each number comes from: what the daemon counts anyway. Costs what there are devices, steps and uplinks."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway import __version__
from gateway.own.metrics import BALANCE, Reading
from gateway.view.health import health
from gateway.view.overview import json_size

if TYPE_CHECKING:
    from gateway.inside import Inside

Row = Mapping[str, Any]


class Readings:
    """Reads all metrics of one daemon. Lives on the event loop."""

    def __init__(self, inside: Inside) -> None:
        self._inside = inside
        self._size = (-1, 0.0)

    async def read(self) -> list[Reading]:
        """All of them, now."""
        inside = self._inside
        machine = await asyncio.to_thread(_machine, inside.shared.state)
        status = await inside.status()
        disk_free = next((value for name, _, value in machine if name == "disk_free_ratio"), 1.0)
        state, _ = health(inside, float(disk_free))
        return [
            *machine,
            Reading("health", (), state),
            *self._gateway(status),
            *_adapters(status["adapters"]),
            *_pipelines(status["pipelines"] | status["hidden"]),
            *_uplinks(status["uplinks"]),
            *_store(status["store"]),
            *_sums(status["reduction"] or {}),
            *self._alerts(),
        ]

    def _gateway(self, status: Row) -> Iterator[Reading]:
        inside, clock, reloads = self._inside, status["clock"], status["reloads"]
        yield Reading("version", (), __version__)
        yield Reading("uptime_seconds", (), status["uptime_s"])
        yield Reading("points", (), status["points"])
        yield Reading("findings", (), status["findings"])
        yield Reading("loop_lag_seconds", (), inside.own.lag_s)
        yield Reading("reload_done", (), reloads["done"])
        yield Reading("reload_failed", (), reloads["failed"])
        yield Reading("reload_ok", (), reloads["ok"])
        if reloads["last_ms"]:
            yield Reading("reload_timestamp_seconds", (), reloads["last_ms"] / 1000)
        if clock["synchronised"] is not None:
            yield Reading("clock_synchronised", (), float(clock["synchronised"]))
        yield Reading("clock_trusted", (), float(clock["trusted"]))
        yield Reading("clock_steps", (), clock["steps"])
        if status["broker"] is not None:
            yield Reading("broker_up", (), float(status["broker"]["link"] == "up"))
        came = sum(adapter["samples"] for adapter in status["adapters"].values())
        sent = sum(uplink["bytes"] for uplink in status["uplinks"].values())
        if sent:
            yield Reading("reduction_bytes_ratio", (), came * self._json_bytes(status["points"]) / sent)

    def _json_bytes(self, points: int) -> float:
        if self._size[0] != points:
            self._size = (points, json_size(self._inside))
        return self._size[1]

    def _alerts(self) -> Iterator[Reading]:
        board = self._inside.alerts
        for severity, count in board.counts.items():
            yield Reading("alert_raised", (severity,), count)
        yield Reading("alert_pending", (), board.pending)
        for rule in self._inside.config.alerts:
            yield Reading("alert_raises", (rule,), board.raised_total[rule])


def _machine(state: Path) -> list[Reading]:
    """What the kernel says; touches the disk, so that it belongs into a thread."""
    import psutil

    process, disk, memory = psutil.Process(), os.statvfs(state), psutil.virtual_memory()
    times = os.times()
    return [
        Reading("process_cpu_seconds", (), times.user + times.system),
        Reading("process_memory_bytes", (), process.memory_info().rss),
        Reading("process_open_files", (), process.num_fds()),
        Reading("disk_free_bytes", (), disk.f_bavail * disk.f_frsize),
        Reading("disk_free_ratio", (), disk.f_bavail / max(disk.f_blocks, 1)),
        Reading("box_load_ratio", (), os.getloadavg()[0] / (os.cpu_count() or 1)),
        Reading("box_memory_available_ratio", (), memory.available / memory.total),
    ]


def _sums(reduction: Row) -> Iterator[Reading]:
    if "bytes" not in reduction:
        return  # there is none, or it does not listen
    yield Reading("sums_jobs", (), len(reduction["jobs"]))
    for word in ("rounds", "fallbacks", "repeats", "refused"):
        yield Reading(f"sums_{word}", (), reduction[word])
    for side, traffic in reduction["bytes"].items():
        yield Reading("sums_received_bytes", (side,), traffic["received"])
        yield Reading("sums_sent_bytes", (side,), traffic["sent"])


def _adapters(adapters: Row) -> Iterator[Reading]:
    for name, row in adapters.items():
        yield Reading("adapter_up", (name,), float(row["link"] == "up"))
        yield Reading("adapter_devices", (name,), len(row["devices"]))
        yield Reading("adapter_stale_devices", (name,), row["stale"])
        yield Reading("adapter_samples", (name,), row["samples"])
        yield Reading("adapter_messages", (name,), row["messages"])
        yield Reading("adapter_repeated_messages", (name,), row["repeated"])
        for reason, count in row["reasons"].items():
            yield Reading("adapter_errors", (name, reason), count)
        for device, facts in row["devices"].items():
            yield from _device((name, device), facts)


def _device(labels: tuple[str, str], facts: Row) -> Iterator[Reading]:
    if "link" in facts:
        yield Reading("device_up", labels, float(facts["link"] == "up"))
    yield Reading("device_stale", labels, float(facts.get("stale", False)))
    if "missed" in facts:
        yield Reading("device_missed", labels, facts["missed"])
    for word in ("asked", "achieved"):
        if facts.get(f"period_{word}_s") is not None:
            yield Reading(f"device_period_{word}_seconds", labels, facts[f"period_{word}_s"])


def _pipelines(pipelines: Row) -> Iterator[Reading]:
    for name, row in pipelines.items():
        yield from _balance("pipeline", (name,), row)
        if row["out"]:
            yield Reading("pipeline_reduction_ratio", (name,), row["in"] / row["out"])
        for number, step in enumerate(row["steps"]):
            yield from _step((name, f"{number}-{step['step']}"), step)


def _balance(thing: str, labels: tuple[str, ...], row: Row) -> Iterator[Reading]:
    for word, _ in BALANCE:
        yield Reading(f"{thing}_{word}_samples", labels, row[word])
    yield Reading(f"{thing}_queued_samples", labels, row["queued"])


def _step(labels: tuple[str, str], step: Row) -> Iterator[Reading]:
    yield from _balance("step", labels, step)
    yield Reading("step_busy_seconds", labels, step["cpu_s"])
    for reason, count in step["reasons"].items():
        yield Reading("step_reason_samples", (*labels, reason), count)
    bound = step.get("bound") or {}
    if bound.get("absolute") is not None:
        yield Reading("step_bound", labels, bound["absolute"])
    if bound.get("percent") is not None:
        yield Reading("step_bound_ratio", labels, bound["percent"] / 100)


def _uplinks(uplinks: Row) -> Iterator[Reading]:
    for name, row in uplinks.items():
        labels, lanes, spool = (name,), row["lanes"], row["spool"]
        yield Reading("uplink_up", labels, float(row["link"] == "up"))
        yield Reading("uplink_messages", labels, row["messages"])
        yield Reading("uplink_acknowledged_messages", labels, row["acknowledged"])
        yield Reading("uplink_samples", labels, row["samples"])
        yield Reading("uplink_bytes", labels, row["bytes"])
        yield Reading("uplink_refused", labels, row["refused"])
        yield Reading("uplink_in_flight_messages", (name, "live"), lanes["live_in_flight"])
        yield Reading("uplink_in_flight_messages", (name, "backlog"), lanes["backlog_in_flight"])
        yield Reading("uplink_behind", labels, float(lanes["behind"]))
        yield Reading("uplink_spool_messages", labels, spool["rows"])
        yield Reading("uplink_spool_samples", labels, spool["samples"])
        yield Reading("uplink_spool_bytes", labels, spool["bytes"])
        yield Reading("uplink_spool_age_seconds", labels, spool["oldest_s"])
        yield Reading("uplink_spool_kept_bytes", labels, spool["kept_bytes"])
        yield Reading("uplink_lost_samples", labels, spool["lost"])
        yield Reading("uplink_thinned_samples", labels, spool["thinned"])
        if (budget := lanes["budget"]) is not None:
            yield Reading("uplink_budget_bytes", labels, budget["size"])
            yield Reading("uplink_budget_spent_bytes", labels, budget["spent"])
        if (adapt := row["adapt"]) is not None:
            yield from _adapt(labels, adapt)


def _adapt(labels: tuple[str], adapt: Row) -> Iterator[Reading]:
    yield Reading("uplink_adapt_widening_ratio", labels, adapt["widening"])
    for name in ("carried", "target", "made"):
        if adapt[name] is not None:
            yield Reading(f"uplink_adapt_{name}_bytes_per_second", labels, adapt[name])
    yield Reading("uplink_adapt_rungs", labels, adapt["height"])
    yield Reading("uplink_adapt_changes", labels, adapt["changes"])
    yield Reading("uplink_adapt_shed_samples", labels, adapt["shed"])


def _store(store: Row) -> Iterator[Reading]:
    yield Reading("store_healthy", (), float(store["healthy"]))
    yield Reading("store_commits", (), store["commits"])
    yield Reading("store_failures", (), store["failures"])
    yield Reading("store_lost_samples", (), store["lost_samples"])
    yield Reading("store_waiting_samples", (), store["waiting"])
    yield Reading("store_unsynced_seconds", (), store["unsynced_s"])
    if "journal" in store:  # not before the store could answer for the first time
        yield Reading("store_journal_bytes", (), store["journal"]["bytes"])
        yield Reading("store_damaged", (), store["journal"]["damaged"] + store["damaged"])
