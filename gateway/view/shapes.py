"""What the views give: plain JSON types, as the API and the control socket send them.

``*_ms`` are UTC milliseconds since 1970, ``*_s`` seconds (of rates: per second), ``*_bytes`` bytes.
"""

from __future__ import annotations

from typing import Any, NotRequired, TypedDict


class ClockRow(TypedDict):
    """How far the clock may be believed."""

    synchronised: bool | None
    trusted: bool
    steps: int
    now_ms: int


class BoxRow(TypedDict):
    """The machine, and this process on it; percent of one core where a process is meant, of all else."""

    cpu_percent: float
    load1: float
    memory_bytes: int
    memory_total_bytes: int
    disk_free_bytes: int
    disk_total_bytes: int
    own_cpu_percent: float
    own_memory_bytes: int


class RateRow(TypedDict):
    """Per second, over the interval between two looks: a second while somebody follows."""

    in_samples: float
    out_samples: float
    in_json_bytes: float
    out_bytes: float


class TotalRow(TypedDict):
    """Since the daemon began."""

    in_samples: int
    out_samples: int
    in_json_bytes: int
    out_bytes: int
    ratio: float | None
    """``in_json_bytes`` by ``out_bytes``: how many times smaller what is sent is; None while nothing was."""


class LinkRow(TypedDict):
    """An adapter, an uplink or the broker."""

    kind: str
    name: str
    type: str
    state: str
    detail: str
    devices: int
    devices_down: int


class SpoolSum(TypedDict):
    """What waits before all uplinks together."""

    samples: int
    bytes: int
    oldest_s: float
    lost: int


class AlertCounts(TypedDict):
    """Alerts that are raised, by severity."""

    info: int
    warning: int
    critical: int


class Series(TypedDict):
    """The newest seconds, while somebody looks; all lists of one length."""

    interval_s: float
    times_ms: list[int]
    in_samples: list[float]
    out_samples: list[float]
    out_bytes: list[float]
    cpu_percent: list[float]


class Overview(TypedDict):
    """The whole gateway at a glance."""

    gateway: str
    version: str
    uptime_s: float
    pid: int
    points: int
    health: str
    reasons: list[str]
    clock: ClockRow
    box: BoxRow
    rates: RateRow
    totals: TotalRow
    links: list[LinkRow]
    spool: SpoolSum
    alerts: AlertCounts
    findings: int
    series: Series


class Node(TypedDict):
    """A node of the graph; ``id`` is ``<kind>:<name>``."""

    id: str
    kind: str
    name: str
    type: str
    state: str
    detail: str
    samples_s: float
    steps: NotRequired[list[str]]


Edge = TypedDict(
    "Edge", {"from": str, "to": str, "samples": int, "samples_s": float, "bytes_s": NotRequired[float]}
)  # fmt: skip
"""Between two nodes. ``samples`` from an adapter are counted while somebody looks, all others always."""


class GraphView(TypedDict):
    """Adapters, pipelines and uplinks, and what flows between them."""

    nodes: list[Node]
    edges: list[Edge]


class PointRow(TypedDict):
    """A point and its latest sample; ``validity`` is empty where there is none."""

    id: int
    name: str
    unit: str
    kind: str
    value: float | None
    text: str | None
    time_ms: int | None
    age_s: float | None
    quality: int
    validity: str
    flags: list[str]
    reason: str | None
    adapter: str | None


class PointsView(TypedDict):
    """A page of points."""

    total: int
    matched: int
    rows: list[PointRow]


class PointView(PointRow):
    """All about one point."""

    limits: list[float] | None
    resolution: float | None
    merge: str
    labels: dict[str, str]
    pipelines: list[str]
    derived: list[str]


class LastError(TypedDict):
    """Why a device went down last."""

    time_ms: int
    reason: str
    text: str


class DeviceRow(TypedDict):
    """A device; protocols add facts of their own."""

    adapter: str
    type: str
    device: str
    link: str
    detail: str
    stale: bool
    period_asked_s: float | None
    period_achieved_s: float | None
    missed: int
    samples: int | None
    """Counted while somebody looks; None before."""
    points: int
    bad: dict[str, int]
    """Points without a value now, by reason."""
    last_error: LastError | None


class DevicesView(TypedDict):
    """All devices that are known."""

    devices: list[DeviceRow]


class StepRow(TypedDict):
    """A step of a pipeline: where its samples went, and what it took."""

    step: str
    options: str
    out: int
    filtered: int
    aggregated: int
    dropped: int
    queued: int
    derived: int
    reasons: dict[str, int]
    bound: dict[str, Any] | None
    points: list[str]
    """Globs of the points that the bound holds for; empty without one."""
    cpu_s: float
    cpu_percent: float


class PipelineRow(TypedDict):
    """A pipeline: ``in + derived == out + filtered + aggregated + dropped + queued``."""

    name: str
    to: list[str]
    out: int
    filtered: int
    aggregated: int
    dropped: int
    queued: int
    derived: int
    in_s: float
    out_s: float
    steps: list[dict[str, Any]]


class PipelinesView(TypedDict):
    """All pipelines."""

    pipelines: list[dict[str, Any]]


class LossRow(TypedDict):
    """What was told upstream as lost."""

    uplink: str
    pipeline: str
    reason: str
    count: int
    from_ms: int
    until_ms: int
    told_ms: int


class SpoolView(TypedDict):
    """What waits before each uplink, and what was lost."""

    uplinks: list[dict[str, Any]]
    losses: list[LossRow]


class EventRow(TypedDict):
    """A line of the log."""

    number: int
    time_ms: int
    level: str
    source: str
    text: str


class EventsView(TypedDict):
    """Lines of the log, and the number of the newest there is."""

    events: list[EventRow]
    last: int


class RejectedView(TypedDict):
    """Wire units that adapters could not use."""

    rejected: list[dict[str, Any]]
    last: int


class FindingsView(TypedDict):
    """What was found and is not configured, and what of it has joined."""

    findings: list[dict[str, Any]]


class AlertsView(TypedDict):
    """Rules, what they say now, and what they said."""

    rules: list[dict[str, Any]]
    active: list[dict[str, Any]]
    recent: list[dict[str, Any]]


class PluginRow(TypedDict):
    """A plug-in."""

    name: str
    doc: str


class PluginsRow(TypedDict):
    """All plug-ins that are installed."""

    adapters: list[PluginRow]
    operators: list[PluginRow]
    uplinks: list[PluginRow]


class LicenceRow(TypedDict):
    """A package that onpath is built on."""

    name: str
    version: str
    licence: str


class About(TypedDict):
    """What runs here."""

    version: str
    python: str
    platform: str
    gateway: str
    state: str
    config: str
    started_ms: int
    plugins: PluginsRow
    licences: list[LicenceRow]


class PlannedRequest(TypedDict):
    """One request of a cycle."""

    table: str
    address: int
    count: int
    every_s: float
    points: list[str]
    places: list[list[int]]
    """Where each of the points lies: address and width. What lies between them is read along."""


class DevicePlan(TypedDict):
    """The requests of one device."""

    device: str
    unit: int
    requests: list[PlannedRequest]
    refused: list[str]
    """Points that the device does not have: they are not asked for."""


class PlanView(TypedDict):
    """What an adapter asks of its devices; None where its protocol has no plan."""

    devices: list[DevicePlan] | None


class SessionRow(TypedDict):
    """Who has signed in."""

    role: str
    gateway: str
    version: str
    read_only: bool


class HealthRow(TypedDict):
    """``ok``, ``degraded`` or ``failing``; why is for those who have signed in."""

    health: str
    reasons: NotRequired[list[str]]


class ReadyRow(TypedDict):
    """Whether samples are taken in."""

    ready: bool
