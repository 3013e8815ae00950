"""Rows: every operator of the library beside the same rule in plain Python, at frames of three sizes.

The plain references are the oracles of the property tests; each module of them says with which options its operators
are measured (``BENCH``). Frames are ordered by point, as the engine hands them over. What is no plain rule (a user's
class in a process, a model) has no reference and no row here.
"""

from __future__ import annotations

import importlib
import time
from typing import Any

from tests.benchmarks.operators import TICK_EVERY, Data, Step, configured, directory
from tests.benchmarks.rows import Bench, Row, lines
from tests.pipelines.reference import OPERATORS as BASIC

MODULES = (
    "reference_shape",
    "reference_judge",
    "reference_reduce",
    "reference_aggregate",
    "reference_power",
    "reference_ahead",
)
BARS = {100: 1.5, 1_000: 4.0, 10_000: 8.0}
"""Times faster than plain Python, by samples a frame."""
WHY = {
    "deadband": "with previous: two outputs that depend on what passed before; some thirty steps of numpy a frame",
    "throttle": "what passes depends on what passed before: decided twice over, once if the frame is short",
    "piecewise_linear": "each sample moves the cone that judges the next; side by side only over points",
    "swinging_door": "each sample moves the cone that judges the next; side by side only over points",
    "dedup": "equal samples wait for a window that began with the last one sent",
    "window": "distinct values have to be sorted",
}
"""What keeps a rule from being faster in columns; stands beside a row that misses its bar."""
PLAIN_S = 0.4
"""Plain Python that has taken this long has shown enough."""


async def rows(bench: Bench) -> list[Row]:
    """A row an operator and a size of frames."""
    found = []
    total = min(bench.sizes.samples, 60_000)
    for size, bar in BARS.items():
        data = Data(size, total, ordered=True)
        for module in MODULES:
            reference = importlib.import_module(f"tests.pipelines.{module}")
            plain = BASIC | reference.OPERATORS
            for kind, options in reference.BENCH:
                found.append(_row((kind, options), plain[kind], data, bar))
    return _numbered(found)


def _numbered(found: list[Row]) -> list[Row]:
    """Rows of one operator with several options tell them apart by a number."""
    seen: dict[str, int] = {}
    for row in found:
        seen[row.name] = seen.get(row.name, 0) + 1
        if seen[row.name] > 1:
            row.name = f"{row.name}-{seen[row.name]}"
    return found


def _row(step: Step, reference: Any, data: Data, bar: float) -> Row:
    kind, options = step
    ours_ns = min(_columns(step, data) for _ in range(2))
    plain_ns = _plain(step, reference, data)
    ratio = plain_ns / ours_ns
    told = ", ".join(f"{key}: {value}" for key, value in options.items())[:80]
    return Row(
        name=f"operator-{kind}-{data.size}",
        measured=ours_ns,
        reference=plain_ns,
        ratio=ratio,
        unit="ns/sample",
        bar=f"at least {bar:g}x faster",
        ok=ratio >= bar,
        notes=lines(told, "" if ratio >= bar else WHY.get(kind, "")),
    )


def _columns(step: Step, data: Data) -> float:
    """CPU ns a sample of the operator, ticks included."""
    ((_, config),) = configured([step])
    operator = config.create(directory())
    begun, seen = 0.0, 0
    for at, frame in enumerate(data.frames):
        if at == data.warm:
            begun = time.process_time()
        operator.process(frame)
        seen += len(frame) if at >= data.warm else 0
        if (at + 1) * data.size % TICK_EVERY == 0:
            operator.tick(data.ticks[at])
    return (time.process_time() - begun) * 1e9 / max(seen, 1)


def _plain(step: Step, reference: Any, data: Data) -> float:
    """CPU ns a sample of plain Python, until it has taken :data:`PLAIN_S`."""
    ((_, config),) = configured([step])
    operator = reference(config, directory())
    begun, seen = 0.0, 0
    for at, samples in enumerate(data.rows):
        if at == data.warm:
            begun = time.process_time()
        operator.process(samples)
        if at >= data.warm:
            seen += len(samples)
        if (at + 1) * data.size % TICK_EVERY == 0:
            if hasattr(operator, "tick"):
                operator.tick(data.ticks[at])
            if seen and time.process_time() - begun > PLAIN_S:
                break
    return (time.process_time() - begun) * 1e9 / max(seen, 1)
