"""``onpath hub`` as a process: its file, its logins, its end, its state."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import urllib.request
from pathlib import Path

import nats
import pytest
from nats.errors import Error as NatsError

from gateway.errors import ConfigError
from gateway.network.carrier.base import CarrierError
from gateway.network.carrier.opening import carrier_of
from gateway.network.config import CarrierConfig
from gateway.network.hub.config import HubConfig
from gateway.network.hub.reading import missing_files, read_hub
from gateway.network.hub.run import Follower
from gateway.network.hub.text import server_text
from gateway.units import Duration
from tests.adapters.mqtt.certificates import Authority
from tests.support.documents import ROOT, Block, blocks
from tests.support.hubs import HubProcess, free_ports, hub, hub_cluster

SHIPPED = ROOT / "configs" / "hub.yaml"
BLOCKS = [block for block in blocks(ROOT / "docs" / "network" / "hub.md") if block.text.startswith("hub:")]
USERS = (
    'users: {gw: {password: "p w\\"1$", role: node}, eye: {password: e, role: reader}, boss: {password: b, role: all}}'
)


def config(one: HubProcess, **options) -> CarrierConfig:
    return CarrierConfig(url=options.pop("url", one.url), timeout=Duration(4), **options)


def runs(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


async def test_what_a_node_may_and_a_stranger_may_not(tmp_path: Path) -> None:
    async with hub(tmp_path, USERS) as one:
        node = carrier_of(config(one, username="gw", password='p w"1$'), "node")
        await node.open()
        seq = await node.publish("out/s/1", b"result")
        await node.put("nodes", "a", b"1")
        await node.put_blob("b", bytes(1_000_000))
        assert len(await node.get_blob("b")) == 1_000_000
        await node.close()
        for login in ({}, {"username": "gw", "password": "wrong"}):
            with pytest.raises(CarrierError, match="Authorization Violation"):
                await carrier_of(config(one, **login), "stranger").open()
        boss = await nats.connect(one.url, user="boss", password="b")
        assert (await boss.jetstream().stream_info("onpath-out")).state.messages == 1
        await boss.close()
        await _reader_reads_only(one, seq)


async def test_hubs_of_a_cluster_talk_over_tls_and_only_among_themselves(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    cert, key = authority.issue("hub")
    extra = f"    cert: {cert}\n    key: {key}\n    ca: {authority.file}\n"
    async with hub_cluster(tmp_path, extra=extra) as hubs:
        ways = [CarrierConfig(url=one.url, timeout=Duration(60), replicas=3) for one in hubs]
        node = carrier_of(ways[0], "node")
        await node.open()  # once they have elected a leader
        await node.publish("out/s/1", b"result")
        await node.close()
        other = carrier_of(ways[2], "other")
        await other.open()
        async for messages in other.consume("out/**"):
            assert [one.payload for one in messages] == [b"result"]
            break
        await other.close()
        url = f"http://127.0.0.1:{hubs[0].facts()['monitor']}/varz"
        with await asyncio.to_thread(urllib.request.urlopen, url) as answer:
            cluster = json.load(answer)["cluster"]
        assert (cluster["tls_required"], cluster["tls_verify"]) == (True, True)


async def _reader_reads_only(one: HubProcess, seq: int) -> None:
    refused = asyncio.Event()

    async def told(error: Exception) -> None:
        if "permissions violation" in str(error).lower():
            refused.set()

    eye = await nats.connect(one.url, user="eye", password="e", error_cb=told)
    subscription = await eye.jetstream().pull_subscribe("onpath-net.out.>", stream="onpath-out")
    (message,) = await subscription.fetch(1, timeout=5)
    assert (message.data, message.metadata.sequence.stream) == (b"result", seq)
    with pytest.raises(NatsError):
        await eye.jetstream().publish("onpath-net.out.s.1", b"forged", timeout=1)
    async with asyncio.timeout(5):
        await refused.wait()
    await eye.close()


async def test_it_ends_in_order_and_comes_back_with_what_it_had(tmp_path: Path) -> None:
    async with hub(tmp_path) as one:
        carrier = carrier_of(config(one), "node")
        await carrier.open()
        seq = await carrier.publish("up/me/a", b"1", "id")
        server = one.facts()["server"]
        assert await one.stop() == 0
        assert not runs(server)
        assert not (one.state / "hub.json").exists()
        await one.start()
        async with asyncio.timeout(20):
            while not carrier.up:  # noqa: ASYNC110  it has no event for that
                await asyncio.sleep(0.05)
        assert await carrier.publish("up/me/a", b"1", "id") == seq
        await carrier.close()


async def test_a_server_that_is_killed_is_started_again(tmp_path: Path) -> None:
    async with hub(tmp_path) as one:
        facts = one.facts()
        os.kill(facts["server"], signal.SIGKILL)
        async with asyncio.timeout(20):
            while one.facts()["starts"] != 2:  # noqa: ASYNC110  another process
                await asyncio.sleep(0.05)
        assert one.facts()["port"] == facts["port"]
        carrier = carrier_of(config(one), "node")
        await carrier.open()
        await carrier.close()
        assert "link down: nats-server ended with code -9" in one.log.read_text()


async def test_a_hub_that_is_killed_leaves_nothing_that_runs(tmp_path: Path) -> None:
    async with hub(tmp_path) as one:
        server = one.facts()["server"]
        os.kill(one.pid, signal.SIGKILL)
        async with asyncio.timeout(10):
            while runs(server):  # noqa: ASYNC110  another process
                await asyncio.sleep(0.05)
        await one.stop()
        await one.start()
        assert one.facts()["server"] != server


async def test_systemd_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        async with hub(tmp_path) as one:
            loop = asyncio.get_running_loop()
            async with asyncio.timeout(10):
                assert b"READY=1" in await loop.sock_recv(listener, 4096)
            await one.stop()
            async with asyncio.timeout(10):
                assert await loop.sock_recv(listener, 4096) == b"STOPPING=1"


async def test_tls_with_certificates_of_nodes(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    cert, key = authority.issue("hub")
    own_cert, own_key = authority.issue("node")
    async with hub(tmp_path, f"cert: {cert}\n  key: {key}\n  client_ca: {authority.file}") as one:
        trusting = {"url": one.url.replace("nats:", "tls:"), "ca": str(authority.file)}
        node = carrier_of(config(one, **trusting, cert=str(own_cert), key=str(own_key)), "node")
        await node.open()
        assert await node.publish("up/me/a", b"1")
        await node.close()
        with pytest.raises(CarrierError):
            await carrier_of(config(one, **trusting), "without a certificate").open()


def test_status_shows_what_runs(tmp_path: Path, onpath) -> None:
    async def fill() -> tuple[str, str]:
        async with hub(tmp_path) as one:
            carrier = carrier_of(config(one), "node")
            await carrier.open()
            await carrier.publish("up/me/a", bytes(1000))
            shown = await asyncio.to_thread(onpath, "hub", "status", "-c", one.file)
            asked = await asyncio.to_thread(onpath, "hub", "status", "-c", one.file, "--json")
            await carrier.close()
            return shown[1], asked[1]

    shown, asked = asyncio.run(fill())
    found = json.loads(asked)
    streams = {stream["name"]: stream for stream in found["streams"]}
    assert streams["onpath-up"]["messages"] == 1
    assert len(streams) == 11
    assert found["cluster"] is None
    assert "onpath-up" in shown
    code, _, said = onpath("hub", "status", "-c", tmp_path / "hub-1.yaml")
    assert code == 69
    assert "no hub runs here" in said


def test_two_hubs_with_one_folder(tmp_path: Path, onpath) -> None:
    async def run():
        async with hub(tmp_path) as one:
            return await asyncio.to_thread(onpath, "hub", "check", "-c", one.file), await _second(one)

    async def _second(one: HubProcess) -> str:
        second = HubProcess(tmp_path, "hub-1", free_ports(1)[0])
        second.log = tmp_path / "second.log"
        facts = (one.state / "hub.json").read_text()
        with pytest.raises(RuntimeError):
            await second.start()
        (one.state / "hub.json").write_text(facts)
        return second.log.read_text()

    checked, second = asyncio.run(run())
    assert checked[0] == 0
    assert "another hub holds this state folder" in second


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("hub: {}", "1:1: hub.name: required key is missing"),
        ("hub: {name: a, lisen: x}", 'hub.lisen: unknown key; did you mean "listen"?'),
        ("hub: {name: a b}", "1:13: hub.name"),
        ("hub: {name: a, listen: nowhere}", "1:24: hub.listen: 'nowhere' is not an address"),
        ("hub: {name: a, listen: '0.0.0.0:4222'}", "hub.users: 0.0.0.0 can be reached from outside"),
        ("hub: {name: a, cert: c}", "hub.cert: cert and key go together"),
        ("hub: {name: a, client_ca: c}", "hub.client_ca: needs TLS"),
        ("hub: {name: a, sync_interval: soon}", "hub.sync_interval: 'soon': write always"),
        ("hub: {name: a, max_payload: 1kB}", "hub.max_payload: between 64 KiB"),
        ("hub: {name: a, users: {x: {password: p, role: king}}}", '"king" is unknown (known: node, reader, all)'),
        ("hub: {name: a, cluster: {name: n, routes: []}}", "hub.cluster.routes"),
        ("hub: {name: a, cluster: {name: n, routes: ['nats://h:1']}}", "hub.cluster.password: 0.0.0.0 can be reached"),
        ("hub: {name: a, cluster: {name: n, listen: '127.0.0.1:1', routes: [h]}}", "hub.cluster.routes[0]"),
        (
            "hub: {name: a, cluster: {name: n, password: p, routes: ['nats://h:1'], cert: c}}",
            "TLS between hubs needs key",
        ),
        ("hub: {name: a, state: '${NO_SUCH}'}", "NO_SUCH"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(tmp_path: Path, onpath, text: str, wrong: str) -> None:
    file = tmp_path / "hub.yaml"
    file.write_text(text)
    code, _, said = onpath("hub", "check", "-c", file)
    assert code == 78
    assert wrong in said
    assert said.startswith(f"{file}:")
    assert onpath("hub", "run", "-c", file)[0] == 78
    told = json.loads(onpath("hub", "check", "-c", file, "--json")[1])
    assert told["ok"] is False
    assert told["problems"]


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_hub(tmp_path / "none.yaml", {})


def test_what_is_shipped_is_right() -> None:
    shipped = read_hub(SHIPPED, {})
    assert len(missing_files(shipped)) == 6
    shown = set(SHIPPED.read_text().replace(":", " ").split())
    assert {field for field in HubConfig.__struct_fields__ if field not in shown} == set()


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_hubs_on_pages_are_right(tmp_path: Path, block: Block) -> None:
    file = tmp_path / "hub.yaml"
    file.write_text(block.text)
    assert read_hub(file, {"NODES_PASSWORD": "x", "HUBS_PASSWORD": "y"}).name == "hub-1"


def test_passwords_are_quoted_where_they_stand() -> None:
    odd = 'a"b\\c/d@e:f g'
    config = read_text(f"users: {{x: {{password: {json.dumps(odd)}}}}}, cluster: {{name: n, "
                       f"listen: '127.0.0.1:0', routes: ['nats://h:1'], password: {json.dumps(odd)}}}")  # fmt: skip
    text = server_text(config, Path("/s"), Path("/s/l"))
    assert text.count(json.dumps(odd)) == 2
    assert '"nats://hub:a%22b%5Cc%2Fd%40e%3Af%20g@h:1"' in text


def read_text(more: str) -> HubConfig:
    from gateway.config.convert import convert
    from gateway.config.load import read_tree
    from gateway.network.hub.config import HubFile

    problems = []
    found, wrong = convert(HubFile, read_tree(f"hub: {{name: a, {more}}}".encode(), "f", problems))
    assert problems + wrong == []
    return found.hub


def test_warnings_are_followed_over_a_rotation(tmp_path: Path) -> None:
    file = tmp_path / "server.log"
    file.write_text("[1] 2026/01/01 00:00:00.000000 [INF] ready\n[1] 2026/01/01 00:00:00.000001 [WRN] one\n[1] 2026")
    follower = Follower(file)
    assert follower.look() == [(30, "one")]
    with file.open("a") as log:
        log.write("/01/01 00:00:00.000002 [ERR] two\n")
    assert follower.look() == [(40, "two")]
    assert follower.look() == []
    file.rename(tmp_path / "server.log.1")
    assert follower.look() == []
    file.write_text("[1] 2026/01/01 00:00:00.000003 [WRN] three\n")
    assert follower.look() == [(30, "three")]
