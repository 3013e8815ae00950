"""A job at one node: what comes from links below and from the parent above, and what goes out. No I/O, no clock.

The same at all nodes; one without a parent is the root, which knows when a sum is whole. A round that is whole
everywhere ends those before it, for a worker begins no round before it has the result of the last.
"""

from __future__ import annotations

from functools import reduce
from operator import or_

import numpy as np

from gateway.errors import PayloadError
from gateway.reduction import codec
from gateway.reduction.codec import ALL, Hello, Kind, Need, Part, Result
from gateway.reduction.counts import Counts
from gateway.reduction.links import Link, Sender
from gateway.reduction.slot import Round
from gateway.reduction.terms import Integers, ReductionError, Terms

ROUNDS = 3
"""Kept at a node: the last that is whole, the one under way, and one that a faster worker is in."""


class Job:
    """Rounds, links and the way up of one job."""

    def __init__(self, terms: Terms, *, root: bool, counts: Counts) -> None:
        self.terms = terms
        self.root = root
        self.ready = False
        self.links: list[Link] = []
        self.rounds: dict[int, Round] = {}
        self.whole = 0
        """The last round of which every result is here."""
        self.gone = 0
        """Bitmap of the workers that have said goodbye."""
        self._seen = 0
        self._parent: Sender | None = None
        self._counts = counts
        self._members = 0

    @property
    def members(self) -> int:
        """Bitmap of the workers below."""
        return self._members

    # links below

    def attach(self, link: Link, who: Hello) -> None:
        """Somebody has joined."""
        self.links.append(link)
        self._counts.fallbacks += who.place > 0
        self.gone &= ~link.members
        self._membership()
        if self.ready:
            link.send(codec.message(Kind.READY))

    def detach(self, link: Link) -> None:
        """A link is gone; who was below it may come back another way."""
        self.links.remove(link)
        self._membership()

    def _membership(self) -> None:
        before, self._members = self._members, 0
        for link in self.links:
            self._members |= link.members
        if self._members == before:
            return
        self._seen |= self._members
        self._up(codec.message(Kind.MEMBERS, codec.bitmap(self._members)))
        if self.root and self._members == self.terms.everyone:
            self._get_ready()
        self._advance_all()

    def goodbye(self, workers: int) -> None:
        """For these the job is over."""
        self.gone |= workers
        self._up(codec.message(Kind.BYE, codec.bitmap(workers)))

    @property
    def over(self) -> bool:
        """Whether nobody will come back: all have said goodbye, of the job or, at a node, of those that were here."""
        return not (self.terms.everyone if self.root else self._seen) & ~self.gone

    def _get_ready(self) -> None:
        if not self.ready:
            self.ready = True
            self._down(codec.message(Kind.READY))

    def received(self, link: Link, kind: Kind, body: bytes) -> None:
        """A message from below.

        Raises:
            PayloadError: it is not what may come from there.
            ReductionError: it cannot be served.
        """
        value = codec.read(kind, body)
        match kind:
            case Kind.PART:
                self._part(link, value)
            case Kind.RESULT:
                self._result_from_below(value)
            case Kind.MEMBERS if link.worker is None:
                link.members = value & self.terms.everyone
                self._membership()
            case Kind.BYE:
                self.goodbye(value & self.terms.everyone)
            case _:
                raise PayloadError("malformed", f"{kind.name} from below")

    def _part(self, link: Link, part: Part) -> None:
        values = self._checked(link, part)
        round_ = self._round(part.round)
        self._counts.parts += 1
        if round_ is None and link.worker is None:  # a node that was cut off for long says what it still has
            self._counts.repeats += 1
            return
        if round_ is None:
            raise ReductionError(
                f"job {self.terms.name}: round {part.round} is over, it is at {max(self.rounds)}: "
                "a run that begins anew takes another name"
            )
        slot = round_.slots[part.slot]
        if slot.result is not None:
            link.send(slot.result)
            return
        if part.direct and not self.root and not part.workers & ~slot.sent_workers:
            self._up(codec.part(part))
            return
        self._counts.repeats += not part.workers & ~slot.workers
        lacking = slot.take(part.workers, values)
        if lacking:
            self._counts.overlaps += 1
            link.send(codec.need(Need(part.round, part.slot, lacking, lacking)))
        self._advance(round_, part.slot)
        new, round_.came = part.workers & ~round_.came, round_.came | part.workers
        if new and min(self.rounds) < part.round:
            self._advance_all()

    def _checked(self, link: Link, part: Part) -> Integers:
        """The sums, if they can be: the right number, of these workers, and not larger than they may be."""
        terms = self.terms
        if not part.round or part.slot >= terms.slots:
            raise PayloadError("malformed", f"slot {part.slot} of round {part.round}")
        if not part.workers or part.workers & ~terms.everyone:
            raise PayloadError("malformed", "a bitmap of nobody, or of more workers than there are")
        if link.worker is not None and part.workers != 1 << link.worker:
            raise PayloadError("malformed", f"worker {link.worker} speaks for others")
        values = codec.read_values(part.values, terms.size(part.slot), packed=terms.packed)
        most = terms.most(part.workers.bit_count())
        if int(values.max()) > most or int(values.min()) < -most:
            raise PayloadError("range", f"a sum of {part.workers.bit_count()} workers is above {most}")
        return values

    def _round(self, number: int) -> Round | None:
        """The round; begun if it is new, None if it is over.

        Raises:
            ReductionError: it cannot have begun.
        """
        found = self.rounds.get(number)
        if found is None:
            if self.root and self.whole and number > self.whole + 2:
                raise ReductionError(f"job {self.terms.name}: round {number}, and round {self.whole} was the last")
            if number < self.whole or (len(self.rounds) >= ROUNDS and number < min(self.rounds)):
                return None
            if len(self.rounds) >= ROUNDS:
                del self.rounds[min(self.rounds)]
            found = self.rounds[number] = Round(number, self.terms)
        return found

    # what is whole

    def _advance_all(self) -> None:
        for round_ in list(self.rounds.values()):
            for at, _ in round_.open:
                self._advance(round_, at)

    def _advance(self, round_: Round, at: int) -> None:
        """Send a slot up, or finish it, if all that can be expected here is in it."""
        slot = round_.slots[at]
        if slot.result is not None or not slot.open_workers:
            return
        if self.root:
            if slot.open_workers == self.terms.everyone:
                self._complete(round_, at)
        elif self._parent is not None and self.ready and not self._expected(round_) & ~slot.workers:
            self._send_up(round_, at)

    def _send_up(self, round_: Round, at: int) -> None:
        self._say_up(round_, at, *round_.slots[at].send())

    def _say_up(self, round_: Round, at: int, workers: int, sums: Integers) -> None:
        self._up(codec.part(Part(round_.number, at, False, workers, codec.values(sums, packed=self.terms.packed))))

    def _expected(self, round_: Round) -> int:
        """Bitmap of the workers below that may still say something in a round: those that are in none after it."""
        expected = self._members
        for later in self.rounds.values():
            if later.number > round_.number:
                expected &= ~later.came
        return expected

    def _complete(self, round_: Round, at: int) -> None:
        total = round_.slots[at].total()
        if not self.terms.parameters:
            self._finish(round_, at, codec.values(total, packed=self.terms.packed_results))
            return
        before = self._round(round_.number - 1)
        if before is None or (known := before.slots[at].result) is None:
            if before is not None and not before.asked:
                self._ask(before, self._members & -self._members)
            return
        weights = np.frombuffer(result_values(known), "<f8")
        self._finish(round_, at, self.terms.applied(weights, total).astype("<f8").tobytes())

    def _ask(self, round_: Round, workers: int) -> None:
        """Have somebody below tell the result of a round."""
        round_.asked = True
        self._down(codec.need(Need(round_.number, ALL, workers, 0)))

    def _finish(self, round_: Round, at: int, values: bytes | memoryview) -> None:
        told = codec.result(Result(round_.number, at, values))
        round_.slots[at].finish(told)
        round_.left -= 1
        if round_.number:  # what all begin with needs no telling
            self._down(told)
        if not round_.left:
            self._counts.rounds += 1
            self.whole = max(self.whole, round_.number)
            for number in [number for number in self.rounds if number < self.whole]:
                del self.rounds[number]
        following = self.rounds.get(round_.number + 1)
        if self.root and self.terms.parameters and following is not None:
            self._advance(following, at)

    def _result_from_below(self, result: Result) -> None:
        self._check_result(result)
        round_ = self.rounds.get(result.round)
        if round_ is not None and round_.slots[result.slot].result is not None:
            return
        if not self.root:
            self._up(codec.result(result))
        elif round_ is not None and round_.asked:
            self._finish(round_, result.slot, result.values)

    def _check_result(self, result: Result) -> None:
        if result.slot >= self.terms.slots:
            raise PayloadError("malformed", f"result of slot {result.slot}")
        codec.check_values(result.values, self.terms.size(result.slot), packed=self.terms.packed_results)

    # the way up

    def parent_up(self, send: Sender) -> None:
        """There is a parent, perhaps another: it is told everything that is not whole."""
        self._parent = send
        self._up(codec.message(Kind.MEMBERS, codec.bitmap(self._members)))
        for round_ in self.rounds.values():
            for at, slot in round_.open:
                if (sent := slot.sent()) is not None:
                    self._say_up(round_, at, *sent)
        self._advance_all()

    def parent_down(self) -> None:
        """It is gone; what comes from below stays here."""
        self._parent = None

    @property
    def has_parent(self) -> bool:
        """Whether what is sent up goes somewhere."""
        return self.root or self._parent is not None

    def from_parent(self, kind: Kind, body: bytes) -> None:
        """A message from above.

        Raises:
            PayloadError: it is not what may come from there.
        """
        value = codec.read(kind, body)
        match kind:
            case Kind.READY:
                self._get_ready()
                self._advance_all()
            case Kind.RESULT:
                self._check_result(value)
                round_ = self._round(value.round)
                if round_ is not None and round_.slots[value.slot].result is None:
                    self._finish(round_, value.slot, value.values)
            case Kind.NEED:
                self._need(value)
            case _:
                raise PayloadError("malformed", f"{kind.name} from above")

    def _need(self, need: Need) -> None:
        """Tell results that are here; else hand on, and wake only those whose numbers do not wait here."""
        round_ = self.rounds.get(need.round)
        sent = 0
        if round_ is not None:
            asked = round_.slots if need.slot == ALL else round_.slots[need.slot : need.slot + 1]
            for slot in asked:
                sent |= slot.sent_workers
                if slot.result is not None:
                    self._up(slot.result)
            if all(slot.result is not None for slot in asked):
                return
        self._give_what_is_waited_for(need)
        for link in self.links:
            mine = need.wanted & (sent if link.worker is not None else ~0)
            link.send(codec.need(need._replace(wanted=mine & link.members)))

    def _give_what_is_waited_for(self, need: Need) -> None:
        """Send up what waits here only for workers whose links here are dead: the root has them by another way.

        Likewise all of rounds before, where those that are missing above are behind.
        """
        for round_ in self.rounds.values():
            expected = self._expected(round_) if round_.number == need.round else 0
            for at, slot in round_.open if round_.number <= need.round else ():
                asked = need.slot in {ALL, at} or round_.number < need.round
                if asked and slot.open_workers & need.missing and not expected & ~slot.workers & need.missing:
                    self._send_up(round_, at)

    def look(self) -> None:
        """Now and then, at the root: say what is missing, and ask again for what may have got lost on the way."""
        if not self.root:
            return
        everyone = self.terms.everyone
        if not self.ready:
            self._down(codec.need(Need(0, ALL, everyone & ~self._members, 0)))
        for round_ in list(self.rounds.values()):
            round_.age += 1
            if not round_.left or round_.age < 2:  # it has just begun
                continue
            lacking = [(at, everyone & ~slot.open_workers) for at, slot in round_.open]
            if round_.left == len(round_.slots):
                lacking = [(ALL, reduce(or_, (workers for _, workers in lacking)))]
            for at, missing in lacking:
                if missing:
                    round_.asked = True
                    self._ask_again(Need(round_.number, at, missing, missing))

    def _ask_again(self, need: Need) -> None:
        for link in self.links:  # who is connected here directly has not sent, or it would have come
            link.send(codec.need(need._replace(wanted=need.wanted & link.members if link.worker is None else 0)))

    def _up(self, data: bytes) -> None:
        if self._parent is not None:
            self._parent(data)

    def _down(self, data: bytes) -> None:
        for link in self.links:
            link.send(data)

    def refuse(self, why: str) -> None:
        """Tell everybody below that it cannot go on."""
        self._down(codec.message(Kind.REFUSED, why.encode()))

    def status(self) -> dict[str, object]:
        """As plain JSON types."""
        return {
            "workers": self.terms.workers,
            "length": self.terms.length,
            "ready": self.ready,
            "below": self._members.bit_count(),
            "parent": None if self.root else self._parent is not None,
            "round": max(self.rounds, default=0),
            "open": {str(number): self._progress(round_) for number, round_ in self.rounds.items() if round_.left},
        }

    @staticmethod
    def _progress(round_: Round) -> dict[str, int]:
        """Slots without a result, and the workers whose numbers are in at least one of them."""
        came = 0
        for _, slot in round_.open:
            came |= slot.workers
        return {"slots": round_.left, "workers": came.bit_count()}


def result_values(told: bytes) -> bytes:
    """The values in a RESULT message."""
    result: Result = codec.read(Kind.RESULT, memoryview(told)[codec.HEAD_BYTES :])
    return bytes(result.values)
