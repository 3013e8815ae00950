"""Receipts for gateways: which of their batches are on disk here. A pure codec.

A msgpack map, published below the topic that the batches came by: ``{"onpath": 1, "receipt": true, "gateway": str,
"epoch": int, "done": [seq, ...]}`` with at most 1,000 seqs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import msgpack

from adapters.frame.ledger import Record
from adapters.frame.topics import RECEIPT

MOST_DONE: Final = 1000


def receipts(done: Iterable[tuple[str, Record]], dot: str) -> Iterator[tuple[str, bytes]]:
    """(topic, payload) of the messages that say so; ``done`` are records by the topic that each came by."""
    together: dict[tuple[str, str, int], list[int]] = {}
    for topic, record in done:
        together.setdefault((topic, record.gateway, record.epoch), []).append(record.seq)
    for (topic, gateway, epoch), seqs in together.items():
        for start in range(0, len(seqs), MOST_DONE):
            body = {
                "onpath": 1, "receipt": True, "gateway": gateway, "epoch": epoch,
                "done": seqs[start : start + MOST_DONE],
            }  # fmt: skip
            yield f"{topic}{dot}{RECEIPT}", bytes(msgpack.packb(body))
