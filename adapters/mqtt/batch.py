"""Messages on their way from the socket to the decoder."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Final
from zlib import adler32, crc32

import numpy as np

if TYPE_CHECKING:
    from adapters.base import Tokens
    from gateway.frame import Mask

_HIGH: Final = np.uint64(32)
_CRC: Final = np.uint64(0xFFFFFFFF)
_DATED: Final = np.uint64(1 << 63)
"""Apart from tokens with a packet id, which have 48 bits."""


class Batch:
    """Messages in columns, in the order of arrival."""

    __slots__ = (
        "marks",
        "nbytes",
        "oversize",
        "oversized",
        "owners",
        "packet_ids",
        "payloads",
        "properties",
        "repeated",
        "retained",
        "topics",
    )

    def __init__(self) -> None:
        self.topics: list[bytes] = []
        self.payloads: list[bytes] = []
        self.properties: list[bytes] | None = None
        """The properties of each message, without their length (:mod:`adapters.mqtt.properties`); None where
        nobody asked for them, or no message of the batch has any."""
        self.packet_ids: list[bytes] = []
        """Of the QoS 1 messages, oversize ones included."""
        self.owners: list[int] = []
        """Which message each packet id belongs to; -1 for an oversize one."""
        self.repeated: list[int] = []
        """Indexes of the packet ids that the broker sent before (DUP)."""
        self.retained: list[int] = []
        """Indexes of the messages that the broker had kept for new subscribers."""
        self.marks: list[tuple[int, int]] = []
        """(messages so far, arrival time of those since the mark before, UTC ns)."""
        self.oversize = 0
        """How many messages were too long."""
        self.oversized: list[tuple[bytes, int]] = []
        """Topic and size, in bytes, of the first of them."""
        self.nbytes = 0

    def __bool__(self) -> bool:
        return bool(self.topics or self.packet_ids or self.oversize)

    def tokens(self, dated: Mask | None = None) -> Tokens:
        """A number for each packet id, from the id, the topic and the payload; 0 for an oversize message.

        A broker repeats a message under its old packet id (3.1.1, 4.4), so that a repetition has the
        same number; that another message gets it too takes an id used again and a collision of checksums.
        Some brokers (nats-server when it repeats or has been restarted) take another id. Where a payload says its own
        time (``dated``, [messages]), equal topic and payload are the same sample, so the id is left out.
        """
        owners = np.array(self.owners, np.intp)
        whole = owners[owners >= 0]
        tokens = np.zeros(len(owners), np.uint64)
        if not len(whole):
            return tokens
        if len(whole) == len(self.topics):  # all have QoS 1: one id a message, in order
            topics, payloads = self.topics, self.payloads
        else:
            topics, payloads = [self.topics[i] for i in whole.tolist()], [self.payloads[i] for i in whole.tolist()]
        ids = np.frombuffer(b"".join(self.packet_ids), ">u2")[owners >= 0].astype(np.uint64) << _HIGH
        found = ids | np.fromiter(map(crc32, payloads, map(crc32, topics)), np.uint64, len(whole))
        if dated is not None and dated[whole].any():
            more = np.fromiter(map(adler32, payloads), np.uint64, len(whole)) << _HIGH
            found = np.where(dated[whole], (found & _CRC) | more | _DATED, found)
        tokens[owners >= 0] = found
        return tokens

    def without(self, known: AbstractSet[int], unanswered: AbstractSet[int]) -> Batch:
        """The batch less the messages of some packet ids, given by index.

        ``known`` ids stay and are acknowledged again; ``unanswered`` ones go as well.
        """
        return self.less({self.owners[i] for i in known | unanswered}, unanswered)

    def less(self, gone: AbstractSet[int], unanswered: AbstractSet[int] = frozenset()) -> Batch:
        """The batch less some messages, given by index; their packet ids stay, but for the ``unanswered``."""
        stay = [i for i in range(len(self.topics)) if i not in gone]
        place = {old: new for new, old in enumerate(stay)}
        ids = [i for i in range(len(self.packet_ids)) if i not in unanswered]
        number = {old: new for new, old in enumerate(ids)}
        batch = Batch()
        batch.topics = [self.topics[i] for i in stay]
        batch.payloads = [self.payloads[i] for i in stay]
        batch.properties = None if self.properties is None else [self.properties[i] for i in stay]
        batch.packet_ids = [self.packet_ids[i] for i in ids]
        batch.owners = [place.get(self.owners[i], -1) for i in ids]
        batch.repeated = [number[i] for i in self.repeated if i in number and batch.owners[number[i]] >= 0]
        batch.retained = [place[i] for i in self.retained if i in place]
        upto = np.cumsum([i not in gone for i in range(len(self.topics))]).tolist()
        batch.marks = [(upto[count - 1] if count else 0, time) for count, time in self.marks]
        batch.oversize, batch.oversized, batch.nbytes = self.oversize, self.oversized, self.nbytes
        return batch
