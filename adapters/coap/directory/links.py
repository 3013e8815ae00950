"""The link format of CoRE (RFC 6690): ``</temp>;rt="temperature-c";obs,</hum>;ct=50``. Pure.

A link is a target in angle brackets and attributes, each a name, a name and a token, or a name and a quoted
text. ``rt``, ``if``, ``rel`` and ``ct`` hold several values with spaces between them; an attribute without a
value is a flag.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from gateway.errors import PayloadError

MAX_BYTES: Final = 65_536
MAX_LINKS: Final = 1024
MAX_ATTRIBUTES: Final = 32
"""Attributes of one link."""
MAX_TARGET: Final = 1024
"""Characters."""

_TARGET = re.compile(r"[ \t\r\n]*<([^<>\x00-\x20\x7f]*)>")
_ATTRIBUTE = re.compile(
    r"[ \t]*;[ \t]*([!#$&+\-.^_`|~0-9A-Za-z]+\*?)"
    r'(?:[ \t]*=[ \t]*(?:"((?:[^"\\\x00-\x1f\x7f]|\\[^\x00-\x1f\x7f])*)"|([^\s",;<>\\=]+)))?'
)
_COMMA = re.compile(r"[ \t\r\n]*(,|\Z)")
_ESCAPED = re.compile(r"\\(.)")
_NUMERAL = re.compile(r"[0-9]+", re.ASCII)
_SEVERAL: Final = frozenset({"rt", "if", "rel", "rev", "ct"})


class Link(NamedTuple):
    """One link."""

    target: str
    """A path, or a whole URI."""
    attributes: tuple[tuple[str, str | None], ...] = ()
    """Names and values in their order; None for a flag."""

    def get(self, name: str) -> str | None:
        """The first value of an attribute; empty for a flag, None if there is none."""
        return next((value or "" for key, value in self.attributes if key == name), None)

    def words(self, name: str) -> list[str]:
        """The values of an attribute that may hold several."""
        found = self.get(name)
        return found.split() if found else []

    def has(self, name: str) -> bool:
        """Whether the attribute is there, with or without a value."""
        return any(key == name for key, _ in self.attributes)


def parse_links(payload: bytes) -> list[Link]:
    """The links of a body, in its order.

    Raises:
        PayloadError: ``too-large``, ``not-text``, ``bad-link``, ``too-many-links``.
    """
    if len(payload) > MAX_BYTES:
        raise PayloadError("too-large", f"more than {MAX_BYTES} bytes of links")
    try:
        text = payload.decode("utf-8")
    except UnicodeDecodeError as error:
        raise PayloadError("not-text", str(error)) from None
    links: list[Link] = []
    at = 0 if text.strip() else len(text)
    while at < len(text):
        if len(links) >= MAX_LINKS:
            raise PayloadError("too-many-links", f"more than {MAX_LINKS} links")
        link, at = _link(text, at)
        links.append(link)
    return links


def _link(text: str, at: int) -> tuple[Link, int]:
    """The link at an offset, and the offset behind it and its comma."""
    target = _TARGET.match(text, at)
    if target is None or len(target[1]) > MAX_TARGET:
        raise PayloadError("bad-link", f"no target at character {at}")
    at = target.end()
    attributes: list[tuple[str, str | None]] = []
    while (found := _ATTRIBUTE.match(text, at)) is not None:
        if len(attributes) >= MAX_ATTRIBUTES:
            raise PayloadError("bad-link", f"more than {MAX_ATTRIBUTES} attributes")
        quoted, token = found[2], found[3]
        value = _ESCAPED.sub(r"\1", quoted) if quoted is not None else token
        attributes.append((found[1], value))
        at = found.end()
    comma = _COMMA.match(text, at)
    if comma is None:
        raise PayloadError("bad-link", f"cannot be read at character {at}")
    end = comma.end()
    if comma[1] and end >= len(text):
        raise PayloadError("bad-link", "ends with a comma")
    return Link(target[1], tuple(attributes)), end


def format_links(links: Iterable[Link]) -> str:
    """The inverse of :func:`parse_links`; numbers are written bare, all other values in quotes."""
    return ",".join(f"<{link.target}>{''.join(map(_attribute, link.attributes))}" for link in links)


def _attribute(attribute: tuple[str, str | None]) -> str:
    name, value = attribute
    if value is None:
        return f";{name}"
    if _NUMERAL.fullmatch(value):
        return f";{name}={value}"
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f';{name}="{escaped}"'


def select(links: Iterable[Link], queries: Sequence[str]) -> list[Link]:
    """The links that fit all filters of a query (RFC 6690, 4.1).

    ``rt=temp*`` asks for a value that begins so, ``rt=temp`` for that value, ``href=/a*`` for the target; of
    ``rt``, ``if``, ``rel`` and ``ct`` one of several values is enough. What is no filter (``page=1`` is the
    caller's, a word without ``=``) must be taken out before.
    """
    wanted = [query.split("=", 1) for query in queries if "=" in query]
    return [link for link in links if all(fits(link, name, value) for name, value in wanted)]


def fits(link: Link, name: str, wanted: str) -> bool:
    """Whether one filter lets the link through."""
    if name == "href":
        values: Sequence[str] = [link.target]
    elif name in _SEVERAL:
        values = link.words(name)
    else:
        values = [value or "" for key, value in link.attributes if key == name]
    return any(matches(value, wanted) for value in values)


def matches(value: str, wanted: str) -> bool:
    """Whether a value is the one wanted, or begins with it where a star ends it."""
    return value.startswith(wanted[:-1]) if wanted.endswith("*") else value == wanted
