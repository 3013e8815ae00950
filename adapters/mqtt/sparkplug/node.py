"""One edge node as the host sees it: born or not, its devices, and its messages in order.

Pure: what is to be done outside is said by the :class:`Surroundings`, and time comes with the messages and the ticks.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final, Protocol

from adapters.mqtt.sparkplug.columns import MAX_MS, MS, Columns
from adapters.mqtt.sparkplug.held import SEQUENCE, Message, Order
from adapters.mqtt.sparkplug.slots import Builder
from adapters.mqtt.sparkplug.table import Table
from adapters.mqtt.sparkplug.where import BDSEQ, Verb, Where
from gateway.errors import PayloadError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from adapters.base import Points
    from adapters.mqtt.sparkplug.options import SparkplugOptions

MAX_DEVICES: Final = 1000
"""Devices of one edge node."""
GRACE_NS: Final = 5_000_000_000
"""How long after its node's birth a device may take to be born again, at least."""


class Surroundings(Protocol):
    """What a node needs of its host."""

    options: SparkplugOptions
    labels: Mapping[str, str]
    points: Points
    reasons: Counter[str]

    def name(self, where: Where) -> str:
        """Our name of a node or a device.

        Raises:
            PayloadError: ``bad-name``, or ``collision``: something else has it.
        """

    def link(self, device: str, *, up: bool, detail: str) -> None:
        """A node or device is there, or not."""

    def born(self, where: Where, device: str, payload: Any) -> None:
        """A node or device was born."""

    def rebirth(self, node: tuple[str, str]) -> None:
        """The node's births are wanted."""


class Node:
    """One edge node."""

    def __init__(self, where: Where, host: Surroundings) -> None:
        self.key = where.node
        self.where = Where(Verb.NBIRTH, where.group, where.edge)
        self.order = Order()
        self.known = False
        """Whether it was ever born."""
        self._host = host
        self._birth: Message | None = None
        self._bdseq: int | None = None
        self._definitions: dict[str, Any] = {}
        self._tables: dict[str, Table] = {}
        """By the device's id; that of the node itself under an empty id."""
        self._awaited: set[str] = set()
        """Devices that were alive before the node's last birth and were not born again since."""
        self._refused: set[str] = set()
        """Devices that cannot be taken, so that there is no use in asking for their births."""

    @property
    def online(self) -> bool:
        """Whether it is born and not dead."""
        return self._birth is not None

    def receive(self, message: Message, columns: Columns) -> None:
        """Take a message of the node, in the order of arrival."""
        if message.where.verb is Verb.NDEATH:
            self._died(message, columns)
            return
        seq = message.payload.seq if message.payload.HasField("seq") else -1
        if not 0 <= seq < SEQUENCE:
            self._count("bad-seq")
            self._ask()
        elif message.where.verb is Verb.NBIRTH:
            self._born(message, columns)
        elif self._birth is None:
            self._early(message)
        elif seq == self.order.next:
            self.order.passed(message)
            self._apply(message, columns)
            self._release(columns)
        else:
            self._out_of_order(message, columns)

    def tick(self, now_ns: int, columns: Columns) -> None:
        """What time causes: messages that are missing for too long, and devices that were not born again."""
        oldest = self.order.oldest_ns()
        if oldest is not None and now_ns - oldest >= self._reorder_ns:
            self.give_up(columns)
        if self._birth is not None and self._awaited:
            grace = max(GRACE_NS, self._reorder_ns)
            if now_ns - self._birth.arrival_ns >= grace:
                for device in sorted(self._awaited):
                    self._silence(device, now_ns, columns, "not born again with its edge node")
                self._awaited.clear()

    def give_up(self, columns: Columns) -> None:
        """Go on without the messages that are missing, and ask for births."""
        not_before = self._birth.stamp_ms if self._birth is not None else 0
        self._ask()
        if self._birth is None:
            self._count("before-birth", self.order.end())
            return
        self._count("sequence-gap")
        for message in self.order.give_up():
            if message.stamp_ms < not_before:
                self._count("before-birth")
            else:
                self._apply(message, columns)

    def silence(self, now_ns: int, columns: Columns, why: str) -> None:
        """The node and all its devices are gone."""
        self._birth = None
        self._count("before-birth", self.order.end())
        for device, table in self._tables.items():
            if table.alive:
                self._silence(device, now_ns, columns, why)
        self._awaited.clear()

    @property
    def _reorder_ns(self) -> int:
        return int(self._host.options.reorder * 1e9)

    def _count(self, reason: str, times: int = 1) -> None:
        if times:
            self._host.reasons[reason] += times

    def _ask(self) -> None:
        self._host.rebirth(self.key)

    def _born(self, message: Message, columns: Columns) -> None:
        """NBIRTH: a session begins. What its devices had said counts no more until they are born again."""
        if self._birth is not None and self._birth.mark == message.mark:
            self._count("repeated")
            return
        self._birth, self.known = message, True
        self._bdseq = bdseq(message.payload)
        if self._bdseq is None:
            self._count("no-bdseq")
        self._count("before-birth", self.order.begin(message))
        self._awaited = {device for device, table in self._tables.items() if device and table.alive}
        for device in self._awaited:
            self._tables[device].alive = False
        self._define(message, columns)
        self._release(columns)

    def _define(self, message: Message, columns: Columns) -> None:
        """A birth defines metrics; those of the birth before that it does not name any more become stale."""
        where, metrics = message.where, message.payload.metrics
        before = self._tables.get(where.device)
        try:
            device = self._name(where, known=before is not None)
        except PayloadError as error:
            self._count(error.reason)
            if len(self._refused) < MAX_DEVICES:
                self._refused.add(where.device)
            return
        others = sum(table.metrics for key, table in self._tables.items() if key != where.device)
        room = self._host.options.max_metrics - others
        labels = {"group": where.group, "edge": where.edge, **self._host.labels}
        builder = Builder(self._host.points, self._host.reasons, device, labels, room)
        if not where.device:
            self._definitions = definitions(metrics, room)
        builder.definitions = self._definitions
        table = Table(device, builder, self._host.points, self._host.reasons)
        table.define(metrics)
        self._tables[where.device] = table
        self._host.born(where, device, message.payload)
        table.take(metrics, _time(message), columns)
        if before is not None:
            columns.stale(sorted(before.points() - table.points()), max(message.arrival_ns, before.latest))

    def _name(self, where: Where, *, known: bool) -> str:
        if not known and len(self._tables) > MAX_DEVICES:
            raise PayloadError("too-many-devices", f"{where.edge} has more than {MAX_DEVICES}")
        return self._host.name(where)

    def _early(self, message: Message) -> None:
        """A message of a node that is not born, or whose birth was overtaken: it waits for that a while."""
        if message.where.verb is not Verb.DBIRTH or not self._reorder_ns:
            self._ask()
        if not self._reorder_ns or not message.stamp_ms or not self.order.hold(message):
            self._count("before-birth")

    def _out_of_order(self, message: Message, columns: Columns) -> None:
        if self.order.repeated(message):
            self._count("repeated")
            return
        held = self.order.hold(message)
        if not self._reorder_ns:
            self.give_up(columns)
        elif not held:  # two messages of one number: more than a whole round is missing
            self.give_up(columns)
            self.receive(message, columns)

    def _release(self, columns: Columns) -> None:
        not_before = self._birth.stamp_ms if self._birth is not None else 0
        for message in self.order.ready(not_before):
            self._apply(message, columns)

    def _apply(self, message: Message, columns: Columns) -> None:
        """A message whose turn it is."""
        where = message.where
        table = self._tables.get(where.device)
        if where.verb is Verb.DBIRTH:
            self._awaited.discard(where.device)
            self._define(message, columns)
        elif table is None or not table.alive:
            if where.verb is not Verb.DDEATH:
                self._count("refused" if where.device in self._refused else "before-birth")
                if where.device not in self._refused and len(self._tables) <= MAX_DEVICES:
                    self._ask()
            elif where.device in self._awaited:
                self._awaited.discard(where.device)
                self._silence(where.device, _time(message), columns, "died")
        elif where.verb is Verb.DDEATH:
            self._silence(where.device, _time(message), columns, "died")
        else:
            unknown = table.take(message.payload.metrics, _time(message), columns)
            if unknown:
                self._count("too-many-metrics" if table.cut else "unknown-metric", unknown)
                if not table.cut:
                    self._ask()

    def _died(self, message: Message, columns: Columns) -> None:
        """NDEATH: counts if it belongs to the present session. It comes late if the node was quick to return."""
        told = bdseq(message.payload)
        if self._birth is None:
            return
        if told != self._bdseq:
            self._count("old-death")
            return
        self.silence(message.arrival_ns, columns, "the edge node died")

    def _silence(self, device: str, now_ns: int, columns: Columns, why: str) -> None:
        table = self._tables[device]
        table.stale(columns, now_ns)
        self._host.link(table.device, up=False, detail=why)


def bdseq(payload: Any) -> int | None:
    """The birth-death number of NBIRTH or NDEATH."""
    for metric in payload.metrics:
        if metric.name == BDSEQ:
            field = metric.WhichOneof("value")
            return int(getattr(metric, field)) if field in {"int_value", "long_value"} else None
    return None


def definitions(metrics: Any, room: int) -> dict[str, Any]:
    """The templates that an NBIRTH defines, by name."""
    return {
        metric.name: metric.template_value
        for metric in metrics[: max(room, 0)]
        if metric.WhichOneof("value") == "template_value" and metric.template_value.is_definition
    }


def _time(message: Message) -> int:
    """For metrics without a time of their own, ns: when the message was sent, or else when it came."""
    stamp = message.stamp_ms
    return stamp * MS if 0 < stamp <= MAX_MS else message.arrival_ns
