"""Batches of all gateways below: which are new, what they become here, and what is shown of each gateway."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from adapters.frame.child import Child, device_of
from adapters.frame.ledger import Record
from gateway.errors import PayloadError
from gateway.finding import Finding
from gateway.point import compile_glob

if TYPE_CHECKING:
    from adapters.base import Context, Tokens
    from adapters.frame.config import FrameConfig
    from adapters.frame.memory import Memory
    from adapters.frame.source import Message
    from gateway.batch import Batch
    from gateway.frame import Frame
    from gateway.wire.receive import Received

MAX_CHILDREN: Final = 10_000
"""Gateways that are known by name; others are counted only."""


@dataclass(slots=True)
class Taken:
    """What was taken and not yet handed over."""

    frames: list[Frame] = field(default_factory=list)
    tokens: Tokens | None = None
    messages: list[Message] = field(default_factory=list)
    done: list[tuple[str, Record]] = field(default_factory=list)


class Taking:
    """Between the messages and the gateway."""

    def __init__(self, ctx: Context, config: FrameConfig, memory: Memory) -> None:
        self._ctx = ctx
        self._memory = memory
        self._children: dict[str, Child] = {}
        self._found: set[str] = set()
        self._fresh: dict[Record, tuple[Message, Received]] = {}
        """New, and not yet handed over."""
        self._open: dict[Record, tuple[str, Batch]] = {}
        """Handed over, and not yet durable."""
        self._taken = Taken()
        self.change(config)

    def change(self, config: FrameConfig) -> None:
        """Take these children from now on."""
        self._config = config
        self._allowed = [compile_glob(glob) for glob in config.children]
        self._found.clear()

    def take(self, message: Message, received: Received) -> None:
        """A batch came.

        Raises:
            PayloadError: it cannot be used.
        """
        gateway, batch = received.gateway, received.batch
        record = Record(gateway, batch.epoch, batch.seq)
        self._introduce(message, received)
        if not any(glob.match(gateway) for glob in self._allowed):
            self._ctx.stats.reasons["unknown-gateway"] += 1
            self._taken.messages.append(message)
            return
        if record in self._fresh or record in self._open or self._memory.has(record, batch):
            self._repeated(message, record)
            return
        self._fresh[record] = message, received

    def _repeated(self, message: Message, record: Record) -> None:
        """Acknowledged and confirmed behind what was handed over before, among which it is, if it is not durable."""
        self._ctx.stats.repeated += 1
        self._taken.messages.append(message)
        self._taken.done.append((message.topic, record))

    def taken(self) -> Taken:
        """What is to be handed over now; only new records."""
        records = list(self._fresh)
        known = self._memory.known(records) if records else []
        fresh: list[Record] = []
        for record, durable in zip(records, known, strict=True):
            message, received = self._fresh.pop(record)
            if durable:
                self._memory.add(record.gateway, received.batch)
                self._repeated(message, record)
            elif self._hand_over(message, received):
                fresh.append(record)
        taken, self._taken = self._taken, Taken()
        taken.tokens = self._memory.tokens(fresh) if fresh else None
        return taken

    def _hand_over(self, message: Message, received: Received) -> bool:
        child = self._children[received.gateway]
        self._taken.messages.append(message)
        record = Record(received.gateway, received.batch.epoch, received.batch.seq)
        try:
            frame = child.frame(received)
        except PayloadError as error:
            self._ctx.reject(error.reason, message.topic, message.payload, str(error))
            return False
        self._show(child, received.batch)
        self._taken.frames.append(frame)
        self._taken.done.append((message.topic, record))
        self._open[record] = received.gateway, received.batch
        return True

    def durable(self, done: list[tuple[str, Record]]) -> None:
        """These are on disk."""
        for _, record in done:
            found = self._open.pop(record, None)
            if found is not None:
                self._memory.add(*found)

    def _introduce(self, message: Message, received: Received) -> None:
        gateway = received.gateway
        if gateway not in self._children:
            if len(self._children) >= MAX_CHILDREN:
                raise PayloadError("too-many-gateways", gateway)
            config = self._config
            child = Child(gateway, config.name, self._ctx.points, self._ctx.stats.reasons)
            self._children[gateway] = child
        if gateway in self._found:
            return
        self._found.add(gateway)
        taken = any(glob.match(gateway) for glob in self._allowed)
        self._ctx.found(
            Finding(
                kind="gateway",
                address=f"{self._config.url}/{message.topic}",
                identity=f"gateway {gateway}",
                device=device_of(gateway),
                offers=_offers(received),
                config={"adapters": {self._ctx.name: {"children": [_literal(gateway)]}}},
                taken=taken,
            )
        )
        if taken and self._config.every:
            self._ctx.expect(device_of(gateway), self._config.every)

    def _show(self, child: Child, batch: Batch) -> None:
        """In ``status``."""
        child.batches += 1
        self._ctx.link(child.device, up=True)
        entry: dict[str, Any] = self._ctx.stats.devices.setdefault(child.device, {})
        entry["epoch"], entry["batches"] = batch.epoch, child.batches
        if batch.bounds:
            entry["bounds"] = list(batch.bounds)
        if batch.loss is not None:
            child.lost[batch.loss.reason] += batch.loss.count
            entry["lost"] = dict(child.lost)
            self._ctx.log.warning("%s has lost %d samples (%s)", child.gateway, batch.loss.count, batch.loss.reason)


def _offers(received: Received) -> tuple[str, ...]:
    names = [facts.get("name") for facts in list(received.points.values())[:8] if isinstance(facts, dict)]
    return (f"pipeline {received.batch.pipeline}", *(name[:80] for name in names if isinstance(name, str)))


def _literal(gateway: str) -> str:
    """A name as a glob that fits nothing else."""
    return re.sub(r"[*?]", "?", gateway)
