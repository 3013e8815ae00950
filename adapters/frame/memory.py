"""What the adapter must know after a restart: which records came, and what directory messages said.

Records are remembered when they are durable, and a second or so later; those of that second are known by the tokens
that were committed with them. So the memory never says of a record that it came though the disk has it not.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
import numpy as np

from adapters.frame.ledger import Ledger, Record
from gateway.errors import PayloadError

if TYPE_CHECKING:
    from adapters.base import Context, Tokens
    from gateway.batch import Batch

GATEWAYS: Final = "gateways"
"""Under it: JSON, (gateway, epoch) of all that something came from."""
MAX_DIRECTORIES: Final = 4096
"""Files of directory messages; those that came first are deleted."""


def token_of(record: Record) -> int:
    """A number of 64 bits for a record id; two of the same by chance need 2**32 records that a token is kept for."""
    text = f"{record.gateway}/{record.epoch}/{record.seq}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")


class Memory:
    """Of one adapter."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._folder = ctx.folder / "directories"
        self._ledger = Ledger()
        self._changed: set[tuple[str, int]] = set()
        self._known: set[tuple[str, int]] = set()
        self._recall()

    def _recall(self) -> None:
        try:
            self._known = set(msgspec.json.decode(self._ctx.recall(GATEWAYS) or b"[]", type=list[tuple[str, int]]))
        except (msgspec.DecodeError, UnicodeDecodeError):
            return
        for gateway, epoch in self._known:
            kept = self._ctx.recall(_key(gateway, epoch))
            if kept is not None:
                try:
                    self._ledger.load(gateway, epoch, kept)
                except PayloadError as error:
                    self._ctx.log.warning("what came from %s is forgotten: %s", gateway, error)

    def has(self, record: Record, batch: Batch) -> bool:
        """Whether the record is known to be durable; tokens are asked beside."""
        return self._ledger.has(record, 0 if batch.chain is None else batch.chain[0])

    def known(self, records: list[Record]) -> list[bool]:
        """Which of these the store has though the ledger may not know it yet."""
        found: list[bool] = self._ctx.known(self.tokens(records)).tolist()
        return found

    @staticmethod
    def tokens(records: list[Record]) -> Tokens:
        """What names them to the store."""
        return np.array([token_of(record) for record in records], np.uint64)

    def add(self, gateway: str, batch: Batch) -> None:
        """A record is durable."""
        self._ledger.add(gateway, batch)
        self._changed.add((gateway, batch.epoch))

    def remember(self) -> None:
        """Hand what has changed to the store, to be written with a next commit."""
        for gateway, epoch in self._changed:
            self._ctx.remember(_key(gateway, epoch), self._ledger.encode(gateway, epoch))
        if not self._changed <= self._known:
            self._known |= self._changed
            self._ctx.remember(GATEWAYS, msgspec.json.encode(sorted(self._known)))
        self._changed.clear()

    def directories(self) -> list[bytes]:
        """The directory messages that are kept, the oldest first. Reads files."""
        if not self._folder.is_dir():
            return []
        files = sorted(self._folder.glob("*.frame"), key=lambda path: path.stat().st_mtime_ns)
        return [path.read_bytes() for path in files]

    def keep_directories(self, fresh: dict[str, bytes]) -> None:
        """Put directory messages on disk. Writes files."""
        self._folder.mkdir(0o700, parents=True, exist_ok=True)
        for name, payload in fresh.items():
            _write(self._folder / f"{name}.frame", payload)
        _sync(self._folder)
        files = sorted(self._folder.glob("*.frame"), key=lambda path: path.stat().st_mtime_ns)
        for path in files[:-MAX_DIRECTORIES]:
            path.unlink(missing_ok=True)


def _key(gateway: str, epoch: int) -> str:
    return f"came {gateway} {epoch}"


def _write(path: Path, payload: bytes) -> None:
    with path.with_suffix(".new").open("wb") as file:
        file.write(payload)
        file.flush()
        os.fsync(file.fileno())
    path.with_suffix(".new").replace(path)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
