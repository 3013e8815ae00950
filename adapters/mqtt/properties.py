"""The properties of a PUBLISH (MQTT 5.0, 2.2.2 and 3.3.2.3), as far as the adapter needs them. Pure functions.

A property is one byte of identifier and a value: 1, 2 or 4 bytes, a variable byte integer, or texts and binary
data behind a length of 2 bytes each. Which one it is follows from the identifier only, so that one that is not
known makes the rest unreadable.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from gateway.errors import PayloadError

TOPIC_ALIAS: Final = 35
USER_PROPERTY: Final = 38
SUBSCRIPTION_ID: Final = 11
_FIXED: Final = {1: 1, 2: 4, TOPIC_ALIAS: 2}
"""Bytes of the value, by identifier: payload format, expiry, alias."""
_TEXTS: Final = {3: 1, 8: 1, 9: 1, USER_PROPERTY: 2}
"""How many texts there are: content type, response topic, correlation data, user property."""
_MANY: Final = frozenset({USER_PROPERTY, SUBSCRIPTION_ID})
"""What may stand more than once."""


class Value(NamedTuple):
    """One property."""

    kind: int
    value: bytes
    """For a user property: its name."""
    second: bytes = b""
    """For a user property: its value."""


def varint(data: bytes, at: int) -> tuple[int, int]:
    """A variable byte integer (1.5.5) at ``at``, and where it ends.

    Raises:
        PayloadError: ``malformed``, if it is cut off or longer than four bytes.
    """
    value = 0
    for number in range(4):
        if at + number >= len(data):
            break
        value |= (data[at + number] & 0x7F) << (7 * number)
        if data[at + number] < 0x80:
            return value, at + number + 1
    raise PayloadError("malformed", "a length is cut off or too long")


def each(block: bytes) -> Iterator[Value]:
    """The properties of a block, which is without its length.

    Raises:
        PayloadError: ``malformed``: unknown, cut off, or twice though it may stand only once.
    """
    at, seen = 0, 0
    while at < len(block):
        kind = block[at]
        if kind not in _MANY and seen >> kind & 1:
            raise PayloadError("malformed", f"property {kind} stands twice")
        seen |= 1 << kind
        found, at = _value(kind, block, at + 1)
        yield found


def _value(kind: int, block: bytes, at: int) -> tuple[Value, int]:
    """The value of a property that begins at ``at``, and where the next property begins."""
    if kind == SUBSCRIPTION_ID:
        end = varint(block, at)[1]
        return Value(kind, block[at:end]), end
    if kind in _FIXED:
        end = at + _FIXED[kind]
        if end > len(block):
            raise PayloadError("malformed", f"property {kind} is cut off")
        return Value(kind, block[at:end]), end
    texts = []
    for _ in range(_TEXTS.get(kind, 0)):
        end = at + 2 + int.from_bytes(block[at : at + 2], "big")
        if at + 2 > len(block) or end > len(block):
            raise PayloadError("malformed", f"property {kind} is cut off")
        texts.append(block[at + 2 : end])
        at = end
    if not texts:
        raise PayloadError("malformed", f"a message has no property {kind}")
    return Value(kind, *texts), at


def topic_alias(block: bytes) -> int:
    """The topic alias (3.3.2.3.4) among the properties of a message; 0 if there is none.

    Raises:
        PayloadError: ``malformed``, also for the alias 0, which is forbidden.
    """
    alias = 0
    for one in each(block):
        if one.kind == TOPIC_ALIAS:
            alias = int.from_bytes(one.value, "big")
            if not alias:
                raise PayloadError("malformed", "topic alias 0")
    return alias


def user_properties(block: bytes) -> dict[str, str]:
    """The user properties of a message by name; of several with one name the first, as brokers keep their order.

    Raises:
        PayloadError: ``malformed``, also where one is not UTF-8.
    """
    found: dict[str, str] = {}
    for one in each(block):
        if one.kind == USER_PROPERTY:
            try:
                found.setdefault(one.value.decode(), one.second.decode())
            except UnicodeDecodeError as error:
                raise PayloadError("malformed", f"user property: {error}") from None
    return found
