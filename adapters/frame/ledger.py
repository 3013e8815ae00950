"""Which records came already, and which are missing: for each gateway and epoch, by chains. No I/O.

A chain is the rows of one uplink and pipeline (:data:`gateway.batch.Link`). A row that names the one before says that
there is none between, so that what came without a hole is one interval, however many rows it were. Records without a
chain, of an older gateway or of JSON from elsewhere, are kept one by one and prove nothing.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import msgpack

from gateway.batch import Batch, Loss
from gateway.errors import PayloadError

UNCHAINED: Final = 0
"""Number of the chain of records without one; real ones begin with 1."""
MAX_INTERVALS: Final = 20_000
"""Of one chain; beyond it the oldest is forgotten, and what lies in it would be taken for new."""
MAX_HOLES: Final = 10_000
MAX_ANNOUNCED: Final = 1_000


class Record(NamedTuple):
    """A record id."""

    gateway: str
    epoch: int
    seq: int


class Hole(NamedTuple):
    """A row that another one names and that did not come."""

    gateway: str
    epoch: int
    chain: int
    pipeline: str
    missing: int
    """Its seq; there may be more before it."""
    known_by: int
    """Seq of the row that names it."""
    since_s: float
    """When that came, by the caller's clock."""


class Seqs:
    """A set of integers as intervals, first and last included, ascending and not touching."""

    __slots__ = ("_firsts", "_lasts")

    def __init__(self, flat: list[int] | None = None) -> None:
        """Take over what :attr:`flat` once gave."""
        self._firsts = list(flat[0::2]) if flat else []
        self._lasts = list(flat[1::2]) if flat else []

    def __contains__(self, seq: int) -> bool:
        at = bisect_right(self._firsts, seq) - 1
        return at >= 0 and seq <= self._lasts[at]

    def __len__(self) -> int:
        """Number of intervals."""
        return len(self._firsts)

    @property
    def flat(self) -> list[int]:
        """First and last of each interval in turn."""
        return [seq for pair in zip(self._firsts, self._lasts, strict=True) for seq in pair]

    @property
    def first(self) -> int:
        """The lowest; 0 if there is none."""
        return self._firsts[0] if self._firsts else 0

    @property
    def last(self) -> int:
        """The highest; 0 if there is none."""
        return self._lasts[-1] if self._lasts else 0

    def add(self, first: int, last: int) -> None:
        """Add an interval; it may overlap and touch others."""
        low = bisect_right(self._lasts, first - 2)
        high = bisect_right(self._firsts, last + 1)
        if low < high:
            first, last = min(first, self._firsts[low]), max(last, self._lasts[high - 1])
        self._firsts[low:high] = [first]
        self._lasts[low:high] = [last]
        if len(self._firsts) > MAX_INTERVALS:
            del self._firsts[0], self._lasts[0]


@dataclass(slots=True)
class _Chain:
    seqs: Seqs = field(default_factory=Seqs)
    pipeline: str = ""
    holes: dict[int, tuple[int, float]] = field(default_factory=dict)
    """By the missing seq: which row names it, and when that came."""
    announced: list[tuple[int, int]] = field(default_factory=list)
    """Spans of rows that loss markers tell of."""


class Ledger:
    """What came, of all gateways. ``now_s`` is any clock of the caller's that only grows."""

    def __init__(self) -> None:
        self._chains: dict[tuple[str, int], dict[int, _Chain]] = {}

    def has(self, record: Record, chain: int = UNCHAINED) -> bool:
        """Whether the record came already."""
        found = self._chains.get((record.gateway, record.epoch), {}).get(chain)
        return found is not None and record.seq in found.seqs

    def add(self, gateway: str, batch: Batch, now_s: float = 0.0) -> None:
        """A record came."""
        number, prev = batch.chain or (UNCHAINED, 0)
        chains = self._chains.setdefault((gateway, batch.epoch), {})
        chain = chains.setdefault(number, _Chain())
        chain.pipeline = batch.pipeline
        chain.holes.pop(batch.seq, None)
        if 0 < prev < batch.seq:
            if prev not in chain.seqs and len(chain.holes) < MAX_HOLES:
                chain.holes[prev] = (batch.seq, now_s)
            # Nothing lies between the two, so that the interval may begin behind the one before
            chain.seqs.add(prev + 1, batch.seq)
        else:
            chain.seqs.add(batch.seq, batch.seq)
        if batch.loss is not None:
            self._announce(chain, batch.loss)

    @staticmethod
    def _announce(chain: _Chain, loss: Loss) -> None:
        if loss.first_seq is not None and loss.last_seq is not None:
            chain.announced.append((loss.first_seq, loss.last_seq))
            del chain.announced[:-MAX_ANNOUNCED]

    def holes(self) -> Iterator[Hole]:
        """What is missing, but for what a loss marker tells of and what lies before the first record that came."""
        for (gateway, epoch), chains in self._chains.items():
            for number, chain in chains.items():
                for missing, (known_by, since_s) in chain.holes.items():
                    told = any(first <= missing <= last for first, last in chain.announced)
                    if missing > chain.seqs.first and not told:
                        yield Hole(gateway, epoch, number, chain.pipeline, missing, known_by, since_s)

    def gateways(self) -> list[tuple[str, int]]:
        """Each (gateway, epoch) of which something came."""
        return list(self._chains)

    def encode(self, gateway: str, epoch: int) -> bytes:
        """What came of one of them, to be kept."""
        return bytes(
            msgpack.packb(
                {
                    number: [
                        chain.seqs.flat,
                        chain.pipeline,
                        {missing: known for missing, (known, _) in chain.holes.items()},
                        chain.announced,
                    ]
                    for number, chain in self._chains.get((gateway, epoch), {}).items()
                }
            )
        )

    def load(self, gateway: str, epoch: int, kept: bytes, now_s: float = 0.0) -> None:
        """Take over what :meth:`encode` once gave.

        Raises:
            PayloadError: ``bad-ledger``: it is damaged.
        """
        try:
            found: dict[int, Any] = msgpack.unpackb(kept, strict_map_key=False)
            self._chains[gateway, epoch] = {
                number: _Chain(
                    Seqs(flat),
                    pipeline,
                    {missing: (known, now_s) for missing, known in holes.items()},
                    [(first, last) for first, last in announced],
                )
                for number, (flat, pipeline, holes, announced) in found.items()
            }
        except (ValueError, TypeError, AttributeError, msgpack.UnpackException) as error:
            raise PayloadError("bad-ledger", str(error)) from error
