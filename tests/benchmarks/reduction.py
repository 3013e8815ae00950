"""Rows: what reducing saves on the demo's real series, and what it costs in error: bytes beside raw JSON.

Both files run through each reducing operator with ``epsilon`` at 0.5, 1 and 2 % of each point's range, and beside it
through a window that keeps the count and the sum of each day. What a receiver then has is taken from the encoded
batches, one a day: every series is reconstructed and compared with every raw sample, and the totals with those of the
raw file, as whole steps of the resolution. An error above the bound, or a total that differs in a bit, is no row but a
failure of the benchmark. Bytes are those of the series and of the totals together, directory messages included.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from importlib.resources import files
from typing import Final

import msgpack
import msgspec
import numpy as np

from gateway.batch import Batch
from gateway.directory import Directory
from gateway.frame import Frame, concat, grouped
from gateway.point import Point
from gateway.uplinks.config import TimeFormat
from gateway.wire.message import FrameDecoder, FrameEncoder
from gateway.wire.record import encode_json
from pipelines.reconstruct import RECONSTRUCTION, error
from pipelines.runner import Pipeline
from tests.benchmarks.operators import configured
from tests.benchmarks.rows import Bench, Row

SITES: Final = {"households": 0.1, "office": 0.01}
"""The files, and the resolution of what they hold."""
KINDS: Final = {
    "deadband": {"max_silence": "6h"},
    "swinging_door": {"max_silence": "6h"},
    "piecewise_linear": {"max_delay": "6h"},
}
"""Each with a sign of life that fits samples every quarter of an hour; the default of ten minutes is for live ones."""
PERCENTS: Final = (0.5, 1.0, 2.0)
DAY_NS: Final = 86_400 * 10**9
GATEWAY: Final = "feeder-7"
FLOATS: Final = 1e-9
"""An error may exceed its bound by this part of the range: floats are no real numbers."""


class Series:
    """The series of a file: a directory with their ranges, and a frame a day."""

    def __init__(self, site: str, rows: int | None = None) -> None:
        text = files("gateway.demo").joinpath(f"data/{site}.csv").read_text("utf-8")
        head, *lines = list(csv.reader(text.splitlines()))[: None if rows is None else rows + 1]
        self.resolution = SITES[site]
        self.values = np.array([line[1:] for line in lines], np.float64)
        self.times = np.array([_ns(line[0]) for line in lines], np.int64)
        self.names = [f"{site}/{name}" for name in head[1:]]
        self.lowest, self.highest = self.values.min(0), self.values.max(0)

    def directory(self) -> Directory:
        points = Directory()
        for name, low, high in zip(self.names, self.lowest.tolist(), self.highest.tolist(), strict=True):
            points.add(Point(name=name, resolution=self.resolution, limits=(low, high)))
        return points

    def days(self) -> Iterator[Frame]:
        """A frame a day, time by time."""
        points = len(self.names)
        day = self.times // DAY_NS
        for number in np.unique(day):
            some = day == number
            ids = np.tile(np.arange(points, dtype=np.int32), int(some.sum()))
            yield Frame.of(ids, np.repeat(self.times[some], points), self.values[some].ravel())

    @property
    def steps(self) -> np.ndarray:
        """All values as whole steps of the resolution, [times, points]."""
        return np.rint(self.values / self.resolution).astype(np.int64)


def _ns(cell: str) -> int:
    if cell.isdecimal():
        return int(cell) * 10**9
    return int(datetime.fromisoformat(cell).replace(tzinfo=UTC).timestamp()) * 10**9


class Sent:
    """What goes upstream of one pipeline, in both formats, and what a receiver makes of it."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._encoder = FrameEncoder(GATEWAY, directory)
        self._decoder = FrameDecoder()
        self.samples = self.json = self.frame = 0
        self._seq = 0
        self.got: list[Frame] = []
        """Samples as decoded, one frame a batch."""

    def batch(self, frame: Frame, pipeline: str) -> None:
        """One batch.

        Raises:
            RuntimeError: the two formats say different things.
        """
        if not len(frame):
            return
        self._seq += 1
        batch = Batch(self._seq, pipeline, 0, frame, epoch=1_790_000_000)
        plain = encode_json(batch, GATEWAY, self._directory, TimeFormat.RFC3339)
        message, announced = self._encoder.encode(batch)
        self.samples += len(frame)
        self.json += len(plain)
        self.frame += len(message) + sum(len(told) for _, told in announced)
        for told in (*(told for _, told in announced), message):
            decoded = self._decoder.frame(msgpack.unpackb(told, strict_map_key=False))
        assert decoded is not None
        values = [sample["value"] for sample in msgspec.json.decode(plain)["samples"]]
        got = decoded[0]
        if sorted(values) != sorted(got.value.tolist()) or len(got) != len(frame):
            raise RuntimeError(f"{pipeline}: json and frame differ")
        self.got.append(got)


class Reduced:
    """One run of a series through an operator, with the totals beside it."""

    def __init__(self, series: Series, kind: str, percent: float) -> None:
        self.series, self.kind, self.percent = series, kind, percent
        directory = series.directory()
        options = {"epsilon": f"{percent:g}%"} | KINDS[kind]
        window = ("window", {"every": "1d", "stats": ["count", "sum"]})
        self.reduced = Pipeline("live", ["**"], configured([(kind, options)]), directory)
        self.totals = Pipeline("days", ["**"], configured([window]), directory)
        self.live, self.days = Sent(directory), Sent(directory)
        self.directory = directory
        for day in series.days():
            end = (int(day.time[-1]) // DAY_NS + 1) * DAY_NS
            self.live.batch(self.reduced.process(day), "live")
            self.days.batch(concat([self.totals.process(day), self.totals.tick(end)]), "days")
        self.live.batch(self.reduced.clock_stepped(0), "live")
        self.days.batch(self.totals.clock_stepped(0), "days")
        self.largest = self._largest_error()
        self._check_totals()

    def _largest_error(self) -> float:
        """In percent of the range.

        Raises:
            RuntimeError: it is above the bound.
        """
        series, kept, largest = self.series, concat(self.live.got), 0.0
        rule = RECONSTRUCTION[self.kind]
        for point, name in enumerate(series.names):
            own = kept.take(kept.point == point)
            came = (series.times, np.ascontiguousarray(series.values[:, point]))
            far = error(rule, came, (own.time, own.value))
            span = series.highest[point] - series.lowest[point]
            largest = max(largest, 100 * float(far.max()) / span)
            if not float(far.max()) <= (self.percent / 100 + FLOATS) * span:
                raise RuntimeError(f"{name}: {self.kind} at {self.percent} % is off by {far.max()}")
        return largest

    def _check_totals(self) -> None:
        """Whether counts and sums of all days are those of the raw samples, day by day and in all.

        Raises:
            RuntimeError: one is not.
        """
        series, got = self.series, concat(self.days.got)
        day = series.times // DAY_NS
        for point, name in enumerate(series.names):
            for stat, steps, unit in (
                ("count", np.ones_like(series.steps), 1.0),
                ("sum", series.steps, series.resolution),
            ):
                own = got.take(got.point == self.directory.find(f"{name}#{stat}"))
                wanted = [int(steps[day == number, point].sum()) * unit for number in np.unique(day)]
                if own.value.tolist() != wanted:
                    raise RuntimeError(f"{name}#{stat}: the totals of the days differ from those of the raw samples")
                if int(np.rint(own.value / unit).sum()) != int(steps[:, point].sum()):
                    raise RuntimeError(f"{name}#{stat}: the total differs")

    @property
    def frame_bytes(self) -> int:
        return self.live.frame + self.days.frame

    @property
    def json_bytes(self) -> int:
        return self.live.json + self.days.json


def raw(series: Series) -> Sent:
    """Everything as it is."""
    sent = Sent(series.directory())
    for day in series.days():
        sent.batch(day, "raw")
    for got, day in zip(sent.got, series.days(), strict=True):
        if grouped(got) != grouped(day):
            raise RuntimeError("raw samples came back otherwise")
    return sent


def measured(site: str, percents: Sequence[float] = PERCENTS, rows: int | None = None) -> list[Row]:
    """The rows of one file.

    Raises:
        RuntimeError: a bound was broken, or a total is not exact.
    """
    series = Series(site, rows)
    plain = raw(series)
    found = [_row(f"reduction-{site}-none", plain.frame, plain, plain.json, f"{plain.samples:,} samples as they are")]
    for kind in KINDS:
        for percent in percents:
            run = Reduced(series, kind, percent)
            note = (
                f"{run.live.samples / plain.samples:.1%} of the samples, largest error {run.largest:.3g} % of the range"
            )
            found.append(
                _row(f"reduction-{site}-{kind}-{percent:g}%", run.frame_bytes, plain, run.json_bytes, note, percent)
            )
            found[-1].details |= {"largest_error_percent": run.largest, "kept": run.live.samples}
    return found


def _row(name: str, frame: int, plain: Sent, as_json: int, note: str, percent: float | None = None) -> Row:
    return Row(
        name=name,
        measured=frame / plain.samples,
        reference=plain.json / plain.samples,
        ratio=plain.json / frame,
        unit="B/sample",
        bar="" if percent is None else f"error at most {percent:g} %, totals exact",
        ok=None if percent is None else True,
        notes=f"{note}; frame {frame:,} B, json {as_json:,} B ({plain.json / as_json:.1f}x), raw json {plain.json:,} B",
        details={"frame_bytes": frame, "json_bytes": as_json, "raw_json_bytes": plain.json},
    )


async def rows(bench: Bench) -> list[Row]:
    """A row for each file, operator and bound; beside the first of each file what the format alone does."""
    del bench  # the files are as large as they are
    return [row for site in SITES for row in measured(site)]
