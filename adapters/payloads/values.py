"""What a payload's value may be: a number, a boolean, or a short text that names a state."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from gateway.errors import PayloadError

Value = float | bool | str

MAX_TEXT = 256
"""A longer text is not the name of a state. Characters."""


def to_value(found: Any) -> Value:
    """A decoded JSON or CBOR item as a value; numbers become floats, NaN and infinities stay.

    Raises:
        PayloadError: ``not-a-value`` for null, lists, maps and the like, ``out-of-range`` for an integer
            that no float reaches, ``too-long`` for a text over :data:`MAX_TEXT`.
    """
    if isinstance(found, bool):
        return found
    if isinstance(found, float):
        return found
    if isinstance(found, (int, Decimal)):
        return _to_float(found)
    if isinstance(found, str):
        return checked_text(found)
    raise PayloadError("not-a-value", f"{_KINDS.get(type(found), 'something else')} is not a value")


_KINDS: dict[type, str] = {type(None): "null", list: "a list", dict: "a map", bytes: "a byte string"}


def _to_float(number: int | Decimal) -> float:
    try:
        return float(number)
    except OverflowError:
        raise PayloadError("out-of-range", "a number of more than 308 digits") from None
    except ValueError:  # Decimal's signalling NaN
        return float("nan")


def checked_text(text: str) -> str:
    """The text itself, if it can name a state.

    Raises:
        PayloadError: ``too-long``.
    """
    if len(text) > MAX_TEXT:
        raise PayloadError("too-long", f"a text of {len(text)} characters is not a state")
    return text
