"""Plain text payloads: one number, one boolean, or the name of a state.

Numbers are written as in JSON, also with a plus sign or without the digit before the point; ``nan`` and
``inf`` are the words that C prints. ``true`` and ``false`` are booleans in any case of letters. Everything
else that is UTF-8 is a state: ``on`` and ``off`` too, whose meaning is the device's.
"""

from __future__ import annotations

import re

from adapters.payloads.values import MAX_TEXT, Value, checked_text
from gateway.errors import PayloadError

_NUMBER = re.compile(r"[+-]?(?:\d{1,400}(?:\.\d{0,400})?|\.\d{1,400})(?:[eE][+-]?\d{1,6})?", re.ASCII)
_WORDS: dict[str, Value] = {
    "true": True,
    "false": False,
    "nan": float("nan"),
    "-nan": float("nan"),
    "inf": float("inf"),
    "-inf": float("-inf"),
}


def decode_number(payload: bytes) -> float | bool | None:
    """The number or boolean that the whole text is, or None.

    Raises:
        PayloadError: ``out-of-range``, for digits beyond the largest float.
    """
    text = payload.strip()
    if len(text) > 2 * MAX_TEXT or not text.isascii():
        return None
    return _number(text.decode("ascii"))


def decode_text(payload: bytes) -> Value:
    """The value that a text payload holds.

    Raises:
        PayloadError: ``not-text`` if it is not UTF-8 or holds control characters, ``empty``,
            ``too-long``, ``out-of-range``.
    """
    try:
        text = payload.decode("utf-8").strip()
    except UnicodeDecodeError as error:
        raise PayloadError("not-text", str(error)) from None
    if not text:
        raise PayloadError("empty", "there is no text in the payload")
    number = _number(text)
    if number is not None:
        return number
    if not text.isprintable():
        raise PayloadError("not-text", "control characters in the text")
    return checked_text(text)


def _number(text: str) -> float | bool | None:
    if _NUMBER.fullmatch(text) is None:
        word = _WORDS.get(text.lower())
        return None if isinstance(word, str) else word
    value = float(text)
    if value in {float("inf"), float("-inf")}:
        raise PayloadError("out-of-range", "a number beyond the largest float")
    return value
