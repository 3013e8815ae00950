"""Names for whoever types them: what completes a beginning. One of the control socket's verbs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from gateway.errors import OnpathError

if TYPE_CHECKING:
    from gateway.inside import Inside

MOST: Final = 200
"""Names that are offered at once; of more only the next part is."""
KINDS: Final = ("points", "devices", "adapters", "pipelines", "uplinks", "steps")


def continued(names: Iterable[str], prefix: str, most: int = MOST) -> list[str]:
    """Names with this beginning, in order; where there are too many, what they have up to the next ``/``.

    >>> continued(["m1/power", "m1/voltage", "m2/power"], "m", most=2)
    ['m1/', 'm2/']
    """
    found = sorted({name for name in names if name.startswith(prefix)})
    if len(found) <= most:
        return found
    parts = sorted({name[: name.find("/", len(prefix)) + 1] or name for name in found})
    return parts[:most]


async def names_verb(inside: Inside, request: dict[str, Any]) -> dict[str, Any]:
    """``{"verb": "names", "of": "points", "prefix": "m1/"}``: ``{"names": [...]}``.

    Raises:
        OnpathError: nothing has such names.
    """
    import asyncio  # here, because who only completes words on a command line has no need of it

    kind, prefix = request.get("of"), str(request.get("prefix", ""))
    pipelines = list(inside.intake.engine.graph.pipelines.values())
    match kind:
        case "points":
            total, name = len(inside.directory), inside.directory.name
            return {"names": await asyncio.to_thread(lambda: continued(map(name, range(total)), prefix))}
        case "devices":
            names = [f"{device[1]}" for device in inside.shared.liveness.devices() if device is not None]
        case "adapters":
            names = list(inside.adapters)
        case "uplinks":
            names = list(inside.uplinks)
        case "pipelines":
            names = [pipeline.name for pipeline in pipelines]
        case "steps":
            names = [
                f"{pipeline.name}/{step.kind if pipeline.step_called(step.kind) is step else number}"
                for pipeline in pipelines
                for number, step in enumerate(pipeline.steps)
            ]
        case _:
            raise OnpathError(f"names of what? one of {', '.join(KINDS)}")
    return {"names": continued(names, prefix)}
