"""The whole gateway between peers that nobody here wrote: C devices in, mosquitto in and out."""

from __future__ import annotations

import asyncio
import json
import os

from tests.interop.coap.test_coap import LIBCOAP_SERVER, started
from tests.interop.modbus.test_modbus_interop import libmodbus, server
from tests.interop.mqtt.mosquitto import free_port, mosquitto, program
from tests.support.daemon import daemon, samples_of

__all__ = ["libmodbus"]

CONFIG = """
adapters:
  meters:
    type: modbus
    url: tcp://127.0.0.1:{modbus}
    devices:
      m1: {{unit: 17, every: 100ms, points: {{level: {{at: holding:7}}, energy: {{at: holding:108, as: int32}}}}}}
  sensors:
    type: coap
    devices:
      s1: {{url: "coap://127.0.0.1:{coap}", every: 200ms, poll: {{clock: {{path: /time, payload: text}}}}}}
  bus:
    type: mqtt
    url: mqtt://127.0.0.1:{mqtt}
    subscribe:
      - {{topic: "site/{{device}}/telemetry", points: {{voltage: {{unit: V}}}}}}
pipelines:
  all: {{from: ["**"], steps: [{{limits: {{min: 0, max: 300, points: "*/voltage"}}}}], to: [cloud]}}
uplinks:
  cloud: {{type: mqtt, url: "mqtt://127.0.0.1:{mqtt}", version: "{version}"}}
"""

WANTED = ("m1/level", "m1/energy", "s1/clock", "d1/voltage")


async def lines_of(process, condition):
    """Batches that mosquitto_sub prints until the condition holds."""
    batches = []
    async with asyncio.timeout(20):
        while not condition(batches):
            batches.append(json.loads(await process.stdout.readline()))
    return batches


def has(batches, point):
    return any(sample["value"] is not None for sample in samples_of(batches, point))


async def test_three_protocols_in_and_json_out(tmp_path, libmodbus):
    coap = free_port()
    (tmp_path / "broker").mkdir()
    async with (
        server(libmodbus, "tcp") as modbus,
        started(LIBCOAP_SERVER, "-A", "127.0.0.1", "-p", coap),
        mosquitto(tmp_path / "broker") as mqtt,
        started(program("mosquitto_sub"), "-p", mqtt, "-q", "1", "-t", "onpath/#") as receiver,
    ):
        for version in ("3.1.1", "5"):
            folder = tmp_path / version
            folder.mkdir()
            config = CONFIG.format(modbus=modbus, coap=coap, mqtt=mqtt, version=version)
            async with daemon(folder, config, dict(os.environ)) as running:
                await running.until(lambda s: s["adapters"]["bus"]["link"] == "up")
                device = ("-p", mqtt, "-q", "1", "-t", "site/d1/telemetry", "-m", '{"voltage": 310.5}')
                async with started(program("mosquitto_pub"), *device) as publishing:
                    await publishing.wait()
                batches = await lines_of(receiver, lambda b: all(has(b, point) for point in WANTED))
                assert await asyncio.to_thread(running.stop) == 0
            assert {batch["gateway"] for batch in batches} == {"g1"}
            assert samples_of(batches, "m1/level")[0]["value"] == 7.0
            assert samples_of(batches, "m1/energy")[0]["value"] == -123456.0
            voltage = samples_of(batches, "d1/voltage")[0]
            assert (voltage["value"], voltage["quality"]) == (310.5, "questionable,out-of-range")
