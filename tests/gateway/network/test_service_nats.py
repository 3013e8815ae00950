"""The verbs over a real nats-server with JetStream: a service applied, its results read back, and removed."""

import asyncio
import json

import pytest

from gateway.network.config import CarrierConfig
from gateway.network.lookup import opened
from tests.gateway.network.test_service_seen import TEXT, three_messages
from tests.support.nats import Nats


@pytest.fixture
async def server(tmp_path):
    nats = Nats(tmp_path / "nats", mqtt=False)
    await nats.start()
    try:
        yield nats
    finally:
        await nats.stop()


async def test_a_service_over_nats(server, onpath, tmp_path, monkeypatch):
    monkeypatch.setenv("ONPATH_CARRIER", server.url)
    file = tmp_path / "demand.yaml"
    file.write_text(TEXT)

    def run(*args):
        return asyncio.to_thread(onpath, *args)

    assert (await run("service", "apply", file))[:2] == (0, "demand: version 1 applied\n")
    assert (await run("service", "apply", file))[1] == "demand: version 1 is the same already\n"
    async with opened(CarrierConfig(url=server.url)) as carrier:
        await three_messages(carrier)
    code, out, _ = await run("service", "results", "demand", "--json")
    assert code == 0
    assert [json.loads(line)["value"] for line in out.splitlines()] == [1.75, 2.0, None]
    (one,) = json.loads((await run("service", "status", "--json"))[1])["services"]
    assert (one["service"], one["state"], one["version"]) == ("demand", "not planned", 1)
    assert (await run("nodes"))[1] == "no node has said that it is there; do they run?\n"
    assert (await run("service", "remove", "demand", "--yes"))[0] == 0
    assert json.loads((await run("service", "status", "--json"))[1])["services"][0]["state"] == "removed"


async def test_a_server_that_is_not_there(onpath, monkeypatch):
    monkeypatch.setenv("ONPATH_CARRIER", "nats://127.0.0.1:9")
    code, _, err = await asyncio.to_thread(onpath, "nodes")
    assert code == 1
    assert err.startswith("onpath: nats://127.0.0.1:9")
