"""End to end: batches that were sent and that no receiver has confirmed yet.

A receiver that has batches durably publishes a msgpack map below the topic that it took them from: ``{"onpath": 1,
"receipt": true, "gateway": str, "epoch": int, "done": [seq, ...]}`` with at most 1,000 seqs. It confirms doubles again,
so that a lost receipt costs one repetition.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import msgspec

from gateway.batch import Batch
from gateway.frame import EMPTY

MOST: Final = 256
"""Batches that wait for a receiver; then nothing more is sent."""
LONGEST_S: Final = 3600.0
"""The wait doubles with each repetition, up to this: a receiver that is away for a day finds few of them."""
MOST_DONE: Final = 1000


class Receipt(msgspec.Struct):
    """A receipt as it travels."""

    onpath: int
    receipt: bool
    gateway: str
    epoch: int
    done: list[int]


_DECODER = msgspec.msgpack.Decoder(Receipt)


@dataclass(slots=True)
class _Waiting:
    batch: Batch
    due: float
    wait_s: float


class Receipts:
    """What waits for a receiver, of one link. Times are those of the event loop, in seconds."""

    def __init__(self, gateway: str, first_s: float, done: Callable[[Batch], None]) -> None:
        """Begin with nothing.

        Args:
            gateway: ours; receipts for others are no concern of ours.
            first_s: how long to wait before a batch is sent again for the first time.
            done: is called with each batch that is confirmed, once.
        """
        self._gateway = gateway
        self._first_s = first_s
        self._done = done
        self._waiting: dict[tuple[int, int], _Waiting] = {}
        """By epoch and seq."""
        self._parked: dict[tuple[int, int], Batch] = {}
        """Without what is in them."""

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def full(self) -> bool:
        """Whether nothing more should be sent before something is confirmed."""
        return len(self._waiting) >= MOST

    def sent(self, batch: Batch, now: float) -> None:
        """A batch goes out, perhaps again."""
        key = (batch.epoch, batch.seq)
        known = self._waiting.get(key)
        wait_s = self._first_s if known is None else min(2 * known.wait_s, max(LONGEST_S, self._first_s))
        self._waiting[key] = _Waiting(batch, now + wait_s, wait_s)

    def take(self, message: bytes) -> bool:
        """Read a receipt, and call ``done`` for what it confirms; false if it is none."""
        try:
            receipt = _DECODER.decode(message)
        except msgspec.DecodeError:
            return False
        if receipt.onpath != 1 or not receipt.receipt or len(receipt.done) > MOST_DONE:
            return False
        if receipt.gateway == self._gateway:
            for seq in receipt.done:
                waiting = self._waiting.pop((receipt.epoch, seq), None)
                parked = self._parked.pop((receipt.epoch, seq), None)
                batch = parked if waiting is None else waiting.batch
                if batch is not None:
                    self._done(batch)
        return True

    def park(self, batch: Batch) -> bool:
        """Wait for a batch without an end, and do not send it again; whether it still waited."""
        key = (batch.epoch, batch.seq)
        if self._waiting.pop(key, None) is None:
            return False
        self._parked[key] = replace(batch, frame=EMPTY, block=b"")  # there may be many
        return True

    @property
    def parked(self) -> int:
        """How many are parked."""
        return len(self._parked)

    @property
    def open(self) -> list[int]:
        """Seqs of all that is not confirmed, parked or not."""
        return [seq for _, seq in (*self._waiting, *self._parked)]

    def hasten(self, now: float, many: int | None = None) -> None:
        """So many (else all), the oldest first, are overdue: their receipts may be lost. The first wait comes again."""
        for waiting in list(self._waiting.values())[:many]:
            waiting.due, waiting.wait_s = now, self._first_s / 2

    def forget(self, batch: Batch) -> None:
        """A batch is given up: nobody will confirm it."""
        self._waiting.pop((batch.epoch, batch.seq), None)

    def waits(self, batch: Batch) -> bool:
        """Whether a batch is still not confirmed."""
        return (batch.epoch, batch.seq) in self._waiting

    def overdue(self, now: float) -> list[Batch]:
        """Batches whose time is over, to be sent again."""
        return [waiting.batch for waiting in self._waiting.values() if waiting.due <= now]
