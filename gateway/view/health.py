"""Whether all is well, and if not, what is wrong: one line a reason, for people."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.inside import Inside
    from gateway.links import AdapterLink, UplinkLink

PATIENCE_S: Final = 10.0
"""A link that was never up is given so long before it counts as down."""
LEAST_DISK: Final = 0.03
"""Part of the disk that should be free."""


def health(inside: Inside, disk_free: float = 1.0) -> tuple[str, list[str]]:
    """``ok``, ``degraded`` (something is wrong, nothing is lost by it) or ``failing``; and why.

    ``disk_free`` is the part of the disk that is free.
    """
    grave = list(_grave(inside))
    reasons = grave + list(_links(inside)) + list(_others(inside))
    if disk_free < LEAST_DISK:
        reasons.append(f"the disk of the state folder has {100 * disk_free:.1f} % left")
    return ("failing" if grave else "degraded" if reasons else "ok"), reasons


def ready(inside: Inside) -> str:
    """Why nothing can be taken in now; empty if it can."""
    failure = inside.intake.failure
    if failure is not None:
        return f"the store fails: {failure}"
    if inside.intake.blocked:
        return "the queue of an uplink is full, and its rule is to wait"
    return ""


def _grave(inside: Inside) -> Iterator[str]:
    said = inside.intake.health()
    if inside.intake.failure is not None:
        yield f"the store fails since {_span(said['failing_s'])}: {inside.intake.failure}"
    elif not said["healthy"]:
        yield "a commit is overdue: the disk hangs"


def _links(inside: Inside) -> Iterator[str]:
    for name, uplink in inside.uplinks.items():
        yield from _down("uplink", name, uplink)
    for name, adapter in inside.adapters.items():
        yield from _down("adapter", name, adapter)
        if adapter.stats.link == "up":
            silent = [device for device, facts in adapter.stats.devices.items() if facts.get("stale")]
            down = [device for device, facts in adapter.stats.devices.items() if facts.get("link") == "down"]
            if down:
                yield f"adapter {name}: {_some(down)} down"
            if silent:
                yield f"adapter {name}: {_some(silent)} stale"


def _down(kind: str, name: str, link: AdapterLink | UplinkLink) -> Iterator[str]:
    down_s = asyncio.get_running_loop().time() - link.since_s
    if link.stats.link != "up" and (link.was_up or down_s > PATIENCE_S):
        yield f"{kind} {name} is down since {_span(down_s)}" + (f": {link.detail}" if link.detail else "")


def _some(devices: list[str]) -> str:
    return f"device {devices[0]} is" if len(devices) == 1 else f"{len(devices)} devices are"


def _others(inside: Inside) -> Iterator[str]:
    if inside.intake.blocked:
        yield "the queue of an uplink is full: nothing more is taken in"
    if not inside.clock.trusted:
        yield "the clock is in doubt: it is not synchronised"
    if inside.broker is not None and inside.broker.status()["link"] != "up":
        yield "the embedded broker does not run"
    for name, pipeline in inside.intake.engine.graph.pipelines.items():
        for step in pipeline.steps:
            if step.failures:
                yield f"pipeline {name}: step {step.kind} has failed {step.failures} times; its samples were dropped"


def _span(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"
