"""Sparkplug uplink: the edge node's connection, and when a batch counts as delivered.

Sparkplug's data have QoS 0: nobody acknowledges them. A batch is done when the broker has answered a request that was
sent behind it. MQTT's packets are handled in order, so by then the broker has read the batch; it need not have
given it to anybody. The request is an UNSUBSCRIBE from a topic of our own that is never subscribed to: unlike a ping,
which a client library keeps to itself, its answer is told to whoever waits. With ``qos: 1`` the broker has
acknowledged each message on top of that.

One coroutine at a time makes and publishes messages (``_turn``), so that they leave in the order of their seq.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import time
from collections.abc import AsyncIterator, Sequence
from typing import Final

import aiomqtt
from paho.mqtt.reasoncodes import ReasonCode

from adapters.mqtt.config import address
from adapters.payloads.sparkplug.model import QUALITY_BAD, QUALITY_GOOD
from gateway.batch import Batch
from gateway.errors import LinkError, PayloadError
from gateway.tasks import task_group
from gateway.tls import client_context, failure
from gateway.uplinks.base import Uplink, UplinkContext
from gateway.uplinks.sparkplug.config import SparkplugUplinkConfig
from gateway.uplinks.sparkplug.host import PrimaryHost, parse_commands
from gateway.uplinks.sparkplug.node import EdgeNode
from gateway.uplinks.sparkplug.writer import NAMESPACE, Identity, Message

SETTLE_S: Final = 1.0
"""History is through when nothing came for so long."""
SAVE_S: Final = 10.0
"""The newest samples of all points are kept for a restart this often."""
REBIRTH_S: Final = 1.0
"""Births that hosts ask for are that far apart, at least: they are the largest messages there are."""
FAREWELL_S: Final = 1.0
"""How long an orderly end may take to say so."""
INCOMING: Final = 1000
"""Commands that wait, at most; more are dropped by the library, with a line in the log."""
_BDSEQ: Final = "bdseq"
_POINTS: Final = "points"


class SparkplugUplink(Uplink):
    """See :class:`SparkplugUplinkConfig`."""

    def __init__(self, config: SparkplugUplinkConfig) -> None:
        self._config = config

    async def run(self, ctx: UplinkContext) -> None:
        """See the base class. Each run is an MQTT session with a bdSeq of its own."""
        config, at = self._config, address(self._config.url)
        context = await asyncio.to_thread(client_context, config.ca, config.cert, config.key) if at.secure else None
        node = EdgeNode(self._identity(ctx), ctx.directory, _next_bdseq(ctx), ctx.recall(_POINTS) or b"")
        await ctx.saved()
        try:
            async with self._client(ctx, context, node.death(time.time_ns())) as client:
                client.pending_calls_threshold = 100_000  # a batch may be many messages; the window bounds them
                await _Session(config, ctx, client, node).serve()
        except (aiomqtt.MqttError, OSError) as error:
            why = error.__cause__ if isinstance(error.__cause__, ssl.SSLError) else error
            raise LinkError(f"{config.url}: {failure(why)}") from error

    def _identity(self, ctx: UplinkContext) -> Identity:
        config = self._config
        return Identity(
            group=config.group,
            node=config.node.replace("{gateway}", ctx.gateway),
            devices=config.devices,
            alias=config.alias,
            datatypes=config.datatypes,
            questionable=QUALITY_GOOD if config.questionable == "good" else QUALITY_BAD,
        )

    def _client(self, ctx: UplinkContext, context: ssl.SSLContext | None, will: Message) -> aiomqtt.Client:
        config, at = self._config, address(self._config.url)
        return aiomqtt.Client(
            at.host,
            at.port,
            identifier=config.client_id or f"onpath-{ctx.gateway}-{ctx.name}",
            username=config.username or None,
            password=config.password or None,
            # MQTT 5 would have to say "disconnect with will" at the end, which the library cannot
            protocol=aiomqtt.ProtocolVersion.V311,
            will=aiomqtt.Will(will.topic, will.payload, qos=1, retain=False),
            clean_session=True,
            keepalive=max(1, round(config.keepalive)),
            timeout=config.timeout,
            max_queued_incoming_messages=INCOMING,
            transport="websockets" if at.path else "tcp",
            websocket_path=at.path or None,
            tls_context=context,
            # Else each confirmation waits for TCP's delayed acknowledgement of the data before it
            socket_options=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)],
        )


def _next_bdseq(ctx: UplinkContext) -> int:
    """The number of this session: by one more than the last one's, 0 to 255."""
    last = ctx.recall(_BDSEQ)
    bdseq = (last[0] + 1) % 256 if last else 0
    ctx.remember(_BDSEQ, bytes([bdseq]))
    return bdseq


class _Session:
    """One connection."""

    def __init__(
        self, config: SparkplugUplinkConfig, ctx: UplinkContext, client: aiomqtt.Client, node: EdgeNode
    ) -> None:
        self._config = config
        self._ctx = ctx
        self._client = client
        self._node = node
        self._host = PrimaryHost()
        self._host_online = asyncio.Event()
        self._rebirth = asyncio.Event()
        self._turn = asyncio.Lock()
        self._window = asyncio.Semaphore(config.in_flight)
        self._sent: list[Batch] = []
        self._news = asyncio.Event()
        self._refusals: set[str] = set()

    async def serve(self) -> None:
        async with task_group() as tasks:
            tasks.create_task(self._listen(), name=f"uplink {self._ctx.name} listen")
            await self._subscribe()
            if self._config.host:
                self._ctx.link(up=False, detail=f"{self._config.url}: waiting for the primary host {self._config.host}")
                await self._host_online.wait()
            async with self._alive():
                tasks.create_task(self._confirm(), name=f"uplink {self._ctx.name} confirm")
                tasks.create_task(self._bear_again(), name=f"uplink {self._ctx.name} births")
                tasks.create_task(self._keep(), name=f"uplink {self._ctx.name} keep")
                await self._send()

    @contextlib.asynccontextmanager
    async def _alive(self) -> AsyncIterator[None]:
        """From the births to NDEATH, which is said at every end, as a DISCONNECT makes the broker forget the will."""
        try:
            await self._publish(self._node.births(time.time_ns()))
            self._ctx.link(up=True, detail=self._config.url)
            yield
        finally:
            self._save()
            message = self._node.death(time.time_ns())
            with contextlib.suppress(aiomqtt.MqttError, TimeoutError):
                async with asyncio.timeout(FAREWELL_S):
                    await self._client.publish(message.topic, message.payload, qos=1)

    async def _subscribe(self) -> None:
        wanted = [self._topic("NCMD"), self._topic("DCMD") + "/+"]
        if self._config.host:
            wanted.append(f"{NAMESPACE}/STATE/{self._config.host}")
        granted = await self._client.subscribe([(each, 1) for each in wanted])
        for each, code in zip(wanted, granted, strict=True):
            if code.is_failure if isinstance(code, ReasonCode) else code == 0x80:
                raise LinkError(f"{self._config.url}: the broker does not let us subscribe to {each}")

    def _topic(self, verb: str) -> str:
        node = self._config.node.replace("{gateway}", self._ctx.gateway)
        return f"{NAMESPACE}/{self._config.group}/{verb}/{node}"

    async def _send(self) -> None:
        """Batches in order, as far as the window goes."""
        while True:
            await self._window.acquire()
            batch = await self._next()
            async with self._turn:
                if batch is not None:
                    await self._publish(self._node.data(batch, time.time_ns()))
                    self._ctx.stats.messages += 1
                    self._sent.append(batch)
                    self._news.set()
                else:
                    self._window.release()
                if self._node.behind and (batch is None or not batch.historical):
                    await self._publish(self._node.settle(time.time_ns()))

    async def _next(self) -> Batch | None:
        """The next batch; None if history was sent and nothing follows it for a while."""
        if not self._node.behind:
            return await self._ctx.next()
        try:
            async with asyncio.timeout(SETTLE_S):
                return await self._ctx.next()
        except TimeoutError:
            return None

    async def _publish(self, messages: Sequence[Message]) -> None:
        """Returns when all are on their way (QoS 0) or acknowledged (QoS 1); they leave in this order."""
        self._ctx.stats.bytes += sum(len(message.payload) for message in messages)
        qos = self._config.qos
        await asyncio.gather(
            *[self._client.publish(each.topic, each.payload, qos=qos if each.data else 0) for each in messages]
        )

    async def _confirm(self) -> None:
        """One request at a time; its answer confirms all that was sent before it."""
        nowhere = self._topic("NDATA")
        while True:
            await self._news.wait()
            self._news.clear()
            sent, self._sent = self._sent, []
            await self._client.unsubscribe(nowhere, timeout=self._config.timeout)
            for batch in sent:
                self._ctx.done(batch)
                self._window.release()

    async def _bear_again(self) -> None:
        """The births that hosts ask for; requests that come close together are met by one."""
        while True:
            await self._rebirth.wait()
            async with self._turn:
                self._rebirth.clear()
                await self._publish(self._node.births(time.time_ns()))
            await asyncio.sleep(REBIRTH_S)

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(SAVE_S)
            self._save()

    def _save(self) -> None:
        if self._node.dirty:
            self._ctx.remember(_POINTS, self._node.save())

    async def _listen(self) -> None:
        state, node_commands = f"{NAMESPACE}/STATE/{self._config.host}", self._topic("NCMD")
        async for message in self._client.messages:
            topic, payload = str(message.topic), message.payload
            try:
                if topic == state:
                    self._hear_host(payload)
                else:
                    self._obey(topic, payload, to_node=topic == node_commands)
            except PayloadError as error:
                self._refuse(f"{topic}: {error}")

    def _hear_host(self, payload: bytes) -> None:
        self._host.take(payload)
        if self._host.online:
            self._host_online.set()
        elif self._host_online.is_set():
            raise LinkError(f"{self._config.url}: the primary host {self._config.host} is offline")

    def _obey(self, topic: str, payload: bytes, *, to_node: bool) -> None:
        commands = parse_commands(payload, to_node=to_node)
        if commands.rebirth:
            self._rebirth.set()
        for metric in commands.others:
            name = self._node.name_of(metric.alias) if metric.name is None and metric.alias is not None else metric.name
            self._refuse(f"{topic}: {str(name)[:100]}: writing is not possible")

    def _refuse(self, why: str) -> None:
        """Count what is not carried out; one line in the log for each kind, up to a hundred in a session."""
        self._ctx.stats.refused += 1
        if why not in self._refusals and len(self._refusals) < 100:
            self._refusals.add(why)
            self._ctx.log.warning("refused: %s", why)
