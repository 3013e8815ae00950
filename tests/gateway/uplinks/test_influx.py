"""Line protocol: what a reader of its rules finds in the lines is what went in, whatever points are called."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import quality as q
from gateway.batch import Batch, Loss
from gateway.directory import Directory
from gateway.errors import FieldError
from gateway.frame import EMPTY, Frame
from gateway.point import Kind, Point
from gateway.uplinks.http_body import with_precision
from gateway.uplinks.http_config import InfluxOptions, InfluxQuality, Precision
from gateway.uplinks.influx import LineEncoder
from tests.support.trials import trials


def cut(text: str, at: str, *, quoted: bool = False) -> list[str]:
    """Parts between separators that are not escaped, nor inside quotes; those count in values only, behind ``=``."""
    parts, part, escaped, inside, values = [], "", False, False, 0
    for char in text:
        if not inside and not escaped:
            values += (char == "=") - (char == ",")
        if escaped:
            part, escaped = part + char, False
        elif char == "\\":
            part, escaped = part + char, True
        elif quoted and char == '"' and values > 0:
            part, inside = part + char, not inside
        elif char == at and not inside:
            parts.append(part)
            part = ""
        else:
            part += char
    return [*parts, part]


def plain(text: str) -> str:
    return re.sub(r"\\([, =])", r"\1", text)


def value_of(text: str):
    if text.startswith('"'):
        return re.sub(r'\\(["\\])', r"\1", text[1:-1])
    return int(text[:-1]) if text.endswith("i") else float(text)


def parse(line: str) -> tuple[str, dict, dict, int]:
    """A reader by the rules of the line protocol reference."""
    head = cut(line, " ")[0]
    fields, time = cut(line[len(head) + 1 :], " ", quoted=True)
    name, *tags = cut(head, ",")
    found = [cut(tag, "=") for tag in tags]
    values = [cut(field, "=", quoted=True) for field in cut(fields, ",", quoted=True)]
    return (
        plain(name),
        {plain(tag): plain(value) for tag, value in found},
        {plain(field): value_of(value) for field, value in values},
        int(time),
    )


def lines(frame: Frame, directory: Directory, pipeline: str = "p", **options) -> tuple[list, int]:
    raw, left_out = LineEncoder(InfluxOptions(**options), "g", directory).encode(Batch(1, pipeline, 0, frame))
    assert not raw or raw.endswith(b"\n")
    return [parse(line) for line in raw.decode().splitlines()], left_out


def directory_of(*points: Point) -> Directory:
    found = Directory()
    for point in points:
        found.add(point)
    return found


def changed(text: str) -> str:
    """What line protocol cannot carry."""
    return re.sub(r"[\n\r\t]", " ", text.replace("\\", "/"))


NAMES = st.text(st.sampled_from('ab ,=\\"#\n\tä'), min_size=1, max_size=8)


@settings(max_examples=trials(300), deadline=None)
@given(NAMES, NAMES, NAMES, st.floats(allow_nan=False, allow_infinity=False), st.integers(-(2**62), 2**62))
def test_any_names_and_values_come_back(pipeline, device, name, value, time):
    directory = directory_of(Point(name=f"{device}/{name}"))
    ((measurement, tags, fields, when),), left_out = lines(Frame.of([0], time, [value]), directory, pipeline)
    wanted = changed(pipeline)
    assert measurement == ("_" + wanted[1:] if wanted.startswith("#") else wanted)
    assert tags == {"device": changed(device), "gateway": "g"}
    assert fields == {changed(name): value}
    assert (when, left_out) == (time, 0)


def test_samples_of_a_device_at_one_time_share_a_line():
    directory = directory_of(*(Point(name=name) for name in ("m1/a", "m1/b", "m2/a", "lone", "m1/time")))
    frame = Frame.of([0, 0, 1, 2, 3, 4], [1, 2, 1, 1, 1, 1], [1, 2, 3, 4, 5, 6])
    found, _ = lines(frame, directory)
    assert found == [
        ("p", {"device": "m1", "gateway": "g"}, {"a": 1.0, "b": 3.0, "time_": 6.0}, 1),
        ("p", {"device": "m1", "gateway": "g"}, {"a": 2.0}, 2),
        ("p", {"device": "m2", "gateway": "g"}, {"a": 4.0}, 1),
        ("p", {"gateway": "g"}, {"lone": 5.0}, 1),
    ]


def test_numbers_texts_and_what_has_no_value():
    directory = directory_of(
        Point(name="m/count", kind=Kind.COUNTER, resolution=1.0),
        Point(name="m/mode", kind=Kind.STATE),
        Point(name="m/code", kind=Kind.STATE),
        Point(name="m/count#mean", kind=Kind.COUNTER, resolution=1.0),
    )
    directory.state(1, 'say "on"\\')
    values = [5, 0, 3, 5, math.nan, math.inf, 1e300]
    frame = Frame.of([0, 1, 2, 3, 0, 0, 0], [1, 1, 1, 1, 2, 3, 4], values, [0, 0, 0, 0, q.INVALID, 0, 0])
    found, left_out = lines(frame, directory, integers=True)
    assert found[0][2] == {"count": 5, "mode": 'say "on"\\', "code": 3, "count#mean": 5.0}
    assert [type(value) for value in found[0][2].values()] == [int, str, int, float]
    assert found[1:] == [("p", {"device": "m", "gateway": "g"}, {"count_quality": "invalid"}, 2)]
    assert left_out == 3
    found, left_out = lines(frame, directory)
    assert {type(value) for value in found[0][2].values()} == {float, str}
    assert left_out == 2


def test_a_text_that_appears_later_changes_how_a_point_is_written():
    directory = directory_of(Point(name="m/mode"))
    encoder = LineEncoder(InfluxOptions(), "g", directory)
    batch = Batch(1, "p", 0, Frame.of([0], 1, [0.0]))
    assert encoder.encode(batch)[0] == b"p,device=m,gateway=g mode=0.0 1\n"
    directory.state(0, "off")
    assert encoder.encode(batch)[0] == b'p,device=m,gateway=g mode="off" 1\n'


def test_quality_as_a_tag_and_nowhere():
    directory = directory_of(Point(name="m/a", labels={"phase": "L1"}))
    frame = Frame.of([0, 0], 1, [1.0, 2.0], [0, q.QUESTIONABLE | q.OLD_DATA])
    found, _ = lines(frame, directory, quality=InfluxQuality.TAG, tags={}, labels=("phase", "feeder"))
    assert [(tags, fields) for _, tags, fields, _ in found] == [
        ({"phase": "L1", "quality": "good"}, {"a": 1.0}),
        ({"phase": "L1", "quality": "questionable,old-data"}, {"a": 2.0}),
    ]
    found, _ = lines(frame, directory, quality=InfluxQuality.NONE)
    assert [fields for *_, fields, _ in found] == [{"a": 2.0}]


@pytest.mark.parametrize(("precision", "time"), [("ns", -1_500_000_001), ("us", -1_500_001), ("ms", -1501), ("s", -2)])
def test_precision_cuts_towards_the_past(precision, time):
    found, _ = lines(
        Frame.of([0], -1_500_000_001, [1.0]), directory_of(Point(name="a")), precision=Precision(precision)
    )
    assert found[0][3] == time


def test_a_loss_marker_is_a_line():
    raw, _ = LineEncoder(InfluxOptions(), "g", Directory()).encode(
        Batch(1, "p", 0, EMPTY, Loss(5, 9, 3, "spool-full")),
    )
    assert parse(raw.decode().rstrip("\n")) == (
        "onpath_loss", {"gateway": "g", "pipeline": "p", "reason": "spool-full"}, {"count": 3, "from": 5, "to": 9}, 9,
    )  # fmt: skip


def test_the_server_is_told_the_precision_in_its_spelling():
    assert with_precision("http://x/write?db=a", Precision.US) == "http://x/write?db=a&precision=u"
    assert with_precision("http://x/write?db=a", Precision.NS) == "http://x/write?db=a&precision=n"
    assert (
        with_precision("http://x/api/v2/write?bucket=a", Precision.US) == "http://x/api/v2/write?bucket=a&precision=us"
    )
    assert with_precision("http://x/write", Precision.S) == "http://x/write?precision=s"
    assert with_precision("http://x/write?precision=ms", Precision.S) == "http://x/write?precision=ms"


def test_templates_that_name_nothing():
    for options in ({"measurement": "{x}"}, {"field": "{"}, {"tags": {"a": "{x}"}}, {"tags": {"": "x"}}):
        with pytest.raises(FieldError):
            InfluxOptions(**options)
