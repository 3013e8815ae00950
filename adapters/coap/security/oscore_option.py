"""The OSCORE option (RFC 8613, 6.1): which key a message is protected with, and its number. Pure.

    flags (1 byte: 0 0 0 h k n n n) · Partial IV (n) · s (1, if h) · kid context (s, if h) · kid (rest, if k)

An empty option stands for no flags. n of 6 and 7 is reserved, as are the three bits above h.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from gateway.errors import PayloadError

MAX_PARTIAL_IV: Final = 5
"""Bytes; the numbers of a sender end at 2**40 - 1."""
MAX_OPTION: Final = 255
"""Bytes of the whole option (RFC 8613, 2)."""

_KID_CONTEXT: Final = 0x10
_KID: Final = 0x08
_LENGTH: Final = 0x07


class OscoreOption(NamedTuple):
    """What an OSCORE option says; None for what it does not hold."""

    number: int | None
    """The Partial IV."""
    kid: bytes | None
    kid_context: bytes | None


def parse_option(data: bytes) -> OscoreOption:
    """The parts of an option.

    Raises:
        PayloadError: ``bad-oscore-option``.
    """
    if not data:
        return OscoreOption(None, None, None)
    flags, at = data[0], 1
    length = flags & _LENGTH
    if flags & 0xE0 or length > MAX_PARTIAL_IV or len(data) > MAX_OPTION:
        raise PayloadError("bad-oscore-option", "uses reserved values")
    number = None
    if length:
        number, at = int.from_bytes(_take(data, at, length), "big"), at + length
    kid_context = None
    if flags & _KID_CONTEXT:
        size = _take(data, at, 1)[0]
        kid_context, at = _take(data, at + 1, size), at + 1 + size
    if not flags & _KID and at != len(data):
        raise PayloadError("bad-oscore-option", "goes on behind its end")
    return OscoreOption(number, data[at:] if flags & _KID else None, kid_context)


def format_option(option: OscoreOption) -> bytes:
    """The inverse; a number is written in as few bytes as it needs, one at least.

    Raises:
        PayloadError: ``bad-oscore-option``; a part is too long.
    """
    number, kid, kid_context = option
    partial_iv = b"" if number is None else number.to_bytes(max(1, (number.bit_length() + 7) // 8), "big")
    if len(partial_iv) > MAX_PARTIAL_IV:
        raise PayloadError("bad-oscore-option", f"{number} needs more than {MAX_PARTIAL_IV} bytes")
    flags = len(partial_iv) | (0 if kid is None else _KID) | (0 if kid_context is None else _KID_CONTEXT)
    context = b"" if kid_context is None else bytes([min(255, len(kid_context))]) + kid_context
    data = bytes([flags]) + partial_iv + context + (kid or b"") if flags else b""
    if len(data) > MAX_OPTION:
        raise PayloadError("bad-oscore-option", f"longer than {MAX_OPTION} bytes")
    return data


def _take(data: bytes, at: int, length: int) -> bytes:
    part = data[at : at + length]
    if len(part) < length:
        raise PayloadError("bad-oscore-option", f"ends at byte {len(data)}")
    return part
