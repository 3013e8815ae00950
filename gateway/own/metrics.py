"""The gateway's own metrics: one table for both faces.

A metric has one name. Prometheus sees it as ``onpath_<thing>_<what>_<unit>`` (``_total`` behind a counter), in base
units; as a point it is ``onpath/<thing>/<owner>/<what>``, without ``_seconds`` and ``_total``, since points have units
and kinds of their own. What is told apart further (``reason``, ``severity``) is a label there, the last segment here.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from gateway.point import OWN, Kind

_NO_NAME: Final = re.compile(r"[^A-Za-z0-9_.\-]")


class Shape(enum.StrEnum):
    """How the value behaves."""

    COUNTER = "counter"
    GAUGE = "gauge"
    STATE = "state"
    """One of a few texts; for Prometheus a gauge for each of them, 0 or 1."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One row of the table."""

    name: str
    """Without ``onpath_`` and ``_total``; the first word is the thing."""
    shape: Shape
    help: str
    labels: tuple[str, ...] = ()
    """The owner: part of the point's name behind the thing."""
    by: str = ""
    """A further label; the last segment of the point's name."""
    unit: str = ""
    """UCUM, of the point."""
    texts: tuple[str, ...] = ()
    """Of a state."""

    @property
    def exposed(self) -> str:
        """The name that Prometheus sees."""
        return f"onpath_{self.name}_total" if self.shape is Shape.COUNTER else f"onpath_{self.name}"

    @property
    def all_labels(self) -> tuple[str, ...]:
        """Labels as Prometheus sees them."""
        return (*self.labels, self.by) if self.by else self.labels

    @property
    def kind(self) -> Kind:
        """Of the point."""
        return {Shape.COUNTER: Kind.COUNTER, Shape.GAUGE: Kind.GAUGE, Shape.STATE: Kind.STATE}[self.shape]

    @property
    def template(self) -> str:
        """The name of the point with ``{label}`` for labels."""
        return self._path([f"{{{label}}}" for label in self.all_labels])

    def point(self, values: Sequence[str]) -> str:
        """The name of the point for these values of the labels."""
        return self._path([_NO_NAME.sub("_", value) or "_" for value in values])

    def _path(self, values: Sequence[str]) -> str:
        thing, _, what = self.name.removesuffix("_seconds").partition("_")
        owner, further = values[: len(self.labels)], values[len(self.labels) :]
        return OWN + "/".join((thing, *owner, *([what] if what else []), *further))


class Reading(NamedTuple):
    """A number of a metric; of a state the text."""

    metric: str
    labels: tuple[str, ...]
    value: float | str


def _counter(name: str, help_: str, labels: tuple[str, ...] = (), by: str = "", unit: str = "") -> Metric:
    return Metric(name, Shape.COUNTER, help_, labels, by, unit)


def _gauge(name: str, help_: str, labels: tuple[str, ...] = (), by: str = "", unit: str = "") -> Metric:
    return Metric(name, Shape.GAUGE, help_, labels, by, unit)


_ADAPTER, _UPLINK, _PIPELINE = ("adapter",), ("uplink",), ("pipeline",)
_DEVICE, _STEP = ("adapter", "device"), ("pipeline", "step")

BALANCE: Final = (
    ("in", "Samples that went in"),
    ("derived", "Samples made here, such as results of windows"),
    ("out", "Samples that came out"),
    ("filtered", "Samples left out because they are no news, or not wanted"),
    ("aggregated", "Samples that went into results"),
    ("dropped", "Samples dropped, for a reason that is counted"),
)
"""Of a pipeline: ``in + derived == out + filtered + aggregated + dropped + queued`` at each moment. Of a step: likewise
without ``derived``, which do not count as out there."""


def _balance(thing: str, labels: tuple[str, ...]) -> tuple[Metric, ...]:
    counters = tuple(_counter(f"{thing}_{word}_samples", f"{text}.", labels) for word, text in BALANCE)
    return (*counters, _gauge(f"{thing}_queued_samples", "Samples that operators hold.", labels))


METRICS: Final[tuple[Metric, ...]] = (
    # the gateway
    Metric("health", Shape.STATE, "Whether all is well.", texts=("ok", "degraded", "failing")),
    Metric("version", Shape.STATE, "The version that runs."),
    _gauge("uptime_seconds", "Time since the daemon began.", unit="s"),
    _gauge("points", "Points that are known."),
    _gauge("findings", "What was found by discovery and is not configured."),
    _gauge("reduction_bytes_ratio", "Input, had it been sent as JSON, by what was sent.", unit="1"),
    _counter("reload_done", "Reloads of the configuration."),
    _counter("reload_failed", "Reloads that were refused; nothing was changed."),
    _gauge("reload_ok", "Whether the last reload was taken over: 0 after one that was refused."),
    _gauge("reload_timestamp_seconds", "When the last reload was, since 1970 UTC; missing before one.", unit="s"),
    # time
    _gauge("clock_synchronised", "Whether the kernel says that its clock is synchronised; missing if nobody knows."),
    _gauge("clock_trusted", "Whether times of the clock are believed."),
    _counter("clock_steps", "Jumps of the wall clock by half a second or more."),
    # the process and its machine
    _counter("process_cpu_seconds", "Processor time of the daemon, of all its threads.", unit="s"),
    _gauge("process_memory_bytes", "Resident memory of the daemon.", unit="By"),
    _gauge("process_open_files", "Files, sockets and pipes that the daemon has open."),
    _gauge("loop_lag_seconds", "The longest that the event loop was late within the last minute.", unit="s"),
    _gauge("disk_free_bytes", "Free space where the state folder lies.", unit="By"),
    _gauge("disk_free_ratio", "The same as a part of all.", unit="1"),
    _gauge("box_load_ratio", "Load of the machine over a minute, by its processors.", unit="1"),
    _gauge("box_memory_available_ratio", "Memory of the machine that can be had, as a part of all.", unit="1"),
    # adapters and devices
    _gauge("adapter_up", "Whether the link is up.", _ADAPTER),
    _gauge("adapter_devices", "Devices.", _ADAPTER),
    _gauge("adapter_stale_devices", "Devices that are silent beyond their limit.", _ADAPTER),
    _counter("adapter_samples", "Samples handed over, good or bad.", _ADAPTER),
    _counter("adapter_messages", "Wire units taken: responses, notifications, packets.", _ADAPTER),
    _counter("adapter_repeated_messages", "Wire units that a sender repeated though they were durable.", _ADAPTER),
    _counter("adapter_errors", "Errors.", _ADAPTER, "reason"),
    _gauge("device_up", "Whether the device answers.", _DEVICE),
    _gauge("device_stale", "Whether it is silent beyond its limit.", _DEVICE),
    _counter("device_missed", "Polls that were left out because those before took too long.", _DEVICE),
    _gauge("device_period_asked_seconds", "How often it is to be read.", _DEVICE, unit="s"),
    _gauge("device_period_achieved_seconds", "How often it is.", _DEVICE, unit="s"),
    # pipelines and steps
    *_balance("pipeline", _PIPELINE),
    _gauge("pipeline_reduction_ratio", "Samples in by samples out; missing while none came out.", _PIPELINE, unit="1"),
    *_balance("step", _STEP),
    _counter("step_reason_samples", "Samples that were dropped or late, by reason.", _STEP, "reason"),
    _counter("step_busy_seconds", "Time that the step took.", _STEP, unit="s"),
    _gauge("step_bound", "Error bound in force: how far what is sent may lie from what came, in the unit.", _STEP),
    _gauge("step_bound_ratio", "The same where it is a part of the point's range.", _STEP, unit="1"),
    # uplinks and their spools
    _gauge("uplink_up", "Whether the link is up.", _UPLINK),
    _counter("uplink_messages", "Batches sent, repetitions included.", _UPLINK),
    _counter("uplink_acknowledged_messages", "Batches that the other side has.", _UPLINK),
    _counter("uplink_samples", "Samples in them.", _UPLINK),
    _counter("uplink_bytes", "Payload bytes sent, repetitions included.", _UPLINK, unit="By"),
    _counter("uplink_refused", "Commands from the other side that were not carried out.", _UPLINK),
    _gauge("uplink_in_flight_messages", "Batches sent and not acknowledged.", _UPLINK, "lane"),
    _gauge("uplink_behind", "Whether there is a backlog.", _UPLINK),
    _gauge("uplink_spool_messages", "Batches that wait on disk.", _UPLINK),
    _gauge("uplink_spool_samples", "Samples that wait on disk.", _UPLINK),
    _gauge("uplink_spool_bytes", "Bytes that wait on disk.", _UPLINK, unit="By"),
    _gauge("uplink_spool_age_seconds", "How long the oldest has waited.", _UPLINK, unit="s"),
    _gauge("uplink_spool_kept_bytes", "Bytes that are kept after they were acknowledged.", _UPLINK, unit="By"),
    _counter("uplink_lost_samples", "Samples that policy let go; the other side is told.", _UPLINK),
    _counter("uplink_thinned_samples", "Samples that became aggregates because the spool was full.", _UPLINK),
    _gauge("uplink_budget_bytes", "Payload bytes that may be sent in the period.", _UPLINK, unit="By"),
    _gauge("uplink_budget_spent_bytes", "Those of the period that were sent.", _UPLINK, unit="By"),
    _gauge("uplink_adapt_widening_ratio", "With adapt, how many times the configured bounds are.", _UPLINK, unit="1"),
    _gauge("uplink_adapt_carried_bytes_per_second", "What the link carries, if that is known.", _UPLINK, unit="By/s"),
    _gauge("uplink_adapt_target_bytes_per_second", "What may be made for it, likewise.", _UPLINK, unit="By/s"),
    _gauge("uplink_adapt_made_bytes_per_second", "What is made for it.", _UPLINK, unit="By/s"),
    _gauge("uplink_adapt_rungs", "Rungs beyond wider bounds that are taken.", _UPLINK),
    _counter("uplink_adapt_changes", "Bounds that adapt has changed.", _UPLINK),
    _counter("uplink_adapt_shed_samples", "Samples given up for the link's budget; the other side is told.", _UPLINK),
    # the store
    _gauge("store_healthy", "Whether it commits in time."),
    _counter("store_commits", "Commits."),
    _counter("store_failures", "Times that the store failed and was opened again."),
    _counter("store_lost_samples", "Samples that nobody could keep while it failed."),
    _gauge("store_waiting_samples", "Samples in memory that are not on disk yet."),
    _gauge("store_unsynced_seconds", "With store.flash, how old what is not on disk yet may be.", unit="s"),
    _gauge("store_journal_bytes", "Size of the journal, which is the history.", unit="By"),
    _counter("store_damaged", "Damaged blocks of the journal and rows of the spool that were found."),
    # sums of workers' vectors, see docs/network/reduction.md
    _gauge("sums_jobs", "Jobs of workers whose vectors are added here."),
    _counter("sums_rounds", "Rounds of which the whole result was known here."),
    _counter("sums_received_bytes", "Come from workers, nodes below, or the parent.", ("side",), unit="By"),
    _counter("sums_sent_bytes", "Gone to workers, nodes below, or the parent.", ("side",), unit="By"),
    _counter("sums_fallbacks", "Workers and nodes that came because their own node did not answer."),
    _counter("sums_repeats", "Sums that added nothing, for all in them were there."),
    _counter("sums_refused", "Connections that were turned away."),
    # the embedded broker and alerts
    _gauge("broker_up", "Whether the embedded broker runs; missing if there is none."),
    _gauge("alert_raised", "Alerts that are raised.", by="severity"),
    _gauge("alert_pending", "Points that fulfil a condition and are not raised yet."),
    _counter("alert_raises", "How often a rule was raised.", ("rule",)),
)  # fmt: skip

BY_NAME: Final = {metric.name: metric for metric in METRICS}
