"""Batches as plain JSON types, and the format ``json``. Pure functions. A leaf.

``json``, one object a batch::

    {"gateway": "feeder-7", "epoch": 1, "seq": 42, "pipeline": "meters", "historical": false,
     "samples": [{"point": "m1/voltage", "time": "2026-01-31T12:00:00.250Z", "value": 230.1, "quality": "good"}]}

``bounds`` is there where steps trade error for bytes, with the error bound that each had: ``[{"step": "deadband",
"points": ["**"], "percent": 0.5}]``; ``chain`` and ``prev`` where the batch has one (:data:`gateway.batch.Link`).
``time`` may be integer ns by option; a point with texts gives its text as value; a sample without a value has ``null``
and a ``reason``; a loss marker has no samples and ``"loss": {"from", "to", "count", "reason"}``, with ``first_seq`` and
``last_seq`` where the rows that went had numbers.
"""

from __future__ import annotations

import enum
from typing import Any, Protocol

import msgspec
import numpy as np

from gateway import quality
from gateway.batch import Batch, Loss
from gateway.frame import Frame, Times


class TimeFormat(enum.StrEnum):
    """How ``json`` writes times."""

    RFC3339 = "rfc3339"
    """UTC with milliseconds: ``2026-01-31T12:00:00.250Z``."""
    NS = "ns"
    """Integer nanoseconds since 1970 UTC."""


class Names(Protocol):
    """What a record needs to know of points; :class:`gateway.directory.Directory` is one."""

    def name(self, point_id: int, /) -> str:
        """The point's name."""

    def states(self, point_id: int, /) -> list[str] | None:
        """The texts of a state point by number, or None if it has none."""


def encode_json(batch: Batch, gateway: str, directory: Names, time: TimeFormat) -> bytes:
    """One ``json`` object, without a line end."""
    return msgspec.json.encode(record_of(batch, gateway, directory, time))


def record_of(batch: Batch, gateway: str, names: Names, time: TimeFormat) -> dict[str, Any]:
    """A batch as plain JSON types."""
    record: dict[str, Any] = {
        "gateway": gateway,
        "epoch": batch.epoch,
        "seq": batch.seq,
        "pipeline": batch.pipeline,
        "historical": batch.historical,
        "samples": samples(batch.frame, names, time),
    }
    if batch.chain:
        record["chain"], record["prev"] = batch.chain
    if batch.bounds:
        record["bounds"] = list(batch.bounds)
    if batch.loss:
        record["loss"] = loss_record(batch.loss, time)
    return record


def samples(frame: Frame, directory: Names, time: TimeFormat) -> list[dict[str, Any]]:
    """The samples as plain JSON types, in order."""
    names = {point: directory.name(point) for point in np.unique(frame.point).tolist()}
    states = {point: texts for point in names if (texts := directory.states(point))}
    points = frame.point.tolist()
    rows = [
        {"point": names[point], "time": when, "value": value, "quality": quality.to_text(word)}
        for point, when, value, word in zip(
            points, _times(frame.time, time), frame.value.tolist(), frame.quality.tolist(), strict=True
        )
    ]
    for row, point in zip(rows, points, strict=True) if states else ():
        if point in states:
            row["value"] = _state(states[point], row["value"])
    for at in np.flatnonzero(~np.isfinite(frame.value)).tolist():
        _without_value(rows[at], frame.value[at : at + 1])
    return rows


def _state(texts: list[str], value: float) -> float | str:
    return texts[int(value)] if value.is_integer() and 0 <= value < len(texts) else value


def _without_value(row: dict[str, Any], value: np.ndarray[Any, np.dtype[np.float64]]) -> None:
    """JSON has no NaN or infinity: null, and why."""
    if np.isinf(value[0]):
        row["reason"] = "infinity" if value[0] > 0 else "-infinity"
    else:
        code = int(quality.reason_codes(value)[0])
        row["reason"] = quality.reason_text(code) if code else quality.Reason.NOT_A_NUMBER.text
    row["value"] = None


def _times(times: Times, how: TimeFormat) -> list[Any]:
    if how is TimeFormat.NS:
        numbers: list[int] = times.tolist()
        return numbers
    texts = np.datetime_as_string((times // 1_000_000).astype("datetime64[ms]"), unit="ms")
    return [text + "Z" for text in texts.tolist()]


def loss_of(first_ns: int, last_ns: int, count: int, reason: str, time: TimeFormat) -> dict[str, Any]:
    """A loss marker as plain JSON types."""
    first, last = _times(np.array([first_ns, last_ns], np.int64), time)
    return {"from": first, "to": last, "count": count, "reason": reason}


def loss_record(loss: Loss, time: TimeFormat) -> dict[str, Any]:
    """The same of a :class:`gateway.batch.Loss`, with the span of rows that went, if they had numbers."""
    record = loss_of(loss.first_ns, loss.last_ns, loss.count, loss.reason, time)
    if loss.first_seq is not None:
        record |= {"first_seq": loss.first_seq, "last_seq": loss.last_seq}
    return record
