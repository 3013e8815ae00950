"""Values to and from the fields of a Sparkplug B payload, by data type (Sparkplug 3.0, sections 6.4.16 to 6.4.17).

===================================  ==============  =================================================
type                                 field           how
===================================  ==============  =================================================
Int8 Int16 Int32                     int_value       two's complement, sign extended to 32 bits
UInt8 UInt16 UInt32                  int_value
Int64                                long_value      two's complement
UInt64 DateTime                      long_value
Float, Double                        float_value, double_value
Boolean                              boolean_value
String Text UUID                     string_value
Bytes File                           bytes_value
arrays of numbers, DateTimeArray     bytes_value     packed, little endian
BooleanArray                         bytes_value     the count as uint32, then bits, the first one on top
StringArray                          bytes_value     each with a zero byte behind it
===================================  ==============  =================================================

Others are read leniently where nothing is ambiguous: implementations differ in whether an Int8 is extended to 32
bits, and in whether a UInt32 stands in ``int_value`` or ``long_value``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from adapters.payloads.sparkplug.model import (
    QUALITY_GOOD,
    QUALITY_KEY,
    DataSet,
    DataType,
    Metric,
    Property,
    Template,
    Typed,
)
from gateway.errors import PayloadError

if TYPE_CHECKING:
    from adapters.payloads.sparkplug.model import Raw, Value

_SIGNED = {DataType.INT8: 8, DataType.INT16: 16, DataType.INT32: 32, DataType.INT64: 64}
_UNSIGNED = {
    DataType.UINT8: 8,
    DataType.UINT16: 16,
    DataType.UINT32: 32,
    DataType.UINT64: 64,
    DataType.DATETIME: 64,
}
_TEXTS = frozenset({DataType.STRING, DataType.TEXT, DataType.UUID})
_ARRAYS = {
    DataType.INT8_ARRAY: "<i1",
    DataType.INT16_ARRAY: "<i2",
    DataType.INT32_ARRAY: "<i4",
    DataType.INT64_ARRAY: "<i8",
    DataType.UINT8_ARRAY: "<u1",
    DataType.UINT16_ARRAY: "<u2",
    DataType.UINT32_ARRAY: "<u4",
    DataType.UINT64_ARRAY: "<u8",
    DataType.FLOAT_ARRAY: "<f4",
    DataType.DOUBLE_ARRAY: "<f8",
    DataType.DATETIME_ARRAY: "<i8",
}
_INTEGER_FIELDS = ("int_value", "long_value")
_FLOAT_FIELDS = ("float_value", "double_value")
_OTHER_FIELDS = {
    DataType.BOOLEAN: "boolean_value",
    DataType.BYTES: "bytes_value",
    DataType.FILE: "bytes_value",
    DataType.DATASET: "dataset_value",
    DataType.TEMPLATE: "template_value",
    DataType.PROPERTY_SET: "propertyset_value",
    DataType.PROPERTY_SET_LIST: "propertysets_value",
}


def read(typed: Typed, datatype: int | None = None) -> Value:
    """The value of a metric, property, parameter or cell; None if it is null or has no value.

    Args:
        typed: what holds it.
        datatype: the type that the birth has given; what the message itself says goes before it.

    Raises:
        PayloadError: ``no-datatype``, ``unknown-datatype``, ``type-mismatch`` if another field is set than
            the type has, ``out-of-range``, ``bad-array``.
    """
    if typed.null or not typed.kind:
        return None
    number = typed.datatype if typed.datatype is not None else datatype
    if number is None:
        raise PayloadError("no-datatype", "neither the message nor a birth says the type")
    try:
        known = DataType(number)
    except ValueError:
        raise PayloadError("unknown-datatype", str(number)) from None
    return _read(known, typed.kind, typed.raw)


def _read(datatype: DataType, kind: str, raw: Any) -> Value:
    if datatype in _SIGNED or datatype in _UNSIGNED:
        _expect(datatype, kind, *_INTEGER_FIELDS)
        return _signed(raw, _SIGNED[datatype]) if datatype in _SIGNED else _unsigned(raw, _UNSIGNED[datatype])
    if datatype in {DataType.FLOAT, DataType.DOUBLE}:
        _expect(datatype, kind, *_FLOAT_FIELDS)
        return float(raw)
    if datatype in _TEXTS:
        _expect(datatype, kind, "string_value")
        return str(raw)
    if datatype in _OTHER_FIELDS:
        _expect(datatype, kind, _OTHER_FIELDS[datatype])
        value: Value = raw
        return value
    if datatype is DataType.UNKNOWN:
        raise PayloadError("unknown-datatype", "0")
    _expect(datatype, kind, "bytes_value")
    return _read_array(datatype, raw)


def _expect(datatype: DataType, kind: str, *fields: str) -> None:
    if kind not in fields:
        raise PayloadError("type-mismatch", f"a {datatype.name} in {kind}")


def _signed(raw: int, bits: int) -> int:
    """Two's complement of ``bits``, of 32 or of 64 bits: what is small is plain, what is large is negative."""
    half = 1 << (bits - 1)
    if raw < half:
        return raw
    for width in (bits, 32, 64):
        if width >= bits and (1 << width) - half <= raw < 1 << width:
            return raw - (1 << width)
    raise PayloadError("out-of-range", f"{raw} has more than {bits} bits")


def _unsigned(raw: int, bits: int) -> int:
    if raw >= 1 << bits:
        raise PayloadError("out-of-range", f"{raw} has more than {bits} bits")
    return raw


def _read_array(datatype: DataType, raw: bytes) -> Value:
    if datatype is DataType.STRING_ARRAY:
        return _read_texts(raw)
    if datatype is DataType.BOOLEAN_ARRAY:
        return _read_bits(raw)
    dtype = np.dtype(_ARRAYS[datatype])
    if len(raw) % dtype.itemsize:
        raise PayloadError("bad-array", f"{len(raw)} bytes are no whole number of {datatype.name} items")
    numbers: list[int] | list[float] = np.frombuffer(raw, dtype).tolist()
    return numbers


def _read_texts(raw: bytes) -> list[str]:
    if not raw:
        return []
    if raw[-1]:
        raise PayloadError("bad-array", "the last text has no end")
    try:
        return [text.decode() for text in raw[:-1].split(b"\0")]
    except UnicodeDecodeError:
        raise PayloadError("bad-array", "a text is not UTF-8") from None


def _read_bits(raw: bytes) -> list[bool]:
    count = int.from_bytes(raw[:4], "little")
    if len(raw) < 4 or (count + 7) // 8 != len(raw) - 4:
        raise PayloadError("bad-array", f"{count} booleans do not take {max(0, len(raw) - 4)} bytes")
    bits: list[bool] = np.unpackbits(np.frombuffer(raw, np.uint8, offset=4), count=count).astype(bool).tolist()
    return bits


def to_wire(datatype: DataType, value: Value) -> tuple[str, Raw]:
    """The field and the raw value for a value; ("", None) for None.

    Raises:
        PayloadError: ``out-of-range``, ``type-mismatch``.
    """
    if value is None:
        return "", None
    try:
        return _to_wire(datatype, value)
    except (TypeError, ValueError, OverflowError) as error:
        raise PayloadError("type-mismatch", f"{type(value).__name__} as {datatype.name}: {error}") from None


def _to_wire(datatype: DataType, value: Any) -> tuple[str, Raw]:
    if datatype in _SIGNED:
        bits = _SIGNED[datatype]
        if not -(1 << (bits - 1)) <= value < 1 << (bits - 1):
            raise PayloadError("out-of-range", f"{value} as {datatype.name}")
        return ("long_value", int(value) % (1 << 64)) if bits == 64 else ("int_value", int(value) % (1 << 32))
    if datatype in _UNSIGNED:
        bits = _UNSIGNED[datatype]
        if not 0 <= value < 1 << bits:
            raise PayloadError("out-of-range", f"{value} as {datatype.name}")
        return ("long_value" if bits == 64 else "int_value"), int(value)
    if datatype in {DataType.FLOAT, DataType.DOUBLE}:
        return ("float_value" if datatype is DataType.FLOAT else "double_value"), float(value)
    if datatype in _TEXTS:
        return "string_value", str(value)
    if datatype in _OTHER_FIELDS:
        return _OTHER_FIELDS[datatype], _checked(datatype, value)
    if datatype is DataType.UNKNOWN:
        raise PayloadError("type-mismatch", "a value needs a type")
    return "bytes_value", _array(datatype, value)


_CLASSES: dict[DataType, type] = {
    DataType.BOOLEAN: bool,
    DataType.BYTES: bytes,
    DataType.FILE: bytes,
    DataType.DATASET: DataSet,
    DataType.TEMPLATE: Template,
    DataType.PROPERTY_SET: dict,
    DataType.PROPERTY_SET_LIST: tuple,
}


def _checked(datatype: DataType, value: Raw) -> Raw:
    if not isinstance(value, _CLASSES[datatype]):
        raise PayloadError("type-mismatch", f"{type(value).__name__} as {datatype.name}")
    return value


def _array(datatype: DataType, values: list[Any]) -> bytes:
    if datatype is DataType.STRING_ARRAY:
        return b"".join(str(text).encode() + b"\0" for text in values)
    if datatype is DataType.BOOLEAN_ARRAY:
        return len(values).to_bytes(4, "little") + np.packbits(np.array(values, bool)).tobytes()
    return np.array(values, _ARRAYS[datatype]).tobytes()


def make_property(datatype: DataType, value: Value) -> Property:
    """A property of a type; null for None.

    Raises:
        PayloadError: as :func:`to_wire`.
    """
    kind, raw = to_wire(datatype, value)
    return Property(int(datatype), kind, raw, value is None)


def make_metric(name: str | None, datatype: DataType, value: Value, **fields: Any) -> Metric:
    """A metric of a type, null for None; ``fields`` are the others of :class:`Metric`.

    Raises:
        PayloadError: as :func:`to_wire`.
    """
    kind, raw = to_wire(datatype, value)
    return Metric(name=name, datatype=int(datatype), kind=kind, raw=raw, null=value is None, **fields)


def quality_code(metric: Metric) -> int:
    """What the property ``Quality`` says: 192 good (also if left out), 0 bad, 500 stale.

    Raises:
        PayloadError: it is not an integer.
    """
    said = metric.properties.get(QUALITY_KEY)
    value = QUALITY_GOOD if said is None else read(said, DataType.INT32)
    if value is None:
        return QUALITY_GOOD
    if not isinstance(value, int):
        raise PayloadError("type-mismatch", f"{QUALITY_KEY} is not an integer")
    return value
