"""What a scene says at its end."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from gateway.demo.cluster_report import Span

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.demo.scenes.oracle import Accepted, Range, Verdict
    from gateway.demo.scenes.results import Tap

MOST_DIFFERING: Final = 20


class NodeFigures(msgspec.Struct, frozen=True, kw_only=True):
    """A gateway, for the picture."""

    name: str
    tier: str
    parent: str
    bytes_sent: int
    bytes_raw: int
    """Of what it accepted from its own devices, as JSON."""
    stages: list[str]
    """What ran there, a line a service."""


class SceneReport(msgspec.Struct, frozen=True, kw_only=True):
    """A run of a scene."""

    scene: str
    exact: bool
    """Whether every count, sum and extreme of every window is that of the samples that gateways accepted."""
    duration_s: float
    window_s: float
    speed: float
    """Seconds of the recorded series that pass in one."""
    samples: int
    """Accepted from devices while windows were compared."""
    windows: int
    compared: int
    """Figures."""
    differing: list[str]
    corrected: int
    """Results that were given again with another value, because a part came late."""
    bytes_by_tier: dict[str, int]
    """On all links that leave the tier, and of results, in the time of the windows: what is late of them is as much as
    what came late of those before. Directory messages are counted."""
    bytes_raw: int
    """Of the samples of that time as the format ``json``, in the batches that the gateways wrote."""
    reduction: float
    """``bytes_raw`` by what came into the core."""
    latency_ms: Span
    """From the end of a window to its result."""
    found: dict[str, Any]
    """What happened on purpose, and how it was found."""
    results: dict[str, Any]
    """The newest of a few results: value, unit, quality."""
    quality: dict[str, int]
    """Results by their quality."""
    plan: dict[str, list[str]]
    """Of each service its stages, each with the tiers and the number of nodes that run it."""
    nodes: list[NodeFigures]


class Run(NamedTuple):
    """What a report is made of."""

    scene: str
    speed: float
    span: Range
    accepted: Accepted
    verdict: Verdict
    tap: Tap
    results_bytes: int
    shown: Sequence[tuple[str, str]]
    """Service and point of the results to show."""


def scene_report(
    run: Run, *, found: dict[str, Any], plan: dict[str, list[str]], nodes: list[NodeFigures]
) -> SceneReport:
    """Put everything together."""
    span, accepted, verdict, tap = run.span, run.accepted, run.verdict, run.tap
    inside = {key: told for key, told in tap.told.items() if span.begin_ns < key[2] <= span.end_ns}
    delays = [(told.came_ns - key[2]) / 1e6 for key, told in inside.items() if key[1].endswith("#count")]
    newest = {f"{service}: {point}": tap.newest(service, point) for service, point in run.shown}
    into_core = sum(node.bytes_sent for node in nodes if not node.parent)
    below = sum(node.bytes_sent for node in nodes) - into_core
    return SceneReport(
        scene=run.scene,
        exact=verdict.exact,
        duration_s=(span.end_ns - span.begin_ns) / 1e9,
        window_s=span.every_ns / 1e9,
        speed=run.speed,
        samples=accepted.samples,
        windows=verdict.windows,
        compared=verdict.compared,
        differing=verdict.differing[:MOST_DIFFERING],
        corrected=sum(told.corrections > 0 for told in inside.values()),
        bytes_by_tier={
            "access_to_aggregation": below, "aggregation_to_core": into_core, "results": run.results_bytes,
        },
        bytes_raw=accepted.bytes_raw,
        reduction=round(accepted.bytes_raw / max(into_core, 1), 1),
        latency_ms=Span.of(delays or [0.0]),
        found=found,
        results={
            name: {"value": told.value, "unit": told.unit, "quality": told.quality}
            for name, told in newest.items()
            if told is not None
        },
        quality=dict(Counter(told.quality for told in inside.values())),
        plan=plan,
        nodes=nodes,
    )  # fmt: skip


def summary(final: SceneReport) -> str:
    """The report for people."""
    tiers, delay = final.bytes_by_tier, final.latency_ms
    lines = [
        f"ran   {final.duration_s:g} s in windows of {final.window_s:g} s; one second is {final.speed:g} s of the data",
        f"in    {final.samples:,} samples, {final.bytes_raw:,} bytes as JSON",
        "links " + ", ".join(f"{name.replace('_', ' ')} {size:,} bytes" for name, size in tiers.items()),
        f"      {final.reduction:g} times less into the core than raw JSON",
        f"delay {delay.p50 / 1000:.2f} s (median), {delay.p95 / 1000:.2f} s (p95), end of a window to its result",
    ]
    lines += [f"plan  {service}: {'; '.join(stages)}" for service, stages in sorted(final.plan.items())]
    lines += [f"found {line}" for line in _found(final.found)]
    lines += [f"now   {name} = {_value(one)}" for name, one in final.results.items()]
    lines.append(f"exact {_verdict(final)}")
    lines += [f"      {line}" for line in final.differing]
    return "\n".join(lines)


def _found(found: dict[str, Any]) -> list[str]:
    return [f"{name}: {one}" for name, one in found.items()]


def _value(one: dict[str, Any]) -> str:
    value = one["value"]
    text = f"{value:,.6g}" if isinstance(value, float) else f"{value}"
    return " ".join(filter(None, (text, one["unit"]))) + f" ({one['quality']})"


def _verdict(final: SceneReport) -> str:
    if final.exact:
        return f"{final.compared:,} figures of {final.windows:,} windows are those of the samples that were accepted"
    return f"NO: {len(final.differing)} or more of {final.compared:,} figures are not those of the samples accepted"
