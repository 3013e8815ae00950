"""Names and labels made from what is known of a point: ``{device}/{1}``.

What may stand in braces: ``{name}`` is the whole name, ``{device}`` its first segment, ``{point}`` the rest, ``{1}``,
``{2}`` ... what the first, second ... ``*``, ``**`` or ``?`` of the glob (or group of the regular expression) stood
for, ``{label.area}`` the label ``area``. Where a point has nothing for one of them, the template gives nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Final

from gateway.point import compile_glob

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway.point import Point

MAX_NAME: Final = 512
"""Longest name that is made, in characters."""
MAX_REGEX: Final = 200

_WORDS: Final = ("name", "device", "point")
_LABEL: Final = "label."
_BRACES: Final = re.compile(r"\{([^{}]*)\}")
_WILD: Final = re.compile(r"\(\?:\.\*/\)\?|\(\?:/\.\*\)\?|\.\*|\[\^/#\]\*|\[\^/#\]")
_UNFIT: Final = re.compile(r"[^A-Za-z0-9_.\-]+")
_LITERAL: Final = re.compile(r"[^\x00-\x20\x7f+*?]*\Z")


def capturing(glob: str) -> re.Pattern[str]:
    """The glob with a group for each ``*``, ``**`` and ``?``; ``**/`` and ``/**`` leave the slash out of it."""
    text = compile_glob(glob).pattern
    return re.compile(_WILD.sub(_group, text), re.DOTALL)


def _group(match: re.Match[str]) -> str:
    return {"(?:.*/)?": "(?:(.*)/)?", "(?:/.*)?": "(?:/(.*))?"}.get(match[0], f"({match[0]})")


def expression(text: str) -> re.Pattern[str]:
    """A regular expression over whole names.

    Raises:
        ValueError: it is none, or too long.
    """
    if len(text) > MAX_REGEX:
        raise ValueError(f"a regular expression has at most {MAX_REGEX} characters")
    try:
        return re.compile(rf"(?:{text})\Z", re.DOTALL)
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"no regular expression: {error}") from None


@dataclass(frozen=True)
class Template:
    """A template that was read; the parts are literals and, at odd places, what stands in braces."""

    parts: tuple[str, ...]

    @classmethod
    def parse(cls, text: str, groups: int, extra: Iterable[str] = (), *, free: bool = False) -> Template:
        """Read a template whose numbers go up to ``groups``; ``extra`` are further words that it may name.

        ``free`` is for labels, whose values may have any character.

        Raises:
            ValueError: it is empty, or names what is not there.
        """
        parts = _BRACES.split(text)
        if not text:
            raise ValueError("must not be empty")
        for literal in parts[::2]:
            if "{" in literal or "}" in literal:
                raise ValueError(f"a brace in {text!r} is not closed or not opened")
            if not free and not _LITERAL.match(literal):
                raise ValueError(f"{literal!r} has what a name may not have (blanks, control characters, + * ?)")
        for word in parts[1::2]:
            _check(word, groups, (*_WORDS, *extra))
        return cls(tuple(parts))

    def fill(self, point: Point, found: re.Match[str] | None, extra: dict[str, str] | None = None) -> str | None:
        """The text for a point, or None if it has nothing for one of the places."""
        return self._filled(point, found, extra or {}, fit=False)

    def name(self, point: Point, found: re.Match[str] | None, extra: dict[str, str] | None = None) -> str | None:
        """The same as the name of a point: None also if it is too long or has an empty segment."""
        text = self._filled(point, found, extra or {}, fit=True)
        return text if text and len(text) <= MAX_NAME and all(text.split("/")) else None

    def _filled(self, point: Point, found: re.Match[str] | None, extra: dict[str, str], *, fit: bool) -> str | None:
        filled = list(self.parts)
        for at in range(1, len(filled), 2):
            text = _fact(filled[at], point, found, extra)
            if not text:
                return None
            filled[at] = segment(text) if fit and filled[at].startswith("label") else text
        return "".join(filled)


def _check(word: str, groups: int, words: tuple[str, ...]) -> None:
    if word.isdecimal() and word.isascii():
        if not 1 <= int(word[:6]) <= groups:
            counted = f"only {groups}" if groups else "none"
            raise ValueError(f"{{{word}}} is a * of the glob or a group of the expression, and there are {counted}")
        return
    if word in words or (word.startswith(_LABEL) and len(word) > len(_LABEL)):
        return
    close = get_close_matches(word, words, n=1)
    hint = f"; did you mean {{{close[0]}}}?" if close else ""
    known = ", ".join(f"{{{one}}}" for one in (*words, "1", "label.NAME"))
    raise ValueError(f"{{{word}}} is unknown{hint} (known: {known})")


def _fact(word: str, point: Point, found: re.Match[str] | None, extra: dict[str, str]) -> str | None:
    if word in extra:
        return extra[word]
    if word.isdecimal():
        return found[int(word)] if found else None
    if word.startswith(_LABEL):
        return point.labels.get(word.removeprefix(_LABEL))
    device, _, rest = point.name.partition("/")
    return {"name": point.name, "device": device if rest else "", "point": rest}[word]


def segment(text: str) -> str:
    """A label's value as a segment of a name: what a name may not have becomes ``_``."""
    return _UNFIT.sub("_", text)
