"""Messages on their way from the socket to the decoder."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from zlib import crc32

import numpy as np
import numpy.typing as npt


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

    def tokens(self) -> npt.NDArray[np.uint64]:
        """A number for each packet id, from the id, the topic and the payload; 0 for an oversize message.

        A broker repeats a message under its old packet id (3.1.1, 4.4), so that a repetition has the
        same number; that another message gets it too takes an id used again and a collision of CRC-32.
        """
        owners = self.owners
        if not owners:
            return np.empty(0, np.uint64)
        ids = np.frombuffer(b"".join(self.packet_ids), ">u2").astype(np.uint64) << np.uint64(32)
        if len(owners) == len(self.topics) and -1 not in owners:  # all have QoS 1: one id a message, in order
            sums = np.fromiter(map(crc32, self.payloads, map(crc32, self.topics)), np.uint64, len(owners))
            return ids | sums
        whole = [owner for owner in owners if owner >= 0]
        topics, payloads = map(self.topics.__getitem__, whole), map(self.payloads.__getitem__, whole)
        tokens = np.zeros(len(owners), np.uint64)
        taken = np.array(owners, np.intp) >= 0
        tokens[taken] = ids[taken] | np.fromiter(map(crc32, payloads, map(crc32, topics)), np.uint64, len(whole))
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
