"""Points as people look for them: search, filter, order, pages; and all about one of them.

Names are searched in a thread; qualities, ages and values are columns, so a hundred thousand points cost a few
milliseconds. Latest values are kept while somebody looks; what was before is looked up in the history.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from gateway import quality as q
from gateway.errors import OnpathError
from gateway.frame import Frame, Ids, Index, Mask
from gateway.latest import NEVER
from gateway.point import Kind, compile_glob
from gateway.view.attention import Attention
from gateway.view.names import Names

if TYPE_CHECKING:
    from gateway.inside import Inside
    from gateway.view.shapes import PointRow, PointsView, PointView

KEEP_S: Final = 60.0
"""Latest values are kept so long after the last look."""
LOOKED_UP_S: Final = 5.0
"""How long a first look waits for what the history has."""
_VALIDITY: Final = {"good": q.GOOD, "invalid": q.INVALID, "questionable": q.QUESTIONABLE}
_TEXTS: Final = ("good", "invalid", "reserved", "questionable")


class PointsQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which points, in which order, and which page of them."""

    q: str = ""
    """Words that must all occur in the name, or a glob if it has a ``*`` or ``?``."""
    device: str = ""
    """Only of this device."""
    quality: Literal["", "good", "questionable", "invalid"] = ""
    """Only with this validity."""
    state: Literal["", "stale"] = ""
    """``stale``: only of devices that have gone silent."""
    sort: Literal["name", "age", "value", "quality"] = "name"
    """By what; ``age`` begins with the newest, ``quality`` with the worst."""
    descending: bool = False
    """The other way round."""
    offset: Annotated[int, msgspec.Meta(ge=0)] = 0
    """Rows to skip."""
    limit: Annotated[int, msgspec.Meta(ge=0, le=1000)] = 100
    """Rows at most."""

    @classmethod
    def of(cls, request: dict[str, Any]) -> PointsQuery:
        """The request of a verb.

        Raises:
            OnpathError: something in it is not what it should be.
        """
        try:
            return msgspec.convert({key: value for key, value in request.items() if key != "verb"}, cls)
        except msgspec.ValidationError as error:
            raise OnpathError(f"points: {error}") from error


class Points:
    """The points of a running gateway."""

    def __init__(self, inside: Inside) -> None:
        self._inside = inside
        latest = inside.shared.latest
        self.names = Names(inside.directory)
        self._turn = asyncio.Lock()
        """The names are searched by one at a time."""
        self.attention = Attention(latest.watch, latest.unwatch, KEEP_S)

    async def look(self) -> None:
        """Have latest values, also from before anybody looked."""
        if self.attention.active and self._inside.shared.latest.caught_up.is_set():
            self.attention.look()
            return
        self.attention.look()
        try:
            async with asyncio.timeout(LOOKED_UP_S):
                await self._inside.shared.latest.caught_up.wait()
        except TimeoutError:
            pass  # a large history on a slow disk: what comes meanwhile is shown, the rest follows

    async def find(self, query: PointsQuery) -> tuple[int, Frame]:
        """How many points fit, and the latest samples of the page that is asked for, in its order."""
        await self.look()
        async with self._turn:
            found = await asyncio.to_thread(self.names.find, query.q, query.device)
            columns = self._inside.shared.latest.columns(found)
            return await asyncio.to_thread(self._chosen, columns, query)

    def _chosen(self, columns: Frame, query: PointsQuery) -> tuple[int, Frame]:
        columns = columns.take(_fitting(columns, query))
        return len(columns), columns.take(_page(_ordered(columns, query), query))

    async def all(self, query: PointsQuery) -> Frame:
        """The latest samples of all points that fit, whatever the page."""
        return (await self.find(msgspec.structs.replace(query, offset=0, limit=len(self._inside.directory))))[1]

    async def search(self, words: str) -> Ids:
        """Ids of the points whose name holds all words, or fits the glob."""
        async with self._turn:
            return await asyncio.to_thread(self.names.find, words)

    async def view(self, query: PointsQuery) -> PointsView:
        """A page of points."""
        matched, columns = await self.find(query)
        return {"total": len(self._inside.directory), "matched": matched, "rows": self.rows(columns)}

    def rows(self, columns: Frame) -> list[PointRow]:
        """Latest samples as plain JSON types, in their order."""
        now_ns = self._inside.clock.now_ns()
        liveness = self._inside.shared.liveness
        device_of = liveness.owners(len(self._inside.directory))[columns.point].tolist()
        devices = {number: liveness.device(number) for number in set(device_of) if number >= 0}
        reasons = q.reason_codes(columns.value).tolist()
        cells = zip(
            columns.point.tolist(), columns.time.tolist(), columns.value.tolist(), columns.quality.tolist(),
            reasons, device_of, strict=True,
        )  # fmt: skip
        owners = {number: None if device is None else device[0] for number, device in devices.items()}
        return [self._row(cell[:5], now_ns, owners.get(cell[5])) for cell in cells]

    def _row(self, cell: tuple[int, int, float, int, int], now_ns: int, adapter: str | None) -> PointRow:
        """``cell`` is id, time in ns, value, quality and code of the reason."""
        point, time_ns, value, word, reason = cell
        known, heard = self._inside.directory.point(point), time_ns != NEVER
        has = heard and value == value and abs(value) != float("inf")  # noqa: PLR0124  not a NaN
        return {
            "id": point,
            "name": known.name,
            "unit": known.unit,
            "kind": known.kind.value,
            "value": value if has else None,
            "text": self.text_of(point, value) if has else None,
            "time_ms": time_ns // 1_000_000 if heard else None,
            "age_s": round((now_ns - time_ns) / 1e9, 3) if heard else None,
            "quality": word,
            "validity": _TEXTS[word & q.VALIDITY] if heard else "",
            "flags": q.to_text(word).split(",")[1:],
            "reason": _reason(value, reason) if heard and not has else None,
            "adapter": adapter,
        }

    def text_of(self, point: int, value: float) -> str | None:
        """What a value of a state point stands for; None of all others."""
        if self._inside.directory.point(point).kind is not Kind.STATE:
            return None
        texts = self._inside.directory.states(point)
        return texts[int(value)] if texts and value.is_integer() and 0 <= value < len(texts) else None

    async def one(self, name: str) -> PointView:
        """All about one point.

        Raises:
            OnpathError: there is none of this name.
        """
        point = self._inside.directory.find(name)
        if point is None:
            raise OnpathError(f"there is no point {name!r}")
        await self.look()
        async with self._turn:
            derived = await asyncio.to_thread(self.names.derived, name)
        (row,) = self.rows(self._inside.shared.latest.columns(np.array([point], np.int32)))
        known = self._inside.directory.point(point)
        taking = [
            pipeline
            for pipeline, config in self._inside.config.pipelines.items()
            if any(compile_glob(glob).match(name) for glob in config.globs)
        ]
        return {
            **row,
            "limits": None if known.limits is None else list(known.limits),
            "resolution": known.resolution,
            "merge": known.merge.value,
            "labels": known.labels,
            "pipelines": taking,
            "derived": derived,
        }

    def changed(self, before: Frame, now: Frame) -> list[list[Any]]:
        """``[id, value, text, time_ms, quality, reason]`` of those that differ between two looks at the same points."""
        at = np.flatnonzero(
            (before.time != now.time)
            | (before.value.view(np.int64) != now.value.view(np.int64))
            | (before.quality != now.quality)
        )
        news = now.take(at)
        reasons = q.reason_codes(news.value).tolist()
        rows: list[list[Any]] = []
        columns = (news.point.tolist(), news.time.tolist(), news.value.tolist(), news.quality.tolist(), reasons)
        for point, time_ns, value, word, reason in zip(*columns, strict=True):
            if time_ns == NEVER:
                continue
            has = abs(value) < float("inf")
            text = self.text_of(point, value) if has else None
            why = None if has else _reason(value, reason)
            rows.append([point, value if has else None, text, time_ns // 1_000_000, word, why])
        return rows


def _reason(value: float, code: int) -> str:
    """Why there is no number."""
    if value in {float("inf"), float("-inf")}:
        return "infinity" if value > 0 else "-infinity"
    return q.reason_text(code) if code else q.Reason.NOT_A_NUMBER.text


def _fitting(columns: Frame, query: PointsQuery) -> Mask:
    keep: Mask = np.ones(len(columns), np.bool_)
    if query.quality or query.state:
        keep &= columns.time != NEVER
    if query.quality:
        keep &= (columns.quality & q.VALIDITY) == _VALIDITY[query.quality]
    if query.state:
        keep &= q.reason_codes(columns.value) == q.Reason.STALE
    return keep


def _ordered(columns: Frame, query: PointsQuery) -> Index:
    """The order of rows that come ordered by name; what has no such thing stands last either way, [n]."""
    missing = columns.time == NEVER
    key: npt.NDArray[np.float64] = np.arange(len(columns), dtype=np.float64)
    if query.sort == "age":
        key = -np.where(missing, 0, columns.time).astype(np.float64)
    elif query.sort == "value":
        missing = missing | ~np.isfinite(columns.value)
        key = np.where(missing, 0.0, columns.value)
    elif query.sort == "quality":
        key = -q.severity(columns.quality).astype(np.float64)
    else:
        missing = np.zeros(len(columns), np.bool_)
    return np.lexsort((-key if query.descending else key, missing))


def _page(order: Index, query: PointsQuery) -> Index:
    return order[query.offset : query.offset + query.limit]
