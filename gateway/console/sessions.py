"""Who has signed in, and one-time codes to do so. Lives on the event loop.

Of a session only the hash is kept, in memory and in ``<state>/console/sessions.json``, so that a restart of the
daemon signs nobody out.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import secrets
import time
from pathlib import Path
from typing import Final

import msgspec

from gateway.console.access import FOLDER, Role, private_folder, write_private
from gateway.tasks import in_thread

log = logging.getLogger(__name__)

IDLE_S: Final = 12 * 3600.0
"""A session that nobody uses for so long is over."""
LONGEST_S: Final = 30 * 86400.0
MOST: Final = 200
"""Sessions; the one not used for longest gives way."""
CODE_S: Final = 300.0
MOST_CODES: Final = 20


class Session(msgspec.Struct, kw_only=True):
    """One browser."""

    role: Role
    created: float
    """UTC s since 1970."""
    used: float
    stamp: str
    """Of the password at that time: another password ends it."""


class Sessions:
    """All of a daemon."""

    def __init__(self, state: Path) -> None:
        self._state = state
        self._path = state / FOLDER / "sessions.json"
        self._known: dict[str, Session] = {}
        self._codes: dict[str, float] = {}
        self._turn = asyncio.Lock()
        self._load()

    def _load(self) -> None:
        try:
            self._known = msgspec.json.decode(self._path.read_bytes(), type=dict[str, Session])
        except FileNotFoundError:
            pass
        except (OSError, msgspec.DecodeError) as error:
            log.warning("%s cannot be read; who had signed in has to do so again: %s", self._path, error)

    async def save(self) -> None:
        """Write what has begun and ended; losing it costs signing in again."""
        async with self._turn:
            content = msgspec.json.encode(self._known)
            try:
                await in_thread(self._write, content)
            except OSError as error:
                log.warning("%s: %s", self._path, error)

    def _write(self, content: bytes) -> None:
        private_folder(self._state, self._path.parent)
        write_private(self._state, self._path, content)

    def begin(self, role: Role, stamp: str) -> str:
        """A new session; its secret, which goes into the cookie. To be followed by :meth:`save`, as is ``end``."""
        secret, now = secrets.token_urlsafe(32), time.time()
        self._drop_old(now)
        while len(self._known) >= MOST:
            del self._known[min(self._known, key=lambda key: self._known[key].used)]
        self._known[_hash(secret)] = Session(role=role, created=now, used=now, stamp=stamp)
        return secret

    def find(self, secret: str, stamp: str) -> Session | None:
        """The session of a cookie, if it is one that lasts."""
        session, now = self._known.get(_hash(secret)), time.time()
        if session is None or session.stamp != stamp or self._over(session, now):
            return None
        session.used = now
        return session

    def end(self, secret: str) -> bool:
        """Sign out; whether that was a session."""
        return self._known.pop(_hash(secret), None) is not None

    def _drop_old(self, now: float) -> None:
        self._known = {key: session for key, session in self._known.items() if not self._over(session, now)}

    @staticmethod
    def _over(session: Session, now: float) -> bool:
        # a clock that was set back since must not make a session last for ever
        return not -60 < now - session.created < LONGEST_S or now - session.used > IDLE_S

    def code(self) -> str:
        """A code to sign in with, once, within the next five minutes."""
        code, now_s = secrets.token_urlsafe(32), time.monotonic()
        self._codes = {key: until_s for key, until_s in self._codes.items() if until_s > now_s}
        while len(self._codes) >= MOST_CODES:
            del self._codes[next(iter(self._codes))]
        self._codes[_hash(code)] = now_s + CODE_S
        return code

    def take_code(self, code: str) -> bool:
        """Whether this is such a code; it is none any more then."""
        return self._codes.pop(_hash(code), 0.0) > time.monotonic()


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
