"""Fixed words as a page: quality, reasons, exit codes, units of options."""

from __future__ import annotations

import re

from gateway import quality, units
from gateway.control import NotRunningError
from gateway.errors import ConfigError, OnpathError, StateInUseError

_EXITS = {0: "done, or stopped in order", 2: "wrong usage of the command line, or a target that is none"}
_NAMED: tuple[type[OnpathError], ...] = (OnpathError, NotRunningError, StateInUseError, ConfigError)
_ONE = "failed; one line says why"


HEAD = """# Words and numbers

What stays the same everywhere: in batches, in `--json`, in files and on the API.
"""
QUALITY = """
## Quality

The word is a sum of these numbers; in text it is the validity and then the flags. What they mean and who sets them:
[quality](../quality.md).
"""
REASONS = """
## Reasons

Why a sample has no value. [Quality](../quality.md#reasons) says more.
"""
EXITS = """
## Exit codes

Of every verb. 69, 75 and 78 are those of `sysexits.h`.
"""
UNITS = """
## Units of options

A duration, size, bandwidth or rate carries its unit; a bare number is an error.
"""


def page() -> str:
    """The whole page."""
    reasons = [(str(reason.value), f"`{reason.text}`") for reason in quality.Reason if reason]
    codes = [(str(code), text) for code, text in sorted(exits().items())]
    parts = [
        (HEAD + QUALITY, _table(("word", "number", "bit"), _quality())),
        (REASONS, _table(("code", "reason"), reasons)),
        (EXITS, _table(("code", "meaning"), codes)),
        (UNITS, _table(("what", "units", "example"), _units())),
    ]
    return "".join(f"{head}\n{table}\n" for head, table in parts)


def exits() -> dict[int, str]:
    """What each exit code of an error says."""
    found = {cls.exit_code: _first(cls) for cls in _NAMED} | {OnpathError.exit_code: _ONE}
    return found | _EXITS


def _first(cls: type) -> str:
    return re.sub(r"\.$", "", (cls.__doc__ or "").split("\n")[0].split(". ")[0])


def _quality() -> list[tuple[str, str, str]]:
    validity = [(f"`{quality.to_text(word)}`", str(word), "0, 1") for word in range(4)]
    flags = [(f"`{quality.to_text(1 << bit).partition(',')[2]}`", str(1 << bit), str(bit)) for bit in range(2, 15)]
    return validity + flags


def _units() -> list[tuple[str, str, str]]:
    patterns = {
        units.Duration: units.DURATION_PATTERN,
        units.Size: units.SIZE_PATTERN,
        units.Bandwidth: units.BANDWIDTH_PATTERN,
        units.Rate: units.RATE_PATTERN,
    }
    rows = []
    for cls, pattern in patterns.items():
        known = re.findall(r"\(\?:([A-Za-z|]+)\)", pattern)[0].split("|")
        before, after = ("", "/s") if cls is units.Bandwidth else ("/", "") if cls is units.Rate else ("", "")
        words = " ".join(f"`{before}{word}{after}`" for word in known)
        rows.append((cls.__name__.lower(), words, f"`{units.EXAMPLES[cls]}`"))
    return rows


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head), *(f"| {' | '.join(row)} |" for row in rows)]
    return "\n".join(lines)
