"""Who is in the sum of one slot: the rule that keeps it exact. Pure.

In a round each worker has one vector, and says the same however often it repeats it. So a sum is known by its bitmap,
and what is taken is decided by bitmaps alone:

* whoever is in it already adds nothing: a repeat;
* workers of whom none is in it are added;
* a sum that contains all that was added and not yet sent up takes its place;
* anything else overlaps. It is not taken, and the workers that are missing are asked to send by themselves.

So nobody is ever in a sum twice, whatever was sent twice, by whichever way, by a node that is gone.
"""

from __future__ import annotations

from gateway.reduction.terms import Integers, Terms


class Slot:
    """Sums of one slot at one node, of one round."""

    __slots__ = ("_open", "_sent", "open_workers", "result", "sent_workers")

    def __init__(self) -> None:
        self.open_workers = 0
        """Bitmap of those in the sum that stays here so far."""
        self.sent_workers = 0
        """Bitmap of those in what was sent up."""
        self.result: bytes | None = None
        """The RESULT message, once it is known; the sums are gone then."""
        self._open: Integers | None = None
        self._sent: Integers | None = None

    @property
    def workers(self) -> int:
        """All whose numbers are here."""
        return self.open_workers | self.sent_workers

    def take(self, workers: int, values: Integers) -> int:
        """Add a sum.

        Returns:
            The bitmap of those that were not taken though they are missing: 0 unless it overlaps.
        """
        known = self.workers
        if not workers & ~known:
            return 0
        if not workers & known:
            self._add(values)
        elif not workers & self.sent_workers and not self.open_workers & ~workers:
            self._open = values.copy()
        else:
            return workers & ~known
        self.open_workers |= workers
        return 0

    def _add(self, values: Integers) -> None:
        if self._open is None:
            self._open = values.copy()
        else:
            self._open += values

    def total(self) -> Integers:
        """What has been added and not sent."""
        assert self._open is not None
        return self._open

    def send(self) -> tuple[int, Integers]:
        """What has been added since the last time, with its bitmap; it counts as sent from now on."""
        workers, values = self.open_workers, self.total()
        self.sent_workers |= workers
        self.open_workers, self._open = 0, None
        self._sent = values if self._sent is None else self._sent + values
        return workers, values

    def sent(self) -> tuple[int, Integers] | None:
        """All that was sent, as one sum: for a parent that may not have it."""
        return None if self._sent is None else (self.sent_workers, self._sent)

    def finish(self, result: bytes) -> None:
        """The result is known."""
        self.result = result
        self._open = self._sent = None


class Round:
    """All slots of a round."""

    def __init__(self, number: int, terms: Terms) -> None:
        self.number = number
        self.slots = [Slot() for _ in range(terms.slots)]
        self.left = terms.slots
        """Slots without a result."""
        self.asked = False
        """A result may come from below: this root has lost it, or never had it."""
        self.came = 0
        """Bitmap of the workers that are in it: none of them will say anything more in the rounds before."""
        self.age = 0
        """Looks that found it not whole."""

    @property
    def open(self) -> list[tuple[int, Slot]]:
        """Slots that wait for their result."""
        return [(at, slot) for at, slot in enumerate(self.slots) if slot.result is None]
