"""One turn of the controller: from what is known to what is to be written. Runs in a thread."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gateway.network.controller.deciding import Decider, Decision, assignments, running_cuts
from gateway.network.controller.explaining import explanations
from gateway.network.controller.measured import Measured
from gateway.network.controller.view import View, Wanted, view_of
from gateway.network.plan.solve import Plan, plan_for

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gateway.network.advert import Advert
    from gateway.network.assignment import Assignment
    from gateway.network.plan.explanation import Explanation


@dataclass(frozen=True)
class Turn:
    """What came of it."""

    view: View
    plan: Plan
    decision: Decision
    news: dict[str, Assignment]
    """By node: what is to be written."""
    explanations: dict[str, Explanation] = field(default_factory=dict)


class Planner:
    """Plans again and again, with a memory for what lasts."""

    def __init__(self, decider: Decider | None = None, limit_s: float = 5.0) -> None:
        self._decider = Decider() if decider is None else decider
        self._limit_s = limit_s

    def turn(
        self, adverts: Mapping[str, Advert], wanted: Sequence[Wanted], measured: Measured,
        running: Mapping[str, Assignment], epoch: int, times: tuple[float, int],
    ) -> Turn:  # fmt: skip
        """Plan, and decide what of it is to be done.

        Args:
            adverts: of the nodes that live.
            wanted: all services.
            measured: what stages did until now.
            running: what nodes were told last.
            epoch: of what is new.
            times: monotonic s, and UTC ns.
        """
        now_s, now_ns = times
        view = view_of(adverts, wanted, measured)
        old, _ = running_cuts(view, running)
        start = old if old.size and (old >= 0).all() else None
        plan = plan_for(view.problem, start=start, limit_s=self._limit_s)
        decision = self._decider.decide(view, plan, running, now_s)
        news = assignments(view, decision, running, epoch, now_ns)
        told = explanations(view, plan, decision.cuts, epoch, now_ns // 1_000_000)
        return Turn(view, plan, decision, news, told)


def foreseen(
    adverts: Mapping[str, Advert], wanted: Sequence[Wanted], now_ns: int = 0
) -> tuple[dict[str, Explanation], dict[str, Assignment]]:
    """What would be planned if nothing ran yet: explanations by service, and what each node would be told.

    Args:
        adverts: of the nodes, by name.
        wanted: the services.
        now_ns: UTC.
    """
    measured = Measured()
    versions = {one.name: one.version for one in wanted}
    for advert in adverts.values():
        measured.note(advert, versions)
    turn = Planner().turn(adverts, wanted, measured, {}, 1, (0.0, now_ns))
    return turn.explanations, turn.news
