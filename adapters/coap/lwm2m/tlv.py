"""The TLV encoding of LwM2M (OMA-TS-LightweightM2M-V1_0_2, 6.4.3), Content-Format 11542.

    byte 0    bits 7-6  what it is: 00 object instance, 01 resource instance, 10 multiple resource, 11 resource
              bit 5     the identifier has 8 (0) or 16 (1) bits
              bits 4-3  the length is in bits 2-0 (00), or follows in 8 (01), 16 (10) or 24 bits (11)
    then      the identifier, the length, the value; integers are big-endian

Object instances hold resources and multiple resources, multiple resources hold resource instances; nothing
nests deeper, so that there is no recursion. What a value's bytes mean only the object model knows
(:func:`number` and the others decode them by type).
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Iterator
from typing import NamedTuple

from gateway.errors import PayloadError

MAX_ENTRIES = 4096
"""Values in one payload; two bytes can make one."""


class Tag(enum.IntEnum):
    """What a TLV is, bits 7-6."""

    OBJECT_INSTANCE = 0
    RESOURCE_INSTANCE = 1
    MULTIPLE = 2
    RESOURCE = 3


class Entry(NamedTuple):
    """One value and where it stands, as far as the payload says."""

    instance: int | None
    """The object instance, if the payload names it."""
    resource: int | None
    """The resource; None for a resource instance at the top, which a read of one resource may give."""
    nth: int | None
    """The resource instance; None for a resource with one value."""
    value: bytes


def decode(payload: bytes) -> list[Entry]:
    """The values of a payload, in its order.

    Raises:
        PayloadError: ``unparsable`` (it ends too early), ``bad-nesting``, ``too-many-values``.
    """
    found: list[Entry] = []
    for tag, at, value in _parts(payload):
        if tag is Tag.OBJECT_INSTANCE:
            for inner, resource, content in _parts(value):
                if inner in {Tag.OBJECT_INSTANCE, Tag.RESOURCE_INSTANCE}:
                    raise PayloadError("bad-nesting", f"an object instance holds a {inner.name.lower()}")
                _resource(found, at, inner, resource, content)
        elif tag is Tag.RESOURCE_INSTANCE:
            _add(found, Entry(None, None, at, value))
        else:
            _resource(found, None, tag, at, value)
    return found


def _resource(found: list[Entry], instance: int | None, tag: Tag, resource: int, value: bytes) -> None:
    if tag is Tag.RESOURCE:
        _add(found, Entry(instance, resource, None, value))
        return
    for inner, nth, content in _parts(value):
        if inner is not Tag.RESOURCE_INSTANCE:
            raise PayloadError("bad-nesting", f"a multiple resource holds a {inner.name.lower()}")
        _add(found, Entry(instance, resource, nth, content))


def _add(found: list[Entry], entry: Entry) -> None:
    if len(found) >= MAX_ENTRIES:
        raise PayloadError("too-many-values", f"more than {MAX_ENTRIES}")
    found.append(entry)


def _parts(data: bytes) -> Iterator[tuple[Tag, int, bytes]]:
    """The TLVs that lie one behind the other: tag, identifier, value."""
    at, end = 0, len(data)
    while at < end:
        head = data[at]
        wide = 2 if head & 0x20 else 1
        counted = head >> 3 & 3
        start = at + 1 + wide + counted
        if start > end:
            raise PayloadError("unparsable", f"the TLV at {at} has no whole header")
        identifier = int.from_bytes(data[at + 1 : at + 1 + wide])
        length = int.from_bytes(data[at + 1 + wide : start]) if counted else head & 7
        if length > end - start:
            raise PayloadError("unparsable", f"the TLV at {at} says {length} bytes, {end - start} are there")
        yield Tag(head >> 6), identifier, data[start : start + length]
        at = start + length


def encode(tag: Tag, identifier: int, value: bytes) -> bytes:
    """One TLV in the shortest form.

    Raises:
        ValueError: the identifier has more than 16 bits, or the value 2**24 bytes and more.
    """
    length = len(value)
    if not 0 <= identifier < 1 << 16 or length >= 1 << 24:
        raise ValueError(f"{identifier} with {length} bytes is no TLV")
    wide = 2 if identifier > 255 else 1
    counted = 0 if length < 8 else (length.bit_length() + 7) // 8
    head = tag << 6 | (wide - 1) << 5 | counted << 3 | (0 if counted else length)
    return bytes([head]) + identifier.to_bytes(wide) + (length.to_bytes(counted) if counted else b"") + value


def integer(value: bytes) -> int:
    """A signed integer of 1, 2, 4 or 8 bytes.

    Raises:
        PayloadError: ``bad-length``.
    """
    if len(value) not in {1, 2, 4, 8}:
        raise PayloadError("bad-length", f"an integer of {len(value)} bytes")
    return int.from_bytes(value, signed=True)


def floating(value: bytes) -> float:
    """An IEEE 754 number of 4 or 8 bytes; NaN and infinities stay.

    Raises:
        PayloadError: ``bad-length``.
    """
    if len(value) not in {4, 8}:
        raise PayloadError("bad-length", f"a float of {len(value)} bytes")
    found: float = struct.unpack(">f" if len(value) == 4 else ">d", value)[0]
    return found


def boolean(value: bytes) -> bool:
    """One byte, 0 or 1.

    Raises:
        PayloadError: ``bad-length``, ``bad-value``.
    """
    if len(value) != 1:
        raise PayloadError("bad-length", f"a boolean of {len(value)} bytes")
    if value[0] > 1:
        raise PayloadError("bad-value", f"{value[0]} is not a boolean")
    return value[0] == 1


def text(value: bytes) -> str:
    """UTF-8.

    Raises:
        PayloadError: ``unparsable``.
    """
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise PayloadError("unparsable", str(error)) from None
