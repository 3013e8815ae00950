"""One service as arrays over the nodes: what comes in where, what each stage lets through, costs, and may. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from gateway.network.chain import StageKind
from gateway.network.config import Tier
from gateway.network.controller import defaults
from gateway.network.plan.problem import Bools, Floats, Ints, ServiceProblem
from pipelines.operators.aggregate.merge import MergeConfig
from pipelines.operators.aggregate.window import WindowConfig

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.network.advert import Advert
    from gateway.network.chain import Chain, Stage
    from gateway.network.controller.measured import Measured, StageMeasured
    from gateway.network.controller.view import Wanted

DAY_S: Final = 86_400.0
UNLISTED: Final = frozenset({"python", "infer"})
"""Operators that no node calibrates, so that their absence from an advert says nothing."""


@dataclass(frozen=True)
class ServiceView:
    """One service; n nodes, K stages."""

    problem: ServiceProblem
    by_chain: Bools
    """Which cuts ``place:`` and the kinds of the stages allow, [n, K + 1]."""
    by_operators: Bools
    """Which cuts nodes with inputs can have, with the operators that they have, [n, K + 1]."""
    by_latency: Bools
    """Which cuts are in time, [n, K + 1]."""
    raw: Floats
    """Bytes a second that leave each subtree if nothing is applied, as JSON, [n]."""
    latency_s: float
    """From the end of a window, or from a sample, to the result, on the longest way."""
    estimated: bool
    """Whether nothing of it was measured yet."""


def service_view(
    wanted: Wanted, nodes: Sequence[Advert], core: Sequence[Advert], parent: Sequence[int], hop_s: Floats,
    measured: Measured,
) -> ServiceView:  # fmt: skip
    """The service as the planner wants it."""
    return _Builder(wanted, nodes, core, parent, measured).view(hop_s)


class _Builder:
    def __init__(
        self, wanted: Wanted, nodes: Sequence[Advert], core: Sequence[Advert], parent: Sequence[int], measured: Measured
    ) -> None:
        self.chain: Chain = wanted.chain
        self.name, self.version = wanted.name, wanted.version
        self.intent = wanted.chain.service.intent
        self.nodes, self.core, self.measured = nodes, core, measured
        self.n, self.stages = len(nodes), wanted.chain.stages
        self.count = len(self.stages)
        self.above: Ints = np.array([self.n if above < 0 else above for above in parent], np.int64)
        self.order = self._bottom_up()
        self.pooled: list[StageMeasured | None] = [
            measured.over_all(self.name, self.version, k) for k in range(self.count + 1)
        ]

    def view(self, hop_s: Floats) -> ServiceView:
        """All of it."""
        own, samples = self._samples()
        has = own[: self.n, 0] > 0
        runs = np.ones((self.n, self.count + 1), np.bool_)
        for k, stage in enumerate(self.stages, 1):
            runs[:, k] = [_has(advert, stage) for advert in self.nodes]
        by_chain = self._by_chain()
        by_operators = np.logical_and.accumulate(runs, axis=1) | ~has[:, None]
        by_latency, latency_s = self._latency(hop_s)
        merge = self.chain.merge_index or self.count + 1
        bytes_each = np.array([self._bytes(k) for k in range(self.count + 1)])
        problem = ServiceProblem(
            name=self.name,
            priority=self.chain.service.intent.priority,
            merge=merge,
            samples=samples,
            own=own,
            bytes=samples[: self.n] * bytes_each,
            work=self._work(),
            allowed=by_chain & by_operators & by_latency,
            runs=runs,
            most=math.inf if self.intent.bytes_per_day is None else float(self.intent.bytes_per_day) / DAY_S,
        )
        raw = samples[: self.n, 0] * defaults.JSON_BYTES
        estimated = not any(one is not None and one.passes.known for one in self.pooled)
        return ServiceView(problem, by_chain, by_operators, by_latency, raw, latency_s, estimated)

    def _bottom_up(self) -> list[int]:
        """Nodes, children before their parents."""
        depth = [0] * self.n
        for node in range(self.n):
            above = int(self.above[node])
            while above < self.n:
                depth[node] += 1
                above = int(self.above[above])
        return sorted(range(self.n), key=lambda node: (-depth[node], node))

    def _samples(self) -> tuple[Floats, Floats]:
        """Of each node's own inputs and of its subtree, [n + 1, K + 1]."""
        own = np.zeros((self.n + 1, self.count + 1))
        for node, advert in enumerate(self.nodes):
            points = advert.points.get(self.name, 0)
            if points:
                rate = self.measured.rate(advert.node, self.name) or advert.inputs.get(self.name, 0.0)
                own[node, 0] = rate or points * defaults.RATE
                for k, stage in enumerate(self.stages, 1):
                    own[node, k] = self._behind(advert, points, stage, own[node, k - 1])
        samples = own.copy()
        for node in self.order:
            samples[self.above[node]] += samples[node]
        merge = self.chain.merge_index
        if merge:
            samples[:, merge:] = self._groups(own[:, merge])[:, None]
        return own, samples

    def _behind(self, advert: Advert, points: int, stage: Stage, came: float) -> float:
        """Samples a second behind a stage."""
        if stage.kind in {StageKind.MERGE, StageKind.FINAL, StageKind.POST}:
            return came
        for known in (self.measured.at(advert.node, self.name, self.version, stage.index), self.pooled[stage.index]):
            # A pooled quotient of a window says little where points speak more or less often; a table says less
            if known is not None and known.passes.known:
                return came * known.passes.value()
        if stage.kind is StageKind.PARTIAL and isinstance(stage.options, WindowConfig):
            groups = points if stage.options.over is None else min(points, 2)
            return min(came * _figures(stage.options), groups * _figures(stage.options) / float(stage.options.every))
        return came * defaults.PASSES.get(stage.operator, 1.0)

    def _groups(self, own: Floats) -> Floats:
        """Samples a second behind the merge if a whole subtree is merged, [n + 1]: what has one group counts once."""
        keys = [_group_key(self.chain, advert) for advert in self.nodes]
        found: dict[int, dict[str, float]] = {}
        for node in range(self.n):
            above = node
            while True:
                groups = found.setdefault(above, {})
                groups[keys[node]] = max(groups.get(keys[node], 0.0), float(own[node]))
                if above == self.n:
                    break
                above = int(self.above[above])
        totals = np.zeros(self.n + 1)
        for node, groups in found.items():
            totals[node] = sum(groups.values())
        return totals

    def _bytes(self, cut: int) -> float:
        """Of a sample that leaves a node behind so many stages."""
        known = self.pooled[cut]
        if known is not None and known.bytes.known:
            return known.bytes.value()
        kind = self.stages[cut - 1].kind if cut else StageKind.STEP
        return defaults.PARTIAL_BYTES if kind in {StageKind.PARTIAL, StageKind.MERGE} else defaults.SAMPLE_BYTES

    def _work(self) -> Floats:
        """Core-seconds a sample, [n + 1, K + 1]."""
        work = np.zeros((self.n + 1, self.count + 1))
        for k, stage in enumerate(self.stages, 1):
            pooled = self.pooled[k]
            for node, advert in enumerate(self.nodes):
                known = self.measured.at(advert.node, self.name, self.version, k)
                if known is not None and known.cpu_us.known:
                    work[node, k] = known.cpu_us.value()
                else:
                    work[node, k] = _cost_us(advert, stage, pooled)
            there = [_cost_us(advert, stage, pooled) for advert in self.core]
            work[self.n, k] = sum(there) / len(there) if there else _table_us(stage)
        return work * 1e-6

    def _by_chain(self) -> Bools:
        tiers = {
            tier: np.array([self.chain.allowed(tier, k) for k in range(self.count + 1)])
            for tier in (Tier.ACCESS, Tier.AGGREGATION)
        }
        allowed = np.array([tiers[advert.tier] for advert in self.nodes], np.bool_).reshape(self.n, self.count + 1)
        for k, stage in enumerate(self.stages, 1):  # what the core cannot run, or may not, is done before
            if self.core and not any(_has(advert, stage) for advert in self.core):
                allowed[self.above == self.n, :k] = False
        return allowed

    def _latency(self, hop_s: Floats) -> tuple[Bools, float]:
        """Cuts that are in time, [n, K + 1], and the longest way, s.

        Each merge waits for partials until some time after the window's end, by the same clock everywhere; so what
        waited at a node on the way must still be on time for the last one.
        """
        up_s = np.zeros(self.n + 1)
        for node in reversed(self.order):
            up_s[node] = hop_s[node] + up_s[self.above[node]]
        in_time = np.ones((self.n, self.count + 1), np.bool_)
        waits = [float(one.options.lateness) for one in self.stages if isinstance(one.options, MergeConfig)]
        merge = self.chain.merge_index
        if merge:
            late = waits[0] + up_s[: self.n] > max(float(self.chain.service.intent.latency), waits[-1])
            inner = np.bincount(self.above, minlength=self.n + 1)[: self.n] > 0
            in_time[late & inner, merge:] = False
        windows = [float(one.options.lateness) for one in self.stages if one.kind is StageKind.PARTIAL
                   and isinstance(one.options, WindowConfig)]  # fmt: skip
        return in_time, float(up_s.max(initial=0.0)) + max([*waits, *windows], default=0.0)


def _figures(options: WindowConfig) -> int:
    """Figures of a partial result, about."""
    return max(1, *(defaults.FIGURES.get(str(stat), defaults.FIGURES["histogram"]) for stat in options.stats))


def _group_key(chain: Chain, advert: Advert) -> str:
    """What two nodes have in common if their partial results merge to one."""
    options = next((one.options for one in chain.stages if one.kind is StageKind.PARTIAL), None)
    over = options.over if isinstance(options, WindowConfig) else None
    if over is None or over in {"device", "label node"}:
        return advert.node
    if over == "label site":
        return advert.site
    if over.startswith("label "):
        return advert.labels.get(over.removeprefix("label "), "")
    return advert.node if over.startswith("{") else ""


def _has(advert: Advert, stage: Stage) -> bool:
    operator = "merge" if stage.kind in {StageKind.MERGE, StageKind.FINAL} else stage.operator
    return not advert.operators or operator in advert.operators or operator in UNLISTED


def _table_us(stage: Stage) -> float:
    operator = "merge" if stage.kind in {StageKind.MERGE, StageKind.FINAL} else stage.operator
    return defaults.COST_US.get(operator, defaults.ANY_US)


def _cost_us(advert: Advert, stage: Stage, pooled: StageMeasured | None) -> float:
    """µs of CPU a sample: as calibrated there, as measured elsewhere, or by the table."""
    operator = "merge" if stage.kind in {StageKind.MERGE, StageKind.FINAL} else stage.operator
    if advert.operators.get(operator):
        return advert.operators[operator]
    if pooled is not None and pooled.cpu_us.known:
        return pooled.cpu_us.value()
    return _table_us(stage) / max(advert.speed, 0.01)
