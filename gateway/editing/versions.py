"""Versions of the configuration that have run, newest last: ``<state>/config/<number>.version``.

A file is a line of JSON, the head, and behind it the texts of all files, msgpack in a zstd frame with a checksum. The
head tells everything but the texts, so that a list costs a line a version.
"""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path
from typing import Final

import msgspec
import zstandard

from gateway.editing.change import FOLDER
from gateway.editing.files import Texts, digest
from gateway.errors import OnpathError
from gateway.store.files import SYSTEM

KEPT: Final = 100
"""Versions; the oldest give way."""
MAX_BYTES: Final = 64 << 20
"""Of all of them together; the newest stays whatever its size."""
_SUFFIX: Final = ".version"
_MAX_HEAD: Final = 1 << 20
_MAX_TEXTS: Final = 1 << 28


class NoVersionError(OnpathError):
    """There is no such version, or it cannot be read any more."""


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """What is told of a version."""

    version: int
    time_ms: int
    """UTC, since 1970."""
    comment: str
    by: str
    """Who made it: a token's name, ``command line``, ``file`` for one that was read from disk ..."""
    hash: str
    files: list[str]


class Versions:
    """The versions of one state folder. May be used by several threads."""

    def __init__(self, state: Path) -> None:
        self._folder = state / FOLDER
        self._lock = threading.Lock()

    def record(self, texts: Texts, *, comment: str, by: str, time_ms: int, always: bool = False) -> int:
        """Keep a version, unless the newest is the same (``always``: also then); its number.

        Raises:
            OSError: it cannot be written.
        """
        name = digest(texts)
        with self._lock:
            newest = self._newest()
            if newest is not None and newest.hash == name and not always:
                return newest.version
            self._folder.mkdir(0o700, exist_ok=True)
            number = 1 + max((self._number(file) for file in self._files()), default=0)
            head = Head(
                version=number, time_ms=time_ms, comment=comment[:500], by=by[:100], hash=name, files=list(texts)
            )
            body = zstandard.ZstdCompressor(level=9, write_checksum=True).compress(msgspec.msgpack.encode(dict(texts)))
            fresh = self._folder / "version.new"
            SYSTEM.write_new(fresh, [msgspec.json.encode(head), b"\n", body])
            SYSTEM.rename(fresh, self._folder / f"{number:08d}{_SUFFIX}")
            self._prune()
            return number

    def heads(self) -> list[Head]:
        """All that can be read, newest first."""
        return [head for file in reversed(self._files()) if (head := _head(file)) is not None]

    def texts(self, number: int) -> dict[str, bytes]:
        """What was in each file.

        Raises:
            NoVersionError: there is none of this number.
        """
        file = self._folder / f"{number:08d}{_SUFFIX}"
        try:
            _, _, body = file.read_bytes().partition(b"\n")
            packed = zstandard.ZstdDecompressor().decompress(body, max_output_size=_MAX_TEXTS)
            return msgspec.msgpack.decode(packed, type=dict[str, bytes])
        except FileNotFoundError:
            raise NoVersionError(f"there is no version {number}; onpath config versions lists them") from None
        except (OSError, zstandard.ZstdError, msgspec.DecodeError) as error:
            raise NoVersionError(f"version {number} cannot be read any more: {error}") from None

    def _files(self) -> list[Path]:
        return sorted(file for file in self._folder.glob(f"*{_SUFFIX}") if file.stem.isdecimal())

    @staticmethod
    def _number(file: Path) -> int:
        return int(file.stem)

    def _newest(self) -> Head | None:
        files = self._files()
        return _head(files[-1]) if files else None

    def _prune(self) -> None:
        files = self._files()[::-1]
        total = 0
        for at, file in enumerate(files):
            with contextlib.suppress(OSError):
                total += file.stat().st_size
                if at and (at >= KEPT or total > MAX_BYTES):
                    file.unlink()


def _head(file: Path) -> Head | None:
    try:
        with file.open("rb") as stream:
            return msgspec.json.decode(stream.readline(_MAX_HEAD), type=Head)
    except (OSError, msgspec.DecodeError):
        return None
