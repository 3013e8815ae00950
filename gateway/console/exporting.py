"""Downloads for spreadsheets: points with their latest values, and the history, as CSV (RFC 4180), row by row."""

from __future__ import annotations

import asyncio
import csv
import io
from collections.abc import AsyncGenerator, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np
from starlette.responses import StreamingResponse
from starlette.types import Send

from gateway import quality as q
from gateway.console.answers import ApiError
from gateway.console.table import Endpoint
from gateway.console.trend import MS, TrendQuery, TrendView, history
from gateway.store.reading import EVER, Query, Reader
from gateway.tasks import in_thread
from gateway.uplinks.config import TimeFormat
from gateway.view.points import PointsQuery
from gateway.wire.record import samples

if TYPE_CHECKING:
    from gateway.console.asked import Asked
    from gateway.directory import Directory
    from gateway.frame import Frame

ROWS: Final = 2000
STUCK_S: Final = 60.0
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


class HistoryQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which part of the history."""

    q: str
    """Words that must all occur in a point's name, or a glob."""
    since_ms: int | None = None
    """Source time from which."""
    until_ms: int | None = None
    """Source time before which."""


class Download(StreamingResponse):
    """A file that is made while it is sent; a browser that takes nothing is given up."""

    def __init__(self, content: AsyncGenerator[str, None], name: str) -> None:
        headers = {"content-disposition": f'attachment; filename="{name}"', "cache-control": "no-store"}
        super().__init__(content, 200, headers, media_type="text/csv; charset=utf-8")
        self._content = content

    async def stream_response(self, send: Send) -> None:
        """See the base class."""

        async def patiently(message: Any) -> None:
            async with asyncio.timeout(STUCK_S):
                await send(message)

        try:
            await super().stream_response(patiently)
        finally:
            await self._content.aclose()


async def points_csv(asked: Asked) -> Download:
    """The points that fit, all pages of them."""
    views, query = asked.console.inside.views, asked.query
    found = await views.points_of.all(query)

    async def rows() -> AsyncGenerator[str, None]:
        yield _lines([("point", "unit", "value", "time", "quality", "reason", "adapter")])
        for start in range(0, len(found), ROWS):
            page = views.points_of.rows(found.take(slice(start, start + ROWS)))
            yield _lines(
                (
                    _safe(row["name"]),
                    row["unit"],
                    _safe(row["text"]) if row["text"] is not None else row["value"],
                    "" if row["time_ms"] is None else _moment(row["time_ms"]),
                    q.to_text(row["quality"]) if row["validity"] else "",
                    row["reason"] or "",
                    row["adapter"] or "",
                )
                for row in page
            )
            await asyncio.sleep(0)

    return Download(rows(), "points.csv")


async def history_csv(asked: Asked) -> Download:
    """Samples of the points that fit, in the order in which the history has them."""
    inside, query = asked.console.inside, asked.query
    points = await inside.views.points_of.search(query.q)
    if not len(points):
        raise ApiError(404, f"no point is called {query.q!r}")
    since = EVER[0] if query.since_ms is None else max(EVER[0], query.since_ms * MS)
    until = EVER[1] if query.until_ms is None else min(EVER[1], query.until_ms * MS)

    async def rows() -> AsyncGenerator[str, None]:
        yield _lines([("time", "point", "value", "unit", "quality", "reason")])
        reader = await in_thread(Reader, inside.shared.state)
        try:
            found = Query(reader, points, since, until)
            while True:
                async with asked.console.reading:
                    frame = await in_thread(found.next)
                if frame is None:
                    return
                for start in range(0, len(frame), ROWS):
                    yield await in_thread(_samples, frame.take(slice(start, start + ROWS)), inside.directory)
        finally:
            reader.close()

    return Download(rows(), "history.csv")


def _samples(frame: Frame, directory: Directory) -> str:
    units = {directory.name(point): directory.point(point).unit for point in np.unique(frame.point).tolist()}
    return _lines(
        (
            row["time"],
            _safe(row["point"]),
            _safe(row["value"]) if isinstance(row["value"], str) else row["value"],
            units[row["point"]],
            row["quality"],
            row.get("reason", ""),
        )
        for row in samples(frame, directory, TimeFormat.RFC3339)
    )


def _lines(rows: Iterable[Sequence[Any]]) -> str:
    out = io.StringIO()
    csv.writer(out).writerows(["" if cell is None else cell for cell in row] for row in rows)
    return out.getvalue()


def _safe(text: str) -> str:
    """A name that a device has chosen must not be a formula where the file is opened."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def _moment(ms: int) -> str:
    return str(np.datetime64(ms, "ms")) + "Z"


_CSV: Final = "text/csv"

ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(
        method="GET", path="/api/history", handle=history, query=TrendQuery, answer=TrendView,
        errors=(400, 401, 404), summary="The history of a point, thinned to what a chart can show.",
    ),
    Endpoint(
        method="GET", path="/api/points.csv", handle=points_csv, query=PointsQuery, media=_CSV,
        errors=(400, 401), summary="Points with their latest values, all pages at once.",
    ),
    Endpoint(
        method="GET", path="/api/history.csv", handle=history_csv, query=HistoryQuery, media=_CSV,
        errors=(400, 401, 404), summary="The history of the points that fit.",
    ),
)  # fmt: skip
