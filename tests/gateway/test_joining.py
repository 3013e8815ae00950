"""Devices that introduce themselves, through the whole daemon and the command line, over real sockets."""

import asyncio
import json
import subprocess
import sys

import pytest

from gateway.cli.write_yaml import add_to_file
from gateway.control import ask
from tests.adapters.modbus.faulty import FaultyPeer
from tests.adapters.modbus.sunspec_images import INVERTER, chain, common, model
from tests.support.daemon import daemon

CONFIG = """
adapters:
  bus:
    type: modbus
    url: {url}
    timeout: 100ms
    discover: 1-3
    devices:
      m1: {{unit: 1, every: 100ms, points: {{a: {{at: "holding:7", as: uint16}}}}}}
pipelines: {{all: {{from: ["**"], to: [out]}}}}
uplinks: {{out: {{type: file, path: {out}}}}}
discovery: {{accept: [{accept}], max_devices: {bound}}}
"""


@pytest.fixture
async def bus():
    """Unit 1 is plain, unit 2 an inverter that describes itself, unit 3 a meter that says its name."""
    peer = FaultyPeer(units={1, 2, 3})
    peer.bank(1)
    peer.bank(2).holding.update(enumerate(chain(common("Inv 5"), model(103, INVERTER)), 40000))
    peer.bank(3).objects.update({0: "Eastron", 1: "SDM630-Modbus V2", 2: "1.0"})
    async with peer:
        yield peer


def onpath(*args):
    command = [sys.executable, "-m", "gateway.cli.main", *map(str, args)]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)


def devices(status):
    """Those of the adapter; while it is started anew it is not there for a moment."""
    return status["adapters"].get("bus", {"devices": {}})["devices"]


def config(bus, folder, accept="", bound=100):
    return CONFIG.format(url=bus.url, out=folder / "out", accept=accept, bound=bound)


async def found(running, count):
    await running.until(lambda status: status["findings"] >= count, 30)
    rows = (await ask(running.state, "findings"))["findings"]
    return {row["device"]: row for row in rows}


async def test_what_is_found_is_shown_and_touches_nothing(tmp_path, bus):
    async with daemon(tmp_path, config(bus, tmp_path)) as running:
        rows = await found(running, 2)
        status = await running.status()
    inverter, meter = rows["inv-5-2"], rows["sdm630-modbus-v2-3"]
    assert (inverter["kind"], inverter["joined"]) == ("sunspec", False)
    assert inverter["config"]["adapters"]["bus"]["devices"] == {"inv-5-2": {"unit": 2, "profile": "sunspec"}}
    assert inverter["address"] == f"{bus.url}?unit=2"
    assert meter["kind"] == "modbus-identity"
    assert meter["config"]["adapters"]["bus"]["devices"] == {
        "sdm630-modbus-v2-3": {"unit": 3, "profile": "eastron-sdm630"}
    }
    assert set(status["adapters"]["bus"]["devices"]) == {"m1"}


async def test_trusted_kinds_join_and_stay_over_a_restart(tmp_path, bus):
    async with daemon(tmp_path, config(bus, tmp_path, accept="sunspec")) as running:
        joined = await running.until(lambda s: "inv-5-2" in devices(s), 30)
        assert "sdm630-modbus-v2-3" not in devices(joined)
        await running.until(lambda s: s["points"] > 10, 30)
        assert await asyncio.to_thread(running.stop) == 0
        await running.start()
        await running.until(lambda s: "inv-5-2" in devices(s), 30)
        log = running.log.read_text()
        assert log.count("discovery: 1 devices have joined: sunspec") == 1, "told when it joins, not at each start"


async def test_the_bound_holds(tmp_path, bus):
    async with daemon(tmp_path, config(bus, tmp_path, accept="sunspec, modbus-identity", bound=1)) as running:
        rows = await found(running, 2)
        await running.until(lambda s: len(devices(s)) == 2, 30)
        assert sum(row["joined"] for row in rows.values()) <= 1
        assert "which is the bound" in running.log.read_text()


async def test_a_person_lets_one_join_and_writes_the_file(tmp_path, bus):
    async with daemon(tmp_path, config(bus, tmp_path)) as running:
        await found(running, 2)
        shown = await asyncio.to_thread(onpath, "discover", "-c", running.config)
        assert "sunspec" in shown.stdout
        file = tmp_path / "found.yaml"
        written = await asyncio.to_thread(
            onpath, "discover", "-c", running.config, "--apply-to", file, "--accept", "inv-5-2"
        )
        assert written.returncode == 0, written.stderr
        assert "profile: sunspec" in file.read_text()
        joined = await asyncio.to_thread(onpath, "discover", "-c", running.config, "--join", "inv-5-2")
        assert "joined: " in joined.stdout, joined.stderr
        await running.until(lambda s: "inv-5-2" in devices(s), 30)
        nobody = await asyncio.to_thread(onpath, "discover", "-c", running.config, "--join", "nobody")
        assert nobody.returncode == 1
        assert "no finding" in nobody.stderr


async def test_what_was_written_to_the_file_needs_no_memory_any_more(tmp_path, bus):
    async with daemon(tmp_path, config(bus, tmp_path, accept="sunspec")) as running:
        await running.until(lambda s: "inv-5-2" in devices(s), 30)
        block = {"inv-5-2": {"unit": 2, "profile": "sunspec", "every": "9s"}}
        add_to_file(running.config, [{"adapters": {"bus": {"devices": block}}}])
        answer = await ask(running.state, "reload")
        assert answer["ok"], answer
        assert answer["reload"]["adapters"]["changed"] == ["bus"]


async def test_a_reload_that_is_refused_is_not_what_devices_join(tmp_path, bus):
    async with daemon(tmp_path, config(bus, tmp_path)) as running:
        await found(running, 2)
        good = running.config.read_text()
        running.config.write_text(good.replace("gateway: g1", "gateway: other"))
        assert not (await ask(running.state, "reload"))["ok"]
        joined = await asyncio.to_thread(
            onpath, "discover", "-c", running.config, "--state", running.state, "--join", "inv-5-2"
        )
        assert joined.returncode == 0, joined.stderr
        status = await running.until(lambda s: "inv-5-2" in devices(s), 30)
        assert status["gateway"] == "g1"


async def test_targets_are_looked_at_without_a_gateway(bus):
    looked = await asyncio.to_thread(onpath, "discover", bus.url, "--for", "2s", "--json")
    assert looked.returncode == 0, looked.stderr
    rows = json.loads(looked.stdout)
    assert {row["kind"] for row in rows} >= {"sunspec", "modbus-identity"}


def test_a_target_that_is_none_is_refused():
    refused = onpath("discover", "ftp://x")
    assert refused.returncode == 2
    assert "write tcp://HOST:502" in refused.stderr


def test_without_a_gateway_the_way_out_is_said(tmp_path):
    refused = onpath("discover", "-c", tmp_path / "none.yaml")
    assert refused.returncode == 1
    assert "onpath discover tcp://HOST:502" in refused.stderr
