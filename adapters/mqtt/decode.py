"""From batches of messages to frames: which subscription a topic belongs to, and its values in columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from itertools import repeat
from typing import TYPE_CHECKING, Final

import numpy as np

from adapters.mqtt.choose import plan_of
from adapters.mqtt.finder import Finder
from adapters.mqtt.plans import IGNORED, Plan, reject
from adapters.mqtt.properties import user_properties
from adapters.mqtt.subscribe import PROPERTY
from adapters.mqtt.topics import Pattern, parse
from gateway.errors import PayloadError
from gateway.frame import EMPTY, Frame, Index, Mask, Times, concat

if TYPE_CHECKING:
    from adapters.base import Context, Points
    from adapters.mqtt.batch import Batch
    from adapters.mqtt.config import MqttConfig
    from adapters.mqtt.publish import Publish

MAX_TOPICS: Final = 100_000
"""Topics remembered; with more the memory starts afresh, which costs time and nothing else."""
MAX_LABEL: Final = 256
"""Characters of a label out of a user property."""
_NOBODYS: Final = -1
"""Stands for the plan of a topic that has none."""


class Decoder:
    """Turns batches into frames. Synchronous; what is wrong is counted in ``reasons`` and left out."""

    def __init__(self, config: MqttConfig, points: Points, reasons: Counter[str], ctx: Context | None = None) -> None:
        """``ctx`` takes what cannot be used and what is found; without one it is only counted."""
        self._reasons = reasons
        self._ctx = ctx
        self._plans: list[tuple[Pattern, Plan]] = [
            (parse(options.topic), plan_of(options)(options, points, reasons)) for options in config.subscribe
        ]
        self._hooked = [plan for _, plan in self._plans]
        for plan in self._hooked:
            plan.ctx = ctx
        """Each once; below, a plan stands again for each further filter that it asks for."""
        self._plans += [(parse(text), plan) for plan in self._hooked for text, _ in plan.asks() if not plan.takes(text)]
        self._dates = any(plan.options.time for plan in self._hooked)
        self._known: dict[bytes, int] = {}
        self._routes: list[tuple[int, int, str]] = []
        self._table = np.empty((0, 2), np.int32)
        self._finder = Finder(config.discover, config.url) if config.discover else None
        self._edition = 0
        self._labelled: dict[bytes, bytes] = {}
        """The properties last seen with a topic, where labels come from them."""

    def frame(self, batch: Batch) -> Frame:
        """All samples of the messages, in the order of arrival within each subscription."""
        if batch.oversize:
            self._oversize(batch)
        if not batch.topics:
            return EMPTY
        self._reroute()
        routes = self._routed(batch)
        plans, rows = self._table[routes, 0], self._table[routes, 1]
        arrival, stale = _arrival(batch), _stale(batch)
        first = int(plans[0])
        if first != _NOBODYS and (len(plans) == 1 or not (plans != first).any()):
            return self._plans[first][1].frame(batch.payloads, rows, arrival, stale)
        frames = []
        for number in np.unique(plans).tolist():
            chosen = np.flatnonzero(plans == number)
            if number == _NOBODYS:
                self._refuse(routes[chosen], chosen, batch)
                continue
            payloads = [batch.payloads[i] for i in chosen.tolist()]
            old = None if stale is None else stale[chosen]
            frames.append(self._plans[number][1].frame(payloads, rows[chosen], arrival[chosen], old))
        return concat(frames)

    def dated(self, batch: Batch) -> Mask | None:
        """Which messages say their own time in a place that is declared, [m]; None: none of them."""
        if not self._dates or not batch.topics:
            return None
        said = np.array([bool(plan.options.time) for _, plan in self._plans] + [False])  # the last is nobody's
        routes = self._routed(batch)  # first: it may make the table anew
        mine: Mask = said[self._table[routes, 0]]
        return mine

    def asks(self) -> list[tuple[str, int]]:
        """See :meth:`Plan.asks`; this and what follows are those of all plans together."""
        found = [] if self._finder is None else self._finder.asks()
        return found + [asked for plan in self._hooked for asked in plan.asks()]

    def will(self) -> Publish | None:
        """See :meth:`Plan.will`: the first there is."""
        return next((will for plan in self._hooked if (will := plan.will()) is not None), None)

    def hello(self) -> list[Publish]:
        """See :meth:`Plan.hello`."""
        return [message for plan in self._hooked for message in plan.hello()]

    def outgoing(self) -> list[Publish]:
        """See :meth:`Plan.outgoing`."""
        return [message for plan in self._hooked for message in plan.outgoing()]

    def tick(self, now_ns: int) -> Frame:
        """See :meth:`Plan.tick`."""
        if self._finder is not None and self._ctx is not None:
            self._finder.tick(self._ctx)
        return concat([plan.tick(now_ns) for plan in self._hooked])

    def goodbye(self) -> list[Publish]:
        """See :meth:`Plan.goodbye`."""
        return [message for plan in self._hooked for message in plan.goodbye()]

    def lost(self, now_ns: int) -> Frame:
        """See :meth:`Plan.lost`."""
        return concat([plan.lost(now_ns) for plan in self._hooked])

    def _routed(self, batch: Batch) -> Index:
        """The route of each message, [m]; finds one for topics that are new."""
        if len(self._routes) >= MAX_TOPICS:
            self._forget()
        topics = batch.topics
        routes = np.fromiter(map(self._known.get, topics, repeat(-1)), np.intp, len(topics))
        if (routes < 0).any():
            for i in np.flatnonzero(routes < 0).tolist():
                routes[i] = self._route(topics[i], batch.payloads[i])
            self._table = np.array([route[:2] for route in self._routes], np.int32)
        if batch.properties is not None and self._relabel(batch):
            routes = np.fromiter(map(self._known.__getitem__, topics), np.intp, len(topics))
            self._table = np.array([route[:2] for route in self._routes], np.int32)
        return routes

    def _reroute(self) -> None:
        """Look anew for topics that nobody took, if a plan takes others by now."""
        edition = sum(plan.edition for plan in self._hooked)
        if edition != self._edition:
            self._edition = edition
            self._known = {topic: i for topic, i in self._known.items() if self._routes[i][0] != _NOBODYS}

    def _relabel(self, batch: Batch) -> bool:
        """Give topics whose user properties have changed a new row, with other labels; whether there are any."""
        assert batch.properties is not None
        changed = {
            topic: i
            for i, (topic, block) in enumerate(zip(batch.topics, batch.properties, strict=True))
            if block and self._labelled.get(topic) != block
        }
        changed = {topic: i for topic, i in changed.items() if self._wants_properties(topic)}
        for topic, i in changed.items():
            try:
                named = user_properties(batch.properties[i])
            except PayloadError as error:
                reject(self._ctx, self._reasons, error, topic, batch.payloads[i])
                named = {}
            self._labelled[topic] = batch.properties[i]
            extra = {PROPERTY + name: text[:MAX_LABEL] for name, text in named.items()}
            self._known[topic] = len(self._routes)
            self._routes.append(self._find(topic, batch.payloads[i], extra))
        return bool(changed)

    def _route(self, topic: bytes, payload: bytes) -> int:
        known = self._known.get(topic)
        if known is None:
            known = self._known[topic] = len(self._routes)
            self._routes.append(self._find(topic, payload))
        return known

    def _wants_properties(self, topic: bytes) -> bool:
        plan = self._routes[self._known[topic]][0]
        return plan != _NOBODYS and self._plans[plan][1].options.needs_properties

    def _find(self, topic: bytes, payload: bytes, extra: Mapping[str, str] | None = None) -> tuple[int, int, str]:
        """Plan, row, and else the reason why nobody takes the topic (empty: it is left out on purpose)."""
        try:
            text = topic.decode()
        except UnicodeDecodeError:
            return _NOBODYS, 0, "bad-name"
        for number, (pattern, plan) in enumerate(self._plans):
            parts = pattern.match(text)
            if parts is None:
                if not plan.takes(text):
                    continue
                parts = {}
            try:
                row = plan.add_row({**parts, **extra} if extra else parts, payload)
            except PayloadError as error:
                return _NOBODYS, 0, error.reason
            plan.topics[row] = topic
            return (_NOBODYS, 0, "") if row == IGNORED else (number, row, "")
        seen = self._finder is not None and self._finder.see(text, payload)
        return _NOBODYS, 0, "" if seen else "unmatched"

    def _oversize(self, batch: Batch) -> None:
        """Count messages that were too long; of some of them it is known what they were."""
        for topic, size in batch.oversized:
            reject(self._ctx, self._reasons, PayloadError("oversize", f"{size} bytes"), topic, b"")
        self._reasons["oversize"] += batch.oversize - len(batch.oversized)

    def _refuse(self, routes: Index, chosen: Index, batch: Batch) -> None:
        """Count the messages that nobody takes."""
        for route, i in zip(routes.tolist(), chosen.tolist(), strict=True):
            reason = self._routes[route][2]
            if reason:
                reject(self._ctx, self._reasons, PayloadError(reason), batch.topics[i], batch.payloads[i])

    def _forget(self) -> None:
        self._known.clear()
        self._routes.clear()
        self._labelled.clear()
        for plan in self._hooked:
            plan.topics.clear()
            plan.forget()


def _arrival(batch: Batch) -> Times:
    """Each message's arrival time in ns, [m]."""
    if len(batch.marks) == 1:
        return np.full(batch.marks[0][0], batch.marks[0][1], np.int64)
    upto = np.array([count for count, _ in batch.marks], np.intp)
    times = np.array([time for _, time in batch.marks], np.int64)
    return np.repeat(times, np.diff(upto, prepend=0))


def _stale(batch: Batch) -> Mask | None:
    """Which messages the broker had kept, [m]; None if none."""
    if not batch.retained:
        return None
    stale = np.zeros(len(batch.topics), np.bool_)
    stale[batch.retained] = True
    return stale
