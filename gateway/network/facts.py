"""What the carrier knows of services, read at once: records, the plan, explanations, adverts."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from gateway.network import advert as adverts_of
from gateway.network import assignment
from gateway.network.assignment import Assignment, ServicePart, ServiceRecord
from gateway.network.carrier import lease
from gateway.network.lookup import ending, everything
from gateway.network.plan import explanation
from gateway.network.plan.explanation import Explanation

if TYPE_CHECKING:
    from gateway.network.advert import Advert
    from gateway.network.carrier.base import Carrier, Entry

T = TypeVar("T")
LEADER: Final = "controller"
"""In the bucket ``lease``: who plans."""


@dataclass
class Facts:
    """All by name; what cannot be read is left out and named."""

    services: dict[str, ServiceRecord] = field(default_factory=dict)
    plans: dict[str, Assignment] = field(default_factory=dict)
    """By node."""
    adverts: dict[str, Advert] = field(default_factory=dict)
    explanations: dict[str, Explanation] = field(default_factory=dict)
    unreadable: list[str] = field(default_factory=list)
    """Keys that hold something else, as of a newer version."""

    def parts(self, service: str) -> dict[str, ServicePart]:
        """What each node does for a service, by node."""
        return {node: plan.services[service] for node, plan in sorted(self.plans.items()) if service in plan.services}


async def gathered(carrier: Carrier) -> Facts:
    """Everything.

    Raises:
        CarrierError: the carrier cannot be reached.
    """
    services, plans, nodes, told = await asyncio.gather(
        everything(carrier, "services"), everything(carrier, "plan"), everything(carrier, "nodes"),
        everything(carrier, "facts", f"{explanation.KEY}/*"),
    )  # fmt: skip
    facts = Facts()
    facts.services = _read(facts, services.values(), assignment.record_of)
    facts.plans = _read(facts, plans.values(), assignment.assignment_of)
    facts.adverts = _read(facts, nodes.values(), adverts_of.decode)
    found = _read(facts, told.values(), explanation.decode)
    facts.explanations = {one.service: one for one in found.values()}
    return facts


def _read(facts: Facts, entries: Iterable[Entry], decode: Callable[[bytes], T]) -> dict[str, T]:
    found: dict[str, T] = {}
    for entry in entries:
        try:
            found[entry.key] = decode(entry.value or b"")
        except (msgspec.DecodeError, ValueError):
            facts.unreadable.append(entry.key)
    return found


async def planners(carrier: Carrier) -> bool:
    """Whether a controller leads: it holds its lease, and renews it while we look.

    Raises:
        CarrierError: the carrier cannot be reached.
    """
    held: int | None = None
    with contextlib.suppress(TimeoutError):
        async with ending(carrier.watch(lease.BUCKET, LEADER)) as changes, asyncio.timeout(lease.TTL_S / 2):
            async for entries in changes:
                revision = next((entry.revision for entry in entries if entry.value), None)
                if revision is None or held not in {None, revision}:
                    return revision is not None
                held = revision
    return False
