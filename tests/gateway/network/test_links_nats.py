"""Daemons as nodes over a real hub with logins and TLS: exact though the hub is killed, and receipts end to end."""

import asyncio

import pytest

from gateway.network.carrier.base import CarrierError
from gateway.network.config import core_subject, partition_of
from tests.support.network import hub_net, records

SERVICE = """
service: load
inputs: {points: "*/power"}
steps:
  - window: {every: 1s, stats: [count, sum], over: label site, name: "{site}/load", lateness: 0s}
intent: {latency: 8s}
"""
PARENTS = {"h1": "agg", "h2": "agg"}
PARTITION = partition_of("site")


async def totals(carrier, count, within_s=40):
    """Counts and sums of the results, the newest of each window, when so many samples are counted."""
    newest = {}
    async with asyncio.timeout(within_s):
        async for _, values in records(carrier, "out/load/**"):
            newest |= {key: found[-1] for key, found in values.items()}
            found = [sum(v for (name, _), v in newest.items() if name == f"site/load#{s}") for s in ("count", "sum")]
            if found[0] >= count:
                return tuple(found)
    raise AssertionError


class Devices:
    """Each message another number: this broker begins again with packet ids, and equal messages look repeated."""

    def __init__(self, network):
        self._network = network
        self.sent = self.sum = 0

    async def say(self, rounds, *nodes):
        for _ in range(rounds):
            for name in nodes:
                self.sent += 1
                self.sum += self.sent
                await self._network.publish(f"{name}/m1", power=self.sent)
            await asyncio.sleep(0.02)


@pytest.mark.timeout(300)
async def test_a_killed_hub_loses_and_doubles_nothing(tmp_path):
    async with hub_net(tmp_path, tls=True) as (network, hub):
        await asyncio.gather(
            network.start("core", "core"),
            network.start("agg", "aggregation"),
            *(network.start(name, "access", ", parents: [agg]") for name in PARENTS),
        )
        await network.apply(SERVICE)
        await network.applied(await network.plan(SERVICE, {"agg": 2, "h1": 1, "h2": 0}, PARENTS), "agg", *PARENTS)
        devices = Devices(network)
        await devices.say(60, *PARENTS)
        await hub.kill()
        with pytest.raises(CarrierError):
            await network.carrier.get("plan", "h1")
        await devices.say(60, *PARENTS)
        await hub.start()
        await devices.say(60, *PARENTS)
        found = await totals(network.carrier, devices.sent)
        await asyncio.sleep(2)  # what would be doubled comes, too
        assert await totals(network.carrier, devices.sent) == found == (devices.sent, devices.sum)


async def spooled(network, *names):
    """Rows that wait for their parent's word, by node."""
    return [(await network.nodes[name].status())["uplinks"]["@parent"]["spool"]["rows"] for name in names]


def partition(status):
    """What the worker says of the site's partition; None: it has not got it."""
    return status["network"].get("core", {}).get("partitions", {}).get(str(PARTITION))


@pytest.mark.timeout(300)
async def test_rows_leave_a_spool_only_when_a_snapshot_of_the_core_has_them(tmp_path):
    async with hub_net(tmp_path) as (network, _):
        core, *_ = await asyncio.gather(
            network.start("core", "core", ", snapshot: 4s"),
            network.start("agg", "aggregation"),
            network.start("h1", "access"),
            network.start("h2", "access", ", parents: [agg]"),
        )
        await network.apply(SERVICE)
        epoch = await network.plan(SERVICE, {"agg": 0, "h1": 0, "h2": 0}, {"h2": "agg"})
        await network.applied(epoch, "agg", "h1", "h2")
        await core.until(partition)
        core.stop()
        devices = Devices(network)
        await devices.say(5, "h1", "h2")
        await network.nodes["agg"].until(lambda status: status["uplinks"]["@parent"]["messages"])
        await asyncio.sleep(3)
        assert all(await spooled(network, "h1", "agg")), "nobody has them but the carrier"
        assert await spooled(network, "h2") == [0], "its parent has them"
        assert await network.carrier.get("snapshots", core_subject(PARTITION)) is None
        await core.start()
        await core.until(lambda status: (partition(status) or {}).get("samples", 0) == devices.sent)
        rows = await spooled(network, "h1", "agg")
        if not partition(await core.status())["snapshot"]:
            assert all(rows), "it has them, but no snapshot has"
        for name in ("h1", "agg"):
            await network.nodes[name].until(lambda status: status["uplinks"]["@parent"]["spool"]["rows"] == 0)
        assert partition(await core.status())["snapshot"]
        assert await totals(network.carrier, devices.sent) == (devices.sent, devices.sum)
