"""The messages between workers and nodes: bytes in, values out. Light: a worker imports it.

Little-endian, one after the other on a TCP connection: ``length: u32`` of what follows, ``kind: u8``, body. A
connection carries one job. The one who is connected to speaks first:

    down  CHALLENGE  version: u8, 16 random bytes
    up    HELLO      the job's terms, who it is, and HMAC-SHA256(token, challenge and the rest of this body)
    down  WELCOME    or REFUSED with a text, which ends the job for who gets it
    up    MEMBERS    bitmap of the workers below a node
    down  READY      all workers of the job have joined
    up    PART       round, slot, flags, bitmap of who is in it, sums
    both  RESULT     round, slot, sums of all workers or, of a parameter server, the weights; up: only if asked for
    down  NEED       round, slot or ALL, bitmap of who is missing, bitmap of who shall send by himself
    both  PING, PONG pong: 1 if the way to the root is there
    up    BYE        bitmap of workers for whom the job is over

Bit w of a bitmap is worker w. Sums are packed (:mod:`gateway.reduction.packing`) if the job wants it.
"""

from __future__ import annotations

import enum
import hmac
import struct
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import numpy as np

from gateway.errors import PayloadError
from gateway.reduction import packing
from gateway.reduction.terms import MOST_WORKERS, WIRE, Integers, Terms

VERSION: Final = 2
NONCE_BYTES: Final = 16
ALL: Final = 0xFFFF_FFFF
"""For a slot: all of the round."""
MOST_HELLO: Final = 1024
_HEAD: Final = struct.Struct("<IB")
_HELLO: Final = struct.Struct("<BBIIQIhhBdIB")
_PART: Final = struct.Struct("<IIBH")
_RESULT: Final = struct.Struct("<II")
_NEED: Final = struct.Struct("<IIH")
_PROOF_BYTES: Final = 32
_PARAMETERS: Final = 1
_PACKED: Final = 2


class Kind(enum.IntEnum):
    """Of a message."""

    CHALLENGE = 1
    HELLO = 2
    WELCOME = 3
    REFUSED = 4
    MEMBERS = 5
    READY = 6
    PART = 7
    RESULT = 8
    NEED = 9
    PING = 10
    PONG = 11
    BYE = 12


class Hello(NamedTuple):
    """Who joins a job."""

    terms: Terms
    worker: int | None
    """None for a node."""
    place: int
    """Which of its addresses this is: above 0 is a fallback."""


class Part(NamedTuple):
    """The sum of what some workers have in a slot."""

    round: int
    slot: int
    direct: bool
    """Asked for: goes up as it is where it was added already."""
    workers: int
    values: bytes | memoryview


class Result(NamedTuple):
    """What all get for a slot."""

    round: int
    slot: int
    values: bytes | memoryview


class Need(NamedTuple):
    """What somebody above lacks."""

    round: int
    slot: int
    missing: int
    wanted: int


def message(kind: Kind, *body: bytes | memoryview) -> bytes:
    """A message whole."""
    return b"".join((head(kind, sum(map(len, body))), *body))


def head(kind: Kind, size: int) -> bytes:
    """What stands before a body of ``size`` bytes."""
    return _HEAD.pack(size + 1, kind)


def split(data: bytes | bytearray, start: int, most: int) -> tuple[Kind, int, int] | None:
    """Kind, begin and end of the body of the message that begins at ``start``; None if it is not whole yet.

    Raises:
        PayloadError: it is larger than ``most``, or of no known kind.
    """
    if len(data) - start < _HEAD.size:
        return None
    size, kind = _HEAD.unpack_from(data, start)
    checked = checked_head(size, kind, most)
    end = start + 4 + size
    return (checked, start + _HEAD.size, end) if len(data) >= end else None


def checked_head(size: int, kind: int, most: int) -> Kind:
    """The kind, if size and kind can be.

    Raises:
        PayloadError: they cannot.
    """
    if not 1 <= size <= most:
        raise PayloadError("oversize", f"a message of {size} bytes, {most} is the most")
    if kind not in Kind._value2member_map_:
        raise PayloadError("malformed", f"kind {kind}")
    return Kind(kind)


def read_head(data: bytes, most: int) -> tuple[int, Kind]:
    """Bytes of the body that follows these five, and the kind.

    Raises:
        PayloadError: see :func:`checked_head`.
    """
    size, kind = _HEAD.unpack(data)
    return size - 1, checked_head(size, kind, most)


HEAD_BYTES: Final = _HEAD.size


def most_bytes(terms: Terms) -> int:
    """The longest message of a job."""
    size = min(terms.slot, terms.length)
    return 64 + terms.workers // 4 + max(8 * size, packing.most_bytes(size) if terms.packed else 0)


def values(numbers: Integers, *, packed: bool) -> bytes | memoryview:
    """Sums as they travel; not packed, they must not change before they have."""
    return packing.packed(numbers) if packed else np.ascontiguousarray(numbers).view(np.uint8).data


def read_values(data: bytes | memoryview, size: int, *, packed: bool) -> Integers:
    """So many sums, which may share their memory with what they were read from.

    Raises:
        PayloadError: it is not so many.
    """
    if packed:
        return packing.unpacked(data, size)
    check_values(data, size, packed=packed)
    return np.frombuffer(data, WIRE)


def check_values(data: bytes | memoryview, size: int, *, packed: bool) -> None:
    """Complain about what cannot be so many sums, without reading them.

    Raises:
        PayloadError: with what is wrong.
    """
    if packed:
        packing.check(data, size)
    elif len(data) != 8 * size:
        raise PayloadError("malformed", f"{size} numbers in {len(data)} bytes")


def bitmap(workers: int) -> bytes:
    """As it travels."""
    return workers.to_bytes((workers.bit_length() + 7) // 8, "little")


def _workers(data: bytes | memoryview) -> int:
    if len(data) > MOST_WORKERS // 8:
        raise PayloadError("malformed", f"a bitmap of {len(data)} bytes")
    return int.from_bytes(data, "little")


def challenge(nonce: bytes) -> bytes:
    """The first message of a connection."""
    return message(Kind.CHALLENGE, bytes((VERSION,)), nonce)


def read_challenge(body: bytes | memoryview) -> bytes:
    """The nonce.

    Raises:
        PayloadError: another version, or none of ours.
    """
    if len(body) != 1 + NONCE_BYTES:
        raise PayloadError("malformed", "no challenge")
    if body[0] != VERSION:
        raise PayloadError("version", f"the node speaks version {body[0]}, this is {VERSION}")
    return bytes(body[1:])


def hello(wanted: Hello, token: str, nonce: bytes) -> bytes:
    """The answer to a challenge."""
    terms = wanted.terms
    body = _HELLO.pack(
        VERSION,
        wanted.worker is None,
        wanted.worker or 0,
        terms.workers,
        terms.length,
        terms.slot,
        terms.scale,
        terms.magnitude,
        _PARAMETERS * terms.parameters | _PACKED * terms.packed,
        terms.rate,
        terms.digest,
        wanted.place,
    ) + terms.name.encode("ascii")
    return message(Kind.HELLO, proof(token, nonce, body), body)


def proof(token: str, nonce: bytes, body: bytes) -> bytes:
    """What only somebody with the token can say."""
    return hmac.digest(token.encode(), nonce + body, "sha256")


def read_hello(body: bytes, token: str, nonce: bytes) -> Hello:
    """Who is there, if the token is right.

    Raises:
        PayloadError: another version, not a hello, or ``token``.
    """
    said, plain = body[:_PROOF_BYTES], body[_PROOF_BYTES:]
    if len(plain) <= _HELLO.size:
        raise PayloadError("malformed", "no hello")
    if plain[0] != VERSION:
        raise PayloadError("version", f"this node speaks version {VERSION}")
    if not hmac.compare_digest(said, proof(token, nonce, plain)):
        raise PayloadError("token", "the token is not the one of this node")
    _, node, worker, workers, length, slot, scale, magnitude, flags, rate, digest, place = _HELLO.unpack_from(plain)
    if flags > _PARAMETERS | _PACKED:
        raise PayloadError("malformed", f"flags {flags}")
    try:
        name = plain[_HELLO.size :].decode("ascii")
    except UnicodeDecodeError:
        raise PayloadError("malformed", "the job's name") from None
    parameters, packed = bool(flags & _PARAMETERS), bool(flags & _PACKED)
    terms = Terms(name, workers, length, slot, scale, magnitude, parameters, rate, digest, packed)
    return Hello(terms, None if node else worker, place)


def part_head(round_: int, slot: int, workers: int, size: int, *, direct: bool = False) -> bytes:
    """A PART up to its sums, which are ``size`` bytes and follow."""
    bits = bitmap(workers)
    body = _PART.pack(round_, slot, direct, len(bits)) + bits
    return head(Kind.PART, len(body) + size) + body


def part(one: Part) -> bytes:
    """A PART whole."""
    return b"".join((part_head(one.round, one.slot, one.workers, len(one.values), direct=one.direct), one.values))


def result(one: Result) -> bytes:
    """A RESULT whole."""
    return message(Kind.RESULT, _RESULT.pack(one.round, one.slot), one.values)


def need(one: Need) -> bytes:
    """A NEED whole."""
    missing = bitmap(one.missing)
    return message(Kind.NEED, _NEED.pack(one.round, one.slot, len(missing)), missing, bitmap(one.wanted))


def read(kind: Kind, body: bytes | memoryview) -> Any:
    """What a message says: Part, Result, Need; a bitmap (MEMBERS, BYE); the text of REFUSED; PONG's word as a bool.

    Raises:
        PayloadError: it is not what it should be.
    """
    try:
        return _READERS.get(kind, bytes)(body)
    except (struct.error, IndexError):
        raise PayloadError("malformed", f"{kind.name} of {len(body)} bytes") from None


def _read_part(body: bytes | memoryview) -> Part:
    round_, slot, flags, size = _PART.unpack_from(body)
    at = _PART.size + size
    if at > len(body) or flags > 1:
        raise PayloadError("malformed", f"PART of {len(body)} bytes")
    return Part(round_, slot, flags == 1, _workers(body[_PART.size : at]), body[at:])


def _read_need(body: bytes | memoryview) -> Need:
    round_, slot, size = _NEED.unpack_from(body)
    at = _NEED.size + size
    if at > len(body):
        raise PayloadError("malformed", f"NEED of {len(body)} bytes")
    return Need(round_, slot, _workers(body[_NEED.size : at]), _workers(body[at:]))


def _read_result(body: bytes | memoryview) -> Result:
    round_, slot = _RESULT.unpack_from(body)
    return Result(round_, slot, body[_RESULT.size :])


_READERS: Final[dict[Kind, Callable[[bytes | memoryview], Any]]] = {
    Kind.PART: _read_part,
    Kind.RESULT: _read_result,
    Kind.NEED: _read_need,
    Kind.MEMBERS: _workers,
    Kind.BYE: _workers,
    Kind.REFUSED: lambda body: bytes(body).decode("utf-8", "replace"),
    Kind.PONG: lambda body: body[0] == 1,
}
