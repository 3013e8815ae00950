"""What uplinks that speak HTTP have in common: how they log in, and what an answer says."""

from __future__ import annotations

import base64
import ssl
import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Final

import aiohttp

from gateway.tls import failure

LONGEST_WAIT_S: Final = 3600.0
"""No server may ask us to wait longer."""
MAX_ANSWER: Final = 64 * 1024
"""Bytes of an answer that are read."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server said."""

    status: int
    text: str
    """The beginning of the body."""
    retry_after_s: float | None = None

    @property
    def ok(self) -> bool:
        """Whether the server has what was sent."""
        return 200 <= self.status < 300

    def __str__(self) -> str:
        said = " ".join(self.text.split())[:300]
        return f"HTTP {self.status}: {said}" if said else f"HTTP {self.status}"


def reason_of(error: Exception) -> str:
    """One line for a request that got no answer."""
    for field in ("certificate_error", "os_error"):  # aiohttp puts errors of its own around those of ssl
        if isinstance(inner := getattr(error, field, None), ssl.SSLError):
            return failure(inner, "server")
    if isinstance(error, ssl.SSLError) and not isinstance(error, aiohttp.ClientError):
        return failure(error, "server")
    return str(error) or ("no answer in time" if isinstance(error, TimeoutError) else type(error).__name__)


async def beginning(stream: aiohttp.StreamReader) -> str:
    """What fits :data:`MAX_ANSWER`. An answer that is cut short is none; one that is longer ends its connection."""
    raw = b""
    while len(raw) < MAX_ANSWER and (more := await stream.read(MAX_ANSWER - len(raw))):
        raw += more
    return raw.decode(errors="replace")


def authorization(bearer: str, basic: str) -> str:
    """The header for one of the two."""
    if bearer:
        return f"Bearer {bearer}"
    return f"Basic {base64.b64encode(basic.encode()).decode()}"


def retry_after_s(text: str | None) -> float | None:
    """Seconds to wait, from a number or an HTTP date (RFC 9110, 10.2.3); None if there is none that makes sense."""
    if text is None:
        return None
    if text.strip().isascii() and text.strip().isdigit():
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None
