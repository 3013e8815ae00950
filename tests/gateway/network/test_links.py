"""Daemons as nodes: what leaves at the top is what came in below, whatever is killed, moved and asked for."""

import asyncio
import contextlib
import random
import subprocess
import sys
import time

import msgspec
import pytest

from gateway.network.carrier.lease import Held
from gateway.network.config import PARTITIONS, core_subject
from gateway.network.lookup import everything
from tests.support.network import TOTAL, counted, hub_net, net, records

S = 1_000_000_000
PARENTS = {"h1": "agg", "h2": "agg"}


@pytest.mark.timeout(300)
async def test_kills_and_moves_lose_and_double_nothing(tmp_path):
    rng, sent, total = random.Random(3), 0, 0
    async with net(tmp_path) as network:
        await network.start("agg", "aggregation")
        for name in PARENTS:
            await network.start(name, "access", ", parents: [agg]")
        await network.applied(await network.plan(TOTAL, {"agg": 3, "h1": 2, "h2": 0}, PARENTS), "agg", *PARENTS)
        for turn in range(8):
            for _ in range(40):
                for name in PARENTS:
                    # each another one: this broker begins again with packet ids, and equal messages look repeated
                    sent, total = sent + 1, total + sent + 1
                    await network.publish(f"{name}/m1", power=sent / 10)
                await asyncio.sleep(0.02)
            cuts = {"agg": 3, "h1": rng.choice([0, 1, 2, 3]), "h2": rng.choice([0, 1, 2, 3])}
            await network.plan(TOTAL, cuts, PARENTS)
            if turn % 2:
                victim = network.nodes[rng.choice(["agg", "h1", "h2"])]
                victim.kill()
                await victim.start()
        found = await counted(network.carrier, sent)
        await asyncio.sleep(2)  # what would be doubled comes, too
        assert await counted(network.carrier, sent) == found == (sent, total)


async def test_a_node_goes_on_with_its_plan_without_anybody(tmp_path):
    async with net(tmp_path) as network:
        node = await network.start("h1", "access")
        epoch = await network.plan(TOTAL, {"h1": 2}, {})
        await network.applied(epoch, "h1")
        await network.carrier.delete("plan", "h1")
        node.stop()
        await node.start()
        status = await node.status()
        assert status["network"]["services"]["total"]["cut"] == 2
        assert "@total@1.2" in status["pipelines"]
        command = [sys.executable, "-m", "gateway.cli.main", "status", "-c", str(node.config)]
        shown = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=True)
        assert "total, version 1: up to stage 2, to the core, by plan 1" in shown.stdout


async def test_a_worker_of_the_core_that_was_killed_has_its_partitions_again_before_their_leases_are_over(tmp_path):
    async with net(tmp_path) as network:
        core = await network.start("core-1", "core")
        held = await core.until(lambda status: len(status["network"].get("core", {"held": []})["held"]) == PARTITIONS)
        leases = await everything(network.carrier, "lease")
        assert len(leases) == len(held["network"]["core"]["held"])
        core.kill()
        await core.start()
        await core.until(lambda status: len(status["network"].get("core", {"held": []})["held"]) == PARTITIONS)
        after = await everything(network.carrier, "lease")
        helds = [
            {key: msgspec.json.decode(one.value, type=Held) for key, one in found.items()} for found in (leases, after)
        ]
        assert {one.again for held in helds for one in held.values()} == {helds[0][core_subject(0)].again}
        assert not {one.token for one in helds[0].values()} & {one.token for one in helds[1].values()}


async def test_an_older_plan_is_refused(tmp_path):
    async with net(tmp_path) as network:
        await network.start("h1", "access")
        await network.plan(TOTAL, {}, {})
        await network.applied(await network.plan(TOTAL, {"h1": 2}, {}), "h1")
        network._epoch = 0
        await network.plan(TOTAL, {"h1": 0}, {})
        await asyncio.sleep(1)
        status = await network.nodes["h1"].status()
        assert status["network"]["services"]["total"] == {
            "version": 1, "epoch": 2, "cut": 2, "parent": "", "since_ms": 0,
        }  # fmt: skip


async def test_a_new_version_takes_over_and_the_old_one_runs_out(tmp_path):
    async with net(tmp_path) as network:
        await network.start("h1", "access")
        await network.applied(await network.plan(TOTAL, {"h1": 2}, {}), "h1")
        fresh = TOTAL.replace("every: 1s", "every: 2s")
        since = time.time_ns() // S * S + 8 * S
        await network.applied(await network.plan(fresh, {"h1": 3}, {}, version=2, since_ns=since), "h1")
        sent = 0
        while time.time_ns() < since + 2 * S:
            sent += 1
            await network.publish("h1/m1", power=sent)
            await asyncio.sleep(0.2)
        status = await network.nodes["h1"].until(lambda s: s["adapters"]["bus"]["samples"] == sent)
        assert status["network"]["draining"] == ["total@1"]
        assert status["network"]["services"]["total"]["since_ms"] == since // 1_000_000
        old, new = (status["pipelines"][f"@total@{version}.0"] for version in (1, 2))
        assert 0 < old["filtered"] < sent
        assert old["filtered"] + new["filtered"] == sent, "each sample is of one of them"
        assert "@total@1.1.in" in status["pipelines"], "the old one still takes what is on its way"


async def test_what_was_sent_to_a_parent_waits_for_it_and_later_rows_go_to_the_next(tmp_path):
    async with net(tmp_path) as network:
        node = await network.start("h1", "access", ", parents: [a, b]")
        await network.applied(await network.plan(TOTAL, {"h1": 0}, {"h1": "a"}), "h1")
        await network.publish("h1/m1", power=1.5)
        await node.until(lambda status: status["uplinks"]["@parent"]["messages"] == 1)
        await network.applied(await network.plan(TOTAL, {"h1": 0}, {"h1": "b"}), "h1")
        await network.publish("h1/m1", power=2.5)
        found = {}
        for parent in "ab":
            async with asyncio.timeout(10):
                async for _, values in records(network.carrier, f"up/{parent}/**"):
                    found[parent] = values
                    break
        assert [list(values.values()) for values in found.values()] == [[[1.5]], [[2.5]]]
        node.kill()
        await node.start()
        await asyncio.sleep(1)
        seen = []
        for parent in "ab":
            try:
                async with asyncio.timeout(0.5):
                    async for record, _ in records(network.carrier, f"up/{parent}/**"):
                        seen.append((parent, record))
            except TimeoutError:
                pass
        assert len(seen) == len({record for _, record in seen}) == 2, "a restart sends neither to the other"


NEAR = """
pipelines: {all: {from: ["h1/**"], to: [out]}}
uplinks: {out: {type: file, path: PATH}}
"""


@pytest.mark.parametrize("carrier", ["local", "nats"])
async def test_neighbours_get_what_both_sides_allow(tmp_path, carrier):
    async with contextlib.AsyncExitStack() as stack:
        if carrier == "local":
            network = await stack.enter_async_context(net(tmp_path))
        else:
            network, _ = await stack.enter_async_context(hub_net(tmp_path, tls=True))
        share = ', share: [{points: ["m1/*"], with: ["h2"]}]'
        await network.start("h1", "access", share)
        path = tmp_path / "out.jsonl"
        asks = ', neighbours: {h1: {points: ["*/power"]}}'
        await network.start("h2", "access", asks, NEAR.replace("PATH", str(path)))
        await network.start("h3", "access", asks, NEAR.replace("PATH", str(tmp_path / "none.jsonl")))
        await network.nodes["h1"].until(lambda status: set(status["network"]["asked_by"]) == {"h2", "h3"})
        await network.nodes["h1"].until(lambda status: "@near.h2" in status["uplinks"])
        assert "@near.h3" not in (await network.nodes["h1"].status())["uplinks"], "nobody shares with it"
        for device in ("m1", "m2"):
            await network.publish(f"h1/{device}", power=7.5, energy=1)
        await network.nodes["h2"].until(lambda status: status["uplinks"]["out"]["acknowledged"] == 1)
        assert '"h1/m1/power"' in path.read_text()
        assert "energy" not in path.read_text()
        assert "m2" not in path.read_text()
        assert (tmp_path / "none.jsonl").read_text() == ""
