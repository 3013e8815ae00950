"""Points as Sparkplug metrics: name, data type, properties, and one sample as a metric on the wire. Pure.

=====================================  ========================================================
point                                  data type
=====================================  ========================================================
a state with texts                     String: the text
a counter with a whole resolution      Int64
anything else                          Double
=====================================  ========================================================
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import NamedTuple

from adapters.payloads.sparkplug import sparkplug_b_pb2 as pb
from adapters.payloads.sparkplug.model import (
    QUALITY_BAD,
    QUALITY_GOOD,
    QUALITY_KEY,
    QUALITY_STALE,
    REASON_KEY,
    WORD_KEY,
    DataType,
    Property,
)
from adapters.payloads.sparkplug.values import make_property
from gateway import quality
from gateway.directory import Directory
from gateway.point import Kind, Point

NODE = ""
"""Stands for the node itself where a device is named."""
FIRST_ALIAS = 16
"""Aliases of points begin here; those below it are for metrics of the node that are no points."""
_RESERVED = re.compile(r"(bdSeq|Node Control/.*|onpath/.*)\Z", re.DOTALL)
_NO_ID = re.compile(r"[+#\x00-\x1f\x7f]")


class Metric(NamedTuple):
    """What a birth says of a point."""

    device: str
    name: str
    datatype: DataType
    unit: str
    limits: tuple[float, float] | None


def metric_of(directory: Directory, point: int, *, devices: bool) -> Metric:
    """The metric that stands for a point."""
    known = directory.point(point)
    device, name = place(known.name, devices=devices)
    return Metric(device, name, _datatype(known, directory.states(point)), known.unit, known.limits)


def place(name: str, *, devices: bool) -> tuple[str, str]:
    """Device and metric name of a point; what MQTT does not allow in a topic becomes ``_`` in the device."""
    device, slash, rest = name.partition("/")
    if devices and slash and device and rest:
        return _NO_ID.sub("_", device), rest
    return NODE, f"{name}_" if _RESERVED.match(name) else name


def _datatype(point: Point, texts: Sequence[str] | None) -> DataType:
    if texts:
        return DataType.STRING
    if point.kind is Kind.COUNTER and point.resolution is not None and point.resolution.is_integer():
        return DataType.INT64
    return DataType.DOUBLE


def facts(metric: Metric) -> dict[str, Property]:
    """Properties for the birth: unit and limits, by the names that SCADA systems use."""
    found: dict[str, Property] = {}
    if metric.unit:
        found["engUnit"] = make_property(DataType.STRING, metric.unit)
    if metric.limits is not None:
        found["engLow"] = make_property(DataType.DOUBLE, metric.limits[0])
        found["engHigh"] = make_property(DataType.DOUBLE, metric.limits[1])
    return found


def put_value(message: pb.Metric, datatype: DataType, value: float, texts: Sequence[str] | None) -> None:
    """Set the value of a metric; a NaN, and what the type cannot hold, is null."""
    if math.isnan(value):
        message.is_null = True
    elif datatype is DataType.DOUBLE:
        message.double_value = value
    elif datatype is DataType.INT64:
        if -(2.0**63) <= value < 2.0**63:
            message.long_value = round(value) % (1 << 64)
        else:
            message.is_null = True
    else:
        code = int(value) if value.is_integer() else -1
        message.string_value = texts[code] if texts and 0 <= code < len(texts) else repr(value)


def code_of(word: int, reason: int, *, questionable: int) -> int:
    """Our quality word and reason as 192 (good), 0 (bad) or 500 (stale)."""
    validity = word & quality.VALIDITY
    if validity == quality.GOOD:
        return QUALITY_GOOD
    if validity == quality.QUESTIONABLE:
        return questionable
    return QUALITY_STALE if reason == quality.Reason.STALE or word & quality.OLD_DATA else QUALITY_BAD


def put_quality(message: pb.Metric, code: int, word: int, reason: int) -> None:
    """Set the property ``Quality``, and say in ours what its three codes cannot."""
    _put(message.properties, QUALITY_KEY, DataType.INT32).int_value = code
    plain = word & ~quality.HISTORICAL
    if plain != quality.GOOD:
        _put(message.properties, WORD_KEY, DataType.STRING).string_value = quality.to_text(plain)
    if reason:
        _put(message.properties, REASON_KEY, DataType.STRING).string_value = quality.reason_text(reason)


def put_facts(message: pb.Metric, properties: dict[str, Property]) -> None:
    """Set further properties."""
    for key, found in properties.items():
        value = _put(message.properties, key, DataType(found.datatype or 0))
        setattr(value, found.kind, found.raw)


def _put(properties: pb.PropertySet, key: str, datatype: DataType) -> pb.PropertyValue:
    properties.keys.append(key)
    value = properties.values.add()
    value.type = int(datatype)
    return value
