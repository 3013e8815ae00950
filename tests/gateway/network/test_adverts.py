"""What a node says of itself: never less than it has, as a controller would take work from it for that."""

import asyncio
from types import SimpleNamespace

from gateway.network import measuring
from gateway.network.advert import decode
from gateway.tasks import ended
from gateway.units import Duration
from tests.support.network import hub_net

SERVICE = """
service: load
inputs: {points: "*/power"}
steps:
  - window: {every: 1s, stats: [count], over: label site, name: "{site}/load"}
"""


async def next_advert(carrier, newer_than=0):
    """The first of a boot behind that one."""
    async for entries in carrier.watch("nodes", "h1"):
        for advert in (decode(entry.value) for entry in entries if entry.value is not None):
            if advert.boot > newer_than:
                return advert
    raise AssertionError


async def test_the_first_advert_after_a_kill_names_the_points_of_services(tmp_path):
    async with hub_net(tmp_path) as (network, _):
        node = await network.start("h1", "access")
        await node.until(lambda status: status["adapters"]["bus"]["link"] == "up")
        await network.publish("h1/m1", power=1)
        await node.until(lambda status: status["adapters"]["bus"]["samples"] == 1)
        await network.apply(SERVICE)
        node.kill()
        before = await next_advert(network.carrier)
        coming = asyncio.create_task(next_advert(network.carrier, before.boot))
        try:
            await node.start()
            async with asyncio.timeout(20):
                assert (await coming).points == {"load": 1}
        finally:
            await ended(coming)


async def test_waiting_for_the_next_advert_leaves_the_loop_to_others(monkeypatch):
    monkeypatch.setattr(measuring, "LEAST_S", 0.5)
    options = SimpleNamespace(advert=Duration(60), headroom=1.0)
    news, turns = asyncio.Event(), 0
    news.set()
    waiting = asyncio.create_task(measuring.Measuring(None, None, options).wait(news))
    while not waiting.done():
        turns += 1
        await asyncio.sleep(0.01)
    assert turns > 5, "it is not asked again and again meanwhile"
    assert not news.is_set()
