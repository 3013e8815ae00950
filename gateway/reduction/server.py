"""A node of the tree: listens to workers and to nodes below, keeps their jobs, and sends sums up."""

from __future__ import annotations

import asyncio
import logging
import secrets
from typing import Any, Final

from gateway.errors import LinkError, PayloadError
from gateway.reduction import codec
from gateway.reduction.codec import Hello, Kind
from gateway.reduction.config import ReductionConfig
from gateway.reduction.counts import Counts
from gateway.reduction.job import Job
from gateway.reduction.parent import Parent
from gateway.reduction.peer import Peer
from gateway.reduction.terms import ReductionError, Terms
from gateway.tasks import ended

log = logging.getLogger(__name__)

JOIN_S: Final = 10.0
"""Connect to hello, at most."""
LOOK_S: Final = 2.0
LINGER_S: Final = 30.0
"""A job that nobody is left of is kept for so long: they may all come back."""
MOST_CONNECTIONS: Final = 8192
BYTES_A_NUMBER: Final = 48
"""Of memory: the result of a round, and the sums of two with what was sent of each."""


class Hosted:
    """A job with what runs for it."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.parent: Parent | None = None
        self.going: asyncio.Task[None] | None = None
        """The way up."""
        self.lingering: asyncio.TimerHandle | None = None


class ReductionServer:
    """One node. ``start`` and ``stop`` on the event loop."""

    def __init__(self, config: ReductionConfig) -> None:
        self.counts = Counts()
        self.jobs: dict[str, Hosted] = {}
        self._config = config
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._looking: asyncio.Task[None] | None = None

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        assert self._server is not None
        host, port = self._server.sockets[0].getsockname()[:2]
        return str(host), int(port)

    async def start(self) -> None:
        """Listen.

        Raises:
            OSError: the address cannot be had.
        """
        self._server = await asyncio.start_server(self._connected, *self._config.address)
        self._looking = asyncio.create_task(self._look(), name="reduction look")

    async def stop(self) -> None:
        """Let go of everything; workers go elsewhere."""
        if self._server is not None:
            self._server.close()
        await ended(self._looking, *self._connections)
        for hosted in self.jobs.values():
            if hosted.lingering is not None:
                hosted.lingering.cancel()
        await ended(*(hosted.going for hosted in self.jobs.values()))
        self.jobs.clear()

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            for hosted in list(self.jobs.values()):
                hosted.job.look()

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._connection(reader, writer), name="reduction connection")
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = Peer(reader, writer)
        try:
            if len(self._connections) <= MOST_CONNECTIONS:
                await self._serve(peer)
        except (LinkError, TimeoutError):
            pass  # it comes back, or goes elsewhere
        except (PayloadError, ReductionError) as error:
            self.counts.refused += 1
            log.warning("reduction: %s: %s", writer.get_extra_info("peername"), error)
            peer.send(codec.message(Kind.REFUSED, str(error).encode()))
        finally:
            await peer.close()

    async def _serve(self, peer: Peer) -> None:
        """One connection from its challenge to its end."""
        async with asyncio.timeout(JOIN_S):
            who = await self._challenged(peer)
        hosted = self._hosted(who.terms)
        job = hosted.job
        if who.worker is not None:
            self._replace(job, who.worker)
        peer.worker = who.worker
        peer.members = 0 if who.worker is None else 1 << who.worker
        side = "nodes" if who.worker is None else "workers"
        peer.becomes(self.counts.traffic[side], _most_waiting(job.terms))
        peer.send(codec.message(Kind.WELCOME))
        job.attach(peer, who)
        try:
            most = codec.most_bytes(job.terms)
            while True:
                kind, body = await peer.read(most)
                if kind is Kind.PING:
                    up = hosted.parent is None or hosted.parent.up
                    peer.send(codec.message(Kind.PONG, bytes((up,))))
                elif kind is Kind.BYE and peer.worker is not None:
                    job.goodbye(peer.members)
                    break
                else:
                    job.received(peer, kind, body)
                await peer.drain()
        finally:
            if peer in job.links:
                job.detach(peer)
            self._left(hosted)

    async def _challenged(self, peer: Peer) -> Hello:
        nonce = secrets.token_bytes(codec.NONCE_BYTES)
        peer.send(codec.challenge(nonce))
        kind, body = await peer.read(codec.MOST_HELLO)
        if kind is not Kind.HELLO:
            raise PayloadError("malformed", f"{kind.name} before hello")
        who = codec.read_hello(body, self._config.token, nonce)
        who.terms.check()
        if who.worker is not None and who.worker >= who.terms.workers:
            raise ReductionError(f"job {who.terms.name}: worker {who.worker} of {who.terms.workers}; they count from 0")
        return who

    def _hosted(self, terms: Terms) -> Hosted:
        """The job; begun if it is new.

        Raises:
            ReductionError: it is another one by that name, or there is no room for it.
        """
        hosted = self.jobs.get(terms.name)
        if hosted is None:
            self._check_room(terms)
            hosted = self.jobs[terms.name] = Hosted(Job(terms, root=not self._config.parent, counts=self.counts))
            self._begin(hosted)
        elif hosted.job.terms != terms:
            raise ReductionError(f"job {terms.name}: {_difference(hosted.job.terms, terms)}")
        if hosted.lingering is not None:
            hosted.lingering.cancel()
            hosted.lingering = None
        return hosted

    def _check_room(self, terms: Terms) -> None:
        config, name = self._config, terms.name
        if len(self.jobs) >= config.max_jobs:
            raise ReductionError(f"job {name}: there are {len(self.jobs)} jobs already, as many as max_jobs lets in")
        for what, value, most in (
            ("workers", terms.workers, config.max_workers),
            ("length", terms.length, config.max_length),
            ("slot", 8 * min(terms.slot, terms.length), config.slot),
        ):
            if value > most:
                option = what if what == "slot" else f"max_{what}"
                raise ReductionError(f"job {name}: {what} {value}; {option} lets {int(most)} in")
        taken = sum(hosted.job.terms.length for hosted in self.jobs.values()) + terms.length
        if taken * BYTES_A_NUMBER > config.max_memory:
            raise ReductionError(f"job {name}: all jobs would take {taken * BYTES_A_NUMBER} bytes, above max_memory")

    def _begin(self, hosted: Hosted) -> None:
        terms = hosted.job.terms
        log.info("reduction: job %s of %d workers begins", terms.name, terms.workers)
        if self._config.parent:
            hosted.parent = Parent(
                hosted.job, self._config, self.counts.traffic["parent"], _most_waiting(terms), self._fell_back
            )
            hosted.going = asyncio.create_task(self._go_up(hosted), name=f"reduction parent {terms.name}")

    def _fell_back(self) -> None:
        self.counts.fallbacks += 1

    async def _go_up(self, hosted: Hosted) -> None:
        """Until the parent refuses the job: then nobody below can have it either."""
        assert hosted.parent is not None
        try:
            await hosted.parent.run()
        except ReductionError as error:
            log.warning("reduction: refused by the parent: %s", error)
            hosted.job.refuse(str(error))
            if self.jobs.get(hosted.job.terms.name) is hosted:
                del self.jobs[hosted.job.terms.name]

    @staticmethod
    def _replace(job: Job, worker: int) -> None:
        """A worker that comes twice has lost its first connection, and only this side has not seen it."""
        for link in [link for link in job.links if link.worker == worker]:
            job.detach(link)
            assert isinstance(link, Peer)
            link.cut()

    def _left(self, hosted: Hosted) -> None:
        """Forget the job when nobody is left of it: at once if all have said goodbye."""
        name = hosted.job.terms.name
        if hosted.job.links or self.jobs.get(name) is not hosted:
            return
        if hosted.job.over:
            self._drop(name, hosted)
        else:
            hosted.lingering = asyncio.get_running_loop().call_later(LINGER_S, self._drop, name, hosted)

    def _drop(self, name: str, hosted: Hosted) -> None:
        if self.jobs.get(name) is hosted and not hosted.job.links:
            del self.jobs[name]
            log.info("reduction: job %s is over", name)
            if hosted.going is not None:
                hosted.going.cancel()

    def status(self) -> dict[str, Any]:
        """As plain JSON types."""
        counts = self.counts
        return {
            "listen": "{}:{}".format(*self.address),
            "parents": self._config.parent,
            "jobs": {
                name: hosted.job.status() | {"up": hosted.parent is None or hosted.parent.up}
                for name, hosted in self.jobs.items()
            },
            "rounds": counts.rounds,
            "parts": counts.parts,
            "repeats": counts.repeats,
            "overlaps": counts.overlaps,
            "fallbacks": counts.fallbacks,
            "refused": counts.refused,
            "bytes": {
                side: {"received": traffic.received, "sent": traffic.sent} for side, traffic in counts.traffic.items()
            },
        }


def _most_waiting(terms: Terms) -> int:
    """Bytes that may wait for one link: a link that lacks three rounds is not coming back by itself."""
    return 2**20 + 3 * terms.slots * codec.most_bytes(terms)


def _difference(known: Terms, said: Terms) -> str:
    if known.digest != said.digest:
        return "it begins with other weights than those who were first"
    for name in Terms.__slots__:
        if getattr(known, name) != getattr(said, name):
            return f"{name} is {getattr(said, name)} here, and {getattr(known, name)} for those who were first"
    return ""
