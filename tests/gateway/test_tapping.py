"""``onpath tap``: samples as they go by, and what could not be used."""

import asyncio
import itertools
import json
import subprocess
import sys

import pytest

from gateway.control import ask, follow
from gateway.errors import OnpathError
from gateway.frame import Frame
from gateway.graph import Graph
from gateway.rejected import RejectedRing
from gateway.tapping import QUEUED_FRAMES, Taps
from gateway.tasks import ended
from tests.support.build import config_of, directory_of
from tests.support.daemon import daemon
from tests.support.nats import nats_broker
from tests.support.publish import publish

CONFIG = """
adapters:
  bus: {{type: mqtt, url: '{url}', subscribe: [{{topic: 'site/{{device}}/telemetry', points: {{v: {{}}}}}}]}}
pipelines:
  all: {{from: ["**"], steps: [{{window: {{every: 1s, stats: [count]}}}}], to: [out]}}
  live:
    from: ["**"]
    steps: [{{scale: {{factor: 10, points: "m1/*"}}}}, {{dedup: {{}}}}, {{scale: {{factor: 2}}}}]
    to: [out]
uplinks: {{out: {{type: file, path: {out}}}}}
"""


@pytest.fixture
async def running(tmp_path):
    async with nats_broker(tmp_path / "nats") as broker:
        config = CONFIG.format(url=broker.mqtt_url, out=tmp_path / "out")
        async with daemon(tmp_path, config) as process:
            process.broker = broker
            await process.until(lambda s: s["adapters"]["bus"]["link"] == "up")
            yield process


async def tapped(running, count, **request):
    """The first ``count`` answers of a tap, while ``feed`` publishes."""
    rows = []
    async for answer in follow(running.state, "tap", **request):
        rows += answer.get("samples") or [answer["rejected"]]
        if len(rows) >= count:
            return rows
    return rows


async def feed(running, messages):
    while True:
        await publish(running.broker.mqtt_port, messages)
        await asyncio.sleep(0.05)


async def with_feed(running, messages, waiting):
    feeding = asyncio.create_task(feed(running, messages))
    try:
        async with asyncio.timeout(20):
            return await waiting
    finally:
        await ended(feeding)


async def test_a_tap_shows_the_points_it_asks_for_and_derived_ones(running):
    messages = [("site/m1/telemetry", {"v": 1}), ("site/m2/telemetry", {"v": 2})]
    rows = await with_feed(running, messages, tapped(running, 3, globs=["m2/*"], made=False))
    assert {row["point"] for row in rows} == {"m2/v"}
    assert {row["value"] for row in rows} == {2.0}
    rows = await with_feed(running, messages, tapped(running, 2, globs=["m1/v#count"]))
    assert {row["point"] for row in rows} == {"m1/v#count"}


@pytest.mark.parametrize("after", ["live/0", "live/1", "live/dedup", "dedup"])
async def test_what_leaves_a_step_before_the_steps_behind_it(running, after):
    messages = [("site/m1/telemetry", {"v": number}) for number in (1, 2, 2, 2, 3)]
    messages += [("site/m2/telemetry", {"v": 7})]
    rows = await with_feed(running, messages, tapped(running, 30, globs=["m1/*", "m2/*"], after=after))
    assert {row["value"] for row in rows if row["point"] == "m1/v"} == {10.0, 20.0, 30.0}  # not yet times 2
    repeats = [row for row, before in pairs(rows, "m1/v") if row["value"] == before["value"]]
    assert bool(repeats) == (after == "live/0")
    if after == "live/0":  # the step is for m1 only; what it lets pass is shown, too
        assert {row["value"] for row in rows if row["point"] == "m2/v"} == {7.0}


def pairs(rows, point):
    of = [row for row in rows if row["point"] == point]
    return list(zip(of[1:], of, strict=False))


@pytest.mark.parametrize(
    ("after", "said"),
    [
        ("live/scale", "several steps are 'live/scale': name one of live/0 (scale), live/2 (scale)"),
        ("live/9", "no step is 'live/9': name one of live/0 (scale), live/1 (dedup), live/2 (scale)"),
        ("nowhere/0", "there is no pipeline 'nowhere'; there is all, live"),
        ("round", "no step is 'round': name one of all/0 (window), live/0 (scale), live/1 (dedup), live/2 (scale)"),
    ],
)
async def test_a_step_that_is_not_there_is_told_with_those_that_are(running, after, said):
    with pytest.raises(OnpathError) as told:
        await tapped(running, 1, after=after)
    assert str(told.value) == said


async def test_a_tap_ends_with_its_step(running):
    async def first_after_reload():
        rows = await tapped(running, 1, after="dedup")
        assert rows
        following = follow(running.state, "tap", after="live/dedup")
        await anext(following)
        running.config.write_text(running.config.read_text().replace("{dedup: {}}, ", ""))
        assert (await ask(running.state, "reload"))["ok"]
        with pytest.raises(OnpathError, match="the step live/dedup is gone"):
            _ = [rows async for rows in following]

    numbers = itertools.count()
    await with_feed(running, (("site/m1/telemetry", {"v": next(numbers)}) for _ in iter(int, 1)), first_after_reload())


async def test_nobody_pays_while_nobody_taps(running):
    """Also not after somebody did: what he asked for is let go with him."""
    await with_feed(running, [("site/m1/telemetry", {"v": 1})], tapped(running, 2, after="live/0"))
    status = await running.until(lambda s: s["pipelines"]["live"]["in"] > 0)
    assert all(step["cpu_s"] > 0 for step in status["pipelines"]["live"]["steps"])


class Engine:
    """As much of one as a tap asks for, with the real graph."""

    def __init__(self):
        self.directory = directory_of("a", "b")
        self.graph = Graph(
            config_of(
                "pipelines: {p: {from: '**', steps: [{scale: {factor: 2}}], to: [out]}}\nuplinks: {out: {type: stdout}}"
            ).pipelines,
            self.directory,
        )
        self.tapped = frozenset()


async def test_steps_put_aside_only_while_tapped():
    engine = Engine()
    taps = Taps(engine.directory, RejectedRing(), engine)
    answers = taps.tap_verb({"after": "scale", "globs": ["b"]})
    waiting = asyncio.create_task(anext(answers))
    await asyncio.sleep(0)
    assert engine.tapped == {("p", "scale")}
    frame = Frame.of([0, 1], 1, [1.0, 2.0], 0)
    with engine.graph.tapped(engine.tapped) as aside:
        engine.graph.process(frame)
    engine.graph.process(frame)  # what passes outside is not kept
    assert [len(frames) for frames in aside.values()] == [1]
    taps.offer([frame], [], aside)
    assert [(row["point"], row["value"]) for row in (await waiting)["samples"]] == [("b", 4.0)]
    await answers.aclose()
    assert engine.tapped == frozenset()
    assert engine.graph.pipelines["p"].steps[0].aside is None


async def test_what_a_slow_onlooker_misses_is_counted():
    engine = Engine()
    taps = Taps(engine.directory, RejectedRing(), engine)
    answers = taps.tap_verb({"after": "p/0"})
    waiting = asyncio.create_task(anext(answers))
    await asyncio.sleep(0)
    frame = Frame.of([0, 1], 1, [1.0, 2.0], 0)
    for _ in range(QUEUED_FRAMES + 5):
        taps.offer([], [], {("p", "0"): [frame]})
    assert (await waiting)["missed"] == 10
    await answers.aclose()


async def test_rejected_messages_are_shown_with_their_reason_and_payload(running):
    rows = await with_feed(running, [("site/m1/telemetry", b'{"v": ')], tapped(running, 1, rejected=True))
    assert (rows[0]["adapter"], rows[0]["reason"], rows[0]["where"]) == ("bus", "unparsable", "site/m1/telemetry")
    assert rows[0]["payload"] == '{"v": '
    command = [sys.executable, "-m", "gateway.cli.main", "tap", "--rejected", "--for", "1s", "-c", str(running.config)]
    shown = await asyncio.to_thread(subprocess.run, command, check=True, capture_output=True, text=True, timeout=30)
    assert "unparsable" in shown.stdout
    shown = await asyncio.to_thread(
        subprocess.run, [*command, "--json"], check=True, capture_output=True, text=True, timeout=30
    )
    assert json.loads(shown.stdout.splitlines()[0])["reason"] == "unparsable"


def test_the_ring_is_bounded_and_payloads_are_cut():
    ring = RejectedRing(3)
    for _ in range(5):
        ring.add("a", "r", "x" * 10_000, b"\xff" * 5000, "d")
    kept = ring.after(0)
    assert [one.number for one in kept] == [3, 4, 5]
    shown = kept[0].as_dict()
    assert len(shown["payload_hex"]) == 2048
    assert shown["size"] == 5000
    assert len(shown["where"]) == 512
    json.dumps(shown)
