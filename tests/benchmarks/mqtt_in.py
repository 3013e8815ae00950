"""CPU a message of the MQTT adapter beside a bare gmqtt consumer that decodes with msgspec.

    python tests/benchmarks/mqtt_in.py [--messages 100000] [--json]

A real nats-server carries the messages; a process of its own publishes them; each consumer is a fresh
process whose CPU time is the system's own account of it, from the first message to the last.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

DEVICES = 20
TOPIC = "site/m{}/telemetry"


class Progress:
    """CPU seconds of this process from the subscription to the last message."""

    def __init__(self, expected: int) -> None:
        self.expected = expected
        self.seen = 0
        self.done = asyncio.Event()
        self._cpu = self._wall = 0.0

    def ready(self) -> None:
        self._cpu = time.process_time()
        print("ready", flush=True)

    def add(self, count: int) -> None:
        if not self.seen:
            self._wall = time.perf_counter()
        self.seen += count
        if self.seen >= self.expected:
            self.done.set()

    def result(self) -> dict:
        cpu, wall = time.process_time() - self._cpu, time.perf_counter() - self._wall
        return {
            "cpu_us": 1e6 * cpu / self.seen,
            "messages": self.seen,
            "per_s": self.seen / wall,
        }


async def bare(port: int, messages: int, qos: int) -> dict:
    """gmqtt as its manual shows it, each message decoded into a struct and acknowledged at once."""
    import gmqtt
    import msgspec

    class Telemetry(msgspec.Struct):
        ts: int
        voltage: float
        current: float
        power: float
        energy: float

    decode = msgspec.json.Decoder(Telemetry).decode
    progress = Progress(messages)
    total = 0.0

    def on_message(_client, _topic, payload, _qos, _properties) -> int:
        nonlocal total
        total += decode(payload).voltage
        progress.add(1)
        return 0

    client = gmqtt.Client("bare", clean_session=True)
    client.on_message = on_message
    subscribed = asyncio.Event()
    client.on_subscribe = lambda *_: subscribed.set()
    await client.connect("127.0.0.1", port, version=gmqtt.constants.MQTTv311)
    client.subscribe("site/+/telemetry", qos=qos)
    await subscribed.wait()
    progress.ready()
    await progress.done.wait()
    result = progress.result()
    await client.disconnect()
    return result


async def ours(port: int, messages: int, qos: int) -> dict:
    """The adapter, with a context that counts and whose receipts are durable at once."""
    import msgspec

    from adapters.mqtt.config import MqttConfig
    from gateway.units import decode_quantity
    from tests.support.context import RecordingContext

    progress = Progress(messages * 4)

    class Context(RecordingContext):
        def link(self, device: str, *, up: bool, detail: str = "") -> None:
            super().link(device, up=up, detail=detail)
            progress.ready()

        async def emit(self, frame, tokens=None):
            progress.add(len(frame))
            receipt = await super().emit(frame, tokens)
            self.sizes.append(len(frame))
            self.frames.clear()
            self.receipts.clear()
            return receipt

    points = {name: {} for name in ("voltage", "current", "power", "energy")}
    options = {
        "url": f"mqtt://127.0.0.1:{port}",
        "version": "3.1.1",
        "session": {"clean": True},
        "subscribe": [{"topic": "site/{device}/telemetry", "time": "ts", "qos": qos, "points": points}],
    }
    ctx = Context("bus")
    ctx.sizes = []
    config = msgspec.convert({"type": "mqtt", **options}, MqttConfig, dec_hook=decode_quantity)
    task = asyncio.create_task(config.create().run(ctx))
    await asyncio.wait({task, asyncio.create_task(progress.done.wait())}, return_when="FIRST_COMPLETED")
    result = progress.result()
    assert not ctx.stats.reasons, ctx.stats.reasons
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    result["cpu_us"] *= 4
    result["per_s"] /= 4
    result["messages"] //= 4
    result["batch"] = sum(ctx.sizes) / len(ctx.sizes) / 4
    return result


async def publish(port: int, messages: int, qos: int) -> None:
    """Ready-made PUBLISH packets, as fast as the socket takes them; QoS 1 with a window of 200."""
    from adapters.mqtt import wire

    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(wire.connect_packet(wire.V311, "publisher", None, 60, None))
    await reader.readexactly(4)
    for start in range(0, messages, 200):
        writer.write(b"".join(packet(n, qos) for n in range(start, min(start + 200, messages))))
        await writer.drain()
        if qos:
            await reader.readexactly(4 * min(200, messages - start))
    writer.write(wire.DISCONNECT_PACKET)
    await writer.drain()
    writer.close()
    await writer.wait_closed()


def packet(n: int, qos: int) -> bytes:
    topic = TOPIC.format(n % DEVICES).encode()
    payload = b'{"ts":%d,"voltage":%d.%02d,"current":%d.5,"power":%d.25,"energy":%d}' % (
        1_767_225_600_000 + n,
        220 + n % 20,
        n % 100,
        n % 16,
        n % 3500,
        n,
    )
    body = len(topic).to_bytes(2, "big") + topic
    if qos:
        body += (n % 200 + 1).to_bytes(2, "big")
    body += payload
    length = bytes([len(body)]) if len(body) < 128 else bytes([len(body) % 128 | 128, len(body) // 128])
    return bytes([0x30 | qos << 1]) + length + body


def child(role: str, port: int, messages: int, qos: int) -> subprocess.Popen:
    command = [sys.executable, __file__, "--role", role, "--port", str(port)]
    command += ["--messages", str(messages), "--qos", str(qos)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ)


def measure(role: str, port: int, messages: int, qos: int) -> dict:
    consumer = child(role, port, messages, qos)
    assert consumer.stdout.readline() == "ready\n"
    publisher = child("publish", port, messages, qos)
    output, _ = consumer.communicate(timeout=300)
    publisher.communicate(timeout=300)
    return json.loads(output.splitlines()[-1])


async def compare(messages: int, rounds: int) -> dict:
    from tests.support.nats import nats_broker

    results = {}
    async with nats_broker(pending=1000) as broker:
        for qos in (0, 1):
            runs = {"bare": [], "ours": []}
            for _ in range(rounds):
                for role, row in runs.items():
                    row.append(await asyncio.to_thread(measure, role, broker.mqtt_port, messages, qos))
            best = {role: min(row, key=lambda one: one["cpu_us"]) for role, row in runs.items()}
            best["ratio"] = best["ours"]["cpu_us"] / best["bare"]["cpu_us"]
            results[f"qos{qos}"] = best
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--role", choices=["bare", "ours", "publish"])
    parser.add_argument("--port", type=int)
    parser.add_argument("--qos", type=int)
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    import uvloop

    if args.role:
        role = {"bare": bare, "ours": ours, "publish": publish}[args.role]
        result = uvloop.run(role(args.port, args.messages, args.qos))
        print(json.dumps(result))
        return
    results = asyncio.run(compare(args.messages, args.rounds))
    if args.json:
        print(json.dumps(results))
        return
    print(f"{'':6}{'bare us':>10}{'ours us':>10}{'ratio':>8}{'batch':>8}{'ours/s':>10}")
    for name, row in results.items():
        us = row["ours"]
        print(
            f"{name:6}{row['bare']['cpu_us']:10.2f}{us['cpu_us']:10.2f}{row['ratio']:8.2f}"
            f"{us['batch']:8.0f}{us['per_s']:10.0f}"
        )


if __name__ == "__main__":
    main()
