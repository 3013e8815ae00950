"""``onpath demo park``: a building whose devices join by themselves.

Room sensors register at the gateway of their floor (CoAP), ventilation units describe themselves at the building's
broker (MQTT); no device stands in any configuration.

Occupancy and the runtime of the ventilation, by floor and for the building, are services. In the middle of the run one
more room is put up.
"""

from __future__ import annotations

import socket
import time
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from gateway.broker import EmbeddedBroker
from gateway.demo.scenes.oracle import Check
from gateway.demo.scenes.parts import DevicesChild, NodeSpec
from gateway.demo.scenes.scene import Scene
from gateway.network.config import Tier

if TYPE_CHECKING:
    from gateway.demo.scenes.network import Network
    from gateway.demo.scenes.oracle import Range

SERVICES: Final = Path(__file__).parent / "services" / "park"
BUILDING: Final = "west"
FLOORS: Final = ("west-1", "west-2", "west-3")
SITE: Final = "park"
ADD_FLOOR: Final = "west-2"
ADD_AT: Final = 0.4
"""Part of the run after which one more room is put up."""
_SEEN_S: Final = 30.0
RULES: Final = [
    {"rt": "temperature-c", "unit": "Cel", "resolution": 0.01},
    {"rt": "humidity-p", "unit": "%", "resolution": 0.01},
    {"rt": "co2", "unit": "[ppm]", "resolution": 1},
    {"rt": "occupancy", "resolution": 1},
]
"""What the kinds of resources are, not which devices there are."""
CHECKS: Final = tuple(
    Check(service=f"{service}-by-{group}", points=points, result=f"{{{group}}}/{result}", resolution=1.0)
    for service, points, result in (
        ("occupancy", "*/occupancy", "occupancy"),
        ("hvac", "*/binary_sensor.running", "running"),
    )
    for group in ("floor", "building")
)
SHOWN: Final = [
    *((f"{service}-by-floor", f"{floor}/{result}") for service, result in (("occupancy", "occupancy#mean"),
      ("hvac", "runtime")) for floor in FLOORS),
    ("occupancy-by-building", f"{BUILDING}/occupancy#mean"), ("hvac-by-building", f"{BUILDING}/runtime"),
    ("comfort", "building/temperature#mean"), ("comfort", "building/co2#max"), ("comfort", "building/power#mean"),
]  # fmt: skip


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What can be chosen."""

    for_s: float = 40.0
    rooms: int = 12
    """Of each floor."""
    units: int = 4
    """Of ventilation of each floor."""
    seed: int = 1


class Park(Scene):
    """See the module."""

    name = "park"
    services = (*(SERVICES / f"{check.service}.yaml" for check in CHECKS), SERVICES / "comfort.yaml")
    checks = CHECKS
    shown = SHOWN
    speed = 180.0

    def __init__(self, options: Options, **more: Any) -> None:
        super().__init__(options.for_s, **more)
        self._options = options
        self._broker: EmbeddedBroker
        self._ports = dict(zip(FLOORS, free_ports(len(FLOORS)), strict=True))
        """Where the gateways of the floors have their directories."""
        self._joined: dict[str, Any] = {}
        self._added: dict[str, Any] = {"added": None, "added_after_ms": None}

    def devices(self, folder: Path) -> DevicesChild:
        """See the base class."""
        options = self._options
        return DevicesChild(
            "gateway.demo.scenes.park_devices",
            *("--rooms", str(options.rooms), "--units", str(options.units)),
            *("--speed", str(self.speed), "--seed", str(options.seed)),
            folder=folder,
        )

    async def prepare(self, stack: AsyncExitStack, network: Network, devices: DevicesChild) -> None:
        """The building's broker."""
        del devices
        self._broker = await stack.enter_async_context(EmbeddedBroker(network.folder / "broker"))

    def nodes(self, said: dict[str, Any]) -> list[NodeSpec]:
        """See the base class."""
        del said
        floors = [
            NodeSpec(
                name=floor, tier=Tier.ACCESS, site=SITE, labels={"floor": floor, "building": BUILDING}, parent=BUILDING,
                adapters={"rooms": _directory(self._ports[floor]), "fans": self._bus(floor)},
                more={"discovery": {"accept": ["home-assistant", "coap-directory"]}},
            )
            for floor in FLOORS
        ]  # fmt: skip
        building = NodeSpec(name=BUILDING, tier=Tier.AGGREGATION, site=SITE, labels={"building": BUILDING})
        core = [NodeSpec(name=f"core-{letter}", tier=Tier.CORE, site="center") for letter in "ab"]
        return [*core, building, *floors]

    def _bus(self, floor: str) -> dict[str, Any]:
        topic = {"topic": f"homeassistant-{floor}/#", "payload": "home-assistant", "qos": 1}
        return {"type": "mqtt", "url": self._broker.url, "subscribe": [topic]}

    async def join(self, network: Network, devices: DevicesChild) -> None:
        """Let the devices introduce themselves, and wait until the gateways have them all."""
        began = time.monotonic()
        told = await devices.do("join", floors=self._ports, mqtt_port=self._broker.mqtt_port)
        wanted = told["rooms"] + told["units"]

        def missing(statuses: dict[str, dict[str, Any]]) -> str:
            there = sum(len(_devices(statuses[floor])) for floor in FLOORS)
            return "" if there >= wanted else f"{there} of {wanted} devices have joined"

        await network.until(missing, _SEEN_S)
        self._joined = {"joined": wanted, "joined_after_ms": round(1000 * (time.monotonic() - began))}
        self.tell(f"{told['rooms']} room sensors and {told['units']} ventilation units have joined by themselves")

    async def during(self, network: Network, devices: DevicesChild, span: Range) -> None:
        """The day begins; then one more room."""
        await self.wait_until(span.begin_ns, network)
        await devices.do("go")
        await self.wait_until(span.begin_ns + int(ADD_AT * (span.end_ns - span.begin_ns)), network)
        before = _devices((await network.statuses())[ADD_FLOOR])
        at_ns = (await devices.do("add", floor=ADD_FLOOR))["at_ns"]

        def missing(statuses: dict[str, dict[str, Any]]) -> str:
            fresh = _devices(statuses[ADD_FLOOR]) - before
            return "" if fresh else "the room that was put up has not joined"

        await network.until(missing, _SEEN_S)
        fresh = _devices((await network.statuses())[ADD_FLOOR]) - before
        self._added = {"added": ", ".join(sorted(fresh)), "added_after_ms": round((time.time_ns() - at_ns) / 1e6)}
        self.tell(f"{self._added['added']} was put up, and has joined")

    def found(self, network: Network) -> dict[str, Any]:
        """What has joined, and how soon."""
        del network
        return self._joined | self._added


def _directory(port: int) -> dict[str, Any]:
    rules = [{"point": "{name}", "payload": "text"} | rule for rule in RULES]
    return {"type": "coap", "serve": {"listen": f"127.0.0.1:{port}", "directory": {"rules": rules}}}


def _devices(status: dict[str, Any]) -> set[str]:
    """Devices that a gateway has."""
    return {name for part in status["adapters"].values() for name in part.get("devices", {})}


def free_ports(count: int) -> list[int]:
    """UDP ports of this machine that nobody listens on."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]
