"""Durations, sizes and rates as users write them: ``500ms``, ``64MiB``, ``64kB/s``, ``2000/s``. A leaf."""

from __future__ import annotations

import math
import re
from typing import Any, Self

_SECONDS = {
    "ns": 1e-9,
    "us": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "m": 60.0,
    "min": 60.0,
    "h": 3600.0,
    "d": 86400.0,
    "w": 604800.0,
}
_BYTES = {
    "B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
    "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40,
}  # fmt: skip
_BYTE_RATES = {
    "B/s": 1, "kB/s": 10**3, "MB/s": 10**6, "KiB/s": 2**10, "MiB/s": 2**20,
    "kbit/s": 125, "Mbit/s": 125_000,
}  # fmt: skip
_RATES = {"/s": 1.0, "/m": 1 / 60, "/min": 1 / 60, "/h": 1 / 3600}
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*(?:/[a-z]+)?)\s*")

DURATION_PATTERN = r"^\s*(?:0|(?:\d+(?:\.\d+)?\s*(?:ns|us|ms|s|m|min|h|d|w)\s*)+)$"
SIZE_PATTERN = r"^\s*(?:0|(?:\d+(?:\.\d+)?\s*(?:B|kB|MB|GB|TB|KiB|MiB|GiB|TiB)\s*)+)$"
BANDWIDTH_PATTERN = r"^\s*\d+(?:\.\d+)?\s*(?:B|kB|MB|KiB|MiB|kbit|Mbit)/s\s*$"
RATE_PATTERN = r"^\s*\d+(?:\.\d+)?\s*/(?:s|m|min|h)\s*$"


def _parse(text: str, units: dict[str, float] | dict[str, int], what: str) -> float:
    text = text.strip()
    if text == "0":
        return 0.0
    total, at = 0.0, 0
    while at < len(text):
        match = _PART.match(text, at)
        if match is None or match[2] not in units:
            raise ValueError(f"{text!r} is not a {what}; write a number and a unit ({', '.join(units)})")
        total += float(match[1]) * units[match[2]]
        at = match.end()
    if not text:
        raise ValueError(f"empty {what}")
    if not math.isfinite(total):
        raise ValueError(f"a {what} of {len(text)} characters is too long")
    return total


class Duration(float):
    """A time span in seconds, written with its unit."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """``500ms``, ``15m``, ``1h30m``.

        Raises:
            ValueError: on a missing or unknown unit.
        """
        return cls(_parse(text, _SECONDS, "duration"))

    @property
    def ns(self) -> int:
        """The span in nanoseconds."""
        return round(self * 1_000_000_000)


class Size(int):
    """A number of bytes, written with its unit."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """``64MiB``, ``2GB``.

        Raises:
            ValueError: on a missing or unknown unit.
        """
        return cls(int(_parse(text, _BYTES, "size")))


class Bandwidth(int):
    """Bytes a second, written with their unit."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """``64kB/s``, ``512kbit/s``.

        Raises:
            ValueError: on a missing or unknown unit.
        """
        return cls(int(_parse(text, _BYTE_RATES, "bandwidth")))


class Rate(float):
    """How many a second, written as ``2000/s`` or ``30/min``."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """``2000/s``, ``30/min``.

        Raises:
            ValueError: on a missing or unknown unit.
        """
        return cls(_parse(text, _RATES, "rate"))


Quantity = Duration | Size | Bandwidth | Rate
QUANTITIES: tuple[type[Quantity], ...] = (Duration, Size, Bandwidth, Rate)
EXAMPLES: dict[type, str] = {Duration: "5s", Size: "64MiB", Bandwidth: "64kB/s", Rate: "2000/s"}


def decode_quantity(kind: type, value: Any) -> Any:
    """A ``dec_hook`` for msgspec: text to one of :data:`QUANTITIES`."""
    for quantity in QUANTITIES:
        if kind is quantity:
            if isinstance(value, str):
                return quantity.parse(value)
            if value == 0 and not isinstance(value, bool):
                return quantity(0)
            raise ValueError(f"{value!r} needs a unit, such as {EXAMPLES[quantity]}")
    raise NotImplementedError(kind)


def quantity_schema(kind: type) -> dict[str, Any]:
    """A ``schema_hook`` for msgspec."""
    patterns = {Duration: DURATION_PATTERN, Size: SIZE_PATTERN, Bandwidth: BANDWIDTH_PATTERN, Rate: RATE_PATTERN}
    pattern = patterns[kind]
    return {"anyOf": [{"type": "string", "pattern": pattern}, {"const": 0}]}
