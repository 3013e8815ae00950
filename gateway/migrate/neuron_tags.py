"""Tags of EMQ Neuron's Modbus drivers: ``SLAVE!ADDRESS[.BIT][#ENDIAN][.LEN[H][L][D][E]]``, one-based addresses.

Source: Neuron's manual (South devices, Modbus TCP and RTU) and its code (emqx/neuron, plugins/modbus/modbus_point.c).
"""

from __future__ import annotations

import re
from typing import Any, Final, NamedTuple

_ADDRESS = re.compile(
    r"(?P<unit>\d+)!(?P<area>[0134])(?P<number>\d+)"
    r"(?:\.(?P<part>\d+)(?P<text>[HLDE]?))?(?:#(?P<endian>[BL]{1,2}))?\s*\Z"
)
_AREAS: Final = {"0": "coil", "1": "discrete", "3": "input", "4": "holding"}
# The number behind each type in Neuron's API
_TYPES: Final = {3: "int16", 4: "uint16", 5: "int32", 6: "uint32", 7: "int64", 8: "uint64", 9: "float32",
                 10: "float64", 11: "bit", 12: "bool", 13: "string"}  # fmt: skip
_NAMED: Final = {"INT16": 3, "UINT16": 4, "INT32": 5, "UINT32": 6, "INT64": 7, "UINT64": 8, "FLOAT": 9, "DOUBLE": 10,
                 "BIT": 11, "BOOL": 12, "STRING": 13}  # fmt: skip
# #LL is the default and means the bytes as they come: 1,2,3,4
_ORDERS: Final = {"LL": "ABCD", "LB": "BADC", "BB": "DCBA", "BL": "CDAB", "L": "ABCD", "B": "DCBA"}
WRITE: Final = 2
"""The bit of ``attribute`` that lets a tag be written."""
SUBSCRIBE: Final = 4
"""The bit that lets only changes be reported."""


class Tag(NamedTuple):
    """Where a tag leads."""

    unit: int
    point: dict[str, Any]


class TagError(ValueError):
    """The tag has no counterpart; says why."""


def read_tag(tag: dict[str, Any], first: int = 1) -> Tag:
    """The point of a tag. ``first`` is the number that the driver gives to the first address, 1 or 0.

    Raises:
        TagError: it has none.
    """
    found = _ADDRESS.match(str(tag.get("address", "")))
    if found is None:
        raise TagError(f"address {tag.get('address')!r} is not understood")
    number = int(found["number"]) - first
    if not 0 <= number <= 0xFFFF:
        raise TagError(f"address {tag['address']!r} is none: numbers begin at {first}")
    point: dict[str, Any] = {"at": f"{_AREAS[found['area']]}:{number}"}
    kind = _TYPES.get(_type(tag.get("type")), "")
    if found["area"] in "01":
        return Tag(int(found["unit"]), point | _written(tag))
    _shape(point, kind, found, tag)
    decimal, bias = _number(tag.get("decimal")), _number(tag.get("bias"))
    if decimal not in {0.0, 1.0}:
        point["scale"] = decimal
    if bias:
        point["offset"] = bias
    if str(tag.get("unit", "")):
        point["unit"] = str(tag["unit"])
    return Tag(int(found["unit"]), point | (_written(tag) if found["area"] == "4" else {}))


def _type(value: Any) -> int:
    return _NAMED.get(str(value).upper(), 0) if not str(value).isdecimal() else int(value)


def _shape(point: dict[str, Any], kind: str, found: re.Match[str], tag: dict[str, Any]) -> None:
    """Fill in type, bit, length and order."""
    match kind:
        case "":
            raise TagError(f"type {tag.get('type')!r} has no counterpart")
        case "bit" | "bool":
            point |= {"as": "uint16", "bit": int(found["part"] or 0), "kind": "state"}
            return
        case "string":
            if found["part"] is None:
                raise TagError("a string without its length")
            if found["text"] in {"D", "E"}:
                raise TagError("a string with one character a register has no counterpart")
            point |= {"as": "string", "length": (int(found["part"]) + 1) // 2, "kind": "state"}
            if found["text"] == "L":
                point["order"] = "BADC"
            return
    point["as"] = kind
    order = _ORDERS[found["endian"] or "LL"]
    if kind in {"int16", "uint16"} and order == "DCBA":
        order = "BADC"  # two bytes can be swapped, and there is nothing else
    if order != "ABCD":
        point["order"] = order


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


def _written(tag: dict[str, Any]) -> dict[str, Any]:
    return {"writable": True} if int(tag.get("attribute") or 0) & WRITE else {}
