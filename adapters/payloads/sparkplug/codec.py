"""Sparkplug B payloads: bytes to values and back. Pure; the layout is in ``sparkplug_b.proto``.

The parser of the protobuf runtime is in C and refuses messages nested deeper than 100; while it holds a payload, it
takes up to 60 times its size (a metric is two bytes at least, and a structure). So callers bound payloads
first; a payload over :data:`MAX_BYTES` is refused here too. Python objects are made within a budget.
"""

from __future__ import annotations

from typing import Any

from google.protobuf.message import DecodeError

from adapters.payloads.sparkplug import sparkplug_b_pb2 as pb
from adapters.payloads.sparkplug.model import (
    DataSet,
    DataType,
    MetaData,
    Metric,
    Parameter,
    Payload,
    Property,
    Template,
    Typed,
)
from adapters.payloads.sparkplug.values import make_metric, make_property, quality_code, read
from gateway.errors import PayloadError

__all__ = [
    "DataSet",
    "DataType",
    "MetaData",
    "Metric",
    "Parameter",
    "Payload",
    "Property",
    "Template",
    "Typed",
    "decode",
    "encode",
    "make_metric",
    "make_property",
    "quality_code",
    "read",
]

MAX_BYTES = 4 * 2**20
MAX_ITEMS = 50_000
"""Metrics, properties, parameters and cells of one payload, all together."""
MAX_DEPTH = 8
"""Templates within templates, property sets within property sets."""


def decode(payload: bytes, *, max_items: int = MAX_ITEMS) -> Payload:
    """A payload's values; types are looked at by :func:`read` only, so that one bad metric spoils no other.

    Raises:
        PayloadError: ``unparsable``, ``too-large``, ``too-many-metrics``, ``too-deep``, ``bad-propertyset``
            (keys and values differ in number), ``bad-dataset`` (likewise columns, types and cells).
    """
    if len(payload) > MAX_BYTES:
        raise PayloadError("too-large", f"{len(payload)} bytes")
    try:
        message = pb.Payload.FromString(payload)
        return _Reader(max_items).payload(message)
    except (DecodeError, UnicodeDecodeError) as error:
        raise PayloadError("unparsable", str(error)) from None


class _Reader:
    """Protobuf messages to values, within a budget of items."""

    def __init__(self, budget: int) -> None:
        self._budget = budget

    def payload(self, message: pb.Payload) -> Payload:
        return Payload(
            timestamp=message.timestamp if message.HasField("timestamp") else None,
            metrics=self._metrics(message.metrics, 0),
            seq=message.seq if message.HasField("seq") else None,
            uuid=message.uuid,
            body=message.body,
        )

    def _take(self, items: int, depth: int) -> None:
        """Account for items before they are made."""
        self._budget -= items
        if self._budget < 0:
            raise PayloadError("too-many-metrics", "more metrics, properties and cells than a payload may have")
        if depth > MAX_DEPTH:
            raise PayloadError("too-deep", f"more than {MAX_DEPTH} levels of templates or property sets")

    def _metrics(self, messages: Any, depth: int) -> tuple[Metric, ...]:
        self._take(len(messages), depth)
        return tuple([self._metric(message, depth) for message in messages])

    def _metric(self, message: pb.Metric, depth: int) -> Metric:
        has = message.HasField
        kind = message.WhichOneof("value") or ""
        return Metric(
            name=message.name if has("name") else None,
            alias=message.alias if has("alias") else None,
            timestamp=message.timestamp if has("timestamp") else None,
            datatype=message.datatype if has("datatype") else None,
            kind=kind,
            raw=self._raw(message, kind, depth),
            null=message.is_null,
            historical=message.is_historical,
            transient=message.is_transient,
            properties=self._properties(message.properties, depth) if has("properties") else {},
            metadata=_metadata(message.metadata) if has("metadata") else None,
        )

    def _raw(self, message: Any, kind: str, depth: int) -> Any:
        if not kind:
            return None
        found = getattr(message, kind)
        if kind == "dataset_value":
            return self._dataset(found, depth)
        if kind == "template_value":
            return self._template(found, depth)
        if kind == "propertyset_value":
            return self._properties(found, depth + 1)
        if kind == "propertysets_value":
            self._take(len(found.propertyset), depth + 1)
            return tuple(self._properties(each, depth + 1) for each in found.propertyset)
        return found

    def _properties(self, message: pb.PropertySet, depth: int) -> dict[str, Property]:
        if len(message.keys) != len(message.values):
            raise PayloadError("bad-propertyset", f"{len(message.keys)} keys for {len(message.values)} values")
        self._take(len(message.keys), depth)
        return {key: self._property(value, depth) for key, value in zip(message.keys, message.values, strict=True)}

    def _property(self, message: pb.PropertyValue, depth: int) -> Property:
        kind = message.WhichOneof("value") or ""
        datatype = message.type if message.HasField("type") else None
        return Property(datatype, kind, self._raw(message, kind, depth), message.is_null)

    def _dataset(self, message: pb.DataSet, depth: int) -> DataSet:
        columns, types = len(message.columns), len(message.types)
        said = message.num_of_columns if message.HasField("num_of_columns") else columns
        if not columns == types == said:
            raise PayloadError("bad-dataset", f"{columns} columns, {types} types, {said} announced")
        self._take(columns + len(message.rows) + sum(len(row.elements) for row in message.rows), depth)
        kinds = tuple(message.types)
        return DataSet(tuple(message.columns), kinds, tuple(_row(row, kinds) for row in message.rows))

    def _template(self, message: pb.Template, depth: int) -> Template:
        self._take(len(message.parameters), depth + 1)
        return Template(
            metrics=self._metrics(message.metrics, depth + 1),
            parameters=tuple(_parameter(each) for each in message.parameters),
            version=message.version,
            ref=message.template_ref,
            is_definition=message.is_definition,
        )


def _row(message: pb.Row, types: tuple[int, ...]) -> tuple[Typed, ...]:
    if len(message.elements) != len(types):
        raise PayloadError("bad-dataset", f"a row of {len(message.elements)} cells in {len(types)} columns")
    return tuple(_cell(cell, datatype) for cell, datatype in zip(message.elements, types, strict=True))


def _cell(message: pb.DataSetValue, datatype: int) -> Typed:
    kind = message.WhichOneof("value") or ""
    return Typed(datatype, kind, getattr(message, kind) if kind else None, not kind)


def _parameter(message: pb.Parameter) -> Parameter:
    kind = message.WhichOneof("value") or ""
    datatype = message.type if message.HasField("type") else None
    raw = getattr(message, kind) if kind else None
    return Parameter(name=message.name, datatype=datatype, kind=kind, raw=raw, null=not kind)


_METADATA = MetaData.__struct_fields__


def _metadata(message: pb.MetaData) -> MetaData:
    return MetaData(**{field: getattr(message, field) for field in _METADATA if message.HasField(field)})


def encode(payload: Payload) -> bytes:
    """The bytes of a payload: fields that are None, False or empty are left out.

    Raises:
        PayloadError: ``unencodable``: a number or text that its field cannot hold.
    """
    try:
        message = pb.Payload(timestamp=payload.timestamp, seq=payload.seq)
        for metric in payload.metrics:
            _put_metric(message.metrics.add(), metric)
        if payload.uuid:
            message.uuid = payload.uuid
        if payload.body:
            message.body = payload.body
        return message.SerializeToString()
    except (TypeError, ValueError, AttributeError) as error:  # what the runtime says of a value that does not fit
        raise PayloadError("unencodable", str(error)) from None


def _put_metric(message: pb.Metric, metric: Metric) -> None:
    for field in ("name", "alias", "timestamp", "datatype"):
        if (said := getattr(metric, field)) is not None:
            setattr(message, field, said)
    if metric.historical:
        message.is_historical = True
    if metric.transient:
        message.is_transient = True
    if metric.null:
        message.is_null = True
    if metric.metadata is not None:
        message.metadata.SetInParent()
        for field in _METADATA:
            if said := getattr(metric.metadata, field):
                setattr(message.metadata, field, said)
    if metric.properties:
        _put_properties(message.properties, metric.properties)
    _put_raw(message, metric)


def _put_raw(message: Any, typed: Typed) -> None:
    raw: Any = typed.raw
    if not typed.kind:
        return
    if isinstance(raw, DataSet):
        _put_dataset(message.dataset_value, raw)
    elif isinstance(raw, Template):
        _put_template(message.template_value, raw)
    elif typed.kind == "propertyset_value":
        _put_properties(message.propertyset_value, raw)
    elif typed.kind == "propertysets_value":
        message.propertysets_value.SetInParent()
        for each in raw:
            _put_properties(message.propertysets_value.propertyset.add(), each)
    else:
        setattr(message, typed.kind, raw)


def _put_properties(message: pb.PropertySet, properties: dict[str, Property]) -> None:
    message.SetInParent()
    message.keys.extend(properties)
    for each in properties.values():
        value = message.values.add()
        if each.datatype is not None:
            value.type = each.datatype
        if each.null:
            value.is_null = True
        _put_raw(value, each)


def _put_dataset(message: pb.DataSet, dataset: DataSet) -> None:
    message.num_of_columns = len(dataset.columns)
    message.columns.extend(dataset.columns)
    message.types.extend(dataset.types)
    for row in dataset.rows:
        elements = message.rows.add().elements
        for cell in row:
            _put_raw(elements.add(), cell)


def _put_template(message: pb.Template, template: Template) -> None:
    message.is_definition = template.is_definition
    if template.version:
        message.version = template.version
    if template.ref:
        message.template_ref = template.ref
    for metric in template.metrics:
        _put_metric(message.metrics.add(), metric)
    for parameter in template.parameters:
        added = message.parameters.add()
        added.name = parameter.name
        if parameter.datatype is not None:
            added.type = parameter.datatype
        _put_raw(added, parameter)
