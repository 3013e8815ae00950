"""What a node runs for services: the assignment that it follows, and what still runs out. Pure.

A service switches versions make before break: the new one takes the samples from a moment on that is the same at all
nodes, by the samples' own time; the old one takes those before, and what is on its way from below, and goes when that
must have come.
"""

from __future__ import annotations

from typing import Final

import msgspec

from gateway.network.assignment import Assignment, ServicePart
from gateway.network.edges import FARTHEST_NS

DRAIN_NS: Final = 3600 * 10**9
"""How long the entrances of what was replaced stay: for children that hear of it late, or send a backlog."""


class Draining(msgspec.Struct, frozen=True, kw_only=True):
    """What runs out."""

    part: ServicePart
    until_ns: int
    before_ns: int = 0
    """It still takes the node's own samples that are older than this, UTC; 0: none."""


class Applied(msgspec.Struct, frozen=True, kw_only=True):
    """What a node runs; kept in the state folder, so that it goes on without anybody who plans."""

    epoch: int = 0
    """Of the newest assignment that was heard of."""
    services: dict[str, ServicePart] = {}
    draining: dict[str, Draining] = {}
    """By ``service@version``."""
    waiting: dict[str, ServicePart] = {}
    """To begin at their time."""


def heard(applied: Applied, news: Assignment, now_ns: int) -> Applied:
    """With a new assignment; an older one changes nothing."""
    if news.epoch < applied.epoch:
        return applied
    services, draining = dict(applied.services), dict(applied.draining)
    waiting: dict[str, ServicePart] = {}
    for name, part in news.services.items():
        known = services.get(name)
        if known is not None and (part.epoch, part.version) < (known.epoch, known.version):
            continue
        if known is not None and known.version == part.version and not part.since_ns:
            # A controller that does not know of it: samples before are the other version's all the same
            part = msgspec.structs.replace(part, since_ns=known.since_ns)  # noqa: PLW2901
        if known == part:
            continue
        if known is not None and not _due(part, now_ns):
            # Plans that follow one another quickly do not put off the beginning for ever
            since = applied.waiting.get(name, part).from_ns
            waiting[name] = msgspec.structs.replace(part, from_ns=min(since, part.from_ns))
        else:
            _begin(services, draining, name, part, now_ns)
    for name in services.keys() - news.services.keys():
        for key, one in draining.items():
            if key.startswith(f"{name}@"):
                draining[key] = msgspec.structs.replace(one, before_ns=0)
        _drain(draining, name, services.pop(name), now_ns)
    return Applied(epoch=news.epoch, services=services, draining=draining, waiting=waiting)


def passed(applied: Applied, now_ns: int) -> Applied:
    """With what begins by now, and without what has run out."""
    due = {name: part for name, part in applied.waiting.items() if _due(part, now_ns)}
    over = [name for name, draining in applied.draining.items() if draining.until_ns <= now_ns]
    if not due and not over:
        return applied
    services, draining = dict(applied.services), dict(applied.draining)
    for name in over:
        del draining[name]
    for name, part in due.items():
        _begin(services, draining, name, part, now_ns)
    waiting = {name: part for name, part in applied.waiting.items() if name not in due}
    return msgspec.structs.replace(applied, services=services, draining=draining, waiting=waiting)


def _due(part: ServicePart, now_ns: int) -> bool:
    """Whether a part's time has come; a clock by which it is farther away than any window's end is wrong.

    Work can move at any moment, an edge of windows only costs less.
    """
    return not now_ns < part.from_ns <= now_ns + FARTHEST_NS


def _begin(
    services: dict[str, ServicePart], draining: dict[str, Draining], name: str, part: ServicePart, now_ns: int
) -> None:
    known = services.get(name)
    if known is not None and known.version != part.version:
        _drain(draining, name, known, now_ns, part.since_ns)
    services[name] = part
    draining.pop(f"{name}@{part.version}", None)


def _drain(draining: dict[str, Draining], name: str, part: ServicePart, now_ns: int, before_ns: int = 0) -> None:
    until_ns = max(now_ns, before_ns) + DRAIN_NS
    draining[f"{name}@{part.version}"] = Draining(part=part, until_ns=until_ns, before_ns=before_ns)


def encode(applied: Applied) -> bytes:
    """As it is kept."""
    return msgspec.json.encode(applied)


def decode(kept: bytes | None) -> Applied:
    """The inverse; nothing if there is none, or it cannot be read any more."""
    try:
        return msgspec.json.decode(kept or b"{}", type=Applied)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Applied()
