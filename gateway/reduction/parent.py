"""The way up of one job at one node: connected to one of its parents, and to the next if that is dead."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from typing import Final

from gateway.errors import LinkError, PayloadError
from gateway.reduction import codec
from gateway.reduction.codec import Hello, Kind
from gateway.reduction.config import ReductionConfig
from gateway.reduction.counts import Traffic
from gateway.reduction.job import Job
from gateway.reduction.peer import Peer, greet
from gateway.reduction.terms import ReductionError
from gateway.tasks import ended

log = logging.getLogger(__name__)

FIRST_RETRY_S: Final = 0.1
LONGEST_RETRY_S: Final = 5.0


class Parent:
    """Keeps a job connected upwards. :meth:`run` ends when the parent refuses the job."""

    def __init__(
        self, job: Job, config: ReductionConfig, traffic: Traffic, most_waiting: int, fell_back: Callable[[], None]
    ) -> None:
        self.up = False
        """Whether there is a way to the root."""
        self._job = job
        self._config = config
        self._traffic = traffic
        self._most_waiting = most_waiting
        self._fell_back = fell_back
        self._heard = 0.0
        self._told = False

    async def run(self) -> None:
        """Stay connected.

        Raises:
            ReductionError: the parent refuses the job.
        """
        addresses, place, wait_s = self._config.parents, 0, FIRST_RETRY_S
        while True:
            host, port = addresses[place]
            began = asyncio.get_running_loop().time()
            try:
                await self._connected(host, port, place)
            except (OSError, LinkError, PayloadError) as error:
                if not self._told:
                    log.warning("reduction: job %s: parent %s:%d: %s", self._job.terms.name, host, port, _why(error))
                self._told = True
            if asyncio.get_running_loop().time() - began > LONGEST_RETRY_S:
                wait_s = FIRST_RETRY_S
            place = (place + 1) % len(addresses)
            await asyncio.sleep(random.uniform(0.5, 1.0) * wait_s)  # noqa: S311  spreads those that come back
            wait_s = min(2 * wait_s, LONGEST_RETRY_S)

    async def _connected(self, host: str, port: int, place: int) -> None:
        peer = await self._join(host, port, place)
        loop = asyncio.get_running_loop()
        watching = asyncio.create_task(self._watch(peer), name=f"reduction watch {self._job.terms.name}")
        try:
            self._heard = loop.time()
            if self._told:
                log.info("reduction: job %s: sums go up to %s:%d again", self._job.terms.name, host, port)
            self._told = False
            self._job.parent_up(peer.send)
            most = codec.most_bytes(self._job.terms)
            while True:
                kind, body = await peer.read(most)
                self._heard = loop.time()
                if kind is Kind.REFUSED:
                    raise ReductionError(codec.read(kind, body))
                if kind is Kind.PONG:
                    self.up = codec.read(kind, body)
                else:
                    self._job.from_parent(kind, body)
        finally:
            self.up = False
            self._job.parent_down()
            await ended(watching)
            peer.cut()

    async def _join(self, host: str, port: int, place: int) -> Peer:
        async with asyncio.timeout(self._config.timeout):
            peer = Peer(*await asyncio.open_connection(host, port))
            try:
                nonce = await greet(peer)
                peer.becomes(self._traffic, self._most_waiting)
                peer.send(codec.hello(Hello(self._job.terms, None, place), self._config.token, nonce))
                kind, body = await peer.read(codec.MOST_HELLO)
            except BaseException:
                peer.cut()
                raise
        if kind is Kind.REFUSED:
            peer.cut()
            raise ReductionError(codec.read(kind, body))
        if place:
            self._fell_back()
        return peer

    async def _watch(self, peer: Peer) -> None:
        """Ask the parent whether it lives, and cut it off if it is silent."""
        loop = asyncio.get_running_loop()
        while loop.time() - self._heard < self._config.timeout:
            peer.send(codec.message(Kind.PING))
            await asyncio.sleep(self._config.timeout / 3)
        peer.cut()


def _why(error: Exception) -> str:
    return "no answer in time" if isinstance(error, TimeoutError) else str(error) or type(error).__name__
