"""The devices of a building, which introduce themselves.

Room sensors register at a resource directory (CoAP, RFC 9176), ventilation units describe themselves at a broker (MQTT,
Home Assistant's discovery).

Started as ``python -m gateway.demo.scenes.park_devices --rooms 12 --units 4``; obeys JSON lines until its input ends::

    (start)    {"devices": true}
    {"do": "join", "floors": {"west-1": 5683, ...}, "mqtt_port": 1883}     {"rooms": 36, "units": 12}
    {"do": "go"}                                                           {"going": true}
    {"do": "add", "floor": "west-2"}                                       {"at_ns": 1795392000123456789}

``floors`` are the ports of the directories, by floor. Rooms speak once a second, one resource after another; so do
units. It is six in the morning until they are told to go.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import aiocoap
import aiomqtt
import msgspec
import numpy as np
import numpy.typing as npt
import uvloop
from aiocoap.resource import ObservableResource, Site, WKCResource

from gateway.demo.replay import Office
from gateway.demo.scenes.grid_devices import say

if TYPE_CHECKING:
    from gateway.demo.replay import Floats

STEP_S: Final = 1.0
RESOURCES: Final = {"temperature": "temperature-c", "humidity": "humidity-p", "co2": "co2", "occupancy": "occupancy"}
"""Path of each resource of a room and its resource type."""
DIGITS: Final = {"temperature": 2, "humidity": 2, "co2": 0, "occupancy": 0}
PREFIX: Final = "homeassistant"
_FIRST_ROW: Final = 46.0
"""Of office.csv: six in the morning, before people come."""
_LIGHT_LX: Final = 300.0
"""Where there is more, there are people: the lights of this office are switched by hand."""
_ON_PPM, _OFF_PPM = 650.0, 560.0
_FAN_W: Final = 740.0
_LIFETIME_S: Final = 3600
_REGISTER_S: Final = 30.0


class Rooms(Office):
    """Rooms in the morning, each some minutes ahead of others."""

    def __init__(self, n: int, *, seed: int, speed: float) -> None:
        super().__init__(n, seed=seed, speed=speed)
        self._row = _FIRST_ROW + self._random.uniform(0.0, 6.0, n)


class Reading(ObservableResource):  # type: ignore[misc]  # aiocoap has no types
    """One resource of a room."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.rt = kind
        self.if_ = "sensor"
        self.payload = b"0"

    async def render_get(self, request: aiocoap.Message) -> aiocoap.Message:
        """Answer a GET, also the one that each notification repeats."""
        del request
        return aiocoap.Message(payload=self.payload, content_format=0)


@dataclass
class Room:
    """A sensor with a port of its own."""

    name: str
    resources: dict[str, Reading] = field(default_factory=lambda: {n: Reading(rt) for n, rt in RESOURCES.items()})
    context: aiocoap.Context | None = None

    async def open(self) -> None:
        """Answer on a free port."""
        site = Site()
        site.add_resource([".well-known", "core"], WKCResource(site.get_resources_as_linkheader))
        for name, resource in self.resources.items():
            site.add_resource([name], resource)
        self.context = await aiocoap.Context.create_server_context(site, bind=("127.0.0.1", 0), transports=["udp6"])

    async def register(self, port: int) -> None:
        """Ask the directory to fetch our links (simple registration); the gateway does the rest.

        Raises:
            ConnectionError: it refuses.
        """
        assert self.context is not None
        uri = f"coap://127.0.0.1:{port}/.well-known/rd?ep={self.name}&lt={_LIFETIME_S}"
        async with asyncio.timeout(_REGISTER_S):
            answer = await self.context.request(aiocoap.Message(code=aiocoap.POST, uri=uri)).response
        if not answer.code.is_successful():
            raise ConnectionError(f"{self.name}: the directory says {answer.code}")

    def show(self, readings: dict[str, float]) -> None:
        """Keep these from now on."""
        for name, resource in self.resources.items():
            digits = DIGITS[name]
            resource.payload = f"{readings[name]:.{digits}f}".encode()

    def notify(self, name: str) -> None:
        """Tell observers."""
        self.resources[name].updated_state()

    async def close(self) -> None:
        """Close the port."""
        if self.context is not None:
            await self.context.shutdown()


class Building:
    """All floors."""

    def __init__(self, rooms: int, units: int, *, seed: int, speed: float) -> None:
        self._each, self._units = rooms, units
        self._seed, self._speed = seed, speed
        self._rooms: dict[str, list[Room]] = {}
        self._office: dict[str, Rooms] = {}
        self._ports: dict[str, int] = {}
        self._co2: dict[str, Floats] = {}
        self._running: dict[str, npt.NDArray[np.bool_]] = {}
        self._random = np.random.default_rng(seed)
        self._tasks: list[asyncio.Task[None]] = []
        self.going = False

    async def join(self, floors: dict[str, int], mqtt_port: int) -> dict[str, int]:
        """Introduce all devices; how many."""
        self.prepare(floors)
        for floor, port in floors.items():
            for room in self._rooms[floor]:
                await room.open()
                await room.register(port)
        self._tasks = [asyncio.create_task(self._speak(floor), name=f"rooms {floor}") for floor in floors]
        self._tasks += [asyncio.create_task(self._publish(floor, mqtt_port), name=f"units {floor}") for floor in floors]
        return {"rooms": self._each * len(floors), "units": self._units * len(floors)}

    def prepare(self, floors: dict[str, int]) -> None:
        """Have all devices, by floor with the port of its directory."""
        self._ports = floors
        for number, floor in enumerate(floors):
            self._office[floor] = Rooms(self._each + 1, seed=self._seed + number, speed=self._speed)
            self._running[floor] = np.zeros(self._units, np.bool_)
            self._rooms[floor] = [Room(f"{floor}-room-{one:02}") for one in range(1, self._each + 1)]
            self.measure(floor, 0.0)

    def rooms(self, floor: str) -> list[Room]:
        """Those of a floor."""
        return self._rooms[floor]

    def running(self, floor: str) -> npt.NDArray[np.bool_]:
        """Which units of a floor run, [units]."""
        return self._running[floor]

    async def add(self, floor: str) -> int:
        """One more room; when it has registered, ns."""
        room = Room(f"{floor}-room-{len(self._rooms[floor]) + 1:02}")
        await room.open()
        self._rooms[floor].append(room)
        self.measure(floor, 0.0)
        await room.register(self._ports[floor])
        return time.time_ns()

    def measure(self, floor: str, seconds: float) -> None:
        """Let time pass on a floor."""
        readings = self._office[floor].step(seconds)
        self._co2[floor] = readings[:, 3]
        for room, (temperature, humidity, light, co2) in zip(self._rooms[floor], readings.tolist(), strict=False):
            room.show(
                {"temperature": temperature, "humidity": humidity, "co2": co2, "occupancy": float(light > _LIGHT_LX)}
            )
        served = np.array_split(self._co2[floor], self._units)
        level = np.array([rooms.mean() if len(rooms) else 0.0 for rooms in served])
        self._running[floor] = np.where(self._running[floor], level > _OFF_PPM, level > _ON_PPM)

    async def _speak(self, floor: str) -> None:
        """Each resource once a second, spread over it."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            self.measure(floor, STEP_S if self.going else 0.0)
            for name in RESOURCES:
                for room in self._rooms[floor]:
                    room.notify(name)
                due += STEP_S / len(RESOURCES)
                await asyncio.sleep(max(0.0, due - loop.time()))

    async def _publish(self, floor: str, port: int) -> None:
        """Describe the floor's units, then say once a second what they do."""
        names = [f"{floor}-fan-{one}" for one in range(1, self._units + 1)]
        async with aiomqtt.Client("127.0.0.1", port, identifier=f"demo-{floor}") as client:
            for name in names:
                await client.publish(f"{PREFIX}-{floor}/device/{name}/config", described(name), qos=1, retain=True)
            loop = asyncio.get_running_loop()
            due = loop.time()
            while True:
                for name, runs in zip(names, self._running[floor].tolist(), strict=True):
                    watts = round(_FAN_W * float(self._random.normal(1.0, 0.02)), 1) if runs else 2.5
                    state = {"running": "ON" if runs else "OFF", "power": watts}
                    await client.publish(f"hvac/{name}/state", msgspec.json.encode(state), qos=1)
                due += STEP_S
                await asyncio.sleep(max(0.0, due - loop.time()))

    def check(self) -> None:
        """Raise what has ended a task."""
        for task in self._tasks:
            if task.done():
                task.result()

    async def stop(self) -> None:
        """Close everything."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for rooms in self._rooms.values():
            for room in rooms:
                await room.close()


def described(name: str) -> bytes:
    """What a unit says of itself, as Home Assistant wants it."""
    return msgspec.json.encode(
        {
            "device": {"identifiers": [name], "name": name, "manufacturer": "onpath", "model": "demo fan"},
            "state_topic": f"hvac/{name}/state",
            "components": {
                "running": {"platform": "binary_sensor", "value_template": "{{ value_json.running }}"},
                "power": {
                    "platform": "sensor", "unit_of_measurement": "W", "device_class": "power",
                    "value_template": "{{ value_json.power }}",
                },
            },
        }
    )  # fmt: skip


async def run(options: argparse.Namespace) -> None:
    """Obey until the input ends."""
    building = Building(options.rooms, options.units, seed=options.seed, speed=options.speed)
    orders = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    pipe, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    say({"devices": True})
    try:
        while line := await orders.readline():
            building.check()
            order: dict[str, Any] = msgspec.json.decode(line, type=dict[str, Any])
            match order["do"]:
                case "join":
                    say(await building.join(order["floors"], order["mqtt_port"]))
                case "go":
                    building.going = True
                    say({"going": True})
                case "add":
                    say({"at_ns": await building.add(order["floor"])})
                case other:
                    say({"error": f"unknown order {other!r}"})
    finally:
        pipe.close()
        await building.stop()


def main() -> None:
    """Run until the input ends."""
    parser = argparse.ArgumentParser(prog="python -m gateway.demo.scenes.park_devices", description="a building")
    parser.add_argument("--rooms", type=int, default=12, help="of each floor")
    parser.add_argument("--units", type=int, default=4, help="of ventilation of each floor")
    parser.add_argument("--speed", type=float, default=180.0, help="simulated seconds a second")
    parser.add_argument("--seed", type=int, default=1)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
