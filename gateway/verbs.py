"""What the daemon answers on its control socket (:mod:`gateway.control`)."""

from __future__ import annotations

from typing import Any

from gateway.alerts.board import acknowledging
from gateway.control import Verb
from gateway.editing.verbs import editing_verbs
from gateway.errors import OnpathError
from gateway.inside import Inside
from gateway.naming import names_verb
from gateway.store.segments import Rebound
from pipelines.bounds import Bound


def verbs(inside: Inside) -> dict[str, Verb]:
    """All of them, by name."""

    async def status(_request: dict[str, Any]) -> dict[str, Any]:
        return {"status": await inside.status()}

    async def reload(_request: dict[str, Any]) -> dict[str, Any]:
        return {"reload": (await inside.reload()).as_dict()}

    async def bound(request: dict[str, Any]) -> dict[str, Any]:
        return await set_bound(inside, request)

    async def acknowledge(request: dict[str, Any]) -> dict[str, Any]:
        return {"acknowledged": await inside.alerts.acknowledge(*acknowledging(request))}

    async def doctor(_request: dict[str, Any]) -> dict[str, Any]:
        from gateway.doctor.run import examine

        return {"doctor": await examine(inside)}

    async def names(request: dict[str, Any]) -> dict[str, Any]:
        return await names_verb(inside, request)

    return {
        **inside.views.verbs(),
        **editing_verbs(inside),
        "names": names,
        "status": status,
        "reload": reload,
        "bound": bound,
        "doctor": doctor,
        "acknowledge": acknowledge,
        "findings": inside.joining.findings_verb,
        "accept": inside.joining.accept_verb,
        "tap": inside.taps.tap_verb,
        "history": inside.history.history_verb,
        "events": inside.events.events_verb,
        "console": inside.console.console_verb,
    }


async def set_bound(inside: Inside, request: dict[str, Any]) -> dict[str, Any]:
    """``{"verb": "bound", "pipeline": "live", "step": "deadband", "bound": "0.5%"}``; stays over restarts.

    Raises:
        OnpathError: there is no such step, or this is no bound.
    """
    pipeline = inside.intake.engine.graph.pipelines.get(str(request.get("pipeline")))
    if pipeline is None:
        raise OnpathError(f"there is no pipeline {request.get('pipeline')!r}")
    step = pipeline.find_step(str(request.get("step")))
    if step is None or step.operator.bound is None:
        raise OnpathError(f"{request.get('step')!r} is no step with a bound; give its number, from 0")
    try:
        bound = Bound.parse(request.get("bound", ""))
    except (ValueError, TypeError) as error:
        raise OnpathError(str(error)) from None
    before = step.operator.bound
    await inside.intake.rebound(Rebound(pipeline.name, step.key, bound))
    return {"before": before.as_dict(), "bound": bound.as_dict()}
