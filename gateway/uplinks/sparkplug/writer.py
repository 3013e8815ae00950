"""The messages of one session of an edge node, numbered in the order in which they are made. Pure.

Each carries the time of its making and, but for NDEATH, a seq: 0 in NBIRTH, then by one more up to 255, then 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from adapters.payloads.sparkplug import sparkplug_b_pb2 as pb
from adapters.payloads.sparkplug.model import LOSS_METRIC, QUALITY_BAD, QUALITY_GOOD, DataType
from gateway import quality
from gateway.directory import Directory
from gateway.frame import Frame, Mask
from gateway.uplinks.sparkplug.metric import (
    FIRST_ALIAS,
    NODE,
    Metric,
    code_of,
    facts,
    put_facts,
    put_quality,
    put_value,
)

NAMESPACE = "spBv1.0"
BDSEQ = "bdSeq"
REBIRTH = "Node Control/Rebirth"
LOSS_ALIAS = 1


class Message(NamedTuple):
    """One MQTT message."""

    topic: str
    payload: bytes
    data: bool = False
    """NDATA or DDATA."""


@dataclass(frozen=True)
class Identity:
    """Who the node is, and how it speaks."""

    group: str
    node: str
    devices: bool = True
    alias: bool = True
    datatypes: bool = False
    questionable: int = QUALITY_GOOD

    def topic(self, verb: str, device: str = NODE) -> str:
        """The topic of a message; ``device`` for those that begin with D."""
        return "/".join([NAMESPACE, self.group, verb, self.node, *([device] if device else [])])


class Writer:
    """Makes messages; remembers their number, and of which points the host was told a quality other than good."""

    def __init__(self, identity: Identity, directory: Directory, bdseq: int) -> None:
        self._identity = identity
        self._directory = directory
        self._bdseq = bdseq
        self._seq = 0
        self._marked: set[int] = set()
        self._loss: tuple[int, str] | None = None
        """(ms, text) of the latest loss marker."""

    def nbirth(self, points: Mapping[int, Metric], newest: Frame, now_ns: int) -> Message:
        """NBIRTH with the node's own points and their newest samples, in the same order."""
        self._seq = 0
        payload = pb.Payload(timestamp=_ms(now_ns))
        self._put_bdseq(payload, now_ns)
        payload.metrics.add(name=REBIRTH, timestamp=_ms(now_ns), datatype=int(DataType.BOOLEAN), boolean_value=False)
        lost = payload.metrics.add(name=LOSS_METRIC, datatype=int(DataType.STRING))
        self._put_loss(lost, now_ns)
        self._put_points(payload, points, newest)
        return self._number("NBIRTH", NODE, payload)

    def dbirth(self, device: str, points: Mapping[int, Metric], newest: Frame, now_ns: int) -> Message:
        """DBIRTH of a device."""
        payload = pb.Payload(timestamp=_ms(now_ns))
        self._put_points(payload, points, newest)
        return self._number("DBIRTH", device, payload)

    def ddeath(self, device: str, now_ns: int) -> Message:
        """DDEATH of a device."""
        return self._number("DDEATH", device, pb.Payload(timestamp=_ms(now_ns)))

    def ndeath(self, now_ns: int) -> Message:
        """NDEATH: the will, and what is said before going."""
        payload = pb.Payload(timestamp=_ms(now_ns))
        self._put_bdseq(payload, now_ns)
        return Message(self._identity.topic("NDEATH"), payload.SerializeToString())

    def data(self, device: str, points: Mapping[int, Metric], frame: Frame, old: Mask, now_ns: int) -> Message:
        """NDATA or DDATA of samples, in order of time; ``old`` are those of the past."""
        payload = pb.Payload(timestamp=_ms(now_ns))
        add, marked, alias, typed = payload.metrics.add, self._marked, self._identity.alias, self._identity.datatypes
        columns = (frame.point, frame.time // 1_000_000, frame.value, old)
        rows = zip(*(column.tolist() for column in columns), self._codes(frame), strict=True)
        for point, at, value, late, (code, word, reason) in rows:
            message = add(timestamp=max(0, at))
            if alias:
                message.alias = point + FIRST_ALIAS
            else:
                message.name = points[point].name
            if typed:
                message.datatype = int(points[point].datatype)
            if late:
                message.is_historical = True
            put_value(message, points[point].datatype, value, self._directory.states(point))
            if code != QUALITY_GOOD or word:
                put_quality(message, code, word, reason)
                marked.add(point)
            elif point in marked:
                put_quality(message, code, word, reason)
                marked.discard(point)
        return self._number("DDATA" if device else "NDATA", device, payload, data=True)

    def loss(self, text: str, created_ns: int, now_ns: int) -> Message:
        """NDATA of a loss marker."""
        self._loss = (_ms(created_ns), text)
        payload = pb.Payload(timestamp=_ms(now_ns))
        message = payload.metrics.add()
        if not self._identity.alias:
            message.name = LOSS_METRIC
        if self._identity.datatypes:
            message.datatype = int(DataType.STRING)
        self._put_loss(message, now_ns)
        return self._number("NDATA", NODE, payload, data=True)

    def _put_points(self, payload: pb.Payload, points: Mapping[int, Metric], newest: Frame) -> None:
        times, values = (newest.time // 1_000_000).tolist(), newest.value.tolist()
        rows = zip(points.items(), times, values, self._codes(newest), strict=True)
        for (point, metric), at, value, (code, word, reason) in rows:
            message = payload.metrics.add(name=metric.name, timestamp=max(0, at), datatype=int(metric.datatype))
            if self._identity.alias:
                message.alias = point + FIRST_ALIAS
            put_value(message, metric.datatype, value, self._directory.states(point))
            put_quality(message, code, word, reason)
            put_facts(message, facts(metric))
            if code != QUALITY_GOOD or word:
                self._marked.add(point)

    def _codes(self, frame: Frame) -> list[tuple[int, int, int]]:
        """(quality code, quality word without "historical", reason) of each sample; no value is never good."""
        words = (frame.quality & np.uint16(0xFFFF ^ quality.HISTORICAL)).tolist()
        reasons, empty = quality.reason_codes(frame.value).tolist(), np.isnan(frame.value).tolist()
        doubtful = self._identity.questionable
        return [
            (QUALITY_BAD if none and not word else code_of(word, reason, questionable=doubtful), word, reason)
            for word, reason, none in zip(words, reasons, empty, strict=True)
        ]

    def _put_bdseq(self, payload: pb.Payload, now_ns: int) -> None:
        payload.metrics.add(name=BDSEQ, timestamp=_ms(now_ns), datatype=int(DataType.INT64), long_value=self._bdseq)

    def _put_loss(self, message: pb.Metric, now_ns: int) -> None:
        if self._identity.alias:
            message.alias = LOSS_ALIAS
        if self._loss is None:
            message.timestamp, message.is_null = _ms(now_ns), True
        else:
            message.timestamp, message.string_value = self._loss

    def _number(self, verb: str, device: str, payload: pb.Payload, *, data: bool = False) -> Message:
        payload.seq = self._seq
        self._seq = (self._seq + 1) % 256
        return Message(self._identity.topic(verb, device), payload.SerializeToString(), data)


def _ms(time_ns: int) -> int:
    return max(0, time_ns // 1_000_000)
