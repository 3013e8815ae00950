"""Topic patterns with named parts: ``site/{device}/telemetry``. Pure text, no I/O.

A pattern is an MQTT topic filter (MQTT 5.0, 4.7) in which ``{name}`` stands for one whole level, like
``+``, and gives that level a name; ``#`` may stand at the end. :attr:`Pattern.filter` is what the broker
is asked for, :meth:`Pattern.match` takes a topic apart again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_NAMED = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}\Z")
_PART = re.compile(r"\{([^{}]*)\}")
MAX_BYTES = 65_535
"""A topic's length on the wire is a 16-bit number."""


@dataclass(frozen=True)
class Pattern:
    """A parsed topic pattern."""

    text: str
    """As the user wrote it."""
    filter: str
    """The MQTT topic filter to subscribe to."""
    names: tuple[str, ...]
    """Names of the named parts, in order."""
    _regex: re.Pattern[str]

    def match(self, topic: str) -> dict[str, str] | None:
        """The named parts of ``topic``, or None if the pattern does not fit it."""
        found = self._regex.match(topic)
        return None if found is None else found.groupdict()


def parse(text: str) -> Pattern:
    """The pattern that ``text`` writes.

    Raises:
        ValueError: it is not a topic filter, or a name is wrong or stands twice.
    """
    _check(text)
    levels = text.split("/")
    filters, regex, names = [], [], []
    for number, level in enumerate(levels):
        named = _NAMED.match(level)
        if named is not None:
            names.append(named[1])
            filters.append("+")
            regex.append(f"(?P<{named[1]}>[^/]*)")
        elif level == "#" and number == len(levels) - 1:
            filters.append(level)
        else:
            _check_level(level)
            filters.append(level)
            regex.append("[^/]*" if level == "+" else re.escape(level))
    repeated = {name for name in names if names.count(name) > 1}
    if repeated:
        raise ValueError(f"{{{min(repeated)}}} stands twice in {text!r}")
    return Pattern(text, "/".join(filters), tuple(names), re.compile(_joined(regex, levels), re.DOTALL))


def _joined(regex: list[str], levels: list[str]) -> str:
    """One expression of all levels; ``a/#`` also takes ``a`` itself (4.7.1.2)."""
    joined = "/".join(regex)
    if levels[-1] != "#":
        return joined + r"\Z"
    return joined + r"(?:/.*)?\Z" if regex else r".*\Z"


def _check(text: str) -> None:
    if not text:
        raise ValueError("a topic cannot be empty")
    if "\0" in text or len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        raise ValueError("a topic has no NUL character and at most 65,535 bytes")
    if text.startswith("$share/"):
        raise ValueError("a shared subscription is written as topic and share: write the group's name there")


def _check_level(level: str) -> None:
    if level == "#":
        raise ValueError("# may only be the last level")
    if len(level) > 1 and ("+" in level or "#" in level):
        raise ValueError(f"{level!r}: + and # stand alone in a level")
    if "{" in level or "}" in level:
        raise ValueError(f"{level!r}: a named part is one whole level, such as {{device}}")


def names_in(template: str) -> list[str]:
    """The names of the ``{name}`` parts of a template."""
    return _PART.findall(template)


def fill(template: str, parts: Mapping[str, str]) -> str:
    """``template`` with every ``{name}`` replaced by that part of a topic."""
    return _PART.sub(lambda found: parts[found[1]], template)
