"""JSON pointers (RFC 6901) into decoded JSON or CBOR documents.

A pointer is parsed once, when the configuration is read, into a tuple of tokens; resolving walks plain
dictionaries and lists. ``/a/0`` is item 0 of member ``a``; the empty pointer is the whole document; a
plain ``a`` (no slash) is short for ``/a``. ``~1`` stands for a slash and ``~0`` for a tilde in a name.
"""

from __future__ import annotations

import re
from typing import Any

from gateway.errors import PayloadError

Pointer = tuple[str, ...]

_BAD_ESCAPE = re.compile(r"~(?![01])")
_INDEX = re.compile(r"0|[1-9][0-9]{0,8}", re.ASCII)


def parse_pointer(text: str) -> Pointer:
    """The tokens of a pointer.

    Raises:
        ValueError: on a tilde that escapes nothing.
    """
    if _BAD_ESCAPE.search(text):
        raise ValueError(f'{text!r} is not a JSON pointer: write "~0" for a tilde and "~1" for a slash in a name')
    if not text:
        return ()
    if not text.startswith("/"):
        return (_unescape(text),)
    return tuple(map(_unescape, text[1:].split("/")))


def _unescape(token: str) -> str:
    return token.replace("~1", "/").replace("~0", "~") if "~" in token else token


def format_pointer(pointer: Pointer) -> str:
    """The inverse of :func:`parse_pointer`, always in the form with slashes."""
    return "".join("/" + token.replace("~", "~0").replace("/", "~1") for token in pointer)


def resolve(document: Any, pointer: Pointer) -> Any:
    """What the pointer refers to in a decoded document.

    Integer keys of a CBOR map are found by their digits.

    Raises:
        PayloadError: ``missing``, if there is no such member or item.
    """
    at = document
    for token in pointer:
        if isinstance(at, dict):
            if token in at:
                at = at[token]
                continue
            if _INDEX.fullmatch(token) and int(token) in at:
                at = at[int(token)]
                continue
        elif isinstance(at, list) and _INDEX.fullmatch(token) and int(token) < len(at):
            at = at[int(token)]
            continue
        raise PayloadError("missing", f"nothing at {format_pointer(pointer)}")
    return at
