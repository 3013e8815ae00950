"""Disks that fail, and disks whose power is cut: what SQLite and the store call goes through here on its way.

``Disk`` is an apsw VFS over the system's own and the :class:`~gateway.store.files.StoreFiles` that belongs to it. Each
call is counted, and may fail as it is told. ``PowerDisk`` notes besides what was written and not synced: after a cut,
any of it may be on the disk, in parts and in any order, sector by sector. Calls for shared memory do not pass through
apsw; they touch no disk.
"""

from __future__ import annotations

import errno
import itertools
import os
import random
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import apsw

from gateway.store.files import StoreFiles

SECTOR = 512
KINDS = ("open", "write", "sync", "truncate", "size", "read", "delete")
_NAMES = itertools.count()


def error(code: int) -> apsw.Error:
    """SQLite's own exception for an (extended) result."""
    return apsw.exception_for(code)


class PowerCutError(BaseException):
    """There is no process any more: nothing may catch it and go on."""


@dataclass
class Disk:
    """A VFS by name; ``before`` is asked before each call and raises what the call is to end with."""

    before: Callable[[str, str], None] = lambda _kind, _file: None
    calls: Counter[str] = field(default_factory=Counter)
    name: str = field(default_factory=lambda: f"disk-{os.getpid()}-{next(_NAMES)}")

    def __enter__(self) -> Self:
        self._vfs = _Vfs(self)
        self._hook = sys.unraisablehook
        sys.unraisablehook = self._unraisable
        return self

    def __exit__(self, *_: object) -> None:
        sys.unraisablehook = self._hook
        self._vfs.unregister()

    def _unraisable(self, found) -> None:
        """SQLite passes over some failures; those of ours are no news."""
        if not isinstance(found.exc_value, (PowerCutError, apsw.Error)):
            self._hook(found)

    @property
    def files(self) -> StoreFiles:
        return _Files(self.name, self)

    def call(self, kind: str, path: str) -> None:
        self.calls[kind] += 1
        self.before(kind, Path(path).name)

    # What a child wants to know besides
    def written(self, path: str, at: int, data: bytes) -> None: ...
    def cut_to(self, path: str, size: int) -> None: ...
    def synced(self, path: str) -> None: ...
    def opened(self, path: str) -> None: ...
    def removed(self, path: str) -> None: ...
    def renamed(self, old: str, new: str) -> None: ...
    def folder_synced(self) -> None: ...


class _Vfs(apsw.VFS):
    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        super().__init__(disk.name, "")

    def excepthook(self, *_error) -> None:
        """What nobody up there waits for."""

    def xOpen(self, name, flags):  # noqa: N802
        path = name.filename() if isinstance(name, apsw.URIFilename) else (name or "")
        self._disk.call("open", path)
        file = _File(self._disk, path, name, flags)
        self._disk.opened(path)
        return file

    def xDelete(self, path, sync_folder):  # noqa: N802
        self._disk.call("delete", path)
        super().xDelete(path, sync_folder)
        self._disk.removed(path)
        if sync_folder:
            self._disk.folder_synced()


class _File(apsw.VFSFile):
    def __init__(self, disk: Disk, path: str, name, flags) -> None:
        self._disk, self._path = disk, path
        super().__init__("", name, flags)

    def excepthook(self, *_error) -> None:
        """What nobody up there waits for."""

    def xRead(self, amount, offset):  # noqa: N802
        self._disk.call("read", self._path)
        return super().xRead(amount, offset)

    def xWrite(self, data, offset):  # noqa: N802
        self._disk.call("write", self._path)
        super().xWrite(data, offset)
        self._disk.written(self._path, offset, bytes(data))

    def xSync(self, flags):  # noqa: N802
        self._disk.call("sync", self._path)
        super().xSync(flags)
        self._disk.synced(self._path)

    def xTruncate(self, size):  # noqa: N802
        self._disk.call("truncate", self._path)
        super().xTruncate(size)
        self._disk.cut_to(self._path, size)

    def xFileSize(self):  # noqa: N802
        self._disk.call("size", self._path)
        return super().xFileSize()


@dataclass(frozen=True)
class _Files(StoreFiles):
    """The calls that the store makes by itself."""

    disk: Disk = field(default_factory=Disk)

    def touch(self, path: Path) -> None:
        there = path.exists()
        self.disk.call("os open", str(path))
        super().touch(path)
        if not there:
            self.disk.opened(str(path))

    def rename(self, old: Path, new: Path) -> None:
        self.disk.call("os rename", str(old))
        old.rename(new)
        self.disk.renamed(str(old), str(new))
        self.sync_folder(new.parent)

    def remove(self, path: Path) -> None:
        self.disk.call("os remove", str(path))
        super().remove(path)
        self.disk.removed(str(path))

    def sync_folder(self, folder: Path) -> None:
        self.disk.call("os sync folder", str(folder))
        super().sync_folder(folder)
        self.disk.folder_synced()

    def write_new(self, path: Path, pieces: Iterable[bytes]) -> None:
        content = b"".join(pieces)
        self.disk.call("os write", str(path))
        super().write_new(path, [content])
        self.disk.removed(str(path))
        self.disk.opened(str(path))
        self.disk.written(str(path), 0, content)
        self.disk.synced(str(path))


@dataclass
class Nth:
    """Fails the ``n``-th call of a kind (or of any, "*"), once or from then on."""

    n: int
    kind: str
    code: int
    forever: bool = False
    file: str = ""
    """Only calls for files whose name ends so."""
    seen: int = 0
    failed: int = 0
    healed: bool = False

    def __call__(self, kind: str, file: str) -> None:
        if self.kind not in {"*", kind} or not file.endswith(self.file) or self.healed:
            return
        self.seen += 1
        if self.seen == self.n or (self.forever and self.seen > self.n):
            self.failed += 1
            if kind.startswith("os"):
                number = _ERRNO.get(self.code, errno.EIO)
                raise OSError(number, os.strerror(number))
            raise error(self.code)


_ERRNO = {apsw.SQLITE_FULL: errno.ENOSPC, apsw.SQLITE_READONLY: errno.EROFS}


@dataclass
class Kept:
    """A file as a disk has it: what is certain, and what was written since the last sync, in order."""

    durable: bytearray = field(default_factory=bytearray)
    pending: list[tuple[int, bytes | None]] = field(default_factory=list)
    """(offset, data), or (size, None) where it was cut."""

    def sync(self) -> None:
        for at, data in self.pending:
            _apply(self.durable, at, data)
        self.pending.clear()

    def after_a_cut(self, chance: random.Random) -> bytes:
        """What the disk may hold: pieces of sectors that were on their way, in any order, or none of them."""
        content = bytearray(self.durable)
        pieces: list[tuple[int, bytes | None]] = []
        for at, data in self.pending:
            pieces += [(at, None)] if data is None else _sectors(at, data)
        likely = chance.choice((0.0, 0.2, 0.5, 0.8, 1.0))
        if chance.random() < 0.7:
            chance.shuffle(pieces)
        for at, data in pieces:
            if chance.random() < likely:
                torn = data is not None and chance.random() < 0.1
                _apply(content, at, data[: chance.randrange(len(data))] if torn else data)
        return bytes(content)


def _apply(content: bytearray, at: int, data: bytes | None) -> None:
    if data is None:
        del content[at:]
        return
    if len(content) < at:
        content.extend(bytes(at - len(content)))
    content[at : at + len(data)] = data


def _sectors(at: int, data: bytes) -> list[tuple[int, bytes]]:
    cuts = [at, *range((at // SECTOR + 1) * SECTOR, at + len(data), SECTOR), at + len(data)]
    return [(one, data[one - at : two - at]) for one, two in itertools.pairwise(cuts)]


@dataclass
class PowerDisk(Disk):
    """Keeps apart what is on the disk and what is on its way there. Names are durable in the order they changed."""

    names: dict[str, Kept] = field(default_factory=dict)
    """As the processes see it."""
    sure: dict[str, Kept] = field(default_factory=dict)
    """As the disk has it for certain."""
    changes: list[tuple[str, Kept | None]] = field(default_factory=list)

    @classmethod
    def over(cls, folder: Path) -> PowerDisk:
        """A disk that holds what a folder holds, all of it for certain."""
        disk = cls()
        for path in folder.iterdir():
            if not path.name.endswith("-shm"):
                disk.names[str(path)] = disk.sure[str(path)] = Kept(bytearray(path.read_bytes()))
        return disk

    def opened(self, path: str) -> None:
        if path not in self.names:
            self.names[path] = Kept()
            self.changes.append((path, self.names[path]))

    def written(self, path: str, at: int, data: bytes) -> None:
        self.names[path].pending.append((at, data))

    def cut_to(self, path: str, size: int) -> None:
        self.names[path].pending.append((size, None))

    def synced(self, path: str) -> None:
        self.names[path].sync()
        self.folder_synced()  # SQLite syncs the folder of a file it has made; what was renamed before goes with it

    def removed(self, path: str) -> None:
        if self.names.pop(path, None) is not None:
            self.changes.append((path, None))

    def renamed(self, old: str, new: str) -> None:
        kept = self.names[new] = self.names.pop(old)
        self.changes += [(new, kept), (old, None)]

    def folder_synced(self) -> None:
        _settle(self.sure, self.changes)
        self.changes.clear()

    def cut(self, folder: Path, chance: random.Random) -> None:
        """Fill an empty folder with what the disk may hold if the power fails now."""
        names = dict(self.sure)
        _settle(names, self.changes[: chance.randint(0, len(self.changes))])
        for path, kept in names.items():
            if not path.endswith("-shm"):
                (folder / Path(path).name).write_bytes(kept.after_a_cut(chance))


def _settle(names: dict[str, Kept], changes: Iterable[tuple[str, Kept | None]]) -> None:
    for path, kept in changes:
        if kept is None:
            names.pop(path, None)
        else:
            names[path] = kept


def copy_as_killed(folder: Path, to: Path) -> None:
    """What a killed process leaves: everything it has written, for the kernel holds it."""
    to.mkdir()
    for path in folder.iterdir():
        if path.is_file():
            shutil.copyfile(path, to / path.name)
