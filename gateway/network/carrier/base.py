"""The contract of what carries the network between nodes. A leaf.

Five things: streams of messages that stay until they are purged, keys with revisions, blobs, words to whoever listens
now, and nothing else. Everything the network promises is built of them (leases and fences: compare-and-set).

Subjects and keys are words between slashes; a word is any printable text without a slash, not empty. A pattern is a
subject in which ``*`` stands for one word and ``**``, at the end only, for one word or more.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final, NamedTuple, Protocol

from gateway.errors import OnpathError

MAX_PAYLOAD: Final = 8 * 2**20
"""Bytes of one message or value; blobs have no bound."""
DUPLICATES_S: Final = 2 * 3600.0
"""A message id that was seen within this time is a double, and stored once."""
UP: Final = "up"
"""First word of what goes from node to node: kept until its reader purges it."""
OUT: Final = "out"
"""First word of results: kept by age, read by anybody."""
OUT_S: Final = 7 * 86_400.0
BUCKETS: Final[dict[str, float]] = {
    "nodes": 90.0,
    "directories": 30 * 86_400.0,
    "services": 0.0,
    "plan": 0.0,
    "lease": 0.0,
    "snapshots": 0.0,
    "asks": 0.0,
    "facts": 0.0,
}
"""Where keys stand, and how long one stays that nobody writes again, s; 0: for ever."""


class ConflictError(OnpathError):
    """Somebody else has written the key: its revision is not the one that was expected."""


class CarrierError(OnpathError):
    """The carrier cannot be reached, or refuses; nothing is known of what was asked for."""


class Message(NamedTuple):
    """One message of a stream, or a word (then without a number)."""

    subject: str
    payload: bytes
    seq: int = 0
    """Grows along the stream; other subjects' messages take numbers as well."""


class Entry(NamedTuple):
    """A key as it stands."""

    key: str
    value: bytes | None
    """None: the key was deleted."""
    revision: int
    """Grows with each change of the key, and never comes back to a value it had."""


class Carrier(Protocol):
    """One node's way to the carrier; all methods but ``open`` and ``close`` may run side by side.

    A lost connection is made again by the carrier itself: what was called meanwhile raises :class:`CarrierError`,
    while ``consume``, ``watch`` and ``hear`` go on by themselves, without a hole (but for ``hear``).
    """

    url: str

    async def open(self) -> None:
        """Connect and make what is missing.

        Raises:
            CarrierError: it cannot be.
        """

    async def close(self) -> None:
        """Let go; iterators end. Never fails."""

    @property
    def up(self) -> bool:
        """Whether it is connected now."""

    async def publish(self, subject: str, payload: bytes, message_id: str = "") -> int:
        """Append a message; it is durable when this returns. Its seq, of a double that of the first.

        Raises:
            CarrierError: whether it was stored is not known; publish it again under the same id.
        """

    def consume(self, pattern: str, after: int = 0) -> AsyncIterator[list[Message]]:
        """All messages that a pattern takes with a seq above ``after``, in order, some at once; waits for more.

        The pattern begins with ``up`` or ``out``. After a lost connection it goes on behind the last one given.
        """

    async def purge(self, pattern: str, upto: int) -> None:
        """Remove the messages that a pattern takes with a seq of at most ``upto``."""

    async def get(self, bucket: str, key: str) -> Entry | None:
        """The key as it stands, or None."""

    async def put(self, bucket: str, key: str, value: bytes, revision: int | None = None) -> int:
        """Write a key; its new revision.

        Args:
            bucket: one of :data:`BUCKETS`.
            key: which.
            value: what.
            revision: None: whatever stands there; 0: only if there is no such key; else only if it has this revision.

        Raises:
            ConflictError: it does not.
            CarrierError: whether it was written is not known.
        """

    async def delete(self, bucket: str, key: str, revision: int | None = None) -> None:
        """Remove a key, if it has the revision. That there is none is no error.

        Raises:
            ConflictError: it does not have the revision.
        """

    def watch(self, bucket: str, pattern: str = "**") -> AsyncIterator[list[Entry]]:
        """First all keys that there are (perhaps none), in one list; then changes as they come.

        Several changes of one key may be told as the last of them. What went by its age is not told.
        """

    async def put_blob(self, name: str, data: bytes) -> None:
        """Store data of any length under a name, in place of what was there."""

    async def get_blob(self, name: str) -> bytes | None:
        """What is stored under a name, or None."""

    async def delete_blob(self, name: str) -> None:
        """Remove it; that there is none is no error."""

    async def tell(self, subject: str, payload: bytes) -> None:
        """Say a word to whoever hears now; it may be lost."""

    def hear(self, pattern: str) -> AsyncIterator[Message]:
        """What is told from now on under subjects that a pattern takes; the newest 10,000 wait for a slow listener."""


def takes(pattern: str, subject: str) -> bool:
    """Whether a pattern takes a subject."""
    wanted, words = pattern.split("/"), subject.split("/")
    if wanted[-1] == "**":
        wanted.pop()
        if len(words) <= len(wanted):
            return False
        words = words[: len(wanted)]
    return len(wanted) == len(words) and all(w in {"*", word} for w, word in zip(wanted, words, strict=True))
