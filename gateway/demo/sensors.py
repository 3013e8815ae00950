"""Office sensors as CoAP resources (RFC 7252) that can be observed (RFC 7641), by aiocoap's own server.

Sensor 3 is a tree of four resources, each with a format and a pace of its own:
``/s03/temperature`` text every 2 s, ``/s03/humidity`` JSON every 3 s, ``/s03/light`` CBOR every 0.5 s,
``/s03/co2`` JSON every second.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import aiocoap
import cbor2
import msgspec
from aiocoap.resource import ObservableResource, Site, WKCResource

from gateway.demo.replay import MEASURES, Office

if TYPE_CHECKING:
    from gateway.demo.replay import Floats

STEP_S: Final = 0.25
PACE_STEPS: Final = {"temperature": 8, "humidity": 12, "light": 2, "co2": 4}
"""After how many steps a resource tells its observers."""
_TEXT, _JSON, _CBOR = 0, 50, 60  # IANA's CoAP Content-Formats
_FORMATS: Final = {"temperature": _TEXT, "humidity": _JSON, "light": _CBOR, "co2": _JSON}
_DIGITS: Final = {"temperature": 2, "humidity": 2, "light": 1, "co2": 0}


def encode(measure: str, value: float) -> bytes:
    """A reading as its resource writes it."""
    number = round(value, _DIGITS[measure])
    if _FORMATS[measure] == _CBOR:
        return cbor2.dumps(number)
    return msgspec.json.encode(number) if _FORMATS[measure] == _JSON else f"{number}".encode()


class Reading(ObservableResource):  # type: ignore[misc]  # aiocoap has no types
    """One resource: the latest reading."""

    def __init__(self, measure: str) -> None:
        super().__init__()
        self._format = _FORMATS[measure]
        self.payload = b""

    async def render_get(self, request: aiocoap.Message) -> aiocoap.Message:
        """Answer a GET, also the one that each notification repeats."""
        del request
        return aiocoap.Message(payload=self.payload, content_format=self._format)


class Sensors:
    """``n`` sensors on one UDP port."""

    def __init__(self, n: int, *, seed: int, speed: float) -> None:
        self._office = Office(n, seed=seed, speed=speed)
        self._resources = {(sensor, measure): Reading(measure) for sensor in range(n) for measure in MEASURES}
        self._show(self._office.step(0.0))
        self._context: aiocoap.Context | None = None
        self._steps = 0

    async def start(self, host: str, port: int) -> int:
        """Listen; the port that it is.

        Raises:
            OSError: the port is taken.
        """
        site = Site()
        site.add_resource([".well-known", "core"], WKCResource(site.get_resources_as_linkheader))
        for (sensor, measure), resource in self._resources.items():
            site.add_resource([sensor_name(sensor), measure], resource)
        context = await aiocoap.Context.create_server_context(site, bind=(host, port), transports=["udp6"])
        self._context = context
        # aiocoap does not tell the port that it was given; its one transport knows.
        messages = context.request_interfaces[0].token_interface.message_interface
        bound: int = messages.transport.get_extra_info("socket").getsockname()[1]
        return bound

    async def run(self) -> None:
        """Measure and notify until cancelled."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            due += STEP_S
            await asyncio.sleep(due - loop.time())
            self.step()

    def step(self) -> None:
        """One step of ``STEP_S``: measure; notify the observers whose turn it is."""
        self._steps += 1
        self._show(self._office.step(STEP_S))
        for (sensor, measure), resource in self._resources.items():
            # Sensors take turns, so that notifications spread over time instead of coming in bursts.
            if (self._steps + sensor) % PACE_STEPS[measure] == 0:
                resource.updated_state()

    def _show(self, readings: Floats) -> None:
        rows = readings.tolist()
        for (sensor, measure), resource in self._resources.items():
            resource.payload = encode(measure, rows[sensor][MEASURES.index(measure)])

    async def stop(self) -> None:
        """Close the port."""
        if self._context is not None:
            await self._context.shutdown()


def sensor_name(index: int) -> str:
    """``s01`` for the first."""
    return f"s{index + 1:02}"
