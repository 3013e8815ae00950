"""A site under torture: devices and their broker, a gateway, a broker upstream, a receiver, and a bad network between.

    devices ─▶ broker ─▶ proxy ─▶ gateway ─▶ proxy ─▶ broker ─▶ receiver

Devices and receiver write down what they saw; :meth:`Site.judge` compares. Only real processes take part.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gateway.errors import OnpathError
from gateway.tasks import ended
from tests.support.daemon import Daemon
from tests.support.nats import Nats, nats_broker
from tests.torture.bench import Outcome
from tests.torture.oracle import Devices, Receiver, check
from tests.torture.proxy import Proxy

CONFIG = """
adapters:
  bus:
    type: mqtt
    url: "mqtt://127.0.0.1:{south}"
    subscribe: [{{topic: "site/{{device}}/telemetry", time: ts, points: {{n: {{}}}}}}]
pipelines:
  raw: {{from: ["*/n"], to: [cloud]}}
  counted:
    from: ["*/n"]
    steps: [{{window: {{every: 2s, stats: [count], lateness: 1s, late: next}}}}]
    to: [cloud]
uplinks:
  cloud: {{type: mqtt, url: "mqtt://127.0.0.1:{north}", topic: "up/{{pipeline}}"{uplink}}}
{extra}
"""
SETTLED_S = 120.0


@dataclass
class Site:
    """See the module. ``south`` is the devices' side of the gateway, ``north`` its upstream."""

    folder: Path
    gateway: Daemon
    devices: Devices
    receiver: Receiver
    brokers: dict[str, Nats]
    south: Proxy
    north: Proxy
    _publishing: asyncio.Task[None] | None = None
    _latencies: list[float] = field(default_factory=list)

    @classmethod
    @contextlib.asynccontextmanager
    async def running(
        cls, folder: Path, *, uplink: str = "", extra: str = "", pause_s: float = 0.004
    ) -> AsyncIterator[Site]:
        """Everything started and the devices publishing; all of it ended at the end."""
        async with contextlib.AsyncExitStack() as stack:
            # A broker repeats what the gateway did not acknowledge within ack_wait
            below = await stack.enter_async_context(nats_broker(folder / "below", ack_wait="2s"))
            above = await stack.enter_async_context(nats_broker(folder / "above", ack_wait="2s"))
            south = await stack.enter_async_context(Proxy(below.mqtt_port).running())
            north = await stack.enter_async_context(Proxy(above.mqtt_port).running())
            receiver = await stack.enter_async_context(Receiver(above.mqtt_port).running())
            config = CONFIG.format(south=south.port, north=north.port, uplink=uplink, extra=extra)
            daemon = Daemon(folder, config)
            site = cls(
                folder,
                daemon,
                Devices(below.mqtt_port, pause_s=pause_s),
                receiver,
                {"south": below, "north": above},
                south,
                north,
            )
            stack.push_async_callback(site._end)
            await daemon.start()
            await daemon.until(lambda s: s["adapters"]["bus"]["link"] == s["uplinks"]["cloud"]["link"] == "up")
            site._publishing = asyncio.create_task(site.devices.run())
            yield site

    async def _end(self) -> None:
        self.devices.stop.set()  # a cancellation that meets an answer is lost in Python 3.11's wait_for
        if self._publishing is not None:
            await ended(self._publishing)
        if self.gateway.process is not None and self.gateway.process.poll() is None:
            self.gateway.kill()

    async def sent(self, more: int, timeout_s: float = 60.0) -> None:
        """Wait until so many more messages were acknowledged to the devices."""
        wanted = len(self.devices.acknowledged) + more
        await until(lambda: len(self.devices.acknowledged) >= wanted, timeout_s, f"{more} messages acknowledged")

    async def received(self, more: int, timeout_s: float = 60.0) -> float:
        """Wait until so many more batches have arrived; how long that took, in seconds."""
        began, wanted = time.monotonic(), len(self.receiver.batches) + more
        await until(lambda: len(self.receiver.batches) >= wanted, timeout_s, f"{more} batches arrived")
        return time.monotonic() - began

    async def status(self) -> dict[str, Any]:
        """The gateway's own word; empty while it cannot answer."""
        try:
            return await self.gateway.status()
        except (OSError, OnpathError, ValueError):
            return {}

    async def link(self, which: str, state: str, timeout_s: float) -> float:
        """Wait for the gateway to say so of its ``adapters/bus`` or ``uplinks/cloud``; seconds it took."""
        began = time.monotonic()
        kind, name = which.split("/")
        await self.gateway.until(lambda s: s[kind][name]["link"] == state, timeout_s)
        return time.monotonic() - began

    async def settle(self, *, all_of_it: bool = True) -> None:
        """End the load, and wait until every acknowledged message has arrived and every window is closed."""
        self.devices.stop.set()
        if self._publishing is not None:
            await self._publishing
        deadline = time.monotonic() + SETTLED_S
        while time.monotonic() < deadline:
            status = await self.status()
            quiet = time.monotonic() - self.receiver.last_news > 3.5
            idle = status and not status["pipelines"]["counted"]["queued"]
            empty = status and not status["uplinks"]["cloud"]["spool"]["rows"]
            if quiet and idle and empty and not (all_of_it and check(self.devices, self.receiver)["lost"]):
                return
            await asyncio.sleep(0.1)

    async def judge(self, outcome: Outcome, *, in_order: bool = False) -> None:
        """Settle, and put into the outcome whatever is lost, doubled, invented, or out of balance.

        ``in_order``: and what is reordered; where the devices' broker had to repeat messages, it has reordered them.
        """
        await self.settle()
        found = check(self.devices, self.receiver)
        if not in_order:
            outcome.facts["reordered by the broker"] = str(len(found.pop("reordered")))
        for kind, which in found.items():
            outcome.expect(f"{len(which)} {kind}: {which[:5]}", holds=not which)
        outcome.expect("one record id with two contents", holds=not self.receiver.differing)
        status = await self.status()
        for name, pipeline in status.get("pipelines", {}).items():
            gone = sum(pipeline[key] for key in ("out", "filtered", "aggregated", "dropped", "queued"))
            outcome.expect(f"{name} out of balance: {pipeline}", holds=pipeline["in"] + pipeline["derived"] == gone)
        taken = len({(s["point"], s["value"]) for s in self.receiver.samples("raw")})
        total = sum(s["value"] for s in self.receiver.samples("counted") if s["value"] is not None)
        outcome.expect(f"windows counted {total:.0f} of {taken} messages", holds=total == taken)
        outcome.facts |= {
            "messages": str(len(self.devices.acknowledged)),
            "batches repeated": str(self.receiver.repeated),
        }

    def rss_mb(self) -> float:
        """Resident memory of the gateway."""
        return _statm(self._pid, 1) / 1e6

    def address_space(self) -> int:
        """Bytes of memory the gateway has asked for."""
        return _statm(self._pid, 0)

    def descriptors(self) -> int:
        """Files and sockets the gateway has open."""
        return len(list(Path(f"/proc/{self._pid}/fd").iterdir()))

    def cpu_s(self) -> float:
        """Processor seconds the gateway has used."""
        fields = Path(f"/proc/{self._pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def _pid(self) -> int:
        assert self.gateway.process is not None
        return self.gateway.process.pid


def _statm(pid: int, at: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[at]) * os.sysconf("SC_PAGE_SIZE")


async def until(condition: Callable[[], bool], timeout_s: float, what: str) -> None:
    """Wait for it.

    Raises:
        AssertionError: it did not come.
    """
    try:
        async with asyncio.timeout(timeout_s):
            while not condition():  # noqa: ASYNC110 - what is waited for has no event of its own
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"not within {timeout_s:.0f} s: {what}") from None
