"""One connection at work: messages in, frames out, acknowledgements and receipts when they are on disk."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NoReturn

import msgspec

from adapters.frame.held import Waiting
from adapters.frame.memory import Memory
from adapters.frame.receipts import receipts
from adapters.frame.records import Reader, UnknownDirectoryError
from adapters.frame.source import Message, source_of
from adapters.frame.taking import Taking
from adapters.frame.topics import base_of, is_receipt
from gateway.errors import LinkError, PayloadError, StoreError
from gateway.frame import concat

if TYPE_CHECKING:
    from adapters.base import Context, Receipt
    from adapters.frame.config import FrameConfig
    from adapters.frame.ledger import Record
    from adapters.frame.source import Source

FILTERS: Final = "filters"
"""What the adapter remembers under it: the filters that the broker keeps for the session."""
MAX_UNSETTLED: Final = 64
"""Hand-overs that wait for the disk; with more nothing is taken from the broker."""
PATIENCE_S: Final = 0.01
"""How long a receipt waits for company before somebody asks for it, which makes the gateway write at once."""
TICK_S: Final = 1.0
DRAIN_S: Final = 0.9
"""How long a stop may take to bring what has come to disk and to acknowledge it."""


@dataclass(slots=True)
class Handed:
    """What was handed over together."""

    receipt: Receipt | None
    """None: there is nothing to wait for."""
    messages: list[Message] = field(default_factory=list)
    """To be acknowledged then."""
    done: list[tuple[str, Record]] = field(default_factory=list)
    """Records by topic, doubles among them, to be confirmed then."""


class Link:
    """From a connection to its end."""

    def __init__(self, ctx: Context, config: FrameConfig, source: Source | None = None) -> None:
        """Not yet open; ``source`` in place of the one that the URL names."""
        self._ctx = ctx
        self._config = config
        self._client_id = config.client_id or f"onpath-{ctx.gateway}-{ctx.name}"
        self._source = source or source_of(config, self._client_id, ctx.now_ns, ctx.stats.reasons)
        self._reader = Reader()
        self._memory = Memory(ctx)
        self._taking = Taking(ctx, config, self._memory)
        self._waiting = Waiting(config.patience, *([0.0] if self._source.prompt else []))
        self._unsettled: deque[Handed] = deque()
        self._room = asyncio.Semaphore(MAX_UNSETTLED)
        self._handing_over = asyncio.Lock()
        self._news = asyncio.Event()

    async def open(self) -> str:
        """Connect; a word on the session.

        Raises:
            LinkError: it cannot be.
        """
        for payload in await asyncio.to_thread(self._memory.directories):
            with contextlib.suppress(PayloadError):  # of a version that is not read any more: it is asked for again
                self._reader.learn(payload)
        kept_as = f"{self._client_id} at {self._config.url}"
        had = _recalled(kept_as, self._ctx.recall(FILTERS))
        said = await self._source.open(had)
        self._ctx.remember(FILTERS, msgspec.json.encode([kept_as, *self._source.filters]))
        return said

    def change(self, config: FrameConfig) -> None:
        """Take other children from now on."""
        self._config = config
        self._taking.change(config)

    async def serve(self) -> None:
        """Run until cancelled or until the link is gone.

        Raises:
            LinkError: the link is gone; one error, not a group of them.
        """
        jobs = {
            "messages": self._pump(),
            "receipts": self._settle_all(),
            "link": self._source.keep(),
            "ticks": self._tick(),
        }
        tasks = [asyncio.create_task(job, name=f"{self._ctx.name}: {what}") for what, job in jobs.items()]
        try:
            # Not a task group: there an error wins over a cancellation that comes with it, and a stop would not stop
            await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for task in tasks:
            if not task.cancelled():
                task.result()

    async def _pump(self) -> NoReturn:
        while True:
            messages = await self._source.take()
            self._ctx.stats.messages += len(messages)
            now = asyncio.get_running_loop().time()
            free: list[Message] = []
            for message in messages:
                self._read(message, now, free)
            if self._source.prompt:
                await self._ask(now)
            while self._waiting.news:
                await self._keep_directories()
                self._read_again(free)
                if self._source.prompt:  # what came may build on one that lacks
                    await self._ask(now)
            await self._pass_on(free)

    def _read_again(self, free: list[Message]) -> None:
        for held in self._waiting.retry():
            for message in held.messages:
                self._read(message, held.since_s, free)

    def _read(self, message: Message, since_s: float, free: list[Message]) -> None:
        """Take a message in; what needs no disk is appended to ``free``."""
        if is_receipt(message.topic, self._source.dot):
            free.append(message)
            return
        try:
            received = self._reader.read(message.payload)
            if received is not None:
                self._taking.take(message, received)
                return
        except UnknownDirectoryError as error:
            self._waiting.hold(message, error.name, since_s)
            return
        except PayloadError as error:
            self._ctx.reject(error.reason, message.topic, message.payload, str(error))
        for name in self._reader.fresh:
            self._waiting.came(name)
        free.append(message)  # a directory is on disk before it is acknowledged, see below

    async def _keep_directories(self) -> None:
        fresh = dict(self._reader.fresh)
        self._reader.fresh.clear()
        if fresh:
            await asyncio.to_thread(self._memory.keep_directories, fresh)

    async def _pass_on(self, free: list[Message]) -> None:
        """Emit what was taken, as one frame, and queue what is to be said once it is on disk."""
        await self._keep_directories()
        # One after the other: a repetition is acknowledged behind what it repeats
        async with self._handing_over:
            taken = self._taking.taken()
            frame = concat(taken.frames)
            receipt = await self._ctx.emit(frame, taken.tokens) if len(frame) else None
            if taken.messages or taken.done:
                self._unsettled.append(Handed(receipt, taken.messages, taken.done))
                self._news.set()
                await self._room.acquire()
        if free:
            await self._source.acknowledge(free)

    async def _settle_all(self) -> NoReturn:
        while True:
            await self._news.wait()
            self._news.clear()
            await asyncio.sleep(PATIENCE_S)
            await self.settle()

    async def settle(self) -> None:
        """Acknowledge and confirm all that waits now.

        Raises:
            LinkError: the store did not take something; a new connection makes the broker send it again.
        """
        for _ in range(len(self._unsettled)):
            handed = self._unsettled[0]
            if handed.receipt is not None:
                try:
                    await handed.receipt.durable()
                except StoreError as error:
                    raise LinkError(f"not acknowledged, because the store refused it: {error}") from error
            self._taking.durable(handed.done)
            await self._source.acknowledge(handed.messages)
            if self._config.receipts:
                for topic, payload in receipts(handed.done, self._source.dot):
                    await self._source.publish(topic, payload)
            self._unsettled.popleft()
            self._room.release()

    async def _tick(self) -> NoReturn:
        while True:
            await asyncio.sleep(TICK_S)
            self._memory.remember()
            now = asyncio.get_running_loop().time()
            for held in self._waiting.given_up(now):
                self._ctx.reject("unknown-directory", held.message.topic, held.message.payload, held.missing)
                if self._source.prompt:  # nobody gives it again; who sent it has no receipt, and does
                    await self._source.acknowledge(held.messages)
            await self._ask(now)
            if self._waiting.news:
                await self._retry()

    async def _ask(self, now: float) -> None:
        """For directories that should have come by now."""
        for topic, name in list(self._waiting.ask(now)):
            payload = await self._source.directory(base_of(topic, self._source.dot), name)
            if payload is not None:
                self._found(topic, payload)

    def _found(self, topic: str, payload: bytes) -> None:
        try:
            self._reader.read(payload)
        except PayloadError as error:
            self._ctx.reject(error.reason, topic, payload, str(error))
        for name in self._reader.fresh:
            self._waiting.came(name)

    async def _retry(self) -> None:
        await self._keep_directories()
        free: list[Message] = []
        self._read_again(free)
        await self._pass_on(free)

    async def wind_up(self, *, lost: bool) -> None:
        """At the end: what was handed over is acknowledged if the disk has it soon.

        After a lost link it takes its time: what comes again must be known for what it is.
        """
        try:
            async with asyncio.timeout(None if lost else DRAIN_S):
                await self.settle()
        except (TimeoutError, LinkError):
            self._ctx.log.debug("stopped with batches that are not acknowledged; the broker sends them again")
        self._memory.remember()

    async def close(self) -> None:
        """Say good-bye and close the connection."""
        await self._source.close()


def _recalled(kept_as: str, kept: bytes | None) -> list[str]:
    """The filters that this session is known to have."""
    try:
        found = msgspec.json.decode(kept or b"[]", type=list[str])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return []
    return found[1:] if found[:1] == [kept_as] else []
