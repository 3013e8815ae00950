"""What a Sparkplug B payload holds, as plain values (Sparkplug 3.0, section 6.4). No wire, no I/O.

A metric, a property and a parameter carry their value as it stands on the wire (``kind``, the name of the field,
and ``raw``), because a DATA message may leave out the data type that the birth has given:
:func:`adapters.payloads.sparkplug.values.read` makes a value of it once the type is known.
"""

from __future__ import annotations

import enum
from typing import TypeAlias

import msgspec

QUALITY_KEY = "Quality"
"""The property that says how good a metric's value is; left out, it is good."""
QUALITY_BAD = 0
QUALITY_GOOD = 192
QUALITY_STALE = 500
WORD_KEY = "onpath/quality"
"""Property of ours: the whole quality word as text (``gateway.quality.to_text``) where it says more than good."""
REASON_KEY = "onpath/reason"
"""Property of ours: why there is no value (``gateway.quality.Reason.text``)."""
LOSS_METRIC = "onpath/loss"
"""Metric of ours at the node: the latest loss marker, as JSON text."""


class DataType(enum.IntEnum):
    """The numbers of section 6.4.16."""

    UNKNOWN = 0
    INT8 = 1
    INT16 = 2
    INT32 = 3
    INT64 = 4
    UINT8 = 5
    UINT16 = 6
    UINT32 = 7
    UINT64 = 8
    FLOAT = 9
    DOUBLE = 10
    BOOLEAN = 11
    STRING = 12
    DATETIME = 13
    TEXT = 14
    UUID = 15
    DATASET = 16
    BYTES = 17
    FILE = 18
    TEMPLATE = 19
    PROPERTY_SET = 20
    PROPERTY_SET_LIST = 21
    INT8_ARRAY = 22
    INT16_ARRAY = 23
    INT32_ARRAY = 24
    INT64_ARRAY = 25
    UINT8_ARRAY = 26
    UINT16_ARRAY = 27
    UINT32_ARRAY = 28
    UINT64_ARRAY = 29
    FLOAT_ARRAY = 30
    DOUBLE_ARRAY = 31
    BOOLEAN_ARRAY = 32
    STRING_ARRAY = 33
    DATETIME_ARRAY = 34


class Typed(msgspec.Struct, frozen=True):
    """A value as it stands on the wire: base of metrics, properties and parameters, and a column's cell."""

    datatype: int | None = None
    """A :class:`DataType`, or a number nobody knows; None if it was left out."""
    kind: str = ""
    """The field that holds the value: ``int_value``, ``double_value`` ...; empty if there is none."""
    raw: Raw = None
    null: bool = False


class Property(Typed, frozen=True):
    """A property of a metric."""


class Parameter(Typed, frozen=True, kw_only=True):
    """A parameter of a template."""

    name: str = ""


class MetaData(msgspec.Struct, frozen=True, kw_only=True):
    """What is said of a file, bytes or a part of them."""

    is_multi_part: bool = False
    content_type: str = ""
    size: int = 0
    seq: int = 0
    file_name: str = ""
    file_type: str = ""
    md5: str = ""
    description: str = ""


class DataSet(msgspec.Struct, frozen=True):
    """A table: ``columns`` and ``types`` are of one length, and so is each row."""

    columns: tuple[str, ...]
    types: tuple[int, ...]
    rows: tuple[tuple[Typed, ...], ...]
    """Cells, each with the type of its column."""


class Template(msgspec.Struct, frozen=True, kw_only=True):
    """A structure of metrics: its definition, or an instance of the definition named ``ref``."""

    metrics: tuple[Metric, ...] = ()
    parameters: tuple[Parameter, ...] = ()
    version: str = ""
    ref: str = ""
    is_definition: bool = False


class Metric(Typed, frozen=True, kw_only=True):
    """One value of one signal."""

    name: str | None = None
    """None where the alias stands for it."""
    alias: int | None = None
    timestamp: int | None = None
    """When the value was taken: ms since 1970 UTC."""
    historical: bool = False
    """The value is old and must not replace the present one."""
    transient: bool = False
    """Not to be stored by a historian."""
    properties: dict[str, Property] = {}
    metadata: MetaData | None = None


class Payload(msgspec.Struct, frozen=True, kw_only=True):
    """One message."""

    timestamp: int | None = None
    """When it was published: ms since 1970 UTC."""
    metrics: tuple[Metric, ...] = ()
    seq: int | None = None
    """0 to 255, by one more with each message of a node; None in NDEATH and commands."""
    uuid: str = ""
    body: bytes = b""


PropertySets: TypeAlias = tuple[dict[str, Property], ...]
Raw: TypeAlias = int | float | bool | str | bytes | DataSet | Template | dict[str, Property] | PropertySets | None
"""A value as on the wire: integers without sign."""
Value: TypeAlias = Raw | list[int] | list[float] | list[bool] | list[str]
"""A value by its type. ``DATETIME`` is an integer: ms since 1970 UTC."""
