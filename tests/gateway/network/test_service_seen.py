"""Services as people see them: apply, status, explain with its picture, nodes, results, over a real folder."""

import asyncio
import io
import json
import subprocess
import sys
import time
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from gateway.batch import Batch
from gateway.directory import Directory
from gateway.frame import Frame
from gateway.network import advert as adverts
from gateway.network import assignment
from gateway.network.advert import Advert, LinkFacts, StageFacts
from gateway.network.assignment import Assignment, ServicePart
from gateway.network.carrier.lease import Leases
from gateway.network.carrier.local import LocalCarrier
from gateway.network.config import Tier
from gateway.network.plan import explanation as told
from gateway.point import Point
from gateway.wire.message import FrameEncoder

TEXT = """\
service: demand
inputs: {points: "*/power"}
steps:
  - deadband: {epsilon: 0.5%}
  - window: {every: 1m, stats: [sum, max], over: label area, name: "area/{area}/power"}
"""
NS = 1_700_000_000_000_000_000


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "net"


@pytest.fixture
def service(tmp_path):
    file = tmp_path / "demand.yaml"
    file.write_text(TEXT)
    return file


def doing(folder, work):
    """Run ``await work(carrier)`` on the folder's carrier."""

    async def run():
        carrier = LocalCarrier(folder)
        await carrier.open()
        try:
            return await work(carrier)
        finally:
            await carrier.close()

    return asyncio.run(run())


def record(folder):
    async def get(carrier):
        entry = await carrier.get("services", "demand")
        return assignment.record_of(entry.value)

    return doing(folder, get)


# Apply and remove


def test_apply_counts_versions_and_does_not_write_the_same_again(onpath, folder, service):
    code, out, err = onpath("service", "apply", service, "--carrier", f"local:{folder}")
    assert (code, out) == (0, "demand: version 1 applied\n")
    assert err == "note: no controller runs, so nobody plans it now: onpath controller\n"
    first = record(folder)
    assert (first.version, first.yaml, first.removed) == (1, TEXT, False)
    assert "@" in first.by
    assert abs(first.applied_ms / 1000 - time.time()) < 60
    assert onpath("service", "apply", service, "--carrier", f"local:{folder}")[1] == (
        "demand: version 1 is the same already\n"
    )
    assert record(folder) == first
    service.write_text(TEXT.replace("1m", "2m"))
    code, out, _ = onpath("service", "apply", service, "--carrier", f"local:{folder}", "--json")
    assert json.loads(out) == {
        "service": "demand", "version": 2, "changed": True, "removed": False, "planned": False,
    }  # fmt: skip
    assert "every: 2m" in record(folder).yaml


def test_apply_of_a_bad_service_writes_nothing(onpath, folder, service):
    service.write_text(TEXT.replace("every", "evry"))
    code, out, err = onpath("service", "apply", service, "--carrier", f"local:{folder}")
    assert (code, out) == (78, "")
    assert 'did you mean "every"?' in err
    assert not folder.exists()


def test_remove_asks_and_leaves_the_version(onpath, folder, service, monkeypatch):
    monkeypatch.setenv("ONPATH_CARRIER", f"local:{folder}")
    onpath("service", "apply", service)
    monkeypatch.setattr("sys.stdin", io.StringIO())  # nobody says yes
    code, _, err = onpath("service", "remove", "demand")
    assert code == 1
    assert "Remove demand" in err
    assert not record(folder).removed
    assert onpath("service", "remove", "demand", "--yes")[:2] == (
        0, "demand: removed; nodes give what they hold, and then stop\n",
    )  # fmt: skip
    assert (record(folder).removed, record(folder).version) == (True, 2)
    assert onpath("service", "remove", "demand", "--yes")[1] == "demand: version 2 is removed already\n"
    assert onpath("service", "apply", service)[1] == "demand: version 3 applied, in place of 2\n"
    code, _, err = onpath("service", "remove", "nothing", "--yes")
    assert (code, err) == (1, 'onpath: no service is named "nothing"\n')


def test_two_that_apply_at_once_do_not_overwrite_each_other(folder):
    from gateway.errors import OnpathError
    from gateway.network.records import apply_text

    async def race(carrier):
        texts = [TEXT + f"# {number}\n" for number in range(8)]
        return await asyncio.gather(
            *(apply_text(carrier, "demand", text, "test") for text in texts), return_exceptions=True
        )

    done = doing(folder, race)
    well = [one for one in done if not isinstance(one, Exception)]
    assert all(isinstance(one, OnpathError) and "somebody else" in str(one) for one in done if one not in well)
    assert record(folder).version == len(well) >= 1
    assert sorted(one.record.version for one in well) == list(range(1, len(well) + 1))


def test_a_controller_that_renews_its_lease_is_seen(folder):
    from gateway.network.facts import planners

    async def look(carrier):
        before = await planners(carrier)
        async with Leases(carrier, "c1", ttl_s=3) as leases:
            lease = leases.lease("controller")
            await lease.acquire()
            return before, await planners(carrier)

    assert doing(folder, look) == (False, True)


# Where the network is


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        ([], 2, "which network?"),
        (["--carrier", "local:/nowhere/at/all"], 1, "no such folder"),
        (["--carrier", "http://x"], 1, "write local:/folder, nats://host:4222"),
        (["-c", "/nowhere.yaml"], 78, "cannot be read"),
    ],
)
def test_without_a_network(onpath, monkeypatch, args, code, says):
    monkeypatch.delenv("ONPATH_CARRIER", raising=False)
    ended, _, err = onpath("nodes", *args)
    assert (ended, says in err) == (code, True), err


def test_the_network_of_a_node_is_found_whatever_else_its_file_says(onpath, folder, tmp_path, monkeypatch):
    monkeypatch.setenv("SHARED", str(folder))
    doing(folder, lambda carrier: asyncio.sleep(0))
    file = tmp_path / "node.yaml"
    file.write_text(
        'gateway: n1\nuplinks: {x: {type: mqtt, password: "${credential:gone}"}}\n'
        'network: {carrier: {url: "local:${SHARED}"}}\n'
    )
    assert onpath("nodes", "-c", file)[:2] == (0, "no node has said that it is there; do they run?\n")
    file.write_text("network: {carrier: {urll: x}}\n")
    code, _, err = onpath("nodes", "-c", file)
    assert code == 78
    assert f'{file}:1:21: network.carrier.urll: unknown key; did you mean "url"?' in err
    file.write_text("gateway: n1\n")
    assert "this gateway is no node of a network" in onpath("nodes", "-c", file)[2]


def test_what_goes_with_a_url_comes_from_the_environment():
    from gateway.network.lookup import carrier_config

    env = {"ONPATH_CARRIER": "nats://a:4222", "ONPATH_CARRIER_USERNAME": "u", "ONPATH_CARRIER_PASSWORD": "p: #"}
    for url in (None, "nats://b:4222,nats://c:4222"):
        config = carrier_config(url, None, env)
        assert (config.url, config.username, config.password) == (url or "nats://a:4222", "u", "p: #")
    assert carrier_config("local:/x", None, env).username == ""


# A network with a plan


def advert(node, tier=Tier.ACCESS, **facts):
    boot = time.time_ns() - 3_600_000_000_000
    common = {"site": "s1", "boot": boot, "number": 5, "every_s": 20.0, "said_ms": time.time_ns() // 1_000_000}
    return Advert(node=node, tier=tier, **(common | facts))


def explained(links, tiers, *, ratio=100.0, nodes=3):
    kinds = [("deadband", "step"), ("window", "partial"), ("window", "merge"), ("window", "final")]
    stages = [
        told.StagePlace(
            index=index, operator=operator, kind=kind,
            where=[told.Where(tier="core" if kind == "final" else "access", nodes=2, of=nodes, names=["a1"])],
            why=[told.Why(cause=told.Cause.CHEAPEST, words=f"{operator} costs least there", nodes=2)],
            cpu=0.01, samples_in=100.0, samples_out=10.0, bytes_out=80.0, cost=3.0,
        )
        for index, (operator, kind) in enumerate(kinds, 1)
    ]  # fmt: skip
    return told.Explanation(
        service="demand", version=1, epoch=7, made_ms=1_700_000_000_000, stages=stages, links=links,
        links_left_out=0, tiers=tiers, to_core=880.0, raw_to_core=88_000.0, ratio=ratio, latency_s=41.0, cost=1234.0,
        intents=[
            told.IntentMet(name="latency", wanted=60.0, expected=41.0, unit="s", met=True, words="19 s to spare"),
            told.IntentMet(name="bytes_per_day", wanted=1e6, expected=76e6, unit="B/day", met=False, words="too much"),
        ],
        plan=told.Solved(
            cost=2000.0, bound=1980.0, distance=1.0, method="prices", seconds=0.5, nodes=nodes, services=1,
            shed=[told.Shed(service="other", nodes=["a2"], words="no CPU is left")],
        ),
    )  # fmt: skip


def link(node, to, tier, sent, raw, cut=3):
    return told.LinkLoad(node=node, to=to, tier=tier, cut=cut, bytes=sent, raw=raw, used=0.95, cost=sent)


async def plan_of_three(carrier):
    """Two access nodes below an aggregation node; a third one, silent, straight to the core."""
    facts = {1: StageFacts(samples_in=50.0, samples_out=5.0, cpu_us=2.0), 3: StageFacts(
        samples_in=5.0, samples_out=1.0, bytes_out=40.0)}  # fmt: skip
    nodes = [
        advert("a1", parents=["g1"], epochs={"demand": 7}, points={"demand": 20}, stages={"demand": facts},
               links=[LinkFacts(to="g1", capacity=1e6, used=5e5)], cores=4.0, headroom=2.0),
        advert("a2", parents=["g1"], epochs={"demand": 6}, points={"demand": 10}, inputs={"demand": 30.0},
               healthy=False, reasons=["the spool is 70 s old"], spool_bytes=123_456, spool_age_s=70.0),
        advert("g1", Tier.AGGREGATION, epochs={"demand": 7}),
        advert("c1", Tier.CORE, partitions=[0, 1, 2, 5]),
        advert("c2", Tier.CORE, partitions=[3, 4]),
    ]  # fmt: skip
    for one in nodes:
        await carrier.put("nodes", one.node, adverts.encode(one))
    parts = {"a1": (3, "g1"), "a2": (1, "g1"), "g1": (3, ""), "a3": (3, "")}
    for node, (cut, parent) in parts.items():
        part = ServicePart(version=1, epoch=7, cut=cut, parent=parent, yaml=TEXT)
        await carrier.put("plan", node, assignment.encode(Assignment(epoch=7, services={"demand": part})))
    links = [link("g1", "", "aggregation", 60.0, 66_000.0), link("a2", "g1", "access", 500.0, 30_000.0, 1)]
    tiers = [
        told.TierLoad(tier="access", links=3, bytes=1320.0, raw=88_000.0),
        told.TierLoad(tier="aggregation", links=1, bytes=60.0, raw=66_000.0),
    ]
    await carrier.put("facts", told.key_of("demand"), told.encode(explained(links, tiers)))


@pytest.fixture
def planned(onpath, folder, service, monkeypatch):
    monkeypatch.setenv("ONPATH_CARRIER", f"local:{folder}")
    onpath("service", "apply", service)
    doing(folder, plan_of_three)
    return folder


def test_nodes(onpath, planned):
    code, out, _ = onpath("nodes")
    assert code == 0
    lines = out.splitlines()
    assert [line.split()[0] for line in lines[1:6]] == ["c1", "c2", "g1", "a1", "a2"]
    a1 = next(line for line in lines if line.startswith("a1"))
    assert "2 of 4" in a1
    assert "50 %" in a1
    assert "1 h 00 min" in a1
    assert "the spool is 70 s old" in out
    assert lines[-1] == "silent, with a part in the plan: a3"
    told_nodes = json.loads(onpath("nodes", "--json")[1])["nodes"]
    assert [one["node"] for one in told_nodes] == ["c1", "c2", "g1", "a1", "a2"]
    assert told_nodes[0]["partitions"] == [0, 1, 2, 5]


def test_status(onpath, planned):
    code, out, _ = onpath("service", "status", "demand", "--json")
    (one,) = json.loads(out)["services"]
    assert code == 0
    assert (one["state"], one["version"], one["planned_version"], one["epoch"]) == ("degraded", 1, 1, 7)
    assert one["epochs"] == {"6": ["a2"], "7": ["a1", "g1"]}
    assert (one["behind"], one["silent"], one["points"]) == (["a2"], ["a3"], 30)
    assert one["tiers"]["access"] == {
        "nodes": 2, "samples_in": 80.0, "samples_out": 31.0, "bytes_out": 40.0, "cpu": pytest.approx(1e-4),
    }  # fmt: skip
    assert json.loads(out)["partitions"] == {"c1": [0, 1, 2, 5], "c2": [3, 4]}
    out = onpath("service", "status")[1]
    assert "demand: not yet at epoch 7: a2" in out
    assert "demand: silent: a3" in out
    assert "0-2, 5" in out
    assert "58 of 64 partitions are held by nobody" in out
    code, _, err = onpath("service", "status", "demnd")
    assert (code, err) == (1, 'onpath: no service is named "demnd"; known: demand\n')


def test_status_before_anything_is_planned(onpath, folder, service, monkeypatch):
    monkeypatch.setenv("ONPATH_CARRIER", f"local:{folder}")
    onpath("service", "apply", service)
    (one,) = json.loads(onpath("service", "status", "--json")[1])["services"]
    assert (one["state"], one["nodes"], one["tiers"]) == ("not planned", 0, {})
    assert "not planned" in onpath("service", "status")[1]
    code, _, err = onpath("service", "explain", "demand")
    assert code == 1
    assert "version 1 is applied and not planned" in err
    onpath("service", "remove", "demand", "--yes")
    assert json.loads(onpath("service", "status", "--json")[1])["services"][0]["state"] == "removed"
    assert "was removed" in onpath("service", "explain", "demand")[2]


def test_explain(onpath, planned, tmp_path):
    picture = tmp_path / "plan.svg"
    code, out, _ = onpath("service", "explain", "demand", "--picture", picture)
    assert code == 0
    assert "880 B/s into the core instead of 88 kB/s raw, 100 times less" in out
    assert "1 % above the lower bound of 1,980 (prices, 0.5 s)" in out
    assert "bytes_per_day: asked for 1 MB a day, expected 76 MB a day: NOT kept (too much)" in out
    assert "other is left out at a2: no CPU is left" in out
    assert "4  window costs least there" in out
    tree = out[out.index("\ntree") :].splitlines()[2:]
    assert [line.split()[0:2] for line in tree if "─ " in line] == [
        ["├─", "a3"], ["└─", "g1"], ["├─", "a1"], ["└─", "a2"],
    ]  # fmt: skip
    assert "core (2 nodes)  window (final)" in tree[0]
    assert "g1  window (partial) ▸ window (merge)  60 B/s" in tree[2]
    assert "a2  deadband  500 B/s (raw 30 kB/s)" in tree[4]
    assert "a1  deadband ▸ window (partial) ▸ window (merge)  410 B/s" in tree[3]  # half of what no link lists
    root = ET.parse(picture).getroot()
    texts = [one.text for one in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"g1", "a1", "a2", "a3", "core (2 nodes)", "500 B/s", "raw 30 kB/s", "60 B/s"} <= set(texts)
    assert json.loads(onpath("service", "explain", "demand", "--json")[1])["epoch"] == 7
    code, _, err = onpath("service", "explain", "demand", "--picture", tmp_path / "no" / "plan.svg")
    assert (code, "No such file" in err) == (1, True)


def test_a_thousand_gateways_are_a_few_boxes(onpath, folder, service, monkeypatch, tmp_path):
    monkeypatch.setenv("ONPATH_CARRIER", f"local:{folder}")
    onpath("service", "apply", service)

    async def many(carrier):
        puts = []
        for region in range(20):
            parts = {f"r{region:02}": (3, "", Tier.AGGREGATION)}
            parts |= {f"r{region:02}-{at:02}": (1 + 2 * (at % 2), f"r{region:02}", Tier.ACCESS) for at in range(49)}
            for node, (cut, parent, tier) in parts.items():
                part = ServicePart(version=1, epoch=7, cut=cut, parent=parent)
                puts.append(
                    carrier.put("plan", node, assignment.encode(Assignment(epoch=7, services={"demand": part})))
                )
                puts.append(carrier.put("nodes", node, adverts.encode(advert(node, tier))))
        await asyncio.gather(*puts)
        tiers = [
            told.TierLoad(tier="access", links=980, bytes=98_000.0, raw=980_000.0),
            told.TierLoad(tier="aggregation", links=20, bytes=880.0, raw=980_000.0),
        ]
        await carrier.put("facts", told.key_of("demand"), told.encode(explained([], tiers, nodes=1000)))

    doing(folder, many)
    picture = tmp_path / "plan.svg"
    out = onpath("service", "explain", "demand", "--picture", picture)[1]
    tree = out[out.index("\ntree") :].splitlines()[2:]
    assert len(tree) == 4
    assert "20 aggregation nodes (r00 … r19)" in tree[1]
    assert "880 B/s (raw 980 kB/s)" in tree[1]
    assert {line.split("access nodes")[0].split()[-1] for line in tree[2:]} == {"480", "500"}
    root = ET.parse(picture).getroot()
    boxes = [one for one in root.iter("{http://www.w3.org/2000/svg}rect") if one.get("rx") == "7"]
    assert len(boxes) == 1 + 3 * 2  # each group has another box behind it
    assert float(root.get("height")) < 600


def test_explain_of_a_service_that_is_not_applied(onpath, planned, service, tmp_path):
    """By the planner itself, for the nodes that there are, and for those of a file."""
    code, out, err = onpath("service", "explain", service)
    assert code == 0, err
    assert "version 2, not applied: a plan as it would be" in out
    assert err == ""  # the nodes know how many points these inputs select
    service.write_text(TEXT.replace("service: demand", "service: other"))
    code, out, err = onpath("service", "explain", service, "--json")
    live = json.loads(out)
    assert (code, live["service"], live["version"], live["epoch"]) == (0, "other", 1, 0)
    assert err == "note: assumed at 2 access nodes: 20 points with 1 samples a second each (--points, --rate)\n"
    assert {(link["node"], link["to"]) for link in live["links"]} == {("g1", ""), ("a1", "g1"), ("a2", "g1")}
    assert live["raw_to_core"] == 2 * 20 * 40.0
    file = tmp_path / "nodes.json"
    file.write_text(onpath("nodes", "--json")[1])
    picture = tmp_path / "plan.svg"
    ends = ("--nodes", file, "--points", "100", "--rate", "10", "--picture", picture)
    code, out, err = onpath("service", "explain", service, *ends)
    assert code == 0
    assert "instead of 80 kB/s raw" in out
    assert ">a1</text>" in picture.read_text()
    file.write_text("{}")
    code, _, err = onpath("service", "explain", service, "--nodes", file)
    assert (code, "is not what onpath nodes --json prints" in err) == (1, True)
    service.write_text("service: x\n")
    assert onpath("service", "explain", service)[0] == 78


# Results


def messages(directory, encoder, rows, seq, quality=0):
    """A frame message of (point, minute, value), and its directory messages."""
    ids = [directory.make(Point(name=point, unit="kW")) for point, _, _ in rows]
    times = np.array([NS + minute * 60_000_000_000 for _, minute, _ in rows], np.int64)
    frame = Frame.of(ids, times, [value for _, _, value in rows], quality)
    return encoder.encode(Batch(seq, "demand", 0, frame, epoch=3))


async def publish(carrier, told_messages, subject="out/demand/core-07"):
    payload, directories = told_messages
    for name, described in directories:
        await carrier.put("directories", name, described)
    await carrier.publish(subject, payload)


async def three_messages(carrier):
    directory = Directory()
    encoder = FrameEncoder("core-07", directory)
    first = messages(directory, encoder, [("a/power#sum", 0, 1.5), ("a/power#sum", 1, 2.0)], 1)
    second = messages(directory, encoder, [("b/power#sum", 1, float("nan"))], 2, quality=1)
    late = messages(directory, encoder, [("a/power#sum", 0, 1.75)], 3)
    for one in (first, second, late, first):  # the first comes again: it is no correction of the correction
        await publish(carrier, one)


def test_results(onpath, folder, monkeypatch):
    monkeypatch.setenv("ONPATH_CARRIER", f"local:{folder}")
    doing(folder, three_messages)
    code, out, err = onpath("service", "results", "demand")
    assert (code, err) == (0, "")
    lines = [line.split() for line in out.splitlines()]
    assert lines[0] == ["time", "point", "value", "unit", "quality"]
    assert lines[1] == ["2023-11-14T22:13:20.000Z", "a/power#sum", "1.75", "kW", "good"]
    assert lines[2] == ["2023-11-14T22:14:20.000Z", "a/power#sum", "2", "kW", "good"]
    assert lines[3][1:] == ["b/power#sum", "-", "(not-a-number)", "kW", "invalid"]
    rows = [json.loads(line) for line in onpath("service", "results", "demand", "**a/**", "--json")[1].splitlines()]
    assert rows == [
        {"point": "a/power#sum", "time": NS, "value": 1.75, "unit": "kW", "quality": "good", "partition": "core-07"},
        {"point": "a/power#sum", "time": NS + 60_000_000_000, "value": 2.0, "unit": "kW", "quality": "good",
         "partition": "core-07"},
    ]  # fmt: skip
    assert len(onpath("service", "results", "demand", "--last", "1", "--json")[1].splitlines()) == 1
    assert onpath("service", "results", "other") == (0, "", "no results of other yet\n")


def test_results_that_come_while_somebody_looks(folder):
    """Also a directory message that builds on one that was not read yet, and a message that nobody can read."""
    from gateway.network.results import Feed, Results

    async def look(carrier):
        directory = Directory()
        encoder = FrameEncoder("core-07", directory)
        feed, found = Feed(carrier, "demand"), Results(2)
        reader = feed.batches()
        lost = messages(directory, encoder, [("a/power#sum", 0, 1.0)], 1)
        for name, described in lost[1]:
            await carrier.put("directories", name, described)
        news = []

        async def read():
            async for batches in reader:
                for one in batches:
                    news.extend(found.take(one))
                if len(news) >= 3:
                    return

        reading = asyncio.create_task(read())
        await carrier.publish("out/demand/core-07", b"nonsense")
        await publish(carrier, messages(directory, encoder, [("b/power#sum", 0, 1.0)], 2))
        await publish(carrier, messages(directory, encoder, [("b/power#sum", 0, 2.0)], 3))
        await publish(carrier, messages(directory, encoder, [("b/power#sum", 0, 3.0), ("b/power#sum", 1, 4.0)], 4))
        async with asyncio.timeout(20):
            await reading
        await reader.aclose()
        return feed, found, news

    feed, found, news = doing(folder, look)
    assert feed.unusable == 1
    assert [one.value for one in news] == [1.0, 2.0, 3.0, 4.0]
    assert [(one.value, one.time_ns - NS) for one in found.newest()] == [(3.0, 0), (4.0, 60_000_000_000)]
    assert found.replaced == 2


def test_following_shows_corrections_as_they_come(folder):
    """The real command in its own process, while another one publishes."""
    doing(folder, three_messages)
    command = [sys.executable, "-m", "gateway.cli.main", "service", "results", "demand", "--follow", "--json"]
    with subprocess.Popen(
        [*command, "--last", "1", "--for", "60s", "--carrier", f"local:{folder}"], stdout=subprocess.PIPE, text=True
    ) as following:
        try:
            first = json.loads(following.stdout.readline())

            async def correct(carrier):
                directory = Directory()
                encoder = FrameEncoder("core-07", directory)
                await publish(carrier, messages(directory, encoder, [("b/power#sum", 1, 8.25)], 4))

            doing(folder, correct)
            second = json.loads(following.stdout.readline())
        finally:
            following.terminate()
    assert (first["point"], first["value"], first["reason"]) == ("b/power#sum", None, "not-a-number")
    assert (second["point"], second["time"], second["value"]) == (first["point"], first["time"], 8.25)
