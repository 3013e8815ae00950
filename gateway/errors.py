"""The errors that cross a boundary between two parts. A leaf: imports nothing of ours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

EXIT_CODES: Final = {
    0: "done; also of what runs until it is stopped, when it is stopped",
    1: "failed; a line says why",
    2: "wrong usage of the command line",
    69: "no daemon answers for this state folder",
    75: "another daemon holds the state folder",
    78: "the configuration is not usable; every problem was printed",
    130: "interrupted by Ctrl-C before it was done",
}
"""What the command line ends with. 69, 75 and 78 are ``EX_UNAVAILABLE``, ``EX_TEMPFAIL`` and ``EX_CONFIG`` of
sysexits.h. Errors carry theirs as ``exit_code``."""


class OnpathError(Exception):
    """Base of every error that is meant to be shown to a person as one line."""

    exit_code = 1


@dataclass(frozen=True, order=True)
class Problem:
    """One finding in a configuration file: where (1-based), which key, and what is wrong."""

    file: str
    line: int
    column: int
    path: str
    message: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}:{self.column}"
        return f"{where}: {self.path}: {self.message}" if self.path else f"{where}: {self.message}"


class ConfigError(OnpathError):
    """The configuration is not usable. Carries every problem of every file."""

    exit_code = 78  # EX_CONFIG of sysexits.h, which systemd knows by name

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = sorted(problems)
        super().__init__("\n".join(map(str, self.problems)))


class FieldError(ValueError):
    """Raised by a config struct's ``__post_init__``: the named field (or path) is wrong."""

    def __init__(self, field: str | tuple[str | int, ...], message: str) -> None:
        self.field = (field,) if isinstance(field, str) else field
        super().__init__(message)


class StateInUseError(OnpathError):
    """Another daemon holds the state folder."""

    exit_code = 75  # EX_TEMPFAIL


class StoreError(OnpathError):
    """The store could not make something durable."""

    reason = "store-failed"
    """What loss markers and ``status`` call it."""


class LinkError(OnpathError):
    """A connection is gone or cannot be made. The supervisor retries."""


class PayloadError(OnpathError):
    """Bytes from outside are not what they should be. ``reason`` is a short, countable word."""

    def __init__(self, reason: str, detail: str = "") -> None:
        self.reason = reason
        super().__init__(f"{reason}: {detail}" if detail else reason)


class TooManyPointsError(OnpathError):
    """The directory's bound is reached: the point is not taken."""
