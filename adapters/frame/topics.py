"""Topics of batches, directories and receipts, in MQTT's words and in those of NATS. Pure text.

Batches come by T, their directory messages by ``T/directory/<hash>``, receipts go to ``T/receipt``. NATS writes the
same with dots.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from gateway.errors import FieldError

RECEIPT: Final = "receipt"
DIRECTORY: Final = "directory"
_WORDS = str.maketrans({"/": ".", "+": "*", "#": ">"})


def check_topic(path: tuple[str | int, ...], topic: str) -> None:
    """Refuse what is neither a topic filter nor a subject.

    Raises:
        FieldError: naming ``path``.
    """
    levels = topic.split("/") if "/" in topic else topic.split(".")
    wild = {"+", "*"}, {"#", ">"}
    if not all(levels) or any(c in topic for c in " \t\0") or topic.startswith("$"):
        raise FieldError(path, f"{topic!r} is not a topic filter")
    for number, level in enumerate(levels):
        if level in wild[1] and number < len(levels) - 1:
            raise FieldError(path, f"{topic!r}: {level} may only stand last")
        if len(level) > 1 and any(c in level for c in "+#*>"):
            raise FieldError(path, f"{topic!r}: {level!r} is no wildcard; it stands alone in a level")


def mqtt_filters(topics: Iterable[str]) -> list[str]:
    """What to subscribe to: the topics, and their directories."""
    return _with_directories(topics, "/", "+", "#")


def subjects(topics: Iterable[str]) -> list[str]:
    """The same for NATS, whichever way the topics are written."""
    return _with_directories([topic.translate(_WORDS) if "/" in topic else topic for topic in topics], ".", "*", ">")


def _with_directories(topics: Iterable[str], dot: str, one: str, rest: str) -> list[str]:
    found: list[str] = []
    for topic in topics:
        found.append(topic)
        if topic != rest and not topic.endswith(dot + rest):
            found.append(dot.join((topic, DIRECTORY, one)))
    return list(dict.fromkeys(found))


def is_receipt(topic: str, dot: str) -> bool:
    """Whether a message is a receipt, of us or of another receiver."""
    return topic == RECEIPT or topic.endswith(dot + RECEIPT)


def base_of(topic: str, dot: str) -> str:
    """The topic of the batches that a directory message belongs to."""
    levels: Sequence[str] = topic.split(dot)
    return dot.join(levels[:-2]) if len(levels) > 2 and levels[-2] == DIRECTORY else topic
