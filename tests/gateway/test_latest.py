"""The latest values that observers and consoles see."""

import asyncio

from gateway.directory import Directory
from gateway.frame import Frame
from gateway.latest import LatestValues
from gateway.point import Kind, Point


def site():
    directory = Directory()
    return directory, LatestValues(directory)


def test_nothing_is_kept_while_nobody_looks():
    directory, latest = site()
    point = directory.add(Point(name="m1/p"))
    latest.take(Frame.of([point], 5, [1.0]))
    assert latest.view(["**"]).rows() == []


def test_the_newest_source_time_wins_within_and_between_frames():
    directory, latest = site()
    view = latest.view(["m1/*"])
    one, two = (directory.add(Point(name=name, unit="V")) for name in ("m1/p", "m2/p"))
    latest.take(Frame.of([one, two, one, one], [7, 7, 9, 8], [1.0, 2.0, 3.0, 4.0]))
    latest.take(Frame.of([one], [6], [99.0]))
    assert [(row.name, row.unit, row.time_ns, row.value) for row in view.rows()] == [("m1/p", "V", 9, 3.0)]
    assert view.get("m1/p").value == 3.0
    assert view.get("m2/p") is None


def test_the_last_of_equal_times_wins():
    directory, latest = site()
    view = latest.view(["**"])
    point = directory.add(Point(name="m1/p"))
    latest.take(Frame.of([point] * 3, [7, 7, 7], [1.0, 2.0, 3.0]))
    assert view.get("m1/p").value == 3.0


def test_states_come_as_text():
    directory, latest = site()
    view = latest.view(["**"])
    point = directory.add(Point(name="m1/mode", kind=Kind.STATE))
    code = directory.state(point, "auto")
    latest.take(Frame.of([point], 1, [code]))
    assert view.get("m1/mode").text == "auto"


async def test_news_are_joined_and_name_only_what_was_asked_for():
    directory, latest = site()
    view = latest.view(["*/p"])
    one, two = (directory.add(Point(name=name)) for name in ("m1/p", "m1/q"))
    waiting = asyncio.create_task(view.changed())
    await asyncio.sleep(0)
    latest.take(Frame.of([two], 1, [1.0]))
    await asyncio.sleep(0)
    assert not waiting.done()
    latest.take(Frame.of([one], 1, [1.0]))
    assert await waiting == {"m1/p"}
    latest.take(Frame.of([one], 2, [1.0]))
    three = directory.add(Point(name="m3/p"))
    latest.take(Frame.of([three], 2, [1.0]))
    assert await view.changed() == {"m1/p", "m3/p"}
    view.close()
    assert not latest.watched
