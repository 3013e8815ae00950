"""MQTT consumers in a process of their own: ``consumers ROLE PORT QOS COUNT``.

``bare`` is gmqtt as its manual shows it, each message decoded by msgspec and acknowledged at once. ``adapter`` is
the adapter alone, in front of a context that counts and whose receipts are durable at once. Each says ``ready`` when
it has subscribed, ``done`` (and the mean batch) when the last message is through.
"""

from __future__ import annotations

import asyncio
import sys

import msgspec
import uvloop

from tests.benchmarks.child import say, told


async def bare(port: int, qos: int, count: int) -> None:
    import gmqtt

    class Telemetry(msgspec.Struct):
        ts: int
        voltage: float
        current: float
        power: float
        energy: float

    decode = msgspec.json.Decoder(Telemetry).decode
    done = asyncio.Event()
    seen, total = 0, 0.0

    def on_message(_client, _topic, payload, _qos, _properties) -> int:
        nonlocal seen, total
        total += decode(payload).voltage
        seen += 1
        if seen == count:
            done.set()
        return 0

    client = gmqtt.Client("bare", clean_session=True)
    client.on_message = on_message
    subscribed = asyncio.Event()
    client.on_subscribe = lambda *_: subscribed.set()
    await client.connect("127.0.0.1", port, version=gmqtt.constants.MQTTv311)
    client.subscribe("site/+/telemetry", qos=qos)
    await subscribed.wait()
    say("ready")
    await done.wait()
    say("done", 1)
    await told()
    await client.disconnect()


async def adapter(port: int, qos: int, count: int) -> None:
    from adapters.mqtt.config import MqttConfig
    from gateway.units import decode_quantity
    from tests.support.context import RecordingContext

    done = asyncio.Event()
    ready = asyncio.Event()
    seen, batches = 0, 0

    class Context(RecordingContext):
        def link(self, device: str, *, up: bool, detail: str = "") -> None:
            super().link(device, up=up, detail=detail)
            ready.set()

        async def emit(self, frame, tokens=None):
            nonlocal seen, batches
            receipt = await super().emit(frame)
            self.frames.clear()
            self.receipts.clear()
            seen += len(frame)
            batches += 1
            if seen >= 4 * count:
                done.set()
            return receipt

    points = {name: {} for name in ("voltage", "current", "power", "energy")}
    subscription = {"topic": "site/{device}/telemetry", "time": "ts", "qos": qos, "points": points}
    options = {"url": f"mqtt://127.0.0.1:{port}", "session": {"clean": True}, "subscribe": [subscription]}
    config = msgspec.convert({"type": "mqtt", **options}, MqttConfig, dec_hook=decode_quantity)
    ctx = Context("bus", limit=1_000_000)
    task = asyncio.create_task(config.create().run(ctx))
    finished = asyncio.create_task(done.wait())
    await asyncio.wait({task, asyncio.create_task(ready.wait())}, return_when="FIRST_COMPLETED")
    say("ready")
    await asyncio.wait({task, finished}, return_when="FIRST_COMPLETED")
    assert not ctx.stats.reasons, ctx.stats.reasons
    say("done", seen / 4 / batches)
    await told()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


if __name__ == "__main__":
    role = {"bare": bare, "adapter": adapter}[sys.argv[1]]
    uvloop.run(role(*map(int, sys.argv[2:5])))
