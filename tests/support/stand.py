"""A gateway of a transformer area with a console, its broker and its simulated devices, in one go.

Started as ``python -m tests.support.stand FOLDER``; it says by one JSON line where everything is, and ends all of it
when its input ends. Tests in a browser stand beside it, and so may a person: ``--port 8321`` and a password.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path

from gateway.broker import EmbeddedBroker
from gateway.demo.children import Child, FeederChild
from tests.support.publish import publish

PASSWORD = "brown-fox-jumps-7"
READY_S = 60.0
BATCH = 100
"""Points of one message."""

SITE = """\
# The transformer area of feeder 7: meters of the houses, sensors of the rooms, plugs at the broker
gateway: feeder-7
state: ${STAND_STATE}
max_points: 200000
console: {listen: "127.0.0.1:${STAND_PORT}", password: "${STAND_PASSWORD}"}

adapters:
  meters:                       # three-phase meters behind one Modbus TCP endpoint
    type: modbus
    url: tcp://127.0.0.1:${STAND_MODBUS}
    timeout: 300ms
    devices:
METERS
MISSING
  rooms:                        # sensors that tell of changes by themselves
    type: coap
    devices:
SENSORS
  plugs:                        # machines at the site's broker
    type: mqtt
    url: mqtt://127.0.0.1:${STAND_MQTT}
    version: "3.1.1"
    discover: ["found/#"]
    subscribe:
      - topic: demo/{device}/telemetry
        payload: json
        time: ts
        points:
          voltage: {unit: V, limits: [0, 300]}
          current: {unit: A}
          power: {unit: W}
          energy: {unit: kW.h, kind: counter}
      - {topic: "many/{device}", payload: json}

pipelines:
  electrical:                   # what changed, and each point once a minute
    from: ["m*/*", "d*/*"]
    steps:
      - limits: {}
      - deadband: {absolute: 1, max_silence: 60s, points: ["*/voltage*", "*/phase_angle*"]}
      - swinging_door: {epsilon: 30, max_silence: 60s, points: ["*/power", "*/power_l?"]}
      - deadband: {absolute: 50, max_silence: 60s, points: ["*/apparent_power*", "*/reactive_power*", "*/power_d*"]}
      - deadband: {absolute: 0.2, max_silence: 60s, points: ["*/current*"]}
      - deadband: {absolute: 0.02, max_silence: 60s, points: ["*/power_factor*", "*/frequency"]}
      - deadband: {absolute: 1, max_silence: 60s, points: ["*/*energy*", "*/charge"]}
    to: [cloud]
  climate:
    from: ["s*/*"]
    steps:
      - deadband: {absolute: 0.1, max_silence: 60s, points: ["*/temperature", "*/humidity"]}
      - deadband: {absolute: 10, max_silence: 60s, points: ["*/light", "*/co2"]}
    to: [cloud]
  quarter-hour:                 # what the grid needs of it, exactly
    from: ["m*/power", "d*/power"]
    steps:
      - window: {every: 15s, stats: [count, mean, min, max], lateness: 2s}
    to: [cloud, archive]

uplinks:
  cloud:
    type: mqtt
    url: mqtt://127.0.0.1:${STAND_MQTT}
    version: "3.1.1"
    topic: upstream/{gateway}/{pipeline}
    format: frame
  archive: {type: file, path: "${STAND_FOLDER}/archive.jsonl", format: json}

alerts:
  undervoltage: {points: "m*/voltage_l1", below: 215, hysteresis: 2, for: 5s, severity: warning}
  stuffy: {points: "s*/co2", above: 1100, for: 1s, severity: info, text: "Open a window: {point} is {value} ppm"}
"""

MISSING = "      m77: {unit: 77, profile: eastron-sdm630, every: 5s}   # nobody has this address\n"


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.support.stand")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--port", type=int, default=0, help="of the console; 0: a free one")
    parser.add_argument("--meters", type=int, default=10)
    parser.add_argument("--sensors", type=int, default=6)
    parser.add_argument("--rate", type=float, default=2.0, help="messages a second of each of the 20 plugs")
    parser.add_argument("--whole", action="store_true", help="without the meter that nobody answers for")
    parser.add_argument("--many", type=int, default=0, help="so many more points, as of a large site")
    return parser.parse_args(arguments)


def site(options: argparse.Namespace) -> str:
    """The configuration."""
    meters = [
        f"      m{unit:02}: {{unit: {unit}, profile: eastron-sdm630, every: 1s}}"
        for unit in range(1, options.meters + 1)
    ]
    sensors = [
        f'      s{n:02}: {{url: "coap://127.0.0.1:${{STAND_COAP}}", observe: {{temperature: /s{n:02}/temperature,'
        f" humidity: /s{n:02}/humidity, light: /s{n:02}/light, co2: /s{n:02}/co2}}}}"
        for n in range(1, options.sensors + 1)
    ]
    missing = "" if options.whole else MISSING
    return (
        SITE.replace("METERS", "\n".join(meters)).replace("SENSORS", "\n".join(sensors)).replace("MISSING\n", missing)
    )


class Gateway(Child):
    """The daemon."""

    def __init__(self, folder: Path, options: argparse.Namespace) -> None:
        self.state = folder / "state"
        config = folder / "site.yaml"
        config.write_text(site(options))
        super().__init__("gateway.cli.main", "run", "-c", str(config), log=folder / "gateway.log", stop_s=10)

    async def url(self) -> str:
        """Where the console listens, as soon as it does."""
        address = self.state / "console" / "address"
        async with asyncio.timeout(READY_S):
            while not (address.exists() and (found := address.read_text().strip())):
                self.check()
                await asyncio.sleep(0.05)
        return found

    async def stop(self) -> int | None:
        """SIGTERM, as systemd does it."""
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()
        return await super().stop()


def _values(device: int) -> dict[str, float]:
    names = ("power", "voltage", "current", "temperature", "pressure", "flow", "level", "speed", "state", "energy")
    return {f"{names[n % 10]}_{n:02}": round(100 * ((device * 31 + n * 7) % 97) / 97, 2) for n in range(BATCH)}


async def many(port: int, count: int) -> None:
    """Publish ``count`` points, 100 a device, once."""
    messages = [(f"many/hall{device:04}", _values(device)) for device in range(count // BATCH)]
    if await publish(port, messages) != len(messages):
        raise RuntimeError("not all was acknowledged")


async def stand(options: argparse.Namespace) -> None:
    """Everything, until the input ends."""
    folder: Path = options.folder
    async with AsyncExitStack() as stack:
        broker = await stack.enter_async_context(EmbeddedBroker(folder / "broker"))
        feeder = FeederChild(folder, mqtt_port=broker.mqtt_port, rate=options.rate, seed=1)
        gateway = Gateway(folder, options)
        await stack.enter_async_context(feeder)
        await stack.enter_async_context(gateway)
        await feeder.start()
        ports = await feeder.answer()
        variables = {
            "STAND_FOLDER": str(folder),
            "STAND_STATE": str(gateway.state),
            "STAND_PORT": str(options.port),
            "STAND_PASSWORD": PASSWORD,
            "STAND_MQTT": str(broker.mqtt_port),
            "STAND_MODBUS": str(ports["modbus"]),
            "STAND_COAP": str(ports["coap"]),
        }
        await gateway.start(variables)
        url = await gateway.url()
        await feeder.tell("go")
        await many(broker.mqtt_port, options.many)
        await publish(broker.mqtt_port, [("found/x9", {"ts": time.time_ns() // 1_000_000, "power": 12})], qos=0)
        await publish(broker.mqtt_port, [("demo/d01/telemetry", b'{"voltage": oops')])
        facts = {"url": url, "password": PASSWORD, "state": str(gateway.state), "pid": gateway.process.pid}
        print(json.dumps(facts | {"variables": variables, "config": str(folder / "site.yaml")}), flush=True)
        await asyncio.to_thread(sys.stdin.read)


def main() -> None:
    """Run."""
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    options = parse()
    options.folder = options.folder.resolve()
    options.folder.mkdir(parents=True, exist_ok=True)
    asyncio.run(stand(options))


if __name__ == "__main__":
    main()
