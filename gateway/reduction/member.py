"""One worker in one job: joins, sends what it has, waits for the result, and goes elsewhere if a node is dead.

Light: a worker imports it. Blocking, one thread at a time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import numpy as np

from gateway.errors import LinkError, PayloadError
from gateway.reduction import codec
from gateway.reduction.channel import Channel
from gateway.reduction.codec import ALL, Hello, Kind, Need, Result
from gateway.reduction.terms import WIRE, Integers, ReductionError, Terms

JOIN_S: Final = 2.0
"""Connect to welcome, at most."""
GOODBYE_S: Final = 1.0
PAUSE_S: Final = 0.1
"""After every address was tried in vain; doubled up to a second."""


class Times(NamedTuple):
    """How patient a worker is, in seconds."""

    dead_s: float = 5.0
    """A node that is silent for so long is taken for dead."""
    give_up_s: float = 600.0
    """A round that takes longer fails."""
    home_s: float = 30.0
    """How often a worker that fell back tries its first node again."""


class Member:
    """A worker's part in a job."""

    def __init__(
        self, addresses: Sequence[tuple[str, int]], terms: Terms, worker: int, token: str, times: Times
    ) -> None:
        terms.check()
        if not 0 <= worker < terms.workers:
            raise ReductionError(f"job {terms.name}: worker {worker} of {terms.workers}; they count from 0")
        self.terms = terms
        self.fallbacks = 0
        """How often it went to another node than its first."""
        self._worker = worker
        self._bit = 1 << worker
        self._addresses = addresses
        self._token = token
        self._times = times
        self._place = 0
        self._channel: Channel | None = None
        self._ready = False
        self._round = 0
        self._values = np.zeros(0, WIRE)
        self._result = np.zeros(0, WIRE)
        self._open: set[int] = set()
        """Slots of the round without a result."""
        self._last: tuple[int, Integers] | None = None
        self._missing = 0
        self._pinged = 0.0
        self._stuck_since: float | None = None
        self._home_at = 0.0
        self._bytes = 0

    @property
    def sent_bytes(self) -> int:
        """By all connections so far."""
        return self._bytes + (self._channel.sent if self._channel is not None else 0)

    def begin_with(self, result: Integers) -> None:
        """What holds before the first round, for a root that asks for it."""
        self._last = (0, result)

    def join(self) -> None:
        """Wait until all workers of the job are there.

        Raises:
            ReductionError: they do not come, or the job is refused.
        """
        self._until(lambda: self._ready, "not all of its workers have joined")

    def begin(self, values: Integers) -> None:
        """Begin a round, and send what this worker has.

        Raises:
            ReductionError: nobody takes it.
        """
        self._go_home()
        self._round += 1
        self._values, self._result = values, np.empty(self.terms.length, WIRE)
        self._open = set(range(self.terms.slots))
        self._missing = 0
        if self._channel is not None:
            self._send_slots(self._channel)
        self._until(lambda: self._channel is not None and not self._channel.waiting, "no node takes it")

    def finish(self) -> Integers:
        """Wait for the result of the round.

        Raises:
            ReductionError: it does not come.
        """
        self._until(lambda: not self._open, "no result")
        self._last = (self._round, self._result)
        return self._result

    @property
    def last(self) -> Integers:
        """The result of the last round, or what held before the first."""
        assert self._last is not None
        return self._last[1]

    def leave(self) -> None:
        """Say goodbye."""
        if self._channel is not None:
            self._channel.send(codec.message(Kind.BYE, codec.bitmap(self._bit)))
            self._bytes += self._channel.sent
            self._channel.finish(GOODBYE_S)
            self._channel = None

    def drop(self) -> None:
        """Forget the connection without a word: it belongs to another process."""
        self._channel = None

    # waiting

    def _until(self, done: Callable[[], bool], why: str) -> None:
        """Exchange messages until ``done``; go to another node when this one is dead."""
        deadline, pause = time.monotonic() + self._times.give_up_s, PAUSE_S
        said = ""
        if self._channel is not None:  # nobody has listened since the last call
            self._channel.heard, self._stuck_since = time.monotonic(), None
        while not done():
            if time.monotonic() > deadline:
                raise ReductionError(f"job {self.terms.name}: {self._complaint(why)}{said}")
            try:
                if self._channel is None:
                    self._attach()
                    pause = PAUSE_S
                    if done():
                        return
                self._step(deadline)
            except (LinkError, PayloadError) as error:
                said = f" ({error})"
                self._drop()
                self._place = (self._place + 1) % len(self._addresses)
                if self._place == 0:
                    time.sleep(pause)
                    pause = min(2 * pause, 1.0)

    def _complaint(self, why: str) -> str:
        where = f"round {self._round}: " if self._round else ""
        missing = [str(worker) for worker in range(self.terms.workers) if self._missing >> worker & 1]
        for_whom = f"; it waits for worker {', '.join(missing)}" if missing else ""
        return f"{where}{why} within {self._times.give_up_s:g} s{for_whom}"

    def _step(self, deadline: float) -> None:
        """Send and receive for a while; ask the node whether it lives."""
        channel, times = self._connected(), self._times
        now = time.monotonic()
        if now - self._pinged > times.dead_s / 3:
            channel.send(codec.message(Kind.PING))
            self._pinged = now
        for kind, body in channel.pump(min(times.dead_s / 3, deadline - now)):
            self._take(kind, body)
        now = time.monotonic()
        if now - channel.heard > times.dead_s:
            raise LinkError(f"{channel.name} is silent for {times.dead_s:g} s")
        if self._stuck_since is not None and now - self._stuck_since > times.dead_s:
            raise LinkError(f"{channel.name} has no way to the root")

    def _take(self, kind: Kind, body: bytes) -> None:
        value = codec.read(kind, body)
        match kind:
            case Kind.READY:
                self._ready = True
            case Kind.RESULT:
                self._took(value)
            case Kind.NEED:
                self._need(value)
            case Kind.PONG:
                self._stuck_since = None if value else self._stuck_since or time.monotonic()
            case Kind.REFUSED:
                self._drop()
                raise ReductionError(value)
            case _:
                raise PayloadError("malformed", f"{kind.name} from a node")

    def _took(self, result: Result) -> None:
        if result.round != self._round or result.slot not in self._open:
            return
        span, size, packed = self.terms.span(result.slot), self.terms.size(result.slot), self.terms.packed_results
        self._result[span] = codec.read_values(result.values, size, packed=packed)
        self._open.discard(result.slot)

    def _need(self, need: Need) -> None:
        """Somebody above lacks something: this worker's numbers, or a result that it has."""
        self._missing = need.missing
        channel, slots = self._connected(), range(self.terms.slots)
        asked = slots if need.slot == ALL else range(need.slot, min(need.slot + 1, len(slots)))
        known = self._known(need.round)
        for slot in asked:
            if need.round == self._round and slot in self._open:
                if need.wanted & self._bit:
                    self._send_slot(channel, slot, direct=True)
            elif known is not None and need.missing & self._bit:
                values = codec.values(known[self.terms.span(slot)], packed=self.terms.packed_results)
                channel.send(codec.result(Result(need.round, slot, values)))

    def _known(self, number: int) -> Integers | None:
        """The result of a round, as far as it is here: a root that began anew may have lost what it told."""
        if number == self._round and number:
            return self._result
        return self._last[1] if self._last is not None and number == self._last[0] else None

    def _send_slots(self, channel: Channel) -> None:
        for slot in sorted(self._open):
            self._send_slot(channel, slot)

    def _send_slot(self, channel: Channel, slot: int, *, direct: bool = False) -> None:
        values = codec.values(self._values[self.terms.span(slot)], packed=self.terms.packed)
        channel.send(codec.part_head(self._round, slot, self._bit, len(values), direct=direct), values)

    # joining

    def _connected(self) -> Channel:
        if self._channel is None:
            raise LinkError("not connected")
        return self._channel

    def _attach(self) -> None:
        """Join at the current address, and say again what is not whole."""
        self._channel = self._joined(self._place)
        self._stuck_since = None
        self._home_at = time.monotonic() + self._times.home_s
        self.fallbacks += self._place > 0
        self._send_slots(self._channel)

    def _joined(self, place: int) -> Channel:
        """Connected, and welcome.

        Raises:
            LinkError, PayloadError: no.
            ReductionError: refused for good.
        """
        channel = Channel(*self._addresses[place], min(JOIN_S, self._times.dead_s))
        try:
            nonce = codec.read_challenge(_next(channel, Kind.CHALLENGE))
            channel.send(codec.hello(Hello(self.terms, self._worker, place), self._token, nonce))
            _next(channel, Kind.WELCOME)
        except BaseException:
            channel.close()
            raise
        channel.most = codec.most_bytes(self.terms)
        return channel

    def _go_home(self) -> None:
        """Between rounds: back to the first address, if it is there again."""
        if self._place == 0 or self._channel is None or time.monotonic() < self._home_at:
            return
        self._home_at = time.monotonic() + self._times.home_s
        try:
            channel = self._joined(0)
        except (LinkError, PayloadError):
            return
        self._drop()
        self._channel, self._place, self._stuck_since = channel, 0, None

    def _drop(self) -> None:
        if self._channel is not None:
            self._bytes += self._channel.sent
            self._channel.close()
            self._channel = None


def _next(channel: Channel, wanted: Kind) -> bytes:
    """The body of the next message, which must be of this kind.

    Raises:
        LinkError: it does not come in time.
        ReductionError: it is a refusal.
    """
    until = time.monotonic() + JOIN_S
    while time.monotonic() < until:
        messages = channel.pump(until - time.monotonic())
        if messages:
            (kind, body), *rest = messages
            channel.put_back(rest)
            if kind is Kind.REFUSED:
                raise ReductionError(codec.read(kind, body))
            if kind is not wanted:
                raise PayloadError("malformed", f"{kind.name} instead of {wanted.name}")
            return body
    raise LinkError(f"{channel.name} does not answer")
