"""What a running adapter asks of its devices."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.errors import OnpathError

if TYPE_CHECKING:
    from gateway.inside import Inside
    from gateway.view.shapes import DevicePlan, PlanView


def plan(inside: Inside, adapter: str) -> PlanView:
    """The requests of a cycle, device by device, with the names of the points that each brings.

    Raises:
        OnpathError: there is no such adapter.
    """
    link = inside.adapters.get(adapter)
    if link is None:
        raise OnpathError(f"there is no adapter {adapter!r}")
    found = None if link.adapter is None else link.adapter.plan()
    if found is None:
        return {"devices": None}
    name = inside.directory.name
    devices: list[DevicePlan] = [
        {
            "device": row["device"],
            "unit": row["unit"],
            "requests": [request | {"points": [*map(name, request["points"])]} for request in row["requests"]],
            "refused": [*map(name, row["refused"])],
        }
        for row in found
    ]
    return {"devices": devices}
