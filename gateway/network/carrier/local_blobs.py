"""Blobs of the carrier in a folder: a file each, put in its place whole and synced. Synchronous, for a thread."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import time
from pathlib import Path
from typing import Final
from urllib.parse import quote

from gateway.store.files import SYSTEM

FORGOTTEN_S: Final = 3600.0
"""What was being written so long ago, nobody writes any more."""
_LONG: Final = 150


class Blobs:
    """In a folder that they share with nothing else. Errors are ``OSError``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def _path(self, name: str) -> Path:
        quoted = quote(name, safe="")
        if len(quoted) > _LONG:
            quoted = quoted[:40] + "%" + hashlib.sha256(name.encode()).hexdigest()
        return self._folder / f"{quoted}.blob"

    def open(self) -> None:
        """Make the folder; remove what a process that was killed has left."""
        self._folder.mkdir(0o700, parents=True, exist_ok=True)
        for path in self._folder.glob("*.new"):
            with contextlib.suppress(FileNotFoundError):
                if path.stat().st_mtime < time.time() - FORGOTTEN_S:
                    path.unlink()

    def put(self, name: str, data: bytes) -> None:
        """Store; durable when this returns."""
        path = self._path(name)
        new = self._folder / f"{os.getpid()}-{secrets.token_hex(8)}.new"
        try:
            SYSTEM.write_new(new, [data])
            SYSTEM.rename(new, path)
        finally:
            SYSTEM.remove(new)

    def get(self, name: str) -> bytes | None:
        """What is stored, or None."""
        try:
            return self._path(name).read_bytes()
        except FileNotFoundError:
            return None

    def delete(self, name: str) -> None:
        """Remove."""
        SYSTEM.remove(self._path(name))
        SYSTEM.sync_folder(self._folder)
