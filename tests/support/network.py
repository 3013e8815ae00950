"""Several daemons as one network over a folder, with MQTT devices that this process plays."""

from __future__ import annotations

import contextlib
import json
import textwrap
from typing import TYPE_CHECKING

import aiomqtt

from adapters.frame.records import Reader, UnknownDirectoryError
from gateway.broker import EmbeddedBroker
from gateway.network import assignment
from gateway.network.assignment import Assignment, ServicePart
from gateway.network.carrier.local import LocalCarrier
from tests.support.daemon import Daemon

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from gateway.network.carrier.base import Carrier


class Net:
    """Nodes by name, a broker for their devices, and this process's own way to the carrier."""

    def __init__(self, folder: Path, carrier: Carrier, broker: EmbeddedBroker) -> None:
        self.folder = folder
        self.url = carrier.url
        self.carrier = carrier
        self.broker = broker
        self.nodes: dict[str, Daemon] = {}
        self._epoch = 0
        self._client: aiomqtt.Client | None = None

    def config(self, name: str, tier: str, options: str = "", rest: str = "") -> str:
        """YAML of a node; an access node has an MQTT adapter for topics ``<name>/<device>``."""
        bus = f"""
            adapters:
              bus:
                type: mqtt
                url: {self.broker.url}
                subscribe:
                  - topic: "{name}/{{device}}"
                    qos: 1
                    payload: json
                    points: {{power: {{unit: W, resolution: 0.1}}, energy: {{unit: W.h, kind: counter, resolution: 1}}}}
            """
        head = f"network: {{carrier: {{url: '{self.url}'}}, tier: {tier}, advert: 2s{options}}}\n"
        return head + (textwrap.dedent(bus) if tier == "access" else "") + textwrap.dedent(rest)

    async def start(self, name: str, tier: str, options: str = "", rest: str = "") -> Daemon:
        """A node more."""
        folder = self.folder / name
        folder.mkdir()
        node = self.nodes[name] = Daemon(folder, self.config(name, tier, options, rest))
        node.config.write_text(node.config.read_text().replace("gateway: g1", f"gateway: {name}", 1))
        await node.start()
        return node

    async def plan(self, yaml: str, cuts: dict[str, int], parents: dict[str, str], version: int = 1) -> int:
        """Assign a service as a controller does; the epoch."""
        self._epoch += 1
        name = yaml.partition("service:")[2].split()[0]
        for node, cut in cuts.items():
            part = ServicePart(
                version=version, epoch=self._epoch, cut=cut, parent=parents.get(node, ""), yaml=yaml
            )  # fmt: skip
            plan = Assignment(epoch=self._epoch, services={name: part})
            await self.carrier.put("plan", node, assignment.encode(plan))
        return self._epoch

    async def applied(self, epoch: int, *nodes: str) -> None:
        """Wait until these nodes follow the plan."""
        for name in nodes:
            await self.nodes[name].until(lambda status: status["network"]["epoch"] >= epoch)

    async def publish(self, topic: str, **values: float) -> None:
        """A device says something; returns when the broker has it."""
        if self._client is None:
            self._client = aiomqtt.Client("127.0.0.1", port=self.broker.mqtt_port)
            await self._client.__aenter__()
        await self._client.publish(topic, json.dumps(values), qos=1)

    async def close(self) -> None:
        if self._client is not None:
            await self._client.__aexit__(None, None, None)
        for node in self.nodes.values():
            if node.process is not None and node.process.poll() is None:
                node.process.kill()
                node.process.wait()


@contextlib.asynccontextmanager
async def net(folder: Path) -> AsyncIterator[Net]:
    """A network without nodes yet; all of them end with it."""
    carrier = LocalCarrier(folder / "network")
    await carrier.open()
    async with EmbeddedBroker(folder / "broker") as broker:
        network = Net(folder, carrier, broker)
        try:
            yield network
        finally:
            await network.close()
            await carrier.close()


async def records(carrier: Carrier, pattern: str) -> AsyncIterator[tuple[str, dict[tuple[str, int], list[float]]]]:
    """Each new record under a pattern: its id, and its values by point and time."""
    reader, seen = Reader(), set()
    async for messages in carrier.consume(pattern):
        for message in messages:
            received = None
            while received is None:
                try:
                    received = reader.read(message.payload)
                except UnknownDirectoryError as error:
                    found = await carrier.get("directories", error.name)
                    assert found is not None
                    reader.read(found.value)
            batch = received.batch
            record = f"{received.gateway}/{batch.epoch}/{batch.seq}"
            if record in seen:
                continue
            seen.add(record)
            values: dict[tuple[str, int], list[float]] = {}
            columns = zip(
                batch.frame.point.tolist(), batch.frame.time.tolist(), batch.frame.value.tolist(), strict=True
            )
            for point, time, value in columns:
                values.setdefault((received.points[point]["name"], time // 10**9), []).append(value)
            yield record, values
