"""Several daemons as one network over a folder or a hub, with MQTT devices that this process plays."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
import sysconfig
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import aiomqtt

from adapters.frame.records import Reader, UnknownDirectoryError
from gateway.network import assignment
from gateway.network.assignment import Assignment, ServicePart
from gateway.network.carrier.base import CarrierError
from gateway.network.carrier.opening import carrier_of
from gateway.network.config import CarrierConfig, core_subject, partition_of
from tests.adapters.mqtt.certificates import Authority
from tests.support.daemon import Daemon
from tests.support.hubs import HubProcess, hub
from tests.support.nats import Nats, nats_broker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from gateway.network.carrier.base import Carrier

ONPATH = Path(sysconfig.get_path("scripts")) / "onpath"
RETRY_S = 0.2


TOTAL = """
service: total
inputs: {points: "*/power"}
steps:
  - scale: {factor: 1}
  - window: {every: 1s, stats: [count, sum], over: label site, name: "{site}/power", lateness: 0s}
intent: {latency: 8s}
"""
"""Counts and sums of a site, whatever its tree."""


class Net:
    """Nodes by name, a broker for their devices, and this process's own way to the carrier."""

    def __init__(self, folder: Path, way: CarrierConfig, carrier: Carrier, broker: Nats) -> None:
        self.folder = folder
        self.way = way
        self.ways: dict[str, str] = {}
        """URLs of nodes that have one of their own, such as a proxy's."""
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
                url: {self.broker.mqtt_url}
                stale_after: 0s
                subscribe:
                  - topic: "{name}/{{device}}"
                    qos: 1
                    payload: json
                    points: {{power: {{unit: W, resolution: 0.1}}, energy: {{unit: W.h, kind: counter, resolution: 1}}}}
            """
        fields = {"url": self.ways.get(name, self.way.url)}
        fields |= {field: text for field in ("username", "password", "ca") if (text := getattr(self.way, field))}
        head = f"network: {{carrier: {json.dumps(fields)}, tier: {tier}, advert: 2s{options}}}\n"
        return head + (textwrap.dedent(bus) if tier == "access" else "") + textwrap.dedent(rest)

    async def start(self, name: str, tier: str, options: str = "", rest: str = "") -> Daemon:
        """A node more."""
        folder = self.folder / name
        folder.mkdir()
        node = self.nodes[name] = Daemon(folder, self.config(name, tier, options, rest))
        node.config.write_text(node.config.read_text().replace("gateway: g1", f"gateway: {name}", 1))
        await node.start()
        return node

    async def run(self, *words: str) -> str:
        """What a verb of the command line says, with the configuration of a node."""
        config = next(iter(self.nodes.values())).config
        command = [sys.executable, str(ONPATH), *words, "-c", str(config)]
        process = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        out, err = await process.communicate()
        if process.returncode:
            raise RuntimeError(f"onpath {' '.join(words)} ended with {process.returncode}: {err.decode()}")
        return out.decode()

    async def apply(self, yaml: str) -> None:
        """Give a service to the network as a user does."""
        file = self.folder / "service.yaml"
        file.write_text(yaml)
        await self.run("service", "apply", str(file))

    async def plan(
        self, yaml: str, cuts: dict[str, int], parents: dict[str, str], version: int = 1, since_ns: int = 0
    ) -> int:
        """Assign a service as a controller does; the epoch."""
        self._epoch += 1
        name = yaml.partition("service:")[2].split()[0]
        for node, cut in cuts.items():
            part = ServicePart(
                version=version, epoch=self._epoch, cut=cut, parent=parents.get(node, ""), yaml=yaml,
                since_ns=since_ns,
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


class ControllerProcess:
    """``onpath controller`` of a network; ``start`` again after ``kill``."""

    def __init__(self, folder: Path, config: Path, name: str = "controller", options: Sequence[str] = ()) -> None:
        self._command = [sys.executable, str(ONPATH), "controller", "-c", str(config), "--name", name, *options]
        self.log = folder / f"{name}.log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; it leads when it can."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def kill(self) -> None:
        """As a power cut does it; does nothing when it does not run."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


@contextlib.asynccontextmanager
async def net(folder: Path, way: CarrierConfig | None = None) -> AsyncIterator[Net]:
    """A network without nodes yet, over a folder unless ``way`` says what carries it; all nodes end with it."""
    way = way or CarrierConfig(url=f"local:{folder / 'network'}")
    carrier = carrier_of(way, "test")
    await carrier.open()
    # It repeats what a gateway did not acknowledge within ack_wait, also after a restart of the gateway
    async with nats_broker(folder / "broker", ack_wait="2s") as broker:
        network = Net(folder, way, carrier, broker)
        try:
            yield network
        finally:
            await network.close()
            await carrier.close()


@contextlib.asynccontextmanager
async def hub_net(folder: Path, *, tls: bool = False) -> AsyncIterator[tuple[Net, HubProcess]]:
    """The same over a hub that has nodes log in by a password; ``tls``: and look at its certificate."""
    extra, ca = 'users: {gw: {password: "p w\\"1$", role: node}}', None
    if tls:
        authority = Authority(folder)
        cert, key = authority.issue("hub")
        extra, ca = f"{extra}\n  cert: {cert}\n  key: {key}", str(authority.file)
    async with hub(folder, extra) as one:
        url = one.url.replace("nats:", "tls:") if tls else one.url
        way = CarrierConfig(url=url, username="gw", password='p w"1$', ca=ca)
        async with net(folder, way) as network:
            yield network, one


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
                    reader.read(await _directory(carrier, error.name))
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


async def _directory(carrier: Carrier, name: str) -> bytes:
    """A directory message, however long the carrier is away."""
    while True:
        try:
            found = await carrier.get("directories", name)
        except CarrierError:
            await asyncio.sleep(RETRY_S)
        else:
            assert found is not None
            assert found.value is not None
            return found.value


async def counted(carrier: Carrier, expected: int, within_s: float = 60) -> tuple[float, float]:
    """Partial counts and sums of :data:`TOTAL` that came to the core, until there are so many."""
    count = total = 0.0
    async with asyncio.timeout(within_s):
        async for _, values in records(carrier, f"up/{core_subject(partition_of('site'))}/**"):
            for (name, _), found in values.items():
                count += sum(found) if name == "site/power#count" else 0
                total += sum(found) if name.startswith("site/power#sum.0") else 0
            if count >= expected:
                return count, total
    raise AssertionError
