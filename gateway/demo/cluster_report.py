"""What the cluster's demo says at its end."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import msgspec

from gateway.demo.cluster_model import LENGTH
from gateway.errors import OnpathError


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """Milliseconds."""

    p50: float
    p95: float

    @classmethod
    def of(cls, figures: Sequence[float]) -> Span:
        """Of at least one figure."""
        ordered = sorted(figures)
        return cls(p50=round(_rank(ordered, 0.5), 2), p95=round(_rank(ordered, 0.95), 2))


def _rank(ordered: Sequence[float], part: float) -> float:
    return ordered[max(0, math.ceil(part * len(ordered)) - 1)]


class Phase(msgspec.Struct, frozen=True, kw_only=True):
    """One way of learning."""

    name: str
    shape: str
    """``star``: all straight to the root; ``tree``: by aggregators."""
    rounds: int
    weights: str
    """SHA-256 of the weights in the end; the same for all workers."""
    error: float
    """Mean square, of the first worker's samples."""
    bytes_workers: int
    """Sent by all workers."""
    bytes_root: int
    """Come to the root."""
    bytes_root_down: int
    """Gone from the root."""
    round_ms: Span
    """A whole round of a worker: its gradient, and the reduction."""
    reduce_ms: Span
    """From the last worker's vector to its result."""
    fallbacks: int


class Alone(msgspec.Struct, frozen=True, kw_only=True):
    """What one process did that has all samples."""

    weights: str
    """SHA-256 of the weights in the end."""
    bytes_raw: int
    """The vectors of all workers and rounds as JSON."""


def phase_of(
    name: str,
    shape: str,
    answers: Sequence[Sequence[dict[str, Any]]],
    left: Sequence[dict[str, Any]],
    root: tuple[int, int],
) -> Phase:
    """Put together what all workers say of each go, and when they left.

    ``answers`` are of each go, of each worker; ``root`` are the bytes that came to the root and went from it.

    Raises:
        OnpathError: workers ended with different weights.
    """
    weights = {answer["weights"] for answer in answers[-1]}
    if len(weights) > 1:
        raise OnpathError(f"{name}: the workers ended with {len(weights)} different weights")
    goes = [[answer["rounds_ms"] for answer in go] for go in answers]
    waits = [[answer["reduce_ms"] for answer in go] for go in answers]
    return Phase(
        name=name,
        shape=shape,
        rounds=sum(len(go[0]) for go in goes),
        weights=weights.pop(),
        error=round(answers[-1][0]["error"], 4),
        bytes_workers=sum(worker["sent"] for worker in left),
        bytes_root=root[0],
        bytes_root_down=root[1],
        round_ms=Span.of([max(one) for go in goes for one in zip(*go, strict=True)]),
        reduce_ms=Span.of([min(one) for go in waits for one in zip(*go, strict=True)]),
        fallbacks=sum(worker["fallbacks"] for worker in left),
    )


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The object that ``onpath demo cluster --json`` ends with."""

    exact: bool
    """All workers of all phases had the bits of one process."""
    workers: int
    aggregators: int
    rounds: int
    fan_in: float
    """Workers by aggregators."""
    bytes_by_tier: dict[str, int]
    """AllReduce over the tree: sent by the workers, and come to the root."""
    bits_by_tier: dict[str, float]
    """The same bytes as bits a number that was sent: each worker sends a vector a round, and each aggregator."""
    bytes_raw: int
    """The vectors of all workers in as many rounds as JSON, from the text of every eighth round."""
    reduction: float
    """``bytes_raw`` by what came to the root over the tree."""
    bytes_central: int
    """Come to the root with all workers straight to it, in as many rounds, coded alike."""
    root_bytes_ratio: float
    """``bytes_central`` by what came to the root over the tree: less than the fan-in, as sums need more bits than what
    is in them."""
    latency_ms: Span
    """A round of AllReduce over the tree."""
    central_latency_ms: Span
    """A round with the central parameter server."""
    fallbacks: int
    """Workers that went round the killed aggregator."""
    weights: str
    """SHA-256 of the weights of the one process."""
    phases: list[Phase]


def report(phases: Sequence[Phase], alone: Alone, *, workers: int, aggregators: int) -> Report:
    """Compare the phases: the central server first, AllReduce second, then the one with a kill."""
    central, tree, killed = phases[:3]
    numbers = LENGTH * tree.rounds
    return Report(
        exact=all(phase.weights == alone.weights for phase in phases),
        workers=workers,
        aggregators=aggregators,
        rounds=central.rounds,
        fan_in=round(workers / aggregators, 3),
        bytes_by_tier={"workers": tree.bytes_workers, "root": tree.bytes_root},
        bits_by_tier={
            "workers": round(8 * tree.bytes_workers / (workers * numbers), 2),
            "root": round(8 * tree.bytes_root / (aggregators * numbers), 2),
        },
        bytes_raw=alone.bytes_raw,
        reduction=round(alone.bytes_raw / tree.bytes_root, 1),
        bytes_central=central.bytes_root,
        root_bytes_ratio=round(central.bytes_root / tree.bytes_root, 3),
        latency_ms=tree.round_ms,
        central_latency_ms=central.round_ms,
        fallbacks=killed.fallbacks,
        weights=alone.weights,
        phases=list(phases),
    )


def summary(final: Report) -> str:
    """The report for people."""
    head = f"{'':24} {'sent by':>12} {'come to':>12} {'gone from':>12} {'round ms':>15} {'reduce ms':>15}  weights"
    units = (
        f"{'bytes a round':24} {'workers':>12} {'the root':>12} {'the root':>12} {'p50 / p95':>15} {'p50 / p95':>15}"
    )
    lines = [head, units, *(_row(phase, final) for phase in final.phases)]
    fan_in = f"{final.workers} workers by {final.aggregators} aggregators is {final.fan_in:g}"
    bits, raw = final.bits_by_tier, final.bytes_raw / final.rounds
    lines += [
        "",
        f"raw   {raw:,.0f} bytes a round as JSON, {final.reduction:g} times what came to the root",
        f"bits  {bits['workers']:g} a number from the workers, {bits['root']:g} of their sums, which are larger",
        f"root  {final.root_bytes_ratio:g} times less came to it than to the central server; {fan_in}",
        f"kill  {final.fallbacks} workers went round the killed aggregator and back, for more bytes in that phase",
        f"exact {_verdict(final)}",
    ]
    return "\n".join(lines)


def _row(phase: Phase, final: Report) -> str:
    sent, came, went = (
        f"{number / phase.rounds:,.0f}" for number in (phase.bytes_workers, phase.bytes_root, phase.bytes_root_down)
    )
    same = "the same" if phase.weights == final.weights else "OTHERS"
    return (
        f"{phase.name:24} {sent:>12} {came:>12} {went:>12} {_span(phase.round_ms):>15} {_span(phase.reduce_ms):>15}  "
        f"{same} (error {phase.error:g})"
    )


def _span(span: Span) -> str:
    return f"{span.p50:.1f} / {span.p95:.1f}"


def _verdict(final: Report) -> str:
    if final.exact:
        return f"the weights of every phase are those of one process, bit for bit ({final.weights[:16]})"
    return "NO: a phase ended with other weights than one process"
