import asyncio
import json
import struct
import sys

import aiocoap
import aiomqtt
import cbor2
import pytest
from pymodbus.client import AsyncModbusTcpClient

from gateway.broker import EmbeddedBroker, stop_process


class Feeder:
    def __init__(self, process, ports, log):
        self.process = process
        self.ports = ports
        self.log = log

    async def say(self, order):
        self.process.stdin.write(order.encode() + b"\n")
        await self.process.stdin.drain()

    async def answer(self):
        return json.loads(await asyncio.wait_for(self.process.stdout.readline(), 30))

    def acknowledged(self):
        return [(device, int(seq)) for device, seq in map(str.split, self.log.read_text().splitlines())]


@pytest.fixture
async def broker(tmp_path):
    async with EmbeddedBroker(tmp_path / "broker") as broker:
        yield broker


@pytest.fixture
async def feeder(tmp_path, broker):
    log = tmp_path / "acks.log"
    process = await asyncio.create_subprocess_exec(
        *[sys.executable, "-m", "gateway.demo.feeder", "--mqtt-port", str(broker.mqtt_port)],
        *["--ack-log", str(log), "--rate", "20", "--devices", "5"],
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        ports = json.loads(await asyncio.wait_for(process.stdout.readline(), 30))
        yield Feeder(process, ports, log)
    finally:
        process.stdin.close()
        await stop_process(process, 5)


def floats(registers):
    return struct.unpack(f">{len(registers) // 2}f", struct.pack(f">{len(registers)}H", *registers))


async def until(condition):
    """Ask until it holds."""
    async with asyncio.timeout(20):
        while True:
            if await condition():
                return
            await asyncio.sleep(0.05)


async def test_meters_answer_for_each_unit_and_change(feeder):
    client = AsyncModbusTcpClient("127.0.0.1", port=feeder.ports["modbus"], timeout=3)
    assert await client.connect()
    try:
        seen = set()
        for unit in range(1, 21):
            answer = await client.read_input_registers(0, count=80, device_id=unit)
            values = floats(answer.registers)
            assert all(190 < voltage < 240 for voltage in values[:3])
            assert values[0x34 // 2] == pytest.approx(sum(values[6:9]), rel=1e-5)
            seen.add(values)
        assert len(seen) == 20  # no two meters alike

        async def changed():
            answer = await client.read_input_registers(0, count=80, device_id=20)
            return floats(answer.registers) != values

        await until(changed)
        assert (await client.read_input_registers(0x156, count=2, device_id=7)).registers != [0, 0]
        assert (await client.read_input_registers(0x2000, count=2, device_id=7)).isError()
    finally:
        client.close()


async def test_sensors_notify_in_their_formats(feeder):
    root = f"coap://127.0.0.1:{feeder.ports['coap']}"
    context = await aiocoap.Context.create_client_context(transports=["udp6"])
    decode = {0: float, 50: json.loads, 60: cbor2.loads}

    async def take(path, n):
        request = context.request(aiocoap.Message(code=aiocoap.GET, uri=root + path, observe=0))
        first = await request.response
        values = [decode[int(first.opt.content_format)](first.payload)]
        async for notification in request.observation:
            values.append(decode[int(notification.opt.content_format)](notification.payload))
            if len(values) >= n:
                break
        request.observation.cancel()
        return values

    try:
        async with asyncio.timeout(10):
            light, co2, temperature, humidity = await asyncio.gather(
                take("/s01/light", 4),
                take("/s10/co2", 3),
                take("/s05/temperature", 2),
                take("/s02/humidity", 2),
            )
            links = await context.request(aiocoap.Message(code=aiocoap.GET, uri=root + "/.well-known/core")).response
        assert len(set(light)) > 1
        assert all(350 < value < 3000 for value in co2)
        assert all(15 < value < 30 for value in temperature)
        assert all(15 < value < 60 for value in humidity)
        assert links.payload.count(b"obs") == 40
    finally:
        await context.shutdown()


async def test_the_log_holds_exactly_what_the_broker_acknowledged(feeder, broker):
    async with aiomqtt.Client("127.0.0.1", broker.mqtt_port) as client:
        await client.subscribe("demo/+/telemetry", qos=1)
        await feeder.say("go")
        got = []
        async with asyncio.timeout(10):
            async for message in client.messages:
                device = message.topic.value.split("/")[1]
                body = json.loads(message.payload)
                assert sorted(body) == ["current", "energy", "power", "seq", "ts", "voltage"]
                got.append((device, body["seq"]))
                if len(got) == 100:
                    await feeder.say("stop")
                    final = await feeder.answer()
                if len(got) >= 100 and len(got) == final["published"]:
                    break
    assert sum(final["acknowledged"].values()) == final["published"]
    assert sorted(feeder.acknowledged()) == sorted(got)
    for device, count in final["acknowledged"].items():
        assert [seq for name, seq in got if name == device] == list(range(1, count + 1))


async def test_nothing_is_published_before_the_order(feeder):
    await feeder.say("stop")
    assert await feeder.answer() == {"published": 0, "acknowledged": {}}


async def test_it_ends_when_its_input_ends(feeder):
    await feeder.say("go")
    feeder.process.stdin.close()
    assert await asyncio.wait_for(feeder.process.wait(), 30) == 0


async def test_a_lost_broker_ends_it_with_an_error(feeder, broker):
    await feeder.say("go")

    async def published():
        return feeder.acknowledged()

    await until(published)
    await broker.stop()
    assert await asyncio.wait_for(feeder.process.wait(), 30) != 0
