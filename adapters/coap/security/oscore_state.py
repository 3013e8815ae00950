"""What an OSCORE key must not forget, in a file of its own: ahead of its use (RFC 8613, B.1.1).

The file holds bounds. Every number that was ever sent lies below ``sent``, every one that was ever taken from
the peer below ``received``. A number may be used once the bound above it is on disk. A clean stop also keeps
the replay window, which holds only as long as nothing has been received since: it is taken out of the file
before it is used.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

import msgspec

from gateway.errors import LinkError

MAX_NUMBER: Final = 2**40 - 1
"""The largest Partial IV."""
NUMBERS_A_SECOND: Final = 256
"""How fast the first number of a new file grows with the date. A sender that is slower on average never
meets a number again that it used before its file was lost: 2**40 of them last for 136 years."""
FIRST_SECOND: Final = 1_704_067_200
"""2024-01-01 UTC in seconds since 1970, where that count begins."""


class Bounds(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The content of the file."""

    sent: int
    """No number from here on was sent."""
    received: int
    """No number from here on was taken from the peer."""
    window: tuple[int, str] | None = None
    """Replay window at a clean stop: the number of its first bit, and its bits in hex."""

    def __post_init__(self) -> None:
        if not (0 <= self.sent <= MAX_NUMBER + 1 and 0 <= self.received <= 2 * MAX_NUMBER):
            raise ValueError("numbers out of range")
        if self.window is not None and not (self.window[0] >= 0 and re.fullmatch(r"[0-9a-f]{1,256}", self.window[1])):
            raise ValueError("a window out of range")


def first_bounds(now_ns: int) -> Bounds:
    """The bounds of a key that has no file: new, or lost with its folder.

    Sending begins at a number by the date, so that a key whose file was lost, or whose adapter was renamed, does
    not begin with numbers that it has used, and that its peer would take for replays.
    """
    seconds = max(0, now_ns // 10**9 - FIRST_SECOND)
    return Bounds(sent=min(seconds * NUMBERS_A_SECOND, MAX_NUMBER), received=0)


def load(path: Path) -> Bounds | None:
    """What was kept; None if there is no file.

    Raises:
        LinkError: it cannot be read. It is never guessed.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=Bounds)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        raise LinkError(
            f"the sequence numbers of an OSCORE key cannot be read: {path}: {error}; give both sides a new key, or "
            "delete the file if the clock of this machine is right"
        ) from error


def store(path: Path, bounds: Bounds) -> None:
    """Write the file so that a crash at any moment leaves the old one or the new one; returns when it is on disk.

    Raises:
        OSError: it is not.
    """
    fresh = path.with_suffix(".new")
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(handle, msgspec.json.encode(bounds))
        os.fsync(handle)
    finally:
        os.close(handle)
    fresh.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
