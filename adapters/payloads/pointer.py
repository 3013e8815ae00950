"""Where a value stands in a decoded document: JSON pointers (RFC 6901), or paths as JSONPath writes them.

A pointer is parsed once, when the configuration is read, into a tuple of tokens; resolving walks plain
dictionaries and lists. ``/a/0`` is item 0 of member ``a``; the empty pointer is the whole document; ``~1``
stands for a slash and ``~0`` for a tilde in a name. ``$.a[0]``, ``$['a'][0]``, ``@.a[0]`` and ``a[0]`` are the
same as ``/a/0``; a plain ``a`` is short for ``/a``, and ``a.b`` for ``/a/b``: a dot in a name wants ``/a.b``.

``[*]`` at the end of a path stands for every item of an array. ``$`` is the whole document even where other
paths begin at one of its records. The rest of JSONPath (RFC 9535: filters, slices, ``..``) is not there.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from gateway.errors import PayloadError

Pointer = tuple[str, ...]

_BAD_ESCAPE = re.compile(r"~(?![01])")
_INDEX = re.compile(r"0|[1-9][0-9]{0,8}", re.ASCII)
_STEP = re.compile(
    r"""(?:\.|\A)(?P<name>[^.\[\]'"*?()]+)|\[(?P<index>0|[1-9][0-9]{0,8})\]|\['(?P<one>[^']*)'\]|\["(?P<two>[^"]*)"\]"""
)


class Path(NamedTuple):
    """A parsed path."""

    tokens: Pointer
    root: bool = False
    """It begins with ``$``, at the document."""
    each: bool = False
    """It ends in ``[*]``: every item of the array there."""


def parse_path(text: str) -> Path:
    """The path that ``text`` writes.

    Raises:
        ValueError: it is none, with the way out in it.
    """
    if not text or text.startswith("/"):
        return Path(_parse_rfc(text))
    each = text.endswith("[*]")
    rest = text.removesuffix("[*]")
    begins = re.match(r"[$@](?=[.\[]|\Z)", rest)
    root = begins is not None and begins[0] == "$"
    if not begins and not each and not re.search(r"[.\[\]]", rest):
        return Path((_unescape(_checked(rest)),))
    rest, at, tokens = rest[len(begins[0]) if begins else 0 :], 0, []
    while at < len(rest):
        step = _STEP.match(rest, at)
        if step is None:
            raise ValueError(
                f'{text!r} is not a path: write "/a/0" or "$.a[0]"; [*] may stand at the end, and a dot or bracket in '
                f"a name wants the first form"
            )
        tokens.append(next(group for group in step.groups() if group is not None))
        at = step.end()
    return Path(tuple(tokens), root, each)


def parse_pointer(text: str) -> Pointer:
    """The tokens of a pointer or path to one value.

    Raises:
        ValueError: it is none, or it ends in ``[*]``.
    """
    path = parse_path(text)
    if path.each:
        raise ValueError(f"{text!r}: [*] is many values, and here stands one")
    return path.tokens


def _parse_rfc(text: str) -> Pointer:
    return tuple(map(_unescape, _checked(text)[1:].split("/"))) if text else ()


def _checked(text: str) -> str:
    if _BAD_ESCAPE.search(text):
        raise ValueError(f'{text!r} is not a JSON pointer: write "~0" for a tilde and "~1" for a slash in a name')
    return text


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
