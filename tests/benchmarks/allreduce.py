"""Rows: AllReduce over a tree of gateways beside a central parameter server, in one run of ``onpath demo cluster``.

Real gateways and worker processes on loopback, all on one machine. The bytes are those that came to the root; the times
are a worker's whole round. Weights that are not those of one process to the bit are no row but a failure.
"""

from __future__ import annotations

from gateway.demo.cluster import Cluster, Options
from gateway.demo.cluster_report import Report
from tests.benchmarks.rows import Bench, Row

NEAR = 0.05
"""How far the bytes may be from the fan-in."""


async def rows(bench: Bench) -> list[Row]:
    """Bytes at the root, the time of a round, and what an aggregator costs that is killed in the middle of one.

    Raises:
        RuntimeError: a bit is wrong.
    """
    final = await Cluster(Options(rounds=bench.sizes.reduced_rounds), lambda _: None).run()
    if not final.exact:
        raise RuntimeError("the weights are not those of one process")
    central, tree, killed, server = final.phases
    note = f"{final.workers} workers, {final.aggregators} aggregators, {final.rounds} rounds; all weights bit-identical"
    return [
        Row(
            name="allreduce-bytes",
            measured=tree.bytes_root / tree.rounds,
            reference=central.bytes_root / central.rounds,
            ratio=final.root_bytes_ratio,
            unit="B/round",
            bar=f"{final.fan_in:g}x less, within {NEAR:.0%}",
            ok=abs(final.root_bytes_ratio / final.fan_in - 1) <= NEAR,
            notes=f"{note}; parameter server behind the tree {server.bytes_root / server.rounds:,.0f}",
        ),
        _time(final),
        Row(
            name="allreduce-killed",
            measured=killed.bytes_root / killed.rounds,
            reference=tree.bytes_root / tree.rounds,
            ratio=killed.bytes_root / tree.bytes_root,
            unit="B/round",
            bar="bit-identical",
            ok=True,
            notes=f"an aggregator killed -9 mid-round and started again: {killed.fallbacks} workers went round it",
        ),
    ]


def _time(final: Report) -> Row:
    tree, central = final.latency_ms, final.central_latency_ms
    return Row(
        name="allreduce-round",
        measured=tree.p50,
        reference=central.p50,
        ratio=tree.p50 / central.p50,
        unit="ms",
        notes=f"p95 {tree.p95:g} to {central.p95:g} ms; every process on the same cores, no link is scarce",
        details={"p95_ms": tree.p95, "central_p95_ms": central.p95},
    )
