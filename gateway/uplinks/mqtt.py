"""Uplink to an MQTT broker: QoS 1, several batches in flight, done at PUBACK only.

Each run is a connection and a session of its own, and the feed knows what is still to be sent: what was not
acknowledged goes out once more, what was acknowledged does not. A session that outlives the connection would change
nothing: for QoS 1 a broker remembers no packet ids of what it received, so it takes a repetition for a new message, DUP
or not (MQTT 5, 4.3.2); and the library, when it reconnects a session by itself, sends the whole window twice. What
removes doubles is the record id, which MQTT 5 carries in user properties too.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import ssl
import time
from collections.abc import AsyncIterator
from typing import Final

import aiomqtt
from paho.mqtt.client import MQTT_CLEAN_START_FIRST_ONLY
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from adapters.mqtt.config import address
from adapters.mqtt.presence import Presence
from adapters.mqtt.publish import Publish
from gateway.batch import Batch
from gateway.errors import LinkError
from gateway.tasks import task_group
from gateway.tls import client_context, failure
from gateway.uplinks.base import Uplink, UplinkContext
from gateway.uplinks.config import MqttUplinkConfig
from gateway.uplinks.mqtt_client import LARGEST, Client, RefusedError
from gateway.uplinks.outgoing import Outgoing
from gateway.uplinks.receipts import Receipts

FAREWELL_S: Final = 0.5
"""How long an orderly end may take to say so."""
FIRST_PAUSE_S: Final = 0.2
LONGEST_PAUSE_S: Final = 10.0
"""A message that the broker refuses is tried again after pauses that grow up to this."""
OVERHEAD: Final = 1024
"""Bytes of a packet beside topic and payload: header, and properties with names of at most 128 characters."""
INCOMING: Final = 10_000
"""Receipts that wait, at most; what is lost of them costs a repetition."""
_VERSIONS = {"3.1.1": aiomqtt.ProtocolVersion.V311, "5": aiomqtt.ProtocolVersion.V5}


class MqttUplink(Uplink):
    """See :class:`MqttUplinkConfig`."""

    def __init__(self, config: MqttUplinkConfig) -> None:
        self._config = config

    async def run(self, ctx: UplinkContext) -> None:
        """See the base class."""
        config = self._config
        at = address(config.url)
        context = await asyncio.to_thread(client_context, config.ca, config.cert, config.key) if at.secure else None
        presence = None
        if config.state_topic:
            presence = Presence(config.state_topic.format(gateway=ctx.gateway, uplink=ctx.name), time.time_ns())
        try:
            async with self._client(ctx, context, presence) as client, _present(client, presence):
                link = _Link(config, ctx, client)
                ctx.link(up=True, detail=config.url)
                await link.serve()
        except (aiomqtt.MqttError, OSError) as error:
            why = error.__cause__ if isinstance(error.__cause__, ssl.SSLError) else error
            raise LinkError(f"{config.url}: {failure(why)}") from error

    def _client(self, ctx: UplinkContext, context: ssl.SSLContext | None, presence: Presence | None) -> Client:
        config, at = self._config, address(self._config.url)
        v5 = config.version == "5"
        return Client(
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
            max_queued_incoming_messages=INCOMING,
            transport="websockets" if at.path else "tcp",
            websocket_path=at.path or None,
            tls_context=context,
            # Else a small batch waits for TCP's delayed acknowledgement of the one before
            socket_options=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)],
        )


@contextlib.asynccontextmanager
async def _present(client: Client, presence: Presence | None) -> AsyncIterator[None]:
    """Says at the broker that the uplink is there, and at an orderly end that it is not."""
    if presence is None:
        yield
        return
    await _say(client, presence.online(time.time_ns()))
    try:
        yield
    finally:
        with contextlib.suppress(aiomqtt.MqttError, LinkError, TimeoutError):
            async with asyncio.timeout(FAREWELL_S):
                await _say(client, presence.offline(time.time_ns()))


async def _say(client: Client, message: Publish) -> None:
    await client.publish(message.topic, message.payload, qos=message.qos, retain=message.retain)


class _Link:
    """One connection."""

    def __init__(self, config: MqttUplinkConfig, ctx: UplinkContext, client: Client) -> None:
        if client.limit("MaximumQoS", 1) < 1:
            raise LinkError(f"{config.url}: the broker takes QoS 0 only, which proves nothing")
        self._config = config
        self._ctx = ctx
        self._client = client
        self._name = f"uplink {ctx.name}"
        self._outgoing = Outgoing(config, ctx)
        self._window = asyncio.Semaphore(min(config.in_flight, client.limit("ReceiveMaximum", 65_535)))
        self._largest = min(client.limit("MaximumPacketSize", LARGEST), int(config.max_payload) or LARGEST)
        self._retain = client.limit("RetainAvailable", 1) == 1
        self._receipts = None
        if config.receipts == "receiver":
            self._receipts = Receipts(ctx.gateway, config.receipt_timeout, ctx.done)
        self._topics: set[str] = set()
        """Where receipts are awaited."""
        self._taken = asyncio.Event()
        """Not set while the broker refuses a message."""
        self._taken.set()
        self._news = asyncio.Event()

    async def serve(self) -> None:
        async with task_group() as tasks:
            tasks.create_task(self._listen(), name=f"{self._name} listen")
            if self._receipts is not None:
                tasks.create_task(self._repeat_unconfirmed(self._receipts, tasks), name=f"{self._name} receipts")
            while True:
                await self._taken.wait()
                while self._receipts is not None and self._receipts.full:
                    self._news.clear()
                    await self._news.wait()
                await self._window.acquire()
                await self._start(await self._ctx.next(), tasks)

    async def _start(self, batch: Batch, tasks: asyncio.TaskGroup) -> None:
        """Send a batch, and what must be there before it; a place in the window was taken, and is given back."""
        topic = self._config.topic.format(gateway=self._ctx.gateway, pipeline=batch.pipeline, uplink=self._ctx.name)
        message = self._outgoing.encode(batch, topic, self._largest - OVERHEAD - len(topic.encode()))
        if message is None:
            if self._receipts is not None:
                self._receipts.forget(batch)
            self._window.release()
            return
        payload, announced = message
        if self._receipts is not None and topic not in self._topics:
            await self._await_receipts(topic)
        for name, directory in announced:
            # Waited for, as a task: aiomqtt may lose a cancellation, this wait does not. Whoever reads the batch must
            # be able to find the names
            said = self._deliver(f"{topic}/directory/{name}", directory, None)
            await asyncio.wait((tasks.create_task(said, name=f"{self._name} directory"),))
        tasks.create_task(self._send(batch, topic, payload), name=f"{self._name} send")

    async def _send(self, batch: Batch, topic: str, payload: bytes) -> None:
        if self._receipts is not None:
            self._receipts.sent(batch, asyncio.get_running_loop().time())
        await self._deliver(topic, payload, batch)
        if self._receipts is None:
            self._ctx.done(batch)
        self._window.release()

    async def _deliver(self, topic: str, payload: bytes, batch: Batch | None) -> None:
        """Publish until the broker takes it; returns at PUBACK. Without a batch it is a directory message."""
        ctx, pause_s = self._ctx, FIRST_PAUSE_S
        while True:
            ctx.stats.messages += 1
            ctx.stats.bytes += len(payload)
            try:
                await self._client.publish(
                    topic,
                    payload,
                    qos=1,
                    retain=batch is None and self._retain,
                    properties=self._properties(batch),
                    timeout=self._config.timeout,
                )
            except RefusedError as error:
                ctx.stats.counts["refused"] += 1
                self._taken.clear()
                ctx.link(up=False, detail=f"{self._config.url}: {topic} is refused: {error}")
                await asyncio.sleep(pause_s * random.uniform(0.5, 1))  # noqa: S311  spreads load, no secret
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
            else:
                break
        if self._client.unheard:
            ctx.stats.counts["unheard"] += self._client.unheard
            self._client.unheard = 0
        if not self._taken.is_set():
            self._taken.set()
            ctx.link(up=True, detail=self._config.url)

    def _properties(self, batch: Batch | None) -> Properties | None:
        """MQTT 5: the record id for whoever does not read the payload, and what is in it."""
        if self._config.version != "5":
            return None
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        properties.ContentType = self._outgoing.content_type
        if batch is not None:
            properties.UserProperty = [
                ("gateway", self._ctx.gateway),
                ("epoch", str(batch.epoch)),
                ("seq", str(batch.seq)),
            ]
        return properties

    async def _await_receipts(self, topic: str) -> None:
        self._topics.add(topic)
        await self._client.subscribe(f"{topic}/receipt", qos=1)

    async def _listen(self) -> None:
        """Take receipts. Without them nothing arrives, and the end of the connection is noticed here at once."""
        async for message in self._client.messages:
            payload = message.payload
            if self._receipts is None or not isinstance(payload, bytes) or not self._receipts.take(payload):
                self._ctx.stats.counts["bad-receipts"] += 1
            self._news.set()

    async def _repeat_unconfirmed(self, receipts: Receipts, tasks: asyncio.TaskGroup) -> None:
        """Send again what no receiver has confirmed in time."""
        while True:
            await asyncio.sleep(min(1.0, self._config.receipt_timeout / 4))
            for batch in receipts.overdue(asyncio.get_running_loop().time()):
                await self._window.acquire()
                if receipts.waits(batch):
                    self._ctx.stats.counts["unconfirmed"] += 1
                    await self._start(batch, tasks)
                else:
                    self._window.release()
