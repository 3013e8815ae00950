"""Rows: AllReduce over a tree of gateways beside a central parameter server, in one run of ``onpath demo cluster``.

Real gateways and worker processes on loopback, all on one machine. The bytes are those that came to the root; the times
are a worker's whole round. Weights that are not those of one process to the bit are no row but a failure.

That bytes at the root fall by the fan-in is shown with 64 bits a number. Packed, as sums are without options, fewer
come, but a sum takes more bits than what is in it, so that they fall by less than the fan-in.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable
from statistics import median

import numpy as np

from gateway.demo.cluster import LEAST, Cluster, Options
from gateway.demo.cluster_model import LENGTH, Part, first_weights
from gateway.demo.cluster_report import Report
from gateway.demo.cluster_worker import NUMBERS
from gateway.reduction import codec
from gateway.reduction.packing import packed, unpacked
from gateway.reduction.terms import WIRE, Integers, Terms
from tests.benchmarks.rows import Bench, Row

NEAR = 0.05
"""How far the bytes may be from the fan-in."""
LESS = 50
"""How many times less than raw JSON must come to the root."""
FEWER = 5
"""For the bytes of numbers that are not packed, which are the same in each round, so much fewer of them are enough."""


async def rows(bench: Bench) -> list[Row]:
    """Bytes at the root, the time of a round, and what an aggregator costs that is killed in the middle of one.

    Raises:
        RuntimeError: a bit is wrong.
    """
    rounds = bench.sizes.reduced_rounds
    plain = await _run(Options(rounds=max(LEAST, rounds // FEWER), packed=False))
    final = await _run(Options(rounds=rounds))
    tree, killed = final.phases[1:3]
    return [
        _bytes(plain),
        _json(final),
        _time(final, plain),
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
        _packing(bench.sizes.codec_s),
    ]


async def _run(options: Options) -> Report:
    final = await Cluster(options, lambda _: None).run()
    if not final.exact:
        raise RuntimeError("the weights are not those of one process")
    return final


def _note(final: Report) -> str:
    return f"{final.workers} workers, {final.aggregators} aggregators, {final.rounds} rounds; all weights bit-identical"


def _bytes(final: Report) -> Row:
    central, tree, _, server = final.phases
    return Row(
        name="allreduce-bytes",
        measured=tree.bytes_root / tree.rounds,
        reference=central.bytes_root / central.rounds,
        ratio=final.root_bytes_ratio,
        unit="B/round",
        bar=f"{final.fan_in:g}x less, within {NEAR:.0%}",
        ok=abs(final.root_bytes_ratio / final.fan_in - 1) <= NEAR,
        notes=f"64 bits a number; {_note(final)}; parameter server behind the tree "
        f"{server.bytes_root / server.rounds:,.0f}",
    )


def _json(final: Report) -> Row:
    bits = final.bits_by_tier
    return Row(
        name="allreduce-json",
        measured=final.bytes_by_tier["root"] / final.rounds,
        reference=final.bytes_raw / final.rounds,
        ratio=final.reduction,
        unit="B/round",
        bar=f"at least {LESS}x less",
        ok=final.reduction >= LESS,
        notes=f"packed: {bits['workers']:g} bits a number from workers, {bits['root']:g} of sums at the root, "
        f"{final.root_bytes_ratio:g} times less than to a central server, packed as well; {_note(final)}",
        details={"bits_workers": bits["workers"], "bits_root": bits["root"], "central": final.root_bytes_ratio},
    )


def _time(final: Report, plain: Report) -> Row:
    tree, central = final.latency_ms, final.central_latency_ms
    server = final.phases[3].round_ms
    wide = plain.latency_ms.p50 / plain.central_latency_ms.p50
    return Row(
        name="allreduce-round",
        measured=tree.p50,
        reference=central.p50,
        ratio=tree.p50 / central.p50,
        unit="ms",
        notes=f"p95 {tree.p95:g} to {central.p95:g} ms; parameter server behind the tree {server.p50:g} ms; with 64 "
        f"bits a number {plain.latency_ms.p50:g} to {plain.central_latency_ms.p50:g} ms ({wide:.2f}x); every process "
        "on the same cores, no link is scarce",
        details={"p95_ms": tree.p95, "central_p95_ms": central.p95, "server_ms": server.p50, "wide": wide},
    )


def _packing(seconds: float) -> Row:
    """A worker's gradient: to what travels, and back, slot by slot."""
    terms = Terms("bench", 8, LENGTH, NUMBERS.slot, NUMBERS.scale, NUMBERS.magnitude)
    vector = terms.scaled(Part(0, 8, 1).gradient(first_weights(1), 0))
    slots = [vector[terms.span(slot)] for slot in range(terms.slots)]
    ours, size = _both_ways(slots, packed, unpacked, seconds)
    bare, deflated = _both_ways(slots, _deflated, _inflated, seconds)
    normal = np.rint(np.random.default_rng(1).normal(size=LENGTH) * 2.0**NUMBERS.scale).astype(WIRE)
    dense = len(codec.values(normal, packed=True))
    return Row(
        name="allreduce-packing",
        measured=ours,
        reference=bare,
        ratio=ours / bare,
        unit="us",
        notes=f"{8 * size / LENGTH:.1f} bits a number to {8 * deflated / LENGTH:.1f}; of a normal distribution "
        f"{8 * dense / LENGTH:.1f}; {ours * 1000 / LENGTH:.1f} ns a number",
        details={"bits": 8 * size / LENGTH, "bits_zlib": 8 * deflated / LENGTH, "bits_normal": 8 * dense / LENGTH},
    )


def _both_ways(
    slots: list[Integers], there: Callable[[Integers], bytes], back: Callable[[bytes, int], Integers], seconds: float
) -> tuple[float, int]:
    """Microseconds of CPU, and bytes between.

    Raises:
        RuntimeError: a number has changed.
    """
    took: list[float] = []
    until, size = time.process_time() + seconds, 0
    while time.process_time() < until or not took:
        began = time.process_time()
        texts = [there(slot) for slot in slots]
        found = [back(text, len(slot)) for text, slot in zip(texts, slots, strict=True)]
        took.append(time.process_time() - began)
        size = sum(map(len, texts))
        if not all(np.array_equal(one, slot) for one, slot in zip(found, slots, strict=True)):
            raise RuntimeError("a number has changed on its way")
    return median(took) * 1e6, size


def _deflated(values: Integers) -> bytes:
    """What is there without anything of ours: all lowest bytes of the folded numbers, then the next, through zlib."""
    folded = (values << 1 ^ values >> 63).view(np.uint8).reshape(-1, 8)
    return zlib.compress(folded.T.tobytes(), 1)


def _inflated(data: bytes, size: int) -> Integers:
    planes = np.frombuffer(zlib.decompress(data), np.uint8).reshape(8, size)
    folded = np.ascontiguousarray(planes.T).view("<u8").reshape(-1)
    return (folded >> 1).view(WIRE) ^ -(folded & 1).view(WIRE)
