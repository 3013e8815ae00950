"""The worker's side: starts no daemon and imports numpy and the standard library only.

    from gateway.reduction.client import Job, Reducer

    job = Job("training", worker=3, workers=8)
    with Reducer(["10.0.0.5:8440", "10.0.0.1:8440"], token="...") as reducer:
        for batch in batches:
            total = reducer.allreduce(gradient(batch), job)

Every call blocks until all workers of the job have made it. All of them get the same bits.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import numpy as np

from gateway.reduction.member import Member, Times
from gateway.reduction.terms import WIRE, Floats, ReductionError, Terms

__all__ = ["Job", "Numbers", "Parameters", "Reducer", "ReductionError"]


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """How numbers become integers; the same for all workers of a job."""

    scale: int = 30
    """Bits behind the binary point: a number is rounded to the nearest multiple of 2**-scale."""
    magnitude: int = 20
    """Bits before it: every number is below 2**magnitude, or is refused."""
    slot: int = 8192
    """Numbers that travel, and are added, together."""
    packed: bool = True
    """Sums travel in as few bits as they need, exactly; False: in 64 a number, which is less work at both ends."""


@dataclass(frozen=True)
class Job:
    """What is added, and who this worker is in it. A run that begins anew takes another name."""

    name: str
    worker: int
    """From 0."""
    workers: int
    numbers: Numbers = Numbers()


class Reducer:
    """Adds vectors with other workers, over nodes that each know their token.

    Args:
        addresses: ``host:port`` of nodes, the nearest first; when one is dead the next is taken, up to the root.
        token: what the nodes have as ``reduction.token``.
        dead_s: a node that is silent for so many seconds is taken for dead.
        give_up_s: a call that takes longer raises ReductionError.
        home_s: how often a worker that fell back tries the first address again.
    """

    def __init__(
        self,
        addresses: Sequence[str],
        *,
        token: str = "",
        dead_s: float = 5.0,
        give_up_s: float = 600.0,
        home_s: float = 30.0,
    ) -> None:
        if not addresses:
            raise ReductionError("no address of a node is given")
        self._addresses = [_address(text) for text in addresses]
        self._token = token
        self._times = Times(dead_s, give_up_s, home_s)
        self._members: dict[Job, Member] = {}
        self._process = os.getpid()
        self._fallbacks = self._sent = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def allreduce(self, vector: Any, job: Job) -> Floats:
        """The sum of what all workers of the job give in this round; in the vector's shape.

        Raises:
            ReductionError: a number is too large, the job is refused, or workers stay away.
        """
        real = np.asarray(vector, dtype=np.float64)
        member = self._member(job, real.size)
        scaled = member.terms.scaled(real)
        member.join()
        member.begin(scaled)
        return member.terms.real(member.finish()).reshape(real.shape)

    def parameters(self, weights: Any, job: Job, *, rate: float) -> Parameters:
        """Weights that the root keeps: each round it takes ``rate`` times the sum of what was pushed from them.

        Args:
            weights: what they are at first, the same for all workers.
            job: of its own, not one of :meth:`allreduce`.
            rate: of the sum, which is that of all workers.

        Raises:
            ReductionError: the job is refused, or workers stay away.
        """
        first = np.asarray(weights, dtype=np.float64)
        digest = zlib.crc32(first.astype("<f8").tobytes())
        member = self._member(job, first.size, rate=rate, digest=digest)
        member.begin_with(first.astype("<f8").ravel().view(WIRE))
        member.join()
        return Parameters(member, first.shape)

    def _member(self, job: Job, length: int, *, rate: float | None = None, digest: int = 0) -> Member:
        if self._process != os.getpid():  # forked: the connections are the other process's
            for member in self._members.values():
                member.drop()
            self._members, self._process = {}, os.getpid()
        numbers, server = job.numbers, rate is not None
        terms = Terms(
            name=job.name,
            workers=job.workers,
            length=length,
            slot=numbers.slot,
            scale=numbers.scale,
            magnitude=numbers.magnitude,
            parameters=server,
            rate=rate or 0.0,
            digest=digest,
            packed=numbers.packed,
        )
        known = self._members.get(job)
        if known is None:
            known = self._members[job] = Member(self._addresses, terms, job.worker, self._token, self._times)
        elif known.terms != terms:
            raise ReductionError(f"job {job.name}: its vectors have {known.terms.length} numbers, not {length}")
        return known

    @property
    def fallbacks(self) -> int:
        """How often this worker went to another node than its first."""
        return self._fallbacks + sum(member.fallbacks for member in self._members.values())

    @property
    def sent_bytes(self) -> int:
        """What this worker has sent so far."""
        return self._sent + sum(member.sent_bytes for member in self._members.values())

    def close(self) -> None:
        """Leave all jobs."""
        if self._process == os.getpid():
            for member in self._members.values():
                member.leave()
            self._fallbacks, self._sent = self.fallbacks, self.sent_bytes
        self._members = {}

    def __getstate__(self) -> dict[str, Any]:
        """Handed to another process without its connections."""
        return self.__dict__ | {"_members": {}}


class Parameters:
    """Weights on a server: ``push`` a gradient, ``pull`` what they are after everybody's. Made by a Reducer."""

    def __init__(self, member: Member, shape: tuple[int, ...]) -> None:
        self._member = member
        self._shape = shape
        self._pushed = False

    def push(self, gradient: Any) -> None:
        """Give this worker's gradient of the round; returns when it is on its way.

        Raises:
            ReductionError: a number is too large, or nobody takes it.
        """
        if self._pushed:
            raise ReductionError(f"job {self._member.terms.name}: pull before the next push")
        self._member.begin(self._member.terms.scaled(gradient))
        self._pushed = True

    def pull(self) -> Floats:
        """The weights with all gradients of the rounds that were pushed.

        Raises:
            ReductionError: workers stay away.
        """
        bits = self._member.finish() if self._pushed else self._member.last
        self._pushed = False
        return bits.view("<f8").astype(np.float64).reshape(self._shape)


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ReductionError(f"{text!r} is not an address; write host:port")
    return host.strip("[]"), int(port)
