"""Who may sign in: the password and the tokens, as hashes, in ``<state>/console/access.json`` (0600).

A password is hashed by scrypt with a salt of its own. A token is 256 random bits, of which SHA-256 is kept: nobody
guesses that, so nothing slow is needed. The command line writes the file, the daemon reads it again when it changed.
"""

from __future__ import annotations

import contextlib
import enum
import fcntl
import hashlib
import hmac
import logging
import os
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from gateway.errors import OnpathError

log = logging.getLogger(__name__)

FOLDER: Final = "console"
FILE: Final = "access.json"
PREFIX: Final = "onp_"
"""Tokens begin with it, so that a scanner for leaked secrets finds them."""
_COST: Final = 1 << 15
"""scrypt: 32 MiB and some 80 ms of a core."""
_MEMORY: Final = 1 << 26
LEAST_PASSWORD: Final = 10
MOST_TOKENS: Final = 1000
_ALPHABET: Final = "abcdefghjkmnpqrstuvwxyz23456789"


class Role(enum.StrEnum):
    """What somebody may do."""

    READ = "read"
    """See everything but the configuration's text."""
    ADMIN = "admin"
    """All of it."""


class Hashed(msgspec.Struct, frozen=True, kw_only=True):
    """A password."""

    salt: bytes
    hash: bytes
    cost: int = _COST


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """A token."""

    hash: str
    role: Role
    created_ms: int


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """The file."""

    password: Hashed | None = None
    tokens: dict[str, Token] = {}


class Access:
    """The store of one state folder. Cheap to make; reads when it is asked."""

    def __init__(self, state: Path) -> None:
        self.folder = state / FOLDER
        self.path = self.folder / FILE
        self._state = state
        self._stored = Stored()
        self._read_at: tuple[int, int, int] | None = None
        self._by_hash: dict[str, tuple[str, Role]] = {}

    def stored(self) -> Stored:
        """What the file says now."""
        try:
            found = self.path.stat()
            at = (found.st_mtime_ns, found.st_size, found.st_ino)
            if at != self._read_at:
                self._take(msgspec.json.decode(self.path.read_bytes(), type=Stored))
                self._read_at = at
        except FileNotFoundError:
            if self._read_at is not None:
                self._take(Stored())
            self._read_at = None
        except (OSError, msgspec.DecodeError) as error:
            self._take(Stored())
            self._read_at = None
            log.warning("%s cannot be read, so nobody can sign in with what it says: %s", self.path, error)
        return self._stored

    def _take(self, stored: Stored) -> None:
        self._stored = stored
        self._by_hash = {token.hash: (name, token.role) for name, token in stored.tokens.items()}

    def token(self, text: str) -> tuple[str, Role] | None:
        """The name and role of a token, or None."""
        self.stored()
        return self._by_hash.get(_sha(text))

    def verify(self, password: str) -> bool:
        """Whether this is the password. Takes some 80 ms: call it in a thread."""
        hashed = self.stored().password
        if hashed is None:
            return False
        return hmac.compare_digest(_scrypt(password, hashed.salt, hashed.cost), hashed.hash)

    def stamp(self) -> str:
        """Changes with the password."""
        hashed = self.stored().password
        return "" if hashed is None else hashlib.sha256(hashed.salt + hashed.hash).hexdigest()

    def set_password(self, password: str) -> None:
        """Set it; whoever has signed in with another one has to sign in again.

        Raises:
            OnpathError: it is too short, or cannot be kept.
        """
        if len(password) < LEAST_PASSWORD:
            raise OnpathError(f"a password has at least {LEAST_PASSWORD} characters")
        salt = secrets.token_bytes(16)
        hashed = Hashed(salt=salt, hash=_scrypt(password, salt, _COST))
        with self._changing() as stored:
            self._write(msgspec.structs.replace(stored, password=hashed))

    def add_token(self, name: str, role: Role) -> str:
        """A new token; this is the only time that it can be seen.

        Raises:
            OnpathError: there is one of this name, or it cannot be kept.
        """
        text = PREFIX + secrets.token_urlsafe(32)
        token = Token(hash=_sha(text), role=role, created_ms=time.time_ns() // 1_000_000)
        with self._changing() as stored:
            if name in stored.tokens:
                raise OnpathError(f"there is a token {name!r} already; revoke it first")
            if len(stored.tokens) >= MOST_TOKENS:
                raise OnpathError(f"there are {MOST_TOKENS} tokens already")
            self._write(msgspec.structs.replace(stored, tokens={**stored.tokens, name: token}))
        return text

    def revoke(self, name: str) -> None:
        """Let a token go.

        Raises:
            OnpathError: there is none of this name, or the file cannot be written.
        """
        with self._changing() as stored:
            if name not in stored.tokens:
                raise OnpathError(f"there is no token {name!r}")
            kept = {key: token for key, token in stored.tokens.items() if key != name}
            self._write(msgspec.structs.replace(stored, tokens=kept))

    @contextlib.contextmanager
    def _changing(self) -> Iterator[Stored]:
        """What the file says, which nobody else changes while the block runs."""
        try:
            private_folder(self._state, self.folder)
            with (self.folder / "lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                give_to_owner(self._state, self.folder / "lock")
                self._read_at = None
                if self.path.exists() and self.stored() == Stored():
                    self.path.replace(self.path.with_suffix(".bad"))  # unreadable: not written over
                yield self._stored
        except OSError as error:
            raise OnpathError(f"{self.path}: {error.strerror}") from error

    def _write(self, stored: Stored) -> None:
        write_private(self._state, self.path, msgspec.json.format(msgspec.json.encode(stored)))


def random_password() -> str:
    """Twenty letters and digits that are not taken for each other: 99 bits."""
    groups = ("".join(secrets.choice(_ALPHABET) for _ in range(5)) for _ in range(4))
    return "-".join(groups)


def private_folder(state: Path, folder: Path) -> None:
    """Make a folder that only the owner of the state folder may enter."""
    state.mkdir(0o700, parents=True, exist_ok=True)
    folder.mkdir(0o700, exist_ok=True)
    give_to_owner(state, folder)


def write_private(state: Path, path: Path, content: bytes) -> None:
    """Exchange a file as a whole; only the owner of the state folder may read it."""
    fresh = path.with_name(path.name + ".new")
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    give_to_owner(state, fresh)
    fresh.replace(path)


def give_to_owner(state: Path, path: Path) -> None:
    """What root writes on the command line, the daemon's user must be able to read."""
    if os.geteuid() == 0:
        owner = state.stat()
        os.chown(path, owner.st_uid, owner.st_gid)


def _scrypt(password: str, salt: bytes, cost: int) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=cost, r=8, p=1, maxmem=_MEMORY, dklen=32)


def _sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
