"""``onpath history``: what came in, from the running daemon or from its state folder."""

from __future__ import annotations

import asyncio
import contextlib
import csv
import json
import sys
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec
import numpy as np

from gateway.cli.moments import age
from gateway.control import NotRunningError, follow
from gateway.errors import OnpathError
from gateway.history import ROWS, Asked, answer, frames
from gateway.store.reading import Effort, Reader
from gateway.trial.picture import single
from gateway.uplinks.config import TimeFormat

MOST_PICTURES: Final = 12
CSV_COLUMNS: Final = ("time", "point", "value", "quality", "reason")

Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a user wants to see, and how."""

    state: Path
    asked: Asked
    plot: bool = False
    as_csv: bool = False
    as_json: bool = False


class Shown(Protocol):
    """One way to show samples."""

    def take(self, rows: list[Row], units: dict[str, str]) -> None:
        """Samples, as in the format ``json``."""

    def end(self) -> None:
        """There are no more."""


def show_history(request: Request) -> None:
    """Print samples of the history.

    Raises:
        OnpathError: no such point, or neither a daemon nor a state folder.
    """
    shown: Shown
    if request.plot:
        shown = Pictures()
    elif request.as_json:
        shown = JsonLines()
    elif request.as_csv:
        shown = Csv()
    else:
        shown = Lines(ages=request.asked.latest)
    asked = msgspec.structs.replace(request.asked, time="ns" if request.plot or request.asked.latest else "rfc3339")
    with contextlib.suppress(KeyboardInterrupt, BrokenPipeError):
        end = asyncio.run(_show(request.state, asked, shown))
        if not end["samples"]:
            print("no samples of that time", file=sys.stderr)
        if end["damaged"]:
            print(f"{end['damaged']:,} samples are lost: their blocks are damaged", file=sys.stderr)


async def _show(state: Path, asked: Asked, shown: Shown) -> dict[str, Any]:
    end: dict[str, Any] = {}
    try:
        answers = follow(state, "history", **msgspec.to_builtins(asked))
        end = await _take(answers, shown)
    except NotRunningError:
        if not (state / "onpath.db").exists():
            raise
        end = await _take(_from_folder(state, asked), shown)
    shown.end()
    return end


async def _take(answers: AsyncGenerator[dict[str, Any], None], shown: Shown) -> dict[str, Any]:
    async with contextlib.aclosing(answers):
        async for one in answers:
            if "end" in one:
                end: dict[str, Any] = one["end"]
                return end
            shown.take(one["samples"], one["units"])
    raise OnpathError("the daemon went away before the end")


async def _from_folder(state: Path, asked: Asked) -> AsyncGenerator[dict[str, Any], None]:
    """As the daemon would answer; reads the folder and changes nothing."""
    time_format = TimeFormat.NS if asked.time == "ns" else TimeFormat.RFC3339
    effort, given = Effort(), 0
    with Reader(state) as reader:
        directory = reader.directory()
        for frame in frames(reader, directory, asked, effort):
            given += len(frame)
            for start in range(0, len(frame), ROWS):
                yield answer(frame.take(slice(start, start + ROWS)), directory, time_format)
    yield {"end": {"samples": given} | msgspec.to_builtins(effort)}


class Lines:
    """For people."""

    def __init__(self, *, ages: bool) -> None:
        self._ages = ages
        self._now_ns = time.time_ns()

    def take(self, rows: list[Row], units: dict[str, str]) -> None:
        """See :class:`Shown`."""
        for row in rows:
            unit = units.get(row["point"], "")
            value = f"{row['value']} {unit}".rstrip() if row["value"] is not None else f"- ({row['reason']})"
            quality = "" if row["quality"] == "good" else f"  {row['quality']}"
            when = row["time"]
            if self._ages:
                value += f"  {age(when, self._now_ns)} ago"
                when = np.datetime64(when // 1_000_000, "ms").item().isoformat(timespec="milliseconds") + "Z"
            print(f"{when}  {row['point']}  {value}{quality}")

    def end(self) -> None:
        """See :class:`Shown`."""


class JsonLines:
    """An object a line; ``onpath simulate --input`` takes it."""

    def take(self, rows: list[Row], _units: dict[str, str]) -> None:
        """See :class:`Shown`."""
        for row in rows:
            print(json.dumps(row))

    def end(self) -> None:
        """See :class:`Shown`."""


class Csv:
    """A row a sample; ``onpath simulate --input`` takes it."""

    def __init__(self) -> None:
        self._out = csv.writer(sys.stdout, lineterminator="\n")
        self._out.writerow(CSV_COLUMNS)

    def take(self, rows: list[Row], _units: dict[str, str]) -> None:
        """See :class:`Shown`."""
        self._out.writerows([row.get(column) for column in CSV_COLUMNS] for row in rows)

    def end(self) -> None:
        """See :class:`Shown`."""


class Pictures:
    """A curve a point, drawn with the terminal's characters."""

    def __init__(self) -> None:
        self._series: dict[str, list[tuple[int, float]]] = {}
        self._units: dict[str, str] = {}
        self._texts: set[str] = set()

    def take(self, rows: list[Row], units: dict[str, str]) -> None:
        """See :class:`Shown`."""
        self._units |= units
        for row in rows:
            value = row["value"]
            if isinstance(value, str):
                self._texts.add(row["point"])
            else:
                number = np.nan if value is None else float(value)
                self._series.setdefault(row["point"], []).append((row["time"], number))

    def end(self) -> None:
        """See :class:`Shown`."""
        for name in sorted(self._series)[:MOST_PICTURES]:
            times = np.array([when for when, _ in self._series[name]], np.int64)
            values = np.array([value for _, value in self._series[name]], np.float64)
            print(single(self._title(name, values), self._units.get(name, ""), times, values))
        left = len(self._series) - MOST_PICTURES
        if left > 0:
            print(f"{left} more points are not drawn", file=sys.stderr)
        if self._texts:
            print(f"texts are not drawn: {', '.join(sorted(self._texts))}", file=sys.stderr)

    def _title(self, name: str, values: np.ndarray[Any, np.dtype[np.float64]]) -> str:
        fine = values[np.isfinite(values)]
        title = f"{name}  {len(values):,} samples"
        if len(fine):
            title += f"  mean {fine.mean():g} {self._units.get(name, '')}".rstrip()
        if len(fine) < len(values):
            title += f"  {len(values) - len(fine):,} without a value"
        return title
