"""``onpath demo grid``: one transformer area.

Households' meters are read by gateways on four feeders, the transformer's by the one in the station, which also brings
together what comes from the feeders; two workers share the core.

Demand, line loss, voltage and outages are services, whose plan comes from the controller. In the middle of the run the
supply of one street is cut, and must be found.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from gateway.demo.scenes.oracle import Check
from gateway.demo.scenes.parts import DevicesChild, NodeSpec
from gateway.demo.scenes.scene import Scene
from gateway.network.config import Tier

if TYPE_CHECKING:
    from gateway.demo.scenes.network import Network
    from gateway.demo.scenes.oracle import Range

SERVICES: Final = Path(__file__).parent / "services" / "grid"
SITE: Final = "area-7"
STATION: Final = "station"
FEEDERS: Final = ("north", "east", "south", "west")
STREETS: Final = ("mill", "oak", "lake")
"""Of each feeder, with the feeder's name before them."""
READ: Final = ("power", "voltage_l1", "voltage_l2", "voltage_l3", "energy_import")
"""Points of each meter that are read once a second."""
HEAD: Final = "station/energy#sum"
"""What went out at the transformer, of the service ``line-loss``."""
CUT_FEEDER: Final = 1
CUT_AT: Final = 0.35
"""Part of the run after which the street loses its supply, and"""
BACK_AT: Final = 0.7
"""has it again."""
CHECKS: Final = (
    Check(service="demand", points="*/power", result="{site}/power", resolution=0.1, only={"role": "homes"},
          stats=("count", "sum", "max")),
    Check(service="voltage", points="*/voltage_l?", result="{site}/voltage", resolution=0.01, only={"role": "homes"},
          stats=("count", "sum", "min", "max")),
)  # fmt: skip
SHOWN: Final = [
    ("demand", f"{SITE}/power#sum"), ("demand", f"{SITE}/power#mean"), ("demand", f"{SITE}/power#max"),
    ("voltage", f"{SITE}/voltage#min"), ("voltage", f"{SITE}/voltage#p50"), ("voltage", f"{SITE}/voltage#max"),
    ("line-loss", "area/loss"), ("line-loss", "area/loss#percent"),
]  # fmt: skip


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What can be chosen."""

    for_s: float = 40.0
    meters: int = 60
    seed: int = 1


class Grid(Scene):
    """See the module."""

    name = "grid"
    services = (
        SERVICES / "demand.yaml",
        SERVICES / "voltage.yaml",
        SERVICES / "line-loss.yaml",
        SERVICES / "supply.yaml",
    )
    checks = CHECKS
    shown = SHOWN
    speed = 180.0

    def __init__(self, options: Options, **more: Any) -> None:
        super().__init__(options.for_s, **more)
        self._options = options
        self._homes = [homes_of(feeder, options.meters) for feeder in range(len(FEEDERS))]
        self._cut = street_of(self._homes[CUT_FEEDER], STREETS[1], FEEDERS[CUT_FEEDER])
        self._cut_ns = self._back_ns = self._end_ns = 0

    def devices(self, folder: Path) -> DevicesChild:
        """See the base class."""
        sizes = [str(len(homes)) for homes in self._homes]
        return DevicesChild(
            "gateway.demo.scenes.grid_devices",
            *("--meters", *sizes, "--speed", str(self.speed), "--seed", str(self._options.seed)),
            folder=folder,
        )

    def nodes(self, said: dict[str, Any]) -> list[NodeSpec]:
        """See the base class."""
        specs = [
            NodeSpec(
                name=f"feeder-{feeder}", tier=Tier.ACCESS, site=SITE, labels={"role": "homes", "feeder": feeder},
                parent=STATION, adapters={"meters": _bus(port, homes)},
            )
            for feeder, homes, port in zip(FEEDERS, self._homes, said["ports"], strict=True)
        ]  # fmt: skip
        station = NodeSpec(
            name=STATION, tier=Tier.AGGREGATION, site=SITE, labels={"role": "station"},
            adapters={"transformer": _bus(said["station"], ["transformer"])},
        )  # fmt: skip
        core = [NodeSpec(name=f"core-{letter}", tier=Tier.CORE, site="center") for letter in "ab"]
        return [*core, station, *specs]

    async def during(self, network: Network, devices: DevicesChild, span: Range) -> None:
        """Cut a street, and give it its supply back."""
        self._end_ns, length_s = span.end_ns, (span.end_ns - span.begin_ns) / 1e9
        order = {"feeder": CUT_FEEDER, "homes": [number for number, _ in self._cut]}
        await self.wait_until(span.begin_ns + int(CUT_AT * length_s * 1e9), network)
        self._cut_ns = (await devices.do("cut", **order))["at_ns"]
        self.tell(f"cut the supply of {len(self._cut)} homes in one street of feeder {FEEDERS[CUT_FEEDER]}")
        await self.wait_until(span.begin_ns + int(BACK_AT * length_s * 1e9), network)
        self._back_ns = (await devices.do("restore", **order))["at_ns"]
        self.tell("the street has its supply again")

    def found(self, network: Network) -> dict[str, Any]:
        """The street, by what the service ``supply`` has told."""
        node = f"feeder-{FEEDERS[CUT_FEEDER]}"
        cut = {f"{node}/{home}/supply" for _, home in self._cut}
        told = {key: one for key, one in network.tap.told.items() if key[0] == "supply"}
        out = {key[1]: one.came_ns for key, one in told.items() if one.value == "outage"}
        since = self._back_ns or time.time_ns()
        back = {key[1]: one.came_ns for key, one in told.items() if one.value == "supplied" and key[2] > since - 10**9}
        streets = sorted({point.split("/")[1].rpartition("-")[0] for point in out})
        return {
            "outage": ", ".join(streets) or None,
            "homes_cut": len(cut),
            "homes_found": len(out.keys() & cut),
            "homes_wrong": len(out.keys() - cut),
            "found_after_ms": _after(out, cut, self._cut_ns),
            "restored_after_ms": _after(back, cut, self._back_ns),
        }

    def complete(self, network: Network) -> bool:
        """Whether all of the street was found, and its return; and the loss of the last window is there."""
        found = self.found(network)
        lost = max((key[2] for key in network.tap.told if key[:2] == ("line-loss", "area/loss")), default=0)
        return None not in {found["found_after_ms"], found["restored_after_ms"]} and lost >= self._end_ns

    async def after(self, network: Network, devices: DevicesChild) -> dict[str, Any]:
        """The loss that the meters show beside the one that the cables had."""
        truth = await devices.do("truth")
        lost = {key[2]: one.value for key, one in network.tap.told.items() if key[:2] == ("line-loss", "area/loss")}
        head = {key[2]: one.value for key, one in network.tap.told.items() if key[:2] == ("line-loss", HEAD)}
        both = [(lost[at], head[at]) for at in lost.keys() & head.keys()]
        good = [(one, of) for one, of in both if isinstance(one, float) and isinstance(of, float)][1:]
        supplied = sum(of for _, of in good)
        return {
            "loss_percent": round(100 * sum(one for one, _ in good) / supplied, 3) if supplied else None,
            "loss_percent_true": round(100 * truth["lost_kwh"] / max(truth["supplied_kwh"], 1e-9), 3),
        }


def homes_of(feeder: int, meters: int) -> list[str]:
    """The names of a feeder's homes: its street and a number. A feeder has three streets."""
    count = meters * (feeder + 1) // len(FEEDERS) - meters * feeder // len(FEEDERS)
    streets = [STREETS[number * len(STREETS) // count] for number in range(count)]
    return [f"{FEEDERS[feeder]}-{street}-{number:02}" for number, street in enumerate(streets, 1)]


def street_of(homes: list[str], street: str, feeder: str) -> list[tuple[int, str]]:
    """Number and name of the homes of a street."""
    return [(number, home) for number, home in enumerate(homes) if home.startswith(f"{feeder}-{street}-")]


def _bus(port: int, meters: list[str]) -> dict[str, Any]:
    return {
        "type": "modbus",
        "url": f"tcp://127.0.0.1:{port}",
        "devices": {
            meter: {"unit": unit, "profile": "eastron-sdm630", "only": list(READ), "every": "1s"}
            for unit, meter in enumerate(meters, 1)
        },
    }


def _after(came: dict[str, int], wanted: set[str], since_ns: int) -> int | None:
    """How many ms until the last of them was told; None if one was not."""
    if not since_ns or not wanted <= came.keys():
        return None
    return round((max(came[point] for point in wanted) - since_ns) / 1e6)
