"""Every call to the file system that the store makes: through SQLite's VFS, and the few of its own.

A seam: tests put a VFS of theirs, and a child of :class:`StoreFiles`, in its place, and let any call fail, tear what
it wrote or lose it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from pathlib import Path

import apsw

PIECE = 1 << 16


@dataclass(frozen=True)
class StoreFiles:
    """The file system that a store lies on. Errors are ``OSError`` and ``apsw.Error``, as they come."""

    vfs: str = ""
    """Name of the SQLite VFS; empty: the system's own."""

    def connect(self, path: Path) -> apsw.Connection:
        """Open a database, which must exist (see :meth:`touch`), or make it from an empty file."""
        return apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE, vfs=self.vfs or None)

    def touch(self, path: Path) -> None:
        """Make a file that nobody else can read, unless it is there."""
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))

    def lock(self, path: Path) -> int:
        """Open and lock a file; its descriptor.

        Raises:
            BlockingIOError: somebody else holds it.
        """
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BaseException:
            os.close(fd)
            raise
        return fd

    def rename(self, old: Path, new: Path) -> None:
        """Rename, durably."""
        old.rename(new)
        self.sync_folder(new.parent)

    def remove(self, path: Path) -> None:
        """Delete; nothing happens if it is not there."""
        path.unlink(missing_ok=True)

    def sync_folder(self, folder: Path) -> None:
        """Make the names in a folder durable."""
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def write_new(self, path: Path, pieces: Iterable[bytes]) -> None:
        """Write a whole file and sync it."""
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            for piece in pieces:
                view = memoryview(piece)
                while view:
                    view = view[os.write(fd, view) :]
            os.fsync(fd)
        finally:
            os.close(fd)

    def read(self, path: Path) -> Generator[bytes, None, None]:
        """A file in pieces; a place that the disk does not give back is zeros."""
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            size, at = os.fstat(fd).st_size, 0
            while at < size:
                want = min(PIECE, size - at)
                try:
                    piece = os.pread(fd, want, at)
                except OSError:
                    piece = bytes(want)
                if not piece:
                    return
                yield piece
                at += len(piece)
        finally:
            os.close(fd)

    def renew(self, path: Path) -> None:
        """Put a fresh copy in the place of a file, so that all that can be read of it is really on disk.

        After an fsync that failed, Linux calls the pages clean that never reached the disk: another fsync of the
        same file succeeds and proves nothing. What the cache still has of it, a new file gets to the disk.
        """
        if not path.exists():
            return
        fresh = path.with_name(path.name + "-renewed")
        try:
            with contextlib.closing(self.read(path)) as pieces:
                self.write_new(fresh, pieces)
            self.rename(fresh, path)
        except BaseException:
            with contextlib.suppress(OSError):
                self.remove(fresh)
            raise


SYSTEM = StoreFiles()
"""The system's own."""
