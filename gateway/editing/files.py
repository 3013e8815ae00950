"""The files of a configuration on disk: read as one, named by a hash, written so that each is old or new and whole."""

from __future__ import annotations

import contextlib
import hashlib
import os
import pwd
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from gateway.config.load import MAX_FILE, is_config
from gateway.errors import OnpathError

TEMPORARY: Final = ".onpath-new"
"""Ends the name of a file that is being written; hidden, so that no loader takes it."""
MAX_FILES: Final = 1000
_NEW_MODE: Final = 0o640

Texts = Mapping[str, bytes]
"""What is in each file, by name."""
Pieces = Mapping[str, bytes | None]
"""What is to be in some of the files; None for none."""


class BadRequestError(OnpathError):
    """What was asked makes no sense."""


class NameRefusedError(BadRequestError):
    """No file of the configuration may be called like this."""


class NotWritableError(OnpathError):
    """The configuration cannot be changed from here; the text says why, and how else."""


def digest(texts: Texts) -> str:
    """A hash over names and texts."""
    total = hashlib.sha256()
    for name in sorted(texts):
        for part in (name.encode(), texts[name]):
            total.update(b"%d:" % len(part))
            total.update(part)
    return total.hexdigest()[:32]


class ConfigFiles:
    """The file or the folder that a gateway is configured by."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def folder(self) -> bool:
        """Whether several files are merged."""
        return self.path.is_dir()

    def read(self) -> dict[str, bytes]:
        """All of it, in the order of merging.

        Raises:
            OnpathError: it cannot be read.
        """
        try:
            if not self.folder:
                return {self.path.name: _content(self.path)}
            return {name: _content(self.path / name) for name in self._names()}
        except OSError as error:
            raise OnpathError(f"{error.filename or self.path}: cannot be read: {error.strerror}") from None

    def _names(self) -> list[str]:
        return sorted(one.name for one in self.path.iterdir() if is_config(one.name) and not one.is_dir())

    def check_names(self, names: Iterable[str]) -> None:
        """Refuse names that would lead elsewhere, or that no loader would read.

        Raises:
            NameRefusedError: for the first of them.
        """
        names = list(names)
        if len(names) > MAX_FILES:
            raise NameRefusedError(f"more than {MAX_FILES} files")
        if not self.folder and names != [self.path.name]:
            raise NameRefusedError(f"the configuration is the one file {self.path.name}; it cannot have others")
        for name in names:
            plain = name.isprintable() and "/" not in name and len(os.fsencode(name)) <= 200
            if self.folder and not (plain and is_config(name)):
                raise NameRefusedError(
                    f"{name[:80]!r} is no name for a file of the configuration: *.yaml or *.yml in the folder itself"
                )

    def why_not(self) -> str:
        """Why nothing can be written here, with what to do instead; empty if it can."""
        spot = self._spot()
        try:
            read_only = bool(os.statvfs(spot).f_flag & os.ST_RDONLY)
        except OSError as error:
            return f"{spot}: {error.strerror}"
        if not self.folder and not stat.S_ISREG(self.path.stat().st_mode):
            return f"{self.path} is no regular file"
        if read_only:
            return (
                f"{spot} is read-only for the gateway (ProtectSystem=strict of its unit, or how it is mounted). "
                f"{self.instead()} To let the gateway write: sudo systemctl edit onpath, and below [Service] "
                f"ReadWritePaths={spot}"
            )
        if not os.access(spot, os.W_OK | os.X_OK):
            user = _user()
            return (
                f"the gateway's user, {user}, may not write to {spot}. {self.instead()} To let the gateway write: "
                f"sudo chown -R :{user} {spot} && sudo chmod -R g+rwX {spot}"
            )
        return ""

    def instead(self) -> str:
        """What a person can do who may write."""
        return f"Save the text as a file and run: {self.command()}."

    def command(self) -> str:
        """The command line that does the same as somebody who may write."""
        return f"sudo onpath config apply -c {self.path} FILE"

    def _spot(self) -> Path:
        """The folder that is written to."""
        return self.path if self.folder else self.path.resolve().parent

    def put(self, pieces: Pieces) -> None:
        """Write files, each whole or not at all, and remove those that are None.

        All are on disk under temporary names before the first takes its place; what goes, goes last. Mode and owner of
        a file stay; a new one has those of its neighbours.

        Raises:
            NotWritableError: nothing was changed, or not all (a disk that fails in the middle).
        """
        written: list[tuple[Path, Path]] = []
        try:
            for name, text in pieces.items():
                if text is not None:
                    target = (self.path / name if self.folder else self.path).resolve()
                    temporary = target.with_name(f".{target.name}{TEMPORARY}")
                    written.append((temporary, target))
                    _write(temporary, text, self._like(target))
            for temporary, target in written:
                temporary.rename(target)
            for name, text in pieces.items():
                if text is None and self.folder:
                    (self.path / name).unlink(missing_ok=True)
            for folder in {target.parent for _, target in written} | {self._spot()}:
                _sync(folder)
        except OSError as error:
            raise NotWritableError(f"{error.filename or self.path}: cannot be written: {error.strerror}") from error
        finally:
            for temporary, _ in written:
                with contextlib.suppress(OSError):
                    temporary.unlink(missing_ok=True)

    def _like(self, target: Path) -> os.stat_result | None:
        """Whose mode and owner a file gets."""
        neighbours = [self.path / name for name in self._names()] if self.folder else []
        for one in (target, *neighbours):
            with contextlib.suppress(OSError):
                return one.stat()
        return None


def _user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def _content(file: Path) -> bytes:
    with file.open("rb") as stream:
        return stream.read(MAX_FILE + 1)


def _write(path: Path, text: bytes, like: os.stat_result | None) -> None:
    path.unlink(missing_ok=True)  # of a process that was killed
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(text)
        file.flush()
        if like is not None:
            for owner, group in ((like.st_uid, like.st_gid), (-1, like.st_gid)):
                with contextlib.suppress(PermissionError):  # who is not root keeps what he may
                    os.fchown(fd, owner, group)
                    break
        os.fchmod(fd, _NEW_MODE if like is None else stat.S_IMODE(like.st_mode))
        os.fsync(fd)


def _sync(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
