"""Batches as bytes: ``json`` and ``frame``. Pure functions; the uplinks choose.

``json``, one object a batch::

    {"gateway": "feeder-7", "epoch": 1, "seq": 42, "pipeline": "meters", "historical": false,
     "samples": [{"point": "m1/voltage", "time": "2026-01-31T12:00:00.250Z", "value": 230.1, "quality": "good"}]}

``time`` may be integer ns by option; a point with texts gives its text as value; a sample without a value
has ``null`` and a ``reason``; a loss marker has no samples and ``"loss": {"from", "to", "count", "reason"}``.

``frame``, one msgpack map a batch: ``{"onpath": 1, "gateway", "epoch", "seq", "pipeline", "historical",
"directory": <hash>, "columns": <bytes>}`` with columns as in gateway.wire.columns, or ``"loss"`` instead.
Points go by number; the directory message of that hash gives each its name: ``{"onpath": 1, "directory":
<hash>, "points": {id: {"name", "unit", "kind", "states"}}}``.
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgpack
import msgspec
import numpy as np

from gateway import quality
from gateway.batch import Batch, Loss
from gateway.directory import Directory
from gateway.frame import Frame, Ids, Mask, Times
from gateway.uplinks.config import TimeFormat
from gateway.wire import columns

WIRE_VERSION = 1


def encode_json(batch: Batch, gateway: str, directory: Directory, time: TimeFormat) -> bytes:
    """One ``json`` object, without a line end."""
    record: dict[str, Any] = {
        "gateway": gateway,
        "epoch": batch.epoch,
        "seq": batch.seq,
        "pipeline": batch.pipeline,
        "historical": batch.historical,
        "samples": samples(batch.frame, directory, time),
    }
    if batch.loss:
        record["loss"] = _loss(batch.loss, time)
    return msgspec.json.encode(record)


def samples(frame: Frame, directory: Directory, time: TimeFormat) -> list[dict[str, Any]]:
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


def _loss(loss: Loss, time: TimeFormat) -> dict[str, Any]:
    return loss_of(loss.first_ns, loss.last_ns, loss.count, loss.reason, time)


class FrameEncoder:
    """``frame`` messages of one link: knows which points the last directory message named."""

    def __init__(self, gateway: str, directory: Directory) -> None:
        self._gateway = gateway
        self._directory = directory
        self._named: set[int] = set()
        self._known: Mask = np.empty(0, np.bool_)
        """By point id: whether the newest directory message describes the point as it is."""
        self._edition = directory.edition
        self._hash = ""

    def encode(self, batch: Batch) -> tuple[bytes, tuple[str, bytes] | None]:
        """The message, and (hash, directory message) if the other side must learn points first."""
        announce = self._learn(batch.frame.point)
        record: dict[str, Any] = {
            "onpath": WIRE_VERSION,
            "gateway": self._gateway,
            "epoch": batch.epoch,
            "seq": batch.seq,
            "pipeline": batch.pipeline,
            "historical": batch.historical,
            "directory": self._hash,
        }
        if batch.loss:
            record["loss"] = _loss(batch.loss, TimeFormat.NS)
        else:
            record["columns"] = batch.block or columns.encode(batch.frame)
        return msgpack.packb(record), announce

    def _learn(self, ids: Ids) -> tuple[str, bytes] | None:
        """Describe points that are new, and all anew when the directory told something else of one."""
        if self._edition != self._directory.edition:
            self._edition = self._directory.edition
            self._known[:] = False
        self._known = _grown(self._known, len(self._directory))
        if self._hash and self._known[ids].all():
            return None
        self._named.update(np.unique(ids).tolist())
        self._known[list(self._named)] = True
        body = msgpack.packb({point: self._describe(point) for point in sorted(self._named)})
        name = hashlib.sha256(body).hexdigest()[:16]
        if name == self._hash:
            return None
        self._hash = name
        points = msgpack.unpackb(body, strict_map_key=False)
        return name, msgpack.packb({"onpath": WIRE_VERSION, "directory": name, "points": points})

    def _describe(self, point: int) -> dict[str, Any]:
        known = self._directory.point(point)
        described: dict[str, Any] = {"name": known.name, "unit": known.unit, "kind": known.kind.value}
        if texts := self._directory.states(point):
            described["states"] = list(texts)
        return described


def _grown(mask: Mask, size: int) -> Mask:
    return mask if size <= len(mask) else np.concatenate([mask, np.zeros(size, np.bool_)])
