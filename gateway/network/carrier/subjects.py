"""Subjects and keys as NATS takes them: words between dots, escaped so that any printable text comes back. Pure.

Letters, digits, ``_`` and ``-`` stand for themselves; every other byte of a word's UTF-8 is ``=XX``. A key of a bucket
may have all of these characters, so that both are written alike.
"""

from __future__ import annotations

import re
from typing import Final

from gateway.network.carrier.base import CarrierError

LONGEST: Final = 2048
"""Bytes of a subject; the server's line of 4,096 holds it and an inbox."""
PREFIX: Final = "onpath-net"
"""First token. Not ``onpath``, which subjects of gateways' own uplinks begin with."""
WORD: Final = f"{PREFIX}.word"
"""Before the subjects of words."""
BLOB: Final = f"{PREFIX}.blob"
_UNSAFE: Final = re.compile(rb"[^A-Za-z0-9_-]")
_ESCAPE: Final = re.compile(rb"=([0-9A-F]{2})")


def escape(word: str) -> str:
    """A word as a token of a subject.

    Raises:
        CarrierError: it is empty.
    """
    if not word:
        raise CarrierError("a word of a subject or key is empty")
    return _UNSAFE.sub(lambda found: b"=%02X" % found[0][0], word.encode("utf-8", "surrogateescape")).decode("ascii")


def unescape(token: str) -> str:
    """The word of a token."""
    raw = _ESCAPE.sub(lambda found: bytes([int(found[1], 16)]), token.encode("ascii"))
    return raw.decode("utf-8", "surrogateescape")


def subject(text: str, prefix: str = PREFIX) -> str:
    """A subject or key as tokens behind a prefix.

    Raises:
        CarrierError: it is too long, or a word is empty.
    """
    return _bounded(f"{prefix}.{'.'.join(map(escape, text.split('/')))}", text)


def wildcards(pattern: str, prefix: str = PREFIX) -> str:
    """A pattern as NATS writes it; see :func:`subject`."""
    words = pattern.split("/")
    last = len(words) - 1
    tokens = [
        ">" if word == "**" and number == last else "*" if word == "*" else escape(word)
        for number, word in enumerate(words)
    ]
    return _bounded(f"{prefix}.{'.'.join(tokens)}", pattern)


def text(taken: str, prefix: str = PREFIX) -> str:
    """The words of a subject that came."""
    return "/".join(map(unescape, taken.removeprefix(f"{prefix}.").split(".")))


def _bounded(made: str, of: str) -> str:
    if len(made) > LONGEST:
        raise CarrierError(f"{of[:60]}...: {len(made)} bytes as a subject are more than {LONGEST}")
    return made
