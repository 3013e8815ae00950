"""``payload: sparkplug``: the host application as a plan of the MQTT adapter."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import msgspec

from adapters.mqtt.plans import Plan
from adapters.mqtt.sparkplug.columns import Columns
from adapters.mqtt.sparkplug.host import Host
from adapters.mqtt.sparkplug.options import SparkplugOptions
from adapters.mqtt.sparkplug.where import Where, parse_topic
from gateway.errors import PayloadError

if TYPE_CHECKING:
    from adapters.base import Points
    from adapters.mqtt.publish import Publish
    from adapters.mqtt.subscribe import Subscribe
    from gateway.frame import Frame, Index, Mask, Times

_MEMORY: Final = "sparkplug"
"""Under this, and the topic filter, the gateway keeps which edge nodes there are."""
_nodes = msgspec.msgpack.Decoder(list[tuple[str, str]]).decode


class Sparkplug(Plan):
    """All edge nodes of one subscription."""

    def __init__(self, options: Subscribe, points: Points, reasons: Counter[str]) -> None:
        super().__init__(options, points, reasons)
        self._sparkplug = options.sparkplug or SparkplugOptions()
        self._host = Host(self._sparkplug, points, reasons, options.labels)
        self._rows: list[Where | None] = []
        self._now_ns = 0
        self._remembered = 0
        self._leaving = False

    def add_row(self, parts: dict[str, str], payload: bytes) -> int:
        """See the base class. What the topic says is looked at when its first message is decoded."""
        del parts, payload
        self._rows.append(None)
        return len(self._rows) - 1

    def forget(self) -> None:
        """See the base class. The edge nodes stay known."""
        self._rows.clear()

    def frame(self, payloads: Sequence[bytes], rows: Index, arrival: Times, stale: Mask | None) -> Frame:
        """See the base class."""
        columns = Columns()
        self._host.teller = self.ctx
        for number, (payload, row) in enumerate(zip(payloads, rows.tolist(), strict=True)):
            kept = stale is not None and bool(stale[number])
            try:
                self._host.take(self._where(row), payload, int(arrival[number]), columns, kept=kept)
            except PayloadError as error:
                self.reject(error, row, payload)
        self._now_ns = int(arrival[-1])
        self._remember()
        return columns.frame()

    def asks(self) -> list[tuple[str, int]]:
        """See the base class: the topic of the host's own state."""
        certificate = self._host.certificate
        return [] if certificate is None else [(certificate.topic, 1)]

    def will(self) -> Publish | None:
        """See the base class."""
        certificate = self._host.certificate
        return None if certificate is None else certificate.will(self._now())

    def hello(self) -> list[Publish]:
        """See the base class: the host's birth, then requests to the nodes that are known from before."""
        self._now_ns = self._now()
        self._leaving = False
        if self.ctx is not None:
            self._host.ask(_recalled(self.ctx.recall(self._key)))
            self._remembered = len(self._host.nodes)
        certificate = self._host.certificate
        birth = [] if certificate is None else [certificate.birth()]
        return birth + self._host.outgoing(self._now_ns)

    def outgoing(self) -> list[Publish]:
        """See the base class."""
        return [] if self._leaving else self._host.outgoing(self._now_ns)

    def tick(self, now_ns: int) -> Frame:
        """See the base class."""
        self._now_ns = now_ns
        columns = Columns()
        self._host.teller = self.ctx
        self._host.tick(now_ns, columns)
        return columns.frame()

    def goodbye(self) -> list[Publish]:
        """See the base class."""
        self._leaving = True
        certificate = self._host.certificate
        return [] if certificate is None else [certificate.death(self._now())]

    def lost(self, now_ns: int) -> Frame:
        """See the base class."""
        columns = Columns()
        self._host.teller = self.ctx
        self._host.lost(now_ns, columns)
        return columns.frame()

    @property
    def _key(self) -> str:
        return f"{_MEMORY} {self.options.topic}"

    def _now(self) -> int:
        return time.time_ns() if self.ctx is None else self.ctx.now_ns()

    def _where(self, row: int) -> Where:
        where = self._rows[row]
        if where is None:
            where = self._rows[row] = parse_topic(self.topics[row].decode())
        return where

    def _remember(self) -> None:
        """Keep which nodes there are, so that they are asked after a reconnection or a restart."""
        if self.ctx is not None and len(self._host.nodes) != self._remembered:
            self._remembered = len(self._host.nodes)
            self.ctx.remember(self._key, msgspec.msgpack.encode(self._host.nodes))


def _recalled(kept: bytes | None) -> list[tuple[str, str]]:
    if kept is None:
        return []
    try:
        return _nodes(kept)
    except msgspec.DecodeError:  # another version's: the nodes introduce themselves
        return []
