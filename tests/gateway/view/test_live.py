"""What onlookers follow over the control socket, and that nothing runs without them."""

import asyncio
import contextlib

import pytest

from gateway.control import ask, follow
from gateway.errors import OnpathError
from tests.support.console import fed, gateway


@pytest.fixture
async def running(tmp_path):
    async with gateway(tmp_path) as process:
        yield process


async def followed(process, count, **request):
    found = []
    async with asyncio.timeout(30), contextlib.aclosing(follow(process.state, "live", **request)) as answers:
        async for answer in answers:
            found.append((answer["topic"], answer["data"]))
            if len(found) == count:
                break
    return found


async def test_every_topic_comes_at_once(running):
    topics = ["overview", "graph", "pipelines", "devices", "spool", "alerts", "findings", "events"]
    found = await followed(running, len(topics), topics=topics)
    assert {topic for topic, _ in found} == set(topics)


async def test_only_points_that_changed_come_again(running):
    async with fed(running):
        page = (await ask(running.state, "points"))["points"]
        ids = {row["name"]: row["id"] for row in page["rows"]}
        wanted = [ids["m1/v"], ids["m2/v"]]
        found = await followed(running, 4, topics=["points"], points=wanted)
        assert {row[0] for _, data in found for row in data["rows"]} == set(wanted)
        values = [row[1] for _, data in found for row in data["rows"] if row[0] == wanted[0]]
        assert values == sorted(set(values))
    await asyncio.sleep(1)  # what was sent last is on its way
    quiet = await followed(running, 1, topics=["points"], points=wanted)
    assert len(quiet[0][1]["rows"]) == 2
    seen = 0
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(3):
            async for _ in follow(running.state, "live", topics=["points"], points=wanted):
                seen += 1
    assert seen == 1  # nothing is published any more


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        ({"topics": ["weather"]}, "no topic 'weather'"),
        ({"topics": "overview"}, "a list of topics"),
        ({"topics": ["points"], "points": [10**6]}, "no point's"),
        ({"topics": ["points"], "points": ["a"]}, "a list of ids"),
        ({"topics": ["points"], "points": list(range(3000))}, "too many"),
    ],
)
async def test_what_cannot_be_followed(running, request_, says):
    with pytest.raises(OnpathError, match=says):
        await followed(running, 1, **request_)


@pytest.mark.parametrize(
    ("verb", "fields", "says"),
    [
        ("points", {"limit": 10**6}, "limit"),
        ("points", {"sort": "colour"}, "sort"),
        ("point", {"name": "nobody"}, "no point"),
        ("overview", {"over_s": "long"}, "over_s"),
    ],
)
async def test_bad_questions(running, verb, fields, says):
    answer = await ask(running.state, verb, **fields)
    assert not answer["ok"]
    assert says in answer["error"]


async def test_rates_over_a_while(running):
    async with fed(running):
        overview = (await ask(running.state, "overview", over_s=1.5))["overview"]
        assert overview["rates"]["in_samples"] > 20
        devices = (await ask(running.state, "devices", over_s=1))["devices"]["devices"]
        assert {row["device"] for row in devices} == {"m0", "m1", "m2"}
        assert all(row["samples"] > 0 and row["points"] >= 2 for row in devices)


async def test_an_uplink_that_is_down_is_a_reason(tmp_path):
    more = "  far: {type: mqtt, url: 'mqtt://127.0.0.1:1', topic: up}\n"
    async with gateway(tmp_path, more=more) as process:
        text = process.config.read_text().replace("to: [out]}}", "to: [out, far]}}")
        process.config.write_text(text)
        async with asyncio.timeout(40):
            while True:
                overview = (await ask(process.state, "overview"))["overview"]
                if overview["health"] == "degraded":
                    break
                await asyncio.sleep(0.5)
        assert any(reason.startswith("uplink far is down since") for reason in overview["reasons"])
        graph = (await ask(process.state, "graph"))["graph"]
        assert {node["id"]: node["state"] for node in graph["nodes"]}["uplink:far"] == "down"


async def test_points_of_an_earlier_run_are_known_at_the_first_look(running):
    async with fed(running):
        pass
    await asyncio.to_thread(running.stop)
    await running.start()
    page = (await ask(running.state, "points", q="m1/v"))["points"]
    row = next(row for row in page["rows"] if row["name"] == "m1/v")
    assert row["value"] > 0  # nobody has said anything since: it is from the history
