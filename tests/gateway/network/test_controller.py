"""Controllers over a real carrier: who leads, what is written, what is explained."""

import asyncio
import contextlib
import json
import sys
import time

import msgspec
import pytest

from gateway.network import advert as adverts_of
from gateway.network.assignment import HEAD, assignment_of
from gateway.network.carrier.local import LocalCarrier
from gateway.network.controller.controller import Controller
from gateway.network.controller.planning import foreseen
from gateway.network.controller.view import Wanted
from gateway.network.extended import chain_for
from gateway.network.lookup import everything
from gateway.network.plan import explanation
from gateway.network.records import apply_text, remove
from gateway.network.simulate import simulated
from gateway.network.simulate_nodes import drawn, services
from gateway.tasks import ended

PATIENCE_S = 20


@contextlib.asynccontextmanager
async def controller(folder, name, **options):
    carrier = LocalCarrier(folder)
    await carrier.open()
    one = Controller(carrier, name, ttl_s=1.5, **options)
    task = asyncio.create_task(one.run(), name=name)
    try:
        yield one
        if task.done():
            task.result()
    finally:
        await ended(task)
        await carrier.close()


@pytest.fixture
async def feed(tmp_path):
    carrier = LocalCarrier(tmp_path / "net")
    await carrier.open()
    yield carrier
    await carrier.close()


def drawn_whole(gateways, names):
    """All gateways have something of each service."""
    network = drawn(gateways, names)
    for name, advert in list(network.adverts.items()):
        if advert.parents:
            network.adverts[name] = msgspec.structs.replace(
                advert, points=dict.fromkeys(names, 40), inputs=dict.fromkeys(names, 30.0), headroom=0.5
            )
    return network


async def tell(feed, network):
    for advert in network.adverts.values():
        await feed.put("nodes", advert.node, adverts_of.encode(advert))


async def until(good):
    async with asyncio.timeout(PATIENCE_S):
        while not await good():  # noqa: ASYNC110
            await asyncio.sleep(0.03)


async def plan_of(feed):
    return {key: assignment_of(entry.value) for key, entry in (await everything(feed, "plan")).items()}


async def test_services_are_planned_explained_changed_and_removed(feed, tmp_path):
    texts = services(2)
    network = drawn_whole(30, list(texts))
    await tell(feed, network)
    for name, text in texts.items():
        await apply_text(feed, name, text, "test")
    async with controller(tmp_path / "net", "c1") as one:

        async def planned():
            plan = await plan_of(feed)
            told = await everything(feed, "facts", f"{explanation.KEY}/*")
            return len(plan) == 32 and len(told) == 2 and all(len(a.services) for a in plan.values())

        await until(planned)
        plan = await plan_of(feed)
        part = plan["gw-0001"].services["demand"]
        assert (part.version, part.parent, part.from_ns) == (1, "area-000", 0)
        assert part.yaml == texts["demand"]
        assert part.cut <= plan["area-000"].services["demand"].cut
        assert not any(name.startswith("core") for name in plan)
        told = explanation.decode((await feed.get("facts", explanation.key_of("demand"))).value)
        check_explanation(told)
        # A new version begins at a window's edge, of the samples' own time
        await apply_text(feed, "demand", texts["demand"].replace("max: 100", "max: 90"), "test")

        async def changed():
            return (await plan_of(feed))["gw-0001"].services["demand"].version == 2

        await until(changed)
        parts = [assignment.services["demand"] for assignment in (await plan_of(feed)).values()]
        (since,) = {part.since_ns for part in parts}
        assert since % (900 * 10**9) == 0
        assert since > time.time_ns()
        assert not any(part.from_ns for part in parts), "all know of it before"
        assert (await plan_of(feed))["gw-0001"].services["voltage"].version == 1
        await remove(feed, "demand", "test")

        async def gone():
            return all("demand" not in one.services for one in (await plan_of(feed)).values())

        await until(gone)

        async def untold():
            return await feed.get("facts", explanation.key_of("demand")) is None or (
                (await feed.get("facts", explanation.key_of("demand"))).value is None
            )

        await until(untold)
        assert one.counted.moves == {}


def check_explanation(told):
    assert [stage.index for stage in told.stages] == [1, 2, 3, 4]
    assert told.stages[-1].where[-1].tier == "core"
    assert all(stage.where and stage.why for stage in told.stages)
    assert told.raw_to_core > told.to_core > 0
    assert told.ratio == pytest.approx(told.raw_to_core / told.to_core)
    assert told.plan.cost >= told.plan.bound > 0
    into_core = [link for link in told.links if not link.to]
    assert sum(link.bytes for link in into_core) == pytest.approx(told.to_core)
    assert [tier.tier for tier in told.tiers] == ["access", "aggregation"]
    latency = next(met for met in told.intents if met.name == "latency")
    assert latency.met is (latency.expected <= latency.wanted)
    assert sum(stage.cost for stage in told.stages) <= told.cost * (1 + 1e-9)
    by_hand = sum(stage.cost for stage in told.stages) + sum(link.cost for link in told.links)
    assert by_hand == pytest.approx(told.cost, rel=1e-6)


async def test_a_dead_parent_is_left_at_once(feed, tmp_path):
    texts = services(1)
    network = drawn_whole(30, list(texts))
    for name, advert in list(network.adverts.items()):
        network.adverts[name] = msgspec.structs.replace(advert, every_s=0.5)
    await tell(feed, network)
    await apply_text(feed, "demand", texts["demand"], "test")

    async def live():
        number = 1
        while True:
            number += 1
            for advert in list(network.adverts.values()):
                if advert.node not in dead:
                    await feed.put(
                        "nodes", advert.node, adverts_of.encode(msgspec.structs.replace(advert, number=number))
                    )
            await asyncio.sleep(0.3)

    dead: set[str] = set()
    living = asyncio.create_task(live(), name="nodes live")
    try:
        async with controller(tmp_path / "net", "c1"):

            async def planned():
                plan = await plan_of(feed)
                return "gw-0001" in plan and plan["gw-0001"].services["demand"].parent == "area-000"

            await until(planned)
            dead.add("area-000")

            async def left():
                part = (await plan_of(feed))["gw-0001"].services["demand"]
                return part.parent == "" and part.from_ns == 0

            await until(left)
            assert (await plan_of(feed))["gw-0026"].services["demand"].parent == "area-001"
    finally:
        await ended(living)


async def test_one_leads_and_the_next_goes_on_from_what_stands(feed, tmp_path):
    texts = services(2)
    await tell(feed, drawn_whole(10, list(texts)))
    for name, text in texts.items():
        await apply_text(feed, name, text, "test")
    async with controller(tmp_path / "net", "c1") as first:

        async def done():
            return first.counted.turns > 0 and len(await plan_of(feed)) == 11

        await until(done)
        before = await plan_of(feed)
        async with controller(tmp_path / "net", "c2") as second:
            await asyncio.sleep(0.3)
            assert first.leading
            assert not second.leading
    async with controller(tmp_path / "net", "c3") as third:

        async def turned():
            return third.counted.turns > 0

        await until(turned)
        assert third.counted.writes == 0
        assert await plan_of(feed) == before


async def test_who_has_lost_the_lease_without_knowing_cannot_write(feed, tmp_path):
    texts = services(2)
    await tell(feed, drawn_whole(5, list(texts)))
    await apply_text(feed, "demand", texts["demand"], "test")
    async with controller(tmp_path / "net", "c1") as one:

        async def done():
            return one.counted.turns > 0 and len(await plan_of(feed)) == 6

        await until(done)
        other = (await feed.get("plan", "gw-0001")).value
        newer = msgspec.json.encode(msgspec.structs.replace(assignment_of(other), epoch=99))
        await feed.put("plan", "gw-0001", newer)
        await apply_text(feed, "voltage", texts["voltage"], "test")

        async def again():  # its write is refused; it reads the plan anew, and takes a newer epoch
            plan = await plan_of(feed)
            return "voltage" in plan["gw-0001"].services and plan["gw-0001"].epoch > 99

        await until(again)
        head = msgspec.json.decode((await feed.get("facts", HEAD)).value)
        assert head["epoch"] > 99
        assert one.counted.leads == 2


async def test_as_a_command_it_plans_and_ends_when_it_is_told(feed, tmp_path):
    texts = services(1)
    await tell(feed, drawn_whole(5, list(texts)))
    await apply_text(feed, "demand", texts["demand"], "test")
    command = [sys.executable, "-m", "gateway.cli.main", "controller", "--carrier", feed.url, "--name", "c1"]
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
    try:

        async def done():
            return len(await plan_of(feed)) == 6

        await until(done)
        process.terminate()
        _, told = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0
    assert b"c1 leads; 8 nodes, 1 services" in told
    assert not (await everything(feed, "lease")), "the lease is given back"


def test_simulate_as_a_command(onpath):
    code, out, _ = onpath("controller", "simulate", "--gateways", "20", "--services", "2", "--json")
    assert code == 0
    assert json.loads(out.splitlines()[-1])["feasible"] is True


async def test_unreadable_adverts_and_services_harm_nothing(feed, tmp_path, caplog):
    texts = services(1)
    await tell(feed, drawn_whole(5, list(texts)))
    await feed.put("nodes", "odd", b"{")
    await feed.put("services", "odd", b"\xff")
    await apply_text(feed, "demand", texts["demand"], "test")
    async with controller(tmp_path / "net", "c1"):

        async def done():
            return len(await plan_of(feed)) == 6

        await until(done)
    assert "odd" in caplog.text


def test_what_is_foreseen_needs_no_carrier():
    texts = services(3)
    wanted = [
        Wanted(chain_for(msgspec.convert({"yaml": text, "version": 1, "applied_ms": 0}, type=Record)), 1, text)
        for text in texts.values()
    ]
    told, plan = foreseen(drawn_whole(12, list(texts)).adverts, wanted)
    assert set(told) == set(texts)
    assert len(plan) == 13
    assert told["readings"].stages[0].why[0].cause in {"pinned", "cheapest"}
    assert told["demand"].estimated
    assert explanation.decode(explanation.encode(told["demand"])) == told["demand"]


class Record(msgspec.Struct, frozen=True):
    yaml: str
    version: int
    applied_ms: int


async def test_simulated_small(tmp_path):
    result = await simulated(50, 3, storm=True, seed=2)
    assert result.feasible
    assert result.distance < 2
    assert result.steady_writes == 0
    assert result.steady_turns >= 5
    assert result.storm_most <= 1
    assert result.epochs_grow
    assert 0 < result.takeover_s < 15
