"""Rows: the frame wire format on four weeks of household profiles, and on small batches, beside JSON."""

from __future__ import annotations

import csv
import time
from collections.abc import Callable, Sequence
from importlib.resources import files
from statistics import mean
from typing import Any

import msgspec
import numpy as np
import zstandard

from gateway.batch import Batch
from gateway.frame import Frame, grouped
from gateway.wire import columns
from gateway.wire.message import FrameEncoder
from gateway.wire.record import TimeFormat, encode_json
from tests.benchmarks.rows import Bench, Row
from tests.support.build import directory_of

STEPS = {"day": 96, "week": 7 * 96}
"""Of 15 minutes."""
BARS = {"day": 2.7, "week": 2.1}
"""Bytes a sample, at most."""
LEVEL = 3
"""Of zstd, as the uplinks use it."""
SPEEDS = (100, 1000, 2000, 10_000)
"""Samples a frame; a spool row has 2,000 at most."""
FAST = 10.0
BARRED = 2000
SMALL = (10, 30, 100)
SNAPSHOTS = 60
EPOCH = 68_039_415_757_729
START = 1_769_860_800
ENVELOPE = 6
"""Bytes around the content."""


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


def measured(steps: int) -> tuple[list[Batch], Callable[[Batch], bytes], str]:
    """The profiles as batches of so many steps, what makes JSON of one, and how many there are."""
    names, parts = frames(steps)
    directory = directory_of(*(f"{name}/power" for name in names), unit="W")
    batches = [Batch(n + 1, "profiles", 0, part, epoch=EPOCH) for n, part in enumerate(parts)]

    def as_json(batch: Batch) -> bytes:
        return encode_json(batch, "feeder-7", directory, TimeFormat.RFC3339)

    return batches, as_json, f"{len(parts)} frames of {mean(map(len, parts)):,.0f} samples"


def size_row(period: str) -> Row:
    """Bytes of whole messages, with the record's head; what came back is compared bit for bit."""
    batches, as_json, note = measured(STEPS[period])
    encoder = FrameEncoder("feeder-7", directory_of(*(f"{name}/power" for name in profiles()[0]), unit="W"))
    coded = [encoder.encode(batch) for batch in batches]
    for batch in batches:
        if columns.decode(columns.encode(batch.frame)) != grouped(batch.frame):
            raise RuntimeError("what was decoded is not what was encoded")
    samples = sum(len(batch.frame) for batch in batches)
    size = sum(len(message) for message, _ in coded) / samples
    alone = sum(len(columns.encode(batch.frame)) for batch in batches) / samples
    told = sum(len(raw) for _, announced in coded for _, raw in announced)
    text = sum(len(as_json(batch)) for batch in batches) / samples
    most = BARS[period]
    return Row(
        name=f"codec-size-{period}", measured=size, reference=text, ratio=size / text, unit="B/sample",
        bar=f"at most {most:g} B/sample", ok=size <= most, details={"columns": alone, "directory": told},
        notes=f"{note}, whole messages; columns alone {alone:.3g}, and {told} bytes once for the directory; "
        "the reference is JSON",
    )  # fmt: skip


def speed_rows(size: int, seconds: float) -> list[Row]:
    """How fast frames of so many samples become bytes, and come back."""
    batches, as_json, note = measured(size // len(profiles()[0]))
    samples = sum(len(batch.frame) for batch in batches)
    parts = [grouped(batch.frame) for batch in batches]  # as the spool has them
    texts = [as_json(batch) for batch in batches]
    coded = [columns.encode(part) for part in parts]
    encode = (
        speed(lambda part: columns.encode(part, LEVEL), parts, samples, seconds),
        speed(as_json, batches, samples, seconds),
    )
    decode = speed(columns.decode, coded, samples, seconds), speed(msgspec.json.decode, texts, samples, seconds)
    bar = f"aim {FAST:g} M samples/s" if size >= BARRED else ""
    return [
        Row(name=f"codec-{what}-{size}", measured=ours, reference=text, ratio=ours / text, unit="M samples/s", bar=bar,
            ok=ours >= FAST if bar else None, notes=f"{note}; ratio: times faster than JSON")
        for what, (ours, text) in (("encode", encode), ("decode", decode))
    ]  # fmt: skip


def snapshots(points: int, site: int) -> list[Frame]:
    """A site whose points are read each second; half of them pass a deadband. Seeded."""
    chance = np.random.default_rng(site)
    value = chance.choice([230, 50, 5, 1000, 20, 60, 12_345_678], points) * chance.uniform(0.9, 1.1, points)
    digits = chance.choice([0, 1, 2, 3], points)
    first, passing = int(chance.integers(0, 3000)), 1.1 if site % 2 else 0.5
    made = []
    for second in range(SNAPSHOTS):
        value *= 1 + chance.normal(0, 0.002, points)
        keep = chance.random(points) < passing
        keep[0] = True
        rounded = np.array([round(number, int(count)) for number, count in zip(value, digits, strict=True)])
        ids = first + np.arange(points, dtype=np.int32)
        made.append(
            Frame.of(
                ids[keep], (START + second) * 1_000_000_000 + int(chance.integers(0, 5)) * 1_000_000, rounded[keep]
            )
        )
    return made


def small_row(points: int) -> Row:
    """Small batches: whole messages as they are, and what dictionaries for zstd would make of them.

    ``trained``: 8 KiB trained on batches of thirty other sites, as a package could bring it. ``shared``: some batches
    of the same site, as a message of its own could bring them. Both on top of the columns of version 2.
    """
    found = [*snapshots(points, 1001), *snapshots(points, 1002)]
    directory = directory_of(*(f"m{n}/power" for n in range(4000)))
    encoder = FrameEncoder("feeder-7", directory)
    batches = [Batch(n + 1, "live", 0, frame, epoch=EPOCH) for n, frame in enumerate(found)]
    sizes = [len(encoder.encode(batch)[0]) for batch in batches]
    packed = [columns.pack(frame) for frame in found]
    trained = zstandard.train_dictionary(8192, [columns.pack(f) for site in range(30) for f in snapshots(points, site)])
    halves = packed[: SNAPSHOTS // 2 : 5] + packed[SNAPSHOTS::5][:10]
    shared = zstandard.ZstdCompressionDict(b"".join(halves), dict_type=zstandard.DICT_TYPE_RAWCONTENT)
    samples, whole = sum(map(len, found)), sum(sizes)
    columns_now = sum(len(columns.encode(frame)) for frame in found)
    with_one = {}
    for name, dictionary in (("trained", trained), ("shared", shared)):
        compressor = zstandard.ZstdCompressor(level=LEVEL, dict_data=dictionary, write_dict_id=False)
        content = sum(min(len(raw), len(compressor.compress(raw))) for raw in packed)
        with_one[name] = (whole - columns_now + content + ENVELOPE * len(packed)) / samples
    size, text = (
        whole / samples,
        sum(len(encode_json(b, "feeder-7", directory, TimeFormat.RFC3339)) for b in batches) / samples,
    )
    told = ", ".join(f"with a {name} dictionary {cost:.3g}" for name, cost in with_one.items())
    return Row(
        name=f"codec-small-{points}", measured=size, reference=text, ratio=size / text, unit="B/sample",
        details=dict(with_one),
        notes=f"{len(found)} whole messages of {samples / len(found):.0f} samples; {told}; the reference is JSON",
    )  # fmt: skip


async def rows(bench: Bench) -> list[Row]:
    """Sizes, speeds, small batches."""
    seconds = bench.sizes.codec_s
    return [
        *(size_row(period) for period in STEPS),
        *(row for size in SPEEDS for row in speed_rows(size, seconds)),
        *(small_row(points) for points in SMALL),
    ]
