"""A node between its daemon and its plan: what is remembered, what is refused, what it does at the wrong moment."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import msgspec

from gateway import daemon
from gateway.config.model import GatewayConfig
from gateway.errors import StoreError
from gateway.network import node
from gateway.network.advert import Advert
from gateway.network.advert import encode as encode_advert
from gateway.network.applied import Applied, decode, heard, passed
from gateway.network.assignment import Assignment, ServicePart
from gateway.network.carrier.base import Entry
from gateway.network.carrier.local import LocalCarrier
from gateway.network.config import NetworkConfig
from gateway.network.controller.knowing import Known
from gateway.network.extended import extended
from gateway.network.node import APPLIED, OWNER, Network
from gateway.store.config import SpoolConfig, SpoolFull, StoreConfig
from gateway.units import decode_quantity

S = 1_000_000_000
NOW = 1_790_000_000 * S


def part(epoch=1, version=1, cut=0, parent="", from_ns=0):
    return ServicePart(version=version, epoch=epoch, cut=cut, parent=parent, from_ns=from_ns)


def told(epoch, **parts):
    return Assignment(epoch=epoch, services=parts)


async def test_a_plan_that_comes_while_a_reload_is_at_work_does_not_bring_back_what_it_replaced(monkeypatch):
    """The configuration to be extended is the one that holds when it is this change's turn."""
    used = []

    async def apply(fresh, _changes):
        used.append(fresh)

    monkeypatch.setattr(daemon, "compare", lambda old, new: None)
    one = SimpleNamespace(
        config="before",
        _reload_lock=asyncio.Lock(),
        network=SimpleNamespace(extend=lambda config: config),
        _apply=apply,
    )
    one._change = lambda fresh: daemon.Daemon._change(one, fresh)
    async with one._reload_lock:
        extending = asyncio.create_task(daemon.Daemon._extend(one))
        await asyncio.sleep(0)
        one.config = "reloaded"
    await extending
    assert used == ["reloaded"]


async def test_a_change_of_nothing_but_the_parent_is_remembered():
    kept = {}

    async def nothing():
        """No pipeline has changed."""

    intake = SimpleNamespace(remember=lambda owner, key, value: kept.update({(owner, key): value}))
    network = Network(SimpleNamespace(intake=intake), nothing)
    await network._apply(heard(Applied(), told(1, total=part(parent="a")), NOW))
    await network._apply(heard(network.applied, told(2, total=part(2, parent="b")), NOW))
    assert decode(kept[OWNER, APPLIED]) == network.applied
    assert network.applied.services["total"].parent == "b"


def test_a_node_whose_clock_is_years_behind_does_not_wait_for_years():
    before = heard(Applied(), told(1, total=part()), 0)
    after = heard(before, told(2, total=part(2, cut=2, from_ns=NOW)), 0)
    assert passed(after, 5 * S).services["total"].cut == 2


def test_a_node_waits_for_the_edge_of_a_long_window():
    before = heard(Applied(), told(1, total=part()), NOW)
    after = heard(before, told(2, total=part(2, cut=2, from_ns=NOW + 3600 * S)), NOW)
    assert passed(after, NOW + 3599 * S).services["total"].cut == 0
    assert passed(after, NOW + 3600 * S).services["total"].cut == 2


def test_what_is_remembered_comes_back():
    one = heard(heard(Applied(), told(1, total=part()), NOW), told(2, total=part(2, 2, from_ns=NOW + S)), NOW)
    assert decode(msgspec.json.encode(one)) == one


async def test_a_plan_that_the_store_refuses_at_first_is_not_given_up(monkeypatch):
    monkeypatch.setattr(node, "LONGEST_PAUSE_S", 0.01)
    tries = []

    async def change():
        tries.append(1)
        if len(tries) < 3:
            raise StoreError("full")

    intake = SimpleNamespace(remember=lambda *_: None)
    network = Network(SimpleNamespace(intake=intake), change)
    await network._apply(heard(Applied(), told(1, total=part()), NOW))
    assert network.effective.epoch == 1


async def test_a_second_process_of_the_same_name_is_noticed_and_a_restart_is_not(tmp_path):
    carrier = LocalCarrier(tmp_path / "network")
    await carrier.open()
    try:
        first, second = (Advert(node="agg", tier="aggregation", site="s", boot=b, number=1, every_s=2) for b in (1, 2))
        await carrier.put("nodes", "agg", encode_advert(first))
        assert not await node._other(carrier, second, 0), "that was the process before"
        written = await carrier.put("nodes", "agg", encode_advert(second))
        assert not await node._other(carrier, second, written)
        await carrier.put("nodes", "agg", encode_advert(first))
        assert await node._other(carrier, second, written)
    finally:
        await carrier.close()


def test_what_waits_for_a_parent_is_never_thinned():
    """Aggregates under other names, of other windows, would go into sums as if they were samples."""
    network = msgspec.convert({"carrier": {"url": "local:/nowhere"}}, NetworkConfig, dec_hook=decode_quantity)
    store = StoreConfig(spool=SpoolConfig(when_full=SpoolFull.THIN))
    config = extended(GatewayConfig(gateway="h1", network=network, store=store), Applied(), {})
    assert config.queues["@parent"].bounds.when_full is SpoolFull.DROP_OLDEST


def test_a_carrier_that_was_set_up_anew_goes_on_behind_the_plans_that_nodes_know():
    known = Known(lambda: 0.0)
    advert = Advert(node="h1", tier="access", site="s", boot=1, number=1, every_s=2, epoch=41)
    known.hear_nodes([Entry("h1", encode_advert(advert), 1)])
    assert known.epoch == 41
