"""The judge: what was acknowledged to the devices against what arrived upstream. Pure, no I/O.

It reads two logs that the gateway has no hand in: the feeder's (``d07 42``: the broker acknowledged
message 42 of device d07) and the receiver's (one JSON line for each message that arrived, see
:class:`Arrival`). Every device message holds its number as the point ``d07/seq``, which passes through
a pipeline without steps, so that each acknowledged message must be found upstream exactly once.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec


class Arrival(msgspec.Struct, frozen=True, kw_only=True):
    """A line of the receiver's log: one message from upstream."""

    at: int
    """When it arrived, ns since 1970 UTC."""
    bytes: int
    """Size of its payload."""
    gateway: str = ""
    epoch: int | str = 0
    seq: int = 0
    """The record id: (gateway, epoch, seq)."""
    seqs: dict[str, list[int]] = {}
    """The numbers of device messages that it holds, by device."""
    malformed: bool = False
    """The payload is not a batch; the rest means nothing then."""


class Series:
    """A set of positive integers that costs memory for its gaps only."""

    def __init__(self) -> None:
        self._whole_to = 0
        self._beyond: set[int] = set()

    def add(self, number: int) -> bool:
        """Take it in; whether it is new."""
        if number in self:
            return False
        self._beyond.add(number)
        while self._whole_to + 1 in self._beyond:
            self._whole_to += 1
            self._beyond.remove(self._whole_to)
        return True

    def __contains__(self, number: int) -> bool:
        return number <= self._whole_to or number in self._beyond

    def __len__(self) -> int:
        return self._whole_to + len(self._beyond)

    @property
    def gaps(self) -> int:
        """How many numbers from 1 to the highest are missing."""
        return max(self._beyond, default=self._whole_to) - len(self)


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What the logs say."""

    acknowledged: int
    """Messages that the broker acknowledged to devices."""
    missing: int
    """Of these, those that never arrived."""
    gaps: int
    """Record numbers from 1 to the highest that never arrived; a state folder numbers without gaps."""
    doubled: int
    """Messages that arrived again under another record id."""
    redelivered: int
    """Records that arrived again under their own id: QoS 1 may do that, and the id removes them."""
    invented: int
    """Messages that arrived and that no device was acknowledged."""
    malformed: int
    """Messages from upstream that are not batches."""

    @property
    def lost(self) -> int:
        """Everything that should have arrived and did not."""
        return self.missing + self.gaps

    @property
    def clean(self) -> bool:
        """Nothing lost, doubled, invented or malformed."""
        return not (self.lost or self.doubled or self.invented or self.malformed)


def judge(acks: Iterable[str], arrivals: Iterable[str]) -> Verdict:
    """Compare the lines of the feeder's log with those of the receiver's.

    Raises:
        ValueError: a line is not what its writer writes (msgspec's errors are ValueErrors).
    """
    records: dict[tuple[str, Any], Series] = {}
    arrived: dict[str, Series] = {}
    doubled = redelivered = malformed = 0
    decode = msgspec.json.Decoder(Arrival).decode
    for line in arrivals:
        arrival = decode(line)
        if arrival.malformed:
            malformed += 1
        elif not records.setdefault((arrival.gateway, arrival.epoch), Series()).add(arrival.seq):
            redelivered += 1
        else:
            doubled += _take(arrived, arrival.seqs)
    acknowledged, missing, invented = _compare(acks, arrived)
    return Verdict(
        acknowledged=acknowledged,
        missing=missing,
        gaps=sum(series.gaps for series in records.values()),
        doubled=doubled,
        redelivered=redelivered,
        invented=invented,
        malformed=malformed,
    )


def _take(arrived: dict[str, Series], seqs: dict[str, list[int]]) -> int:
    """Note what a record holds; how much of it had come before."""
    again = 0
    for device, numbers in seqs.items():
        series = arrived.setdefault(device, Series())
        again += sum(not series.add(number) for number in numbers)
    return again


def _compare(acks: Iterable[str], arrived: dict[str, Series]) -> tuple[int, int, int]:
    """(acknowledged, missing, invented): each acknowledged message looked up among those that arrived."""
    acknowledged: dict[str, Series] = {}
    missing = found = 0
    for line in acks:
        device, seq = line.split()
        number = int(seq)
        if not acknowledged.setdefault(device, Series()).add(number):
            continue
        if device in arrived and number in arrived[device]:
            found += 1
        else:
            missing += 1
    return found + missing, missing, sum(map(len, arrived.values())) - found
