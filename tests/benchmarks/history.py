"""Rows: what finding a point in the local history costs beside reading all of it, and what making it costs."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from statistics import median

import numpy as np

from gateway.frame import Frame
from gateway.store.compact import Compaction
from gateway.store.config import JournalConfig, StoreConfig
from gateway.store.database import set_meta
from gateway.store.reading import Query, Reader
from gateway.store.store import Store
from gateway.units import Size
from tests.benchmarks.rows import Bench, Row

POINTS = 1_000
BLOCKS_A_SECOND = 4
START_NS = 1_790_000_000_000_000_000
S = 1_000_000_000
HOUR_NS = 3600 * S
KEPT = StoreConfig(journal=JournalConfig(max_size=Size(2**34)))


def written(store: Store, seconds: int, pieces_ms: list[float]) -> dict[str, float]:
    """A thousand voltages once a second with one decimal, compacted minute by minute; what the journal took of it."""
    chance = np.random.default_rng(3)
    level = 230 + chance.normal(0, 2, POINTS)
    ids = np.arange(POINTS, dtype=np.int32).reshape(BLOCKS_A_SECOND, -1)
    journal, blocks, cpu_s = store.journal, 0, 0.0
    compaction = Compaction(store)
    for second in range(seconds):
        if second % 60 == 0:
            held = journal.bytes
            minute = contextlib.ExitStack()
            minute.enter_context(store.transaction())
        level += chance.normal(0, 0.05, POINTS)
        values = level.round(1).reshape(BLOCKS_A_SECOND, -1)
        late = chance.integers(0, 10, ids.shape) * 1_000_000
        for part in range(BLOCKS_A_SECOND):
            now = START_NS + second * S + part * (S // BLOCKS_A_SECOND)
            journal.append([Frame.of(ids[part], now + late[part], values[part])], now)
        if second % 60 == 59 or second == seconds - 1:
            set_meta(journal.db, "checkpoint", journal.last)
            minute.close()
            store.checkpointed, blocks = journal.last, blocks + journal.bytes - held
            cpu_s += compacted(compaction, START_NS + second * S, pieces_ms)
    cpu_s += compacted(compaction, START_NS + seconds * S + HOUR_NS, pieces_ms)
    return {"journal_bytes": float(blocks), "cpu_s": cpu_s}


def compacted(compaction: Compaction, now_ns: int, pieces_ms: list[float]) -> float:
    """All that is due; the CPU seconds it took."""
    began, more = time.process_time(), True
    while more:
        at = time.perf_counter()
        more = compaction.step(now_ns)
        pieces_ms.append(1000 * (time.perf_counter() - at))
    return time.process_time() - began


def asked(folder: Path, points: list[int] | None) -> tuple[float, Query, int]:
    """Milliseconds, the query, samples found."""
    began = time.perf_counter()
    with Reader(folder) as reader:
        query = Query(reader, None if points is None else np.array(points, np.int32))
        found = sum(map(len, query))
    return 1000 * (time.perf_counter() - began), query, found


async def rows(bench: Bench) -> list[Row]:
    """One point among a thousand, over all that was written."""
    seconds, folder = bench.sizes.history_s, bench.folder / "state"
    samples, pieces_ms = seconds * POINTS, list[float]()
    store = Store(folder, KEPT, START_NS)
    store.journal.db.pragma("synchronous", "off")  # the disk is not what is measured here
    made = written(store, seconds, pieces_ms)
    held = store.journal.bytes
    store.close()
    rounds = [asked(folder, [POINTS // 2]) for _ in range(max(3, bench.sizes.rounds))]
    whole_ms, whole, everything = asked(folder, None)
    if rounds[0][2] != seconds or everything != samples:
        raise RuntimeError(f"{rounds[0][2]} of {seconds} and {everything} of {samples} samples were found")
    one = rounds[0][1].effort
    return [
        Row(
            name="history-query",
            measured=median(took for took, _, _ in rounds),
            reference=whole_ms,
            ratio=median(took for took, _, _ in rounds) / whole_ms,
            unit="ms",
            bar="at most 0.2x",
            ok=median(took for took, _, _ in rounds) / whole_ms <= 0.2,
            notes=f"1 of {POINTS:,} points over {seconds / 3600:g} h at 1 Hz: {one.bytes / 1e6:.2f} MB in {one.blocks} "
            f"chunks; the reference reads all {whole.effort.bytes / 1e6:.1f} MB",
            details={"bytes": one.bytes, "chunks": one.blocks, "bytes_all": whole.effort.bytes, "samples": samples},
        ),
        Row(
            name="history-size",
            measured=held / samples,
            reference=made["journal_bytes"] / samples,
            ratio=held * 1.0 / made["journal_bytes"],
            unit="B/sample",
            notes=f"compacted, beside the journal's blocks of {POINTS // BLOCKS_A_SECOND} samples",
        ),
        Row(
            name="history-compact",
            measured=1e6 * made["cpu_s"] / samples,
            unit="us/sample",
            notes=f"{len(pieces_ms):,} pieces; the longest {max(pieces_ms):.1f} ms, of a hundred all but one below "
            f"{np.quantile(pieces_ms, 0.99):.1f} ms: so long may a commit wait",
            details={"longest_ms": max(pieces_ms), "p99_ms": float(np.quantile(pieces_ms, 0.99))},
        ),
    ]
