"""What a controller knows: adverts with the time they came, services, and what nodes were told last."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import msgspec

from gateway.errors import OnpathError
from gateway.network import advert as adverts_of
from gateway.network import assignment
from gateway.network.advert import LIVES, Advert
from gateway.network.assignment import Assignment, ServiceRecord
from gateway.network.carrier.base import Entry
from gateway.network.controller.measured import Measured
from gateway.network.controller.view import Wanted
from gateway.network.extended import chain_for

log = logging.getLogger(__name__)


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """Bucket ``facts``, key ``plan/head``."""

    epoch: int
    by: str
    made_ms: int


@dataclass
class Known:
    """Everything, as the buckets have it."""

    clock: Callable[[], float]
    """Monotonic, s."""
    adverts: dict[str, Advert] = field(default_factory=dict)
    heard_s: dict[str, float] = field(default_factory=dict)
    records: dict[str, ServiceRecord] = field(default_factory=dict)
    wanted: dict[str, Wanted] = field(default_factory=dict)
    plan: dict[str, Assignment] = field(default_factory=dict)
    revisions: dict[str, int] = field(default_factory=dict)
    """Of the keys of the plan."""
    measured: Measured = field(default_factory=Measured)

    def hear_nodes(self, entries: Iterable[Entry]) -> bool:
        """Adverts; whether anything is new."""
        news = False
        for entry in entries:
            if entry.value is None:
                news |= self.adverts.pop(entry.key, None) is not None
                continue
            try:
                advert = adverts_of.decode(entry.value)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                log.warning("controller: the advert of %s cannot be read: %s", entry.key, error)
                continue
            before = self.adverts.get(advert.node)
            if before is not None and (advert.boot, advert.number) <= (before.boot, before.number):
                continue
            self.adverts[advert.node] = advert
            self.heard_s[advert.node] = self.clock()
            self.measured.note(advert, {name: one.version for name, one in self.wanted.items()})
            news = True
        return news

    def hear_services(self, entries: Iterable[Entry]) -> None:
        """Services that were applied or removed."""
        for entry in entries:
            self.wanted.pop(entry.key, None)
            self.records.pop(entry.key, None)
            if entry.value is None:
                continue
            try:
                record = assignment.record_of(entry.value)
                self.records[entry.key] = record
                chain = None if record.removed else chain_for(record)
            except (msgspec.DecodeError, UnicodeDecodeError, OnpathError) as error:
                log.warning("controller: service %s cannot be planned: %s", entry.key, error)
                continue
            if chain is not None:
                self.wanted[entry.key] = Wanted(chain, record.version, record.yaml)
        self.measured.forget({name: one.version for name, one in self.wanted.items()})

    def hear_plan(self, entries: Iterable[Entry]) -> None:
        """What nodes were told."""
        for entry in entries:
            self.revisions[entry.key] = entry.revision
            if entry.value is None:
                self.plan.pop(entry.key, None)
                self.revisions[entry.key] = 0
                continue
            try:
                self.plan[entry.key] = assignment.assignment_of(entry.value)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                log.warning("controller: the plan of %s cannot be read, and is made anew: %s", entry.key, error)

    def living(self) -> dict[str, Advert]:
        """Nodes that were heard within three periods."""
        now_s = self.clock()
        return {
            name: advert
            for name, advert in self.adverts.items()
            if now_s - self.heard_s.get(name, now_s) <= LIVES * advert.every_s
        }

    @property
    def epoch(self) -> int:
        """The newest that nodes were told, by whatever network: the carrier may have been set up anew."""
        told = [one.epoch for one in self.plan.values()]
        return max([0, *told, *(advert.epoch for advert in self.adverts.values())])
