"""Rows: the column codec on four weeks of household profiles, by day and by week, beside JSON."""

from __future__ import annotations

import csv
import time
from collections.abc import Callable, Sequence
from importlib.resources import files
from statistics import mean
from typing import Any

import msgspec
import numpy as np

from gateway.batch import Batch
from gateway.frame import Frame
from gateway.uplinks.config import TimeFormat
from gateway.uplinks.formats import encode_json
from gateway.wire import columns
from tests.benchmarks.rows import Bench, Row
from tests.support.build import directory_of

STEPS = {"day": 96, "week": 7 * 96}
"""Of 15 minutes."""
LEVEL = 3
"""Of zstd, as the uplinks use it."""


def profiles() -> tuple[list[str], np.ndarray]:
    """Names of the series, and the table with the Unix time in its first column, [steps, 1 + series]."""
    text = files("gateway.demo").joinpath("data/households.csv").read_text("utf-8")
    head, *rows = csv.reader(text.splitlines())
    return [name.removesuffix("_W") for name in head[1:]], np.array(rows, np.float64)


def frames(steps: int) -> tuple[list[str], list[Frame]]:
    """The profiles in frames of so many steps, all series in each."""
    names, table = profiles()
    out = []
    for start in range(0, len(table) - steps + 1, steps):
        part = table[start : start + steps]
        times = np.repeat(part[:, 0].astype(np.int64) * 1_000_000_000, len(names))
        ids = np.tile(np.arange(len(names), dtype=np.int32), steps)
        out.append(Frame.of(ids, times, part[:, 1:].ravel()))
    return names, out


def speed(call: Callable[[Any], object], items: Sequence[Any], samples: int, seconds: float) -> float:
    """M samples a second of CPU; the best of repeats that take so long."""
    best, until = 0.0, time.process_time() + seconds
    while time.process_time() < until:
        began = time.process_time()
        for item in items:
            call(item)
        best = max(best, samples / (time.process_time() - began) / 1e6)
    return best


def measured(period: str, seconds: float) -> list[Row]:
    """Size and speed for frames of one period."""
    names, parts = frames(STEPS[period])
    directory = directory_of(*(f"{name}/power" for name in names), unit="W")
    batches = [Batch(n + 1, "profiles", 0, part) for n, part in enumerate(parts)]

    def as_json(batch: Batch) -> bytes:
        return encode_json(batch, "g1", directory, TimeFormat.RFC3339)

    def as_columns(part: Frame) -> bytes:
        return columns.encode(part, LEVEL)

    coded, texts = [as_columns(part) for part in parts], [as_json(batch) for batch in batches]
    for part, raw in zip(parts, coded, strict=True):
        back = columns.decode(raw)
        order = np.argsort(part.point, kind="stable")
        if not (np.array_equal(back.value, part.value[order]) and np.array_equal(back.time, part.time[order])):
            raise RuntimeError("what was decoded is not what was encoded")
    samples = sum(map(len, parts))
    sizes = [sum(map(len, one)) / samples for one in (coded, texts)]
    encode = speed(as_columns, parts, samples, seconds), speed(as_json, batches, samples, seconds)
    decode = speed(columns.decode, coded, samples, seconds), speed(msgspec.json.decode, texts, samples, seconds)
    note = f"{len(parts)} frames of {mean(map(len, parts)):,.0f} samples, zstd {LEVEL}"
    return [
        Row(name=f"codec-size-{period}", measured=sizes[0], reference=sizes[1], ratio=sizes[0] / sizes[1],
            unit="B/sample", notes=f"{note}; the reference is JSON"),
        Row(name=f"codec-encode-{period}", measured=encode[0], reference=encode[1], ratio=encode[0] / encode[1],
            unit="M samples/s", notes="ratio: times faster than JSON"),
        Row(name=f"codec-decode-{period}", measured=decode[0], reference=decode[1], ratio=decode[0] / decode[1],
            unit="M samples/s", notes="ratio: times faster than JSON into dicts"),
    ]  # fmt: skip


async def rows(bench: Bench) -> list[Row]:
    """By day and by week."""
    return [row for period in STEPS for row in measured(period, bench.sizes.codec_s)]
