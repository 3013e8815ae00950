"""Batches as bytes: ``json`` and ``frame``. Pure functions; the uplinks choose.

``json``, one object a batch::

    {"gateway": "feeder-7", "epoch": 1, "seq": 42, "pipeline": "meters", "historical": false,
     "samples": [{"point": "m1/voltage", "time": "2026-01-31T12:00:00.250Z", "value": 230.1, "quality": "good"}]}

``bounds`` is there where steps trade error for bytes, with the error bound that each had: ``[{"step": "deadband",
"points": ["**"], "percent": 0.5}]``. ``time`` may be integer ns by option; a point with texts gives its text as
value; a sample without a value has ``null`` and a ``reason``; a loss marker has no samples and ``"loss": {"from", "to",
"count", "reason"}``.

``frame``, one msgpack map a batch: ``{"onpath": 1, "gateway", "epoch", "seq", "pipeline", "historical",
"directory": <hash>, "columns": <bytes>}`` with columns as in gateway.wire.columns, or ``"loss"`` instead.
Points go by number; the directory message of that hash gives each its name: ``{"onpath": 1, "directory":
<hash>, "base": <hash or "">, "points": {id: {"name", "unit", "kind", "states"}}}``: what that of ``base`` says,
with these points added or said anew.
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
from gateway.frame import Frame, Ids, Times
from gateway.uplinks.config import TimeFormat
from gateway.wire import columns

WIRE_VERSION = 1
PART = 4000
"""Points a directory message describes, at most: stays below what brokers accept."""
LONGEST_CHAIN = 64
"""Directory messages that build on each other; then one begins anew."""


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
    if batch.bounds:
        record["bounds"] = batch.bounds
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
    """``frame`` messages of one link: knows which points its directory messages have described."""

    def __init__(self, gateway: str, directory: Directory) -> None:
        self._gateway = gateway
        self._directory = directory
        self._edition = directory.edition
        self._hash = ""
        self._described = 0
        """Ids below it stand in the directory messages of this chain."""
        self._chain = 0

    def encode(self, batch: Batch) -> tuple[bytes, list[tuple[str, bytes]]]:
        """The message, and (hash, directory message) of each that the other side must have before it."""
        announced = self._learn(batch.frame.point)
        record: dict[str, Any] = {
            "onpath": WIRE_VERSION,
            "gateway": self._gateway,
            "epoch": batch.epoch,
            "seq": batch.seq,
            "pipeline": batch.pipeline,
            "historical": batch.historical,
            "directory": self._hash,
        }
        if batch.bounds:
            record["bounds"] = list(batch.bounds)
        if batch.loss:
            record["loss"] = _loss(batch.loss, TimeFormat.NS)
        else:
            record["columns"] = batch.block or columns.encode(batch.frame)
        return msgpack.packb(record), announced

    def _learn(self, ids: Ids) -> list[tuple[str, bytes]]:
        """Describe all points that are new or changed once one of them is sent, in parts of a bounded size."""
        changed = self._directory.changed_since(self._edition)
        self._edition = self._directory.edition
        changed = {point for point in changed if point < self._described}
        if self._hash and not changed and (not len(ids) or int(ids.max()) < self._described):
            return []
        if self._chain >= LONGEST_CHAIN:
            self._hash, self._described, self._chain, changed = "", 0, 0, set()
        fresh = [*sorted(changed), *range(self._described, len(self._directory))]
        self._described = len(self._directory)
        return [self._announce(fresh[start : start + PART]) for start in range(0, len(fresh) or 1, PART)]

    def _announce(self, points: list[int]) -> tuple[str, bytes]:
        described = {point: self._describe(point) for point in points}
        body = msgpack.packb([self._hash, described])
        base, self._hash = self._hash, hashlib.sha256(body).hexdigest()[:16]
        self._chain += 1
        record = {"onpath": WIRE_VERSION, "directory": self._hash, "base": base, "points": described}
        return self._hash, msgpack.packb(record)

    def _describe(self, point: int) -> dict[str, Any]:
        known = self._directory.point(point)
        described: dict[str, Any] = {"name": known.name, "unit": known.unit, "kind": known.kind.value}
        if texts := self._directory.states(point):
            described["states"] = list(texts)
        return described
