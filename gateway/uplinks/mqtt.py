"""Uplink to an MQTT broker: QoS 1, several batches in flight, done at PUBACK only."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from collections.abc import AsyncIterator
from typing import Final

import aiomqtt
from paho.mqtt.client import MQTT_CLEAN_START_FIRST_ONLY

from adapters.mqtt.config import address
from adapters.mqtt.presence import Presence
from adapters.mqtt.publish import Publish
from adapters.mqtt.tls import client_context, failure
from gateway.batch import Batch
from gateway.errors import LinkError
from gateway.tasks import task_group
from gateway.uplinks.base import Uplink, UplinkContext
from gateway.uplinks.config import Format, MqttUplinkConfig
from gateway.uplinks.formats import FrameEncoder, encode_json

FAREWELL_S: Final = 0.5
"""How long an orderly end may take to say so."""
_VERSIONS = {"3.1.1": aiomqtt.ProtocolVersion.V311, "5": aiomqtt.ProtocolVersion.V5}


class MqttUplink(Uplink):
    """See :class:`MqttUplinkConfig`."""

    def __init__(self, config: MqttUplinkConfig) -> None:
        self._config = config

    async def run(self, ctx: UplinkContext) -> None:
        """See the base class.

        Each run is a connection and a client of its own: nothing is sent twice by a library that
        remembers, and the feed knows what is still to be sent.
        """
        config = self._config
        at = address(config.url)
        context = await asyncio.to_thread(client_context, config.ca, config.cert, config.key) if at.secure else None
        presence = None
        if config.state_topic:
            presence = Presence(config.state_topic.format(gateway=ctx.gateway, uplink=ctx.name), time.time_ns())
        try:
            async with self._client(ctx, context, presence) as client, _present(client, presence):
                ctx.link(up=True, detail=config.url)
                await _Link(config, ctx, client).serve()
        except (aiomqtt.MqttError, OSError) as error:
            why = error.__cause__ if isinstance(error.__cause__, ssl.SSLError) else error
            raise LinkError(f"{config.url}: {failure(why)}") from error

    def _client(self, ctx: UplinkContext, context: ssl.SSLContext | None, presence: Presence | None) -> aiomqtt.Client:
        config, at = self._config, address(self._config.url)
        v5 = config.version == "5"
        return aiomqtt.Client(
            at.host,
            at.port,
            identifier=config.client_id or f"onpath-{ctx.gateway}-{ctx.name}",
            username=config.username or None,
            password=config.password or None,
            protocol=_VERSIONS[config.version],
            will=None if presence is None else aiomqtt.Will(*presence.will()),
            clean_session=None if v5 else True,
            clean_start=True if v5 else MQTT_CLEAN_START_FIRST_ONLY,
            keepalive=max(1, round(config.keepalive)),
            timeout=config.timeout,
            max_inflight_messages=config.in_flight,
            transport="websockets" if at.path else "tcp",
            websocket_path=at.path or None,
            tls_context=context,
        )


@contextlib.asynccontextmanager
async def _present(client: aiomqtt.Client, presence: Presence | None) -> AsyncIterator[None]:
    """Says at the broker that the uplink is there, and at an orderly end that it is not."""
    if presence is None:
        yield
        return
    await _say(client, presence.online(time.time_ns()))
    try:
        yield
    finally:
        with contextlib.suppress(aiomqtt.MqttError, TimeoutError):
            async with asyncio.timeout(FAREWELL_S):
                await _say(client, presence.offline(time.time_ns()))


async def _say(client: aiomqtt.Client, message: Publish) -> None:
    await client.publish(message.topic, message.payload, qos=message.qos, retain=message.retain)


class _Link:
    """One connection."""

    def __init__(self, config: MqttUplinkConfig, ctx: UplinkContext, client: aiomqtt.Client) -> None:
        self._config = config
        self._ctx = ctx
        self._client = client
        self._frames: dict[str, FrameEncoder] = {}
        """By topic: whoever reads one topic finds below it all the names it needs."""
        self._window = asyncio.Semaphore(config.in_flight)

    async def serve(self) -> None:
        async with task_group() as tasks:
            tasks.create_task(self._watch(), name=f"uplink {self._ctx.name} watch")
            while True:
                await self._window.acquire()
                batch = await self._ctx.next()
                topic = self._topic(batch)
                payload, announced = self._encode(batch, topic)
                for name, directory in announced:
                    # Waited for: whoever reads the batch must be able to find the names
                    await self._publish(f"{topic}/directory/{name}", directory, retain=True)
                tasks.create_task(self._send(batch, topic, payload), name=f"uplink {self._ctx.name} send")

    async def _watch(self) -> None:
        """Notice at once that the connection is gone; nothing is subscribed, so nothing else arrives."""
        async for _ in self._client.messages:
            pass

    def _topic(self, batch: Batch) -> str:
        return self._config.topic.format(gateway=self._ctx.gateway, pipeline=batch.pipeline, uplink=self._ctx.name)

    def _encode(self, batch: Batch, topic: str) -> tuple[bytes, list[tuple[str, bytes]]]:
        ctx = self._ctx
        if self._config.format is Format.FRAME:
            if topic not in self._frames:
                self._frames[topic] = FrameEncoder(ctx.gateway, ctx.directory)
            return self._frames[topic].encode(batch)
        return encode_json(batch, ctx.gateway, ctx.directory, self._config.time), []

    async def _send(self, batch: Batch, topic: str, payload: bytes) -> None:
        await self._publish(topic, payload)
        self._ctx.done(batch)
        self._window.release()

    async def _publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Returns at PUBACK."""
        stats = self._ctx.stats
        stats.messages += 1
        stats.bytes += len(payload)
        await self._client.publish(topic, payload, qos=1, retain=retain, timeout=self._config.timeout)
