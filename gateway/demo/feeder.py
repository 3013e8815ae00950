"""The feeder: all simulated devices in one process.

Started as ``python -m gateway.demo.feeder --mqtt-port 1883 --ack-log acks.log``. It is told what to do
by lines on its input and answers by JSON lines on its output:

    (start)   {"modbus": 40123, "coap": 40124}       both ports serve
    go        the MQTT devices begin to publish
    stop      {"published": 900, "acknowledged": {"d01": 45, ...}}   nothing is under way any more
    (end of input)   it ends; also if the one who started it is gone

Meters and sensors answer from the start to the end.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from gateway.demo.devices import AckLog, Devices
from gateway.demo.meters import Meters
from gateway.demo.replay import Homes
from gateway.demo.sensors import Sensors

_METER_STEP_S = 1.0


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m gateway.demo.feeder", description="simulated devices")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--mqtt-port", type=int, required=True, help="of the broker to publish to")
    parser.add_argument("--modbus-port", type=int, default=0, help="0: a free one")
    parser.add_argument("--coap-port", type=int, default=0, help="0: a free one")
    parser.add_argument("--ack-log", type=Path, required=True, help="file for what was acknowledged")
    parser.add_argument("--meters", type=int, default=20)
    parser.add_argument("--sensors", type=int, default=10)
    parser.add_argument("--devices", type=int, default=20)
    parser.add_argument("--rate", type=float, default=5.0, help="messages a second of each MQTT device")
    parser.add_argument("--speed", type=float, default=180.0, help="simulated seconds a second")
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args(arguments)


async def feed(options: argparse.Namespace) -> None:
    """Run the devices as the input says."""
    homes = Homes(options.meters, seed=options.seed, speed=options.speed)
    meters = Meters(homes)
    sensors = Sensors(options.sensors, seed=options.seed + 1, speed=options.speed)
    try:
        with AckLog(options.ack_log) as log:
            ports = {
                "modbus": await meters.start(options.host, options.modbus_port),
                "coap": await sensors.start(options.host, options.coap_port),
            }
            say(ports)
            tasks = [
                asyncio.create_task(_read_meters(homes, meters), name="meters"),
                asyncio.create_task(sensors.run(), name="sensors"),
                asyncio.create_task(_obey(options, log), name="orders"),
            ]
            done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in pending:
                task.cancel()
            await asyncio.gather(*pending, return_exceptions=True)
            for task in done:
                task.result()
    finally:
        await sensors.stop()
        await meters.stop()


async def _read_meters(homes: Homes, meters: Meters) -> None:
    """New values in the meters' registers every second."""
    loop = asyncio.get_running_loop()
    due = loop.time()
    while True:
        due += _METER_STEP_S
        await asyncio.sleep(due - loop.time())
        homes.step(_METER_STEP_S)
        await meters.update()


async def _obey(options: argparse.Namespace, log: AckLog) -> None:
    """Follow the input's lines until it ends."""
    orders = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    pipe, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    devices = Devices(options.devices, rate=options.rate, seed=options.seed + 2, speed=options.speed, log=log)
    publishing: asyncio.Task[None] | None = None
    try:
        while line := await _next_order(orders, publishing):
            if line == b"go" and publishing is None:
                publishing = asyncio.create_task(devices.run(options.host, options.mqtt_port), name="devices")
            elif line == b"stop":
                devices.stop()
                if publishing is not None:
                    await publishing
                await log.sync()
                say({"published": devices.published, "acknowledged": log.counts})
    finally:
        if publishing is not None:
            publishing.cancel()
            await asyncio.gather(publishing, return_exceptions=True)
        pipe.close()


async def _next_order(orders: asyncio.StreamReader, publishing: asyncio.Task[None] | None) -> bytes:
    """The next line; empty at the end. A failure of the devices ends the wait and is raised."""
    reading = asyncio.ensure_future(orders.readline())
    watched = {reading} if publishing is None or publishing.done() else {reading, publishing}
    try:
        await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
        if publishing is not None and publishing.done():
            publishing.result()
        return (await reading).strip()
    finally:
        reading.cancel()


def say(line: dict[str, Any]) -> None:
    """One JSON line on the output."""
    sys.stdout.write(msgspec.json.encode(line).decode() + "\n")
    sys.stdout.flush()


def main() -> None:
    """Run until the input ends."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(feed(parse()))


if __name__ == "__main__":
    main()
