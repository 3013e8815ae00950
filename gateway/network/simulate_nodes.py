"""Nodes that are adverts only: a network of any size for the controller, drawn from a seed. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np

from gateway.network.advert import Advert, LinkFacts
from gateway.network.config import Tier

AREA: Final = 25
"""Gateways below an aggregation node."""
EVERY_S: Final = 20.0
POINTS: Final = 60
"""Of a gateway, in the middle."""
SERVICES: Final = (
    """
service: demand
inputs: {points: "*/power"}
steps:
  - limits: {min: 0, max: 100}
  - window: {every: 15m, stats: [count, sum, mean, max], over: label area, name: "area/{area}/power"}
intent: {latency: 2m, priority: 7}
""",
    """
service: voltage
inputs: {points: "*/voltage"}
steps:
  - window: {every: 1m, stats: [count, min, max], over: label site, name: "{site}/voltage"}
intent: {latency: 1m, priority: 6}
""",
    """
service: readings
inputs: {points: "**"}
steps:
  - deadband: {epsilon: 0.5%, max_silence: 10m}
intent: {error: 0.5%, latency: 10s, priority: 2}
""",
    """
service: temperature
inputs: {points: "*/temperature"}
steps:
  - scale: {factor: 0.1}
  - filter: {above: 0}
intent: {latency: 30s, priority: 3}
""",
    """
service: quality
inputs: {points: "*/frequency"}
steps:
  - limits: {min: 45, max: 55}
  - scale: {factor: 1000}
  - window: {every: 10m, stats: [count, mean, min, max], over: all, name: "all/frequency"}
intent: {latency: 3m, priority: 9}
""",
)
"""What they are asked for, in turn; more are copies under other names."""
COSTS: Final = {
    "limits": 0.05, "window": 0.15, "merge": 0.3, "deadband": 0.05, "scale": 0.03, "filter": 0.04,
}  # fmt: skip


@dataclass
class Drawn:
    """A network."""

    adverts: dict[str, Advert]
    """As they are now, by name."""
    seed: int

    def again(self, number: int, noise: float, *, storm: bool = False) -> None:
        """The next adverts of all nodes.

        Args:
            number: of the advert.
            noise: how far rates wander from those of the beginning, relatively.
            storm: rates from a fifth to five times as much, and as much headroom as there happens to be.
        """
        chance = np.random.default_rng((self.seed, number))
        for name, first in self._first.items():
            factor = float(np.exp(chance.uniform(-1.6, 1.6))) if storm else 1 + noise * chance.uniform(-1, 1)
            room = chance.uniform(0.4, 1.6) if storm else 1.0
            self.adverts[name] = _changed(first, number, factor, room)

    def __post_init__(self) -> None:
        self._first = dict(self.adverts)


def _changed(first: Advert, number: int, factor: float, room: float) -> Advert:
    inputs = {name: rate * factor for name, rate in first.inputs.items()}
    return msgspec.structs.replace(first, number=number, inputs=inputs, headroom=first.headroom * room)


def services(count: int) -> dict[str, str]:
    """YAML of so many services, by name."""
    found = {}
    for number in range(count):
        text = SERVICES[number % len(SERVICES)].strip() + "\n"
        name = text.split("\n", 1)[0].removeprefix("service: ")
        if again := number // len(SERVICES):
            text = text.replace(f"service: {name}", f"service: {name}-{again}", 1)
            name = f"{name}-{again}"
        found[name] = text
    return found


def drawn(gateways: int, names: list[str], seed: int = 1) -> Drawn:
    """So many gateways in areas, with a core of two; figures are drawn.

    CPU and links of some are scarce: small boxes on metered links.

    Args:
        gateways: how many.
        names: of the services whose inputs they have.
        seed: of the draw.
    """
    chance = np.random.default_rng(seed)
    adverts = {f"core-{i}": _node(f"core-{i}", Tier.CORE, "core", 4.0, []) for i in range(2)}
    for area in range(-(-gateways // AREA)):
        name = f"area-{area:03d}"
        link = LinkFacts(to="", capacity=float(chance.uniform(2e4, 2e5)), round_trip_s=0.04)
        cpu = float(chance.uniform(0.001, 0.05))
        adverts[name] = _node(name, Tier.AGGREGATION, f"site-{area:03d}", cpu, [link])
        for number in range(area * AREA, min(gateways, (area + 1) * AREA)):
            adverts[f"gw-{number:04d}"] = _gateway(chance, number, name, names)
    return Drawn(adverts, seed)


def _gateway(chance: np.random.Generator, number: int, area: str, names: list[str]) -> Advert:
    link = LinkFacts(
        to=area,
        capacity=float(chance.uniform(300, 3e3)),
        round_trip_s=0.08,
        price=float(chance.choice([1.0, 1.0, 5.0])),
    )
    points = {name: int(chance.integers(POINTS // 4, POINTS * 2)) for name in names if chance.random() < 0.9}
    inputs = {name: count * float(chance.uniform(0.2, 1.5)) for name, count in points.items()}
    base = _node(f"gw-{number:04d}", Tier.ACCESS, f"site-{area[5:]}", float(chance.uniform(2e-5, 1e-3)), [link])
    return msgspec.structs.replace(
        base, parents=[area], points=points, inputs=inputs, labels={"area": area}, speed=float(chance.uniform(0.3, 1.5))
    )


def _node(name: str, tier: Tier, site: str, headroom: float, links: list[LinkFacts]) -> Advert:
    return Advert(
        node=name, tier=tier, site=site, boot=1, number=1, every_s=EVERY_S, headroom=headroom,
        cores=min(4.0, headroom * 2), operators=dict(COSTS), links=links,
    )  # fmt: skip
