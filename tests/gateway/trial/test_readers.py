"""Files of samples: every form gives the same samples, however the file is cut, and says where it is wrong."""

import io
import math
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import quality as q
from gateway.batch import Batch
from gateway.directory import Directory
from gateway.errors import OnpathError
from gateway.frame import EMPTY, Frame, concat
from gateway.point import Kind, Point, PointOptions
from gateway.trial import jsonl, long, wide
from gateway.trial.facts import Facts
from gateway.trial.files import FileSource, Sorted, opened
from gateway.trial.source import BadInputError, Names
from gateway.uplinks.config import TimeFormat
from gateway.wire.message import FrameEncoder
from gateway.wire.record import encode_json
from tests.support.build import config_of, directory_of
from tests.support.malformed import inputs

S = 1_000_000_000
NOW = 1_790_000_000
CONFIG = config_of("")


def source(text, **facts):
    directory = Directory()
    names = Names(directory, Facts(CONFIG, facts))
    raw = text.encode() if isinstance(text, str) else text
    return FileSource(io.BufferedReader(io.BytesIO(raw)), "file", names), directory


def read(text, **facts):
    """(point, time, value or reason, quality) by point and time, and the kind of file."""
    file, directory = source(text, **facts)
    frame = concat([chunk.part(0, len(chunk.times)) for chunk in file.chunks()])
    return rows(frame, directory)


def rows(frame: Frame, directory):
    found = []
    for at in np.lexsort((frame.time, frame.point)).tolist():
        value = float(frame.value[at])
        shown = int(q.reason_codes(frame.value[at : at + 1])[0]) if math.isnan(value) else value
        name = directory.name(int(frame.point[at]))
        found.append((name, int(frame.time[at]), math.isnan(value), shown, int(frame.quality[at])))
    return sorted(found)


def row(point, time, value, quality=0):
    return (point, time, False, float(value), quality)


NAN = (True, int(q.Reason.NOT_A_NUMBER), q.INVALID)
EXPECTED = [row("a/x", NOW * S, 1), row("a/x", (NOW + 1) * S, 2.5), row("b", (NOW + 1) * S, -3)]


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("wide csv", f"time,a/x,b\n{NOW},1,\n{NOW + 1},2.5,-3\n"),
        ("wide csv", f"when,a/x,b\r\n{NOW},1,\r\n{NOW + 1},2.5,-3"),
        ("wide csv", f"\ufeff\nt;a/x;b\n{NOW};1;\n\n{NOW + 1};2.5;-3\n\n"),
        ("wide csv", f't\ta/x\tb\n"{NOW}"\t+1\t\n{NOW + 1}.0\t2.50\t-3e0\n'),
        ("wide csv", f"t,b,a/x\n{NOW}000,,1\n{NOW + 1}000,-3,2.5\n"),
        ("wide csv", "time,a/x,b\n2026-09-21T14:13:20Z,1,\n2026-09-21T16:13:21+02:00,2.5,-3\n"),
        ("wide csv", "time,a/x,b\n2026-09-21 14:13:20,1,\n2026-09-21 14:13:21,2.5,-3\n"),
        ("long csv", f"time,point,value\n{NOW},a/x,1\n{NOW + 1},a/x,2.5\n{NOW + 1},b,-3\n"),
        ("long csv", f"site,Value,Point,Time,quality\nq,1,a/x,{NOW},good\nq,2.5,a/x,{NOW + 1},\nq,-3,b,{NOW + 1},0\n"),
        ("long csv", f'time;point;value\r\n{NOW};"a/x";1\r\n\r\n{NOW + 1};a/x;2.5\r\n{NOW + 1};b;-3\r\n'),
        pytest.param(
            "json lines",
            f'{{"point":"a/x","time":{NOW},"value":1}}\n\n'
            f'{{"samples":[{{"point":"b","time":{NOW + 1}000,"value":-3}},'
            '{"point":"a/x","time":"2026-09-21T14:13:21Z","value":2.5,"quality":"good"}]}\n'
        ),
    ],
)  # fmt: skip
def test_every_form_gives_the_same(kind, text):
    assert read(text) == EXPECTED
    assert source(text)[0].kind == kind


def capture(directory, *frames):
    encoder = FrameEncoder("g", directory)
    out = b""
    for frame in frames:
        message, announced = encoder.encode(Batch(1, "p", 0, frame))
        out += b"".join([*(raw for _, raw in announced), message])
    return out


def test_captures():
    theirs = directory_of("unused", "b", "a/x")
    theirs.add(Point(name="mode", kind=Kind.STATE))
    theirs.state(3, "off"), theirs.state(3, "on")
    first = Frame.of([2, 1], [(NOW + 1) * S, (NOW + 1) * S], [2.5, -3])
    second = Frame.of([2, 3], [NOW * S, NOW * S], [1, 1])
    raw = capture(theirs, first, second)
    file, directory = source(raw)
    assert file.kind == "frames"
    mode = directory.find("mode")
    assert mode is None
    assert read(raw) == [*EXPECTED, row("mode", NOW * S, 1)]
    for chunk in file.chunks():
        chunk.part(0, len(chunk.times))
    assert directory.states(directory.find("mode")) == ["off", "on"]
    with pytest.raises(BadInputError, match="cut short"):
        read(raw[:-3])


def test_states_that_two_captures_number_differently():
    directory = Directory()
    names = Names(directory, Facts(CONFIG))
    values = []
    for texts in (["off", "on"], ["on", "off", "fault"]):
        theirs = Directory()
        theirs.add(Point(name="mode", kind=Kind.STATE))
        codes = [theirs.state(0, text) for text in texts]
        raw = capture(theirs, Frame.of([0] * len(codes), NOW * S, codes))
        for chunk in FileSource(io.BufferedReader(io.BytesIO(raw)), "f", names).chunks():
            values += chunk.part(0, len(chunk.times)).value.tolist()
    assert [directory.states(0)[int(value)] for value in values] == ["off", "on", "on", "off", "fault"]


def test_what_has_no_value_says_so():
    nan = read(f"time,a\n{NOW},nan\n{NOW + 1},5\n")
    assert nan == [("a", NOW * S, *NAN), row("a", (NOW + 1) * S, 5)]
    assert read(f"time,point,value\n{NOW},a,\n") == [("a", NOW * S, *NAN)]
    timeout = f'{{"point":"a","time":{NOW},"value":null,"reason":"timeout","quality":"invalid,failure"}}'
    assert read(timeout) == [("a", NOW * S, True, int(q.Reason.TIMEOUT), q.INVALID | q.FAILURE)]
    assert read(f'{{"point":"a","time":{NOW},"reason":"-infinity"}}') == [row("a", NOW * S, -math.inf)]


def test_texts_are_states():
    state = PointOptions(kind=Kind.STATE)
    assert read(f"time,a,b\n{NOW},on,1\n{NOW + 1},off,2\n", a=state)[:2] == [
        row("a", NOW * S, 0),
        row("a", (NOW + 1) * S, 1),
    ]
    assert read(f"time,point,value\n{NOW},a,on\n", a=state) == [row("a", NOW * S, 0)]
    file, directory = source(f'{{"point":"a","time":{NOW},"value":"on"}}')
    list(file.chunks())
    assert directory.point(0).kind is Kind.STATE
    assert directory.states(0) == ["on"]


def test_times_keep_their_digits():
    exact = 1_790_000_000_123_456_789
    assert read(f"time,a\n{exact},1\n")[0][1] == exact
    assert read(f"time,a\n{NOW}.123456,1\n")[0][1] == NOW * S + 123_456_000
    assert read("time,a\n2026-09-21T14:13:20.123456789Z,1\n")[0][1] == exact


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "file:1:1: neither CSV with a header"),
        ("hello\n", "file:1:1: neither CSV with a header"),
        (f"time,a\n{NOW},1\n{NOW},x1\n", "file:3:12: a: 'x1' is not a number"),
        (f"time,a,b\n{NOW},1\n", "file:2:1: 2 cells, but the header has 3"),
        (f"time,a,b\n{NOW},1\n{NOW},1,2,3\n", "file:2:1: 2 cells, but the header has 3"),
        ("time,a\nyesterday,1\n", "file:2:1: 'yesterday' is not a time"),
        ("time,a\n-5,1\n", "file:2:1: '-5' is not a time"),
        ("time,a,a\n", "file:1:1: the column 'a' is there twice"),
        ("time,a,\n", "file:1:1: column 3 has no name"),
        (b"time,a\n5,\xff\n", "file:2:3: byte 0xFF is not UTF-8"),
        (f"time,point,value,quality\n{NOW},a,1,great\n", "file:2:16: quality: 'great' is not a validity"),
        (f"time,point,value,quality\n{NOW},a,1,70000\n", "file:2:16: quality: 70000 does not fit"),
        (f"time,point,value\n{NOW},,1\n", "file:2:12: point: the name of the point is empty"),
        (f"time,point,value\n{NOW},a,1\nx,a,1\n", "file:3:1: time: bad-time"),
        ('{"point":"a","time":1,"value":1}\n{"point":5}\n', "file:2:1: Expected `str"),
        ('{"value":1}\n', "file:1:1: neither samples nor point"),
    ],
)  # fmt: skip
def test_mistakes_are_shown_with_their_place(text, message):
    with pytest.raises(BadInputError) as caught:
        read(text)
    assert str(caught.value).startswith(message)


CELLS = st.one_of(st.floats(allow_nan=False), st.integers(-5, 5), st.just(""), st.sampled_from(["nan", "1e400", "+2"]))


@given(
    st.integers(1, 4).flatmap(lambda n: st.lists(st.tuples(*[CELLS] * n), min_size=1, max_size=12)),
    st.sampled_from([10, 40, 1 << 20]),
    st.sampled_from(["{}", "{}.25", "{}500", "2026-09-21T14:13:{:02}Z"]),
)
def test_fast_and_slow_agree_on_wide_files(table, block, form):
    whens = [form.format(at % 60 if "T" in form else NOW + at) for at in range(len(table))]
    header = ",".join(["time", *(f"p{at}" for at in range(len(table[0])))])
    text = "\n".join([header, *(",".join([when, *map(str, cells)]) for when, cells in zip(whens, table, strict=True))])
    quoted = text.replace(whens[0], f'"{whens[0]}"')
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wide, "BLOCK", block)
        assert read(text) == read(quoted)


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.sampled_from(["a", "b/c", "d é"]), CELLS, st.sampled_from(["good", "", "3"])),
        min_size=1, max_size=20,
    ),
    st.sampled_from([10, 60, 1 << 20]),
)  # fmt: skip
def test_fast_and_slow_agree_on_long_files(table, block):
    lines = [f"{NOW + when},{point},{value},{word}" for when, point, value, word in table]
    text = "\n".join(["time,point,value,quality", *lines])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(long, "BLOCK", block)
        assert read(text) == read(text.replace(",a,", ',"a",').replace(",b/c,", ',"b/c",').replace(",d é,", ',"d é",'))


def test_json_lines_are_what_the_uplink_writes(monkeypatch):
    monkeypatch.setattr(jsonl, "BLOCK", 50)
    directory = directory_of("a", "b")
    times = [NOW * S, NOW * S, (NOW + 1) * S]
    frame = Frame.of([0, 1, 0], times, [1.5, q.no_value(q.Reason.TIMEOUT), math.inf], [0, q.INVALID, 3])
    for time_format in TimeFormat:
        line = encode_json(Batch(1, "p", 0, frame), "g", directory, time_format)
        assert read(line + b"\n" + line) == sorted(rows(frame, directory) * 2)


def test_many_samples_come_in_several_chunks():
    lines = "".join(f"{NOW + at},a,{at}\n" for at in range(200_000))
    file, _ = source("time,point,value\n" + lines)
    sizes = [len(chunk.times) for chunk in file.chunks()]
    assert sum(sizes) == 200_000
    assert len(sizes) > 1
    assert file.done > len(lines)


def test_sorting_brings_series_after_one_another_into_order():
    text = f"time,point,value\n{NOW},a,1\n{NOW + 2},a,2\n{NOW + 1},b,3\n"
    file, _ = source(text)
    (chunk,) = Sorted(file).chunks()
    assert chunk.times.tolist() == [NOW * S, (NOW + 1) * S, (NOW + 2) * S]
    empty, _ = source("time,a\n")
    assert list(Sorted(empty).chunks()) == []


def test_notes():
    file, _ = source("time,point,value,room\n2026-09-21T14:13:20,a,1,7\n")
    list(file.chunks())
    assert file.notes == ["times without a zone were taken as UTC", "columns left out: room"]


def test_files_that_are_none(tmp_path):
    names = Names(Directory(), Facts(CONFIG))
    for path in (tmp_path, tmp_path / "missing"):
        with pytest.raises(OnpathError, match=path.name), opened(path, names):
            pass


def test_anything_is_samples_or_an_error_with_its_place():
    directory = directory_of("a", "b")
    frame = Frame.of([0, 1], [NOW * S, NOW * S], [1.5, q.no_value(q.Reason.TIMEOUT)], [0, q.INVALID])
    seeds = [
        f"time,a,b\n{NOW},1,\n{NOW + 1},2.5,-3\n2026-09-21T14:13:20Z,nan,5\n".encode(),
        f"time,point,value,quality\n{NOW},a,1,good\n{NOW},b,x,3\n".encode(),
        encode_json(Batch(1, "p", 0, frame), "g", directory, TimeFormat.RFC3339),
        capture(directory, frame, EMPTY, frame),
        b'{"samples":' + b"[" * 100_000,
    ]
    for data in inputs(seeds):
        began = time.perf_counter()
        try:
            read(data)
        except BadInputError as error:
            assert str(error).startswith("file:")
        assert time.perf_counter() - began < 1
