"""Batches that wait for the directory message which names their points. Bounded by number, bytes and time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from adapters.frame.source import Message

MAX_HELD: Final = 1000
MAX_BYTES: Final = 64 * 2**20
ASK_S: Final = 0.5
"""A directory that has not come by then is asked for; again after twice as long, and so on."""
LONGEST_S: Final = 30.0


@dataclass(slots=True)
class Held:
    """One batch."""

    message: Message
    """As it came last."""
    missing: str
    """The directory that it waits for."""
    since_s: float
    before: list[Message] = field(default_factory=list)
    """The same as it came before, each with a mark of its own by which it is to be acknowledged."""

    @property
    def messages(self) -> list[Message]:
        """All of it, in order."""
        return [*self.before, self.message]


@dataclass(slots=True)
class _Wanted:
    topic: str
    due_s: float
    pause_s: float = ASK_S


class Waiting:
    """What waits, in order. Times are those of the event loop, in seconds."""

    def __init__(self, patience_s: float, ask_s: float = ASK_S) -> None:
        """Begin with nothing; a directory is asked for after ``ask_s`` for the first time."""
        self._patience_s = patience_s
        self._ask_s = ask_s
        self._held: dict[bytes, Held] = {}
        """By payload: a broker may repeat what it has not got back."""
        self._nbytes = 0
        self._wanted: dict[str, _Wanted] = {}
        self.news = False
        """Whether a directory came since the last look."""

    def __len__(self) -> int:
        return len(self._held)

    def hold(self, message: Message, missing: str, since_s: float) -> None:
        """Keep a batch, which came at ``since_s``, until its directory comes."""
        before = self._held.get(message.payload)
        if before is None:
            self._nbytes += len(message.payload)
            self._held[message.payload] = Held(message, missing, since_s)
        else:
            repeats = before.before if message.mark == before.message.mark else before.messages
            self._held[message.payload] = Held(message, missing, before.since_s, repeats)
        self._wanted.setdefault(missing, _Wanted(message.topic, since_s + self._ask_s))

    def came(self, name: str) -> None:
        """A directory is known now."""
        self._wanted.pop(name, None)
        self.news = True

    def retry(self) -> list[Held]:
        """All that waits, to be read again; it does not wait any more."""
        self.news = False
        held, self._held, self._nbytes = self._held, {}, 0
        return list(held.values())

    def ask(self, now_s: float) -> Iterator[tuple[str, str]]:
        """(topic, hash) of directories that should have come by now."""
        needed = {one.missing for one in self._held.values()}
        self._wanted = {name: wanted for name, wanted in self._wanted.items() if name in needed}
        for name, wanted in self._wanted.items():
            if now_s >= wanted.due_s:
                wanted.pause_s = min(2 * wanted.pause_s, LONGEST_S)
                wanted.due_s = now_s + wanted.pause_s
                yield wanted.topic, name

    def given_up(self, now_s: float) -> list[Held]:
        """What has waited too long, or is too much; it is not acknowledged, and the broker has it still."""
        gone: list[Held] = []
        for key, one in list(self._held.items()):
            full = len(self._held) > MAX_HELD or self._nbytes > MAX_BYTES
            if not full and now_s - one.since_s <= self._patience_s:
                break
            gone.append(self._held.pop(key))
            self._nbytes -= len(key)
        return gone
