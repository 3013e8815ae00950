"""Devices for tests: publish with QoS 1 and return when the broker has acknowledged everything."""

from __future__ import annotations

import asyncio
import json

import aiomqtt


async def publish(port: int, messages, *, qos: int = 1, window: int = 50, identifier: str | None = None) -> int:
    """Publish (topic, payload) pairs in order, several in flight; how many were acknowledged."""
    done = 0
    gate = asyncio.Semaphore(window)
    async with aiomqtt.Client("127.0.0.1", port, identifier=identifier, max_inflight_messages=window) as client:

        async def one(topic, payload):
            nonlocal done
            body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
            try:
                await client.publish(topic, body, qos=qos, timeout=10)
                done += 1
            finally:
                gate.release()

        async with asyncio.TaskGroup() as tasks:
            for topic, payload in messages:
                await gate.acquire()
                tasks.create_task(one(topic, payload))
    return done
