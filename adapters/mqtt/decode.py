"""From batches of messages to frames: which subscription a topic belongs to, and its values in columns."""

from __future__ import annotations

from collections import Counter
from itertools import repeat
from typing import TYPE_CHECKING, Final

import numpy as np

from adapters.mqtt.declared import DeclaredJson
from adapters.mqtt.plain import DiscoveredJson, PlainText
from adapters.mqtt.plans import IGNORED, Plan
from adapters.mqtt.subscribe import Payload
from adapters.mqtt.topics import Pattern, parse
from gateway.errors import PayloadError
from gateway.frame import EMPTY, Frame, Index, Mask, Times, concat

if TYPE_CHECKING:
    from adapters.base import Points
    from adapters.mqtt.config import MqttConfig
    from adapters.mqtt.subscribe import Subscribe
    from adapters.mqtt.wire import Batch

MAX_TOPICS: Final = 100_000
"""Topics remembered; with more the memory starts afresh, which costs time and nothing else."""
_NOBODYS: Final = -1
"""Stands for the plan of a topic that has none."""


class Decoder:
    """Turns batches into frames. Synchronous; what is wrong is counted in ``reasons`` and left out."""

    def __init__(self, config: MqttConfig, points: Points, reasons: Counter[str]) -> None:
        self._reasons = reasons
        self._plans: list[tuple[Pattern, Plan]] = [
            (parse(options.topic), _plan(options, points, reasons)) for options in config.subscribe
        ]
        self._known: dict[bytes, int] = {}
        self._routes: list[tuple[int, int, str]] = []
        self._table = np.empty((0, 2), np.int32)

    def frame(self, batch: Batch) -> Frame:
        """All samples of the messages, in the order of arrival within each subscription."""
        if batch.oversize:
            self._reasons["oversize"] += batch.oversize
        if not batch.topics:
            return EMPTY
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
                self._count(routes[chosen])
                continue
            payloads = [batch.payloads[i] for i in chosen.tolist()]
            old = None if stale is None else stale[chosen]
            frames.append(self._plans[number][1].frame(payloads, rows[chosen], arrival[chosen], old))
        return concat(frames)

    def _routed(self, batch: Batch) -> Index:
        """The route of each message, [m]; finds one for topics that are new."""
        if len(self._known) >= MAX_TOPICS:
            self._forget()
        topics = batch.topics
        routes = np.fromiter(map(self._known.get, topics, repeat(-1)), np.intp, len(topics))
        if (routes < 0).any():
            for i in np.flatnonzero(routes < 0).tolist():
                routes[i] = self._route(topics[i], batch.payloads[i])
            self._table = np.array([route[:2] for route in self._routes], np.int32)
        return routes

    def _route(self, topic: bytes, payload: bytes) -> int:
        known = self._known.get(topic)
        if known is None:
            known = self._known[topic] = len(self._routes)
            self._routes.append(self._find(topic, payload))
        return known

    def _find(self, topic: bytes, payload: bytes) -> tuple[int, int, str]:
        """Plan, row, and else the reason why nobody takes the topic (empty: it is left out on purpose)."""
        try:
            text = topic.decode()
        except UnicodeDecodeError:
            return _NOBODYS, 0, "bad-name"
        for number, (pattern, plan) in enumerate(self._plans):
            parts = pattern.match(text)
            if parts is None:
                continue
            try:
                row = plan.add_row(parts, payload)
            except PayloadError as error:
                return _NOBODYS, 0, error.reason
            return (_NOBODYS, 0, "") if row == IGNORED else (number, row, "")
        return _NOBODYS, 0, "unmatched"

    def _count(self, routes: Index) -> None:
        for route in routes.tolist():
            reason = self._routes[route][2]
            if reason:
                self._reasons[reason] += 1

    def _forget(self) -> None:
        self._known.clear()
        self._routes.clear()
        for _, plan in self._plans:
            plan.forget()


def _plan(options: Subscribe, points: Points, reasons: Counter[str]) -> Plan:
    if options.payload is Payload.TEXT:
        return PlainText(options, points, reasons)
    if options.points:
        return DeclaredJson(options, points, reasons)
    return DiscoveredJson(options, points, reasons)


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
