"""The edge node as a state machine: what a host can count on holds whatever comes in, and details by example."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.payloads.sparkplug.codec import DataType, decode, quality_code, read
from adapters.payloads.sparkplug.model import REASON_KEY, WORD_KEY
from gateway import quality
from gateway.batch import Batch, Loss
from gateway.directory import Directory
from gateway.frame import EMPTY, Frame
from gateway.point import Kind, Point
from gateway.uplinks.sparkplug.metric import metric_of, place
from gateway.uplinks.sparkplug.node import GONE, EdgeNode
from gateway.uplinks.sparkplug.writer import Identity
from tests.support.trials import trials

S = 1_000_000_000
NOW = 1_700_000_000 * S
LATER = NOW + 60 * S
WHO = Identity("G", "n")


def directory(*names: str, **facts) -> Directory:
    found = Directory()
    for name in names:
        found.add(Point(name=name, **facts))
    return found


def batch(frame: Frame, *, historical: bool = False) -> Batch:
    return Batch(1, "p", NOW, frame, historical=historical)


def gone(points, at, reason=quality.Reason.LINK_DOWN) -> Frame:
    return Frame.of(points, at, [quality.no_value(reason)] * len(points), quality.INVALID)


class Host:
    """What a host makes of the messages; asserts what it may count on."""

    def __init__(self) -> None:
        self.seq = -1
        self.aliases: dict[int, tuple[str, str, int]] = {}
        self.births: dict[str, set[str]] = {}
        self.shown: dict[tuple[str, str], tuple[int, object, int]] = {}
        self.history: list[tuple[str, str, int, object]] = []
        self.log: list[str] = []

    def take(self, messages) -> list[str]:
        start = len(self.log)
        for message in messages:
            self.one(message)
        return self.log[start:]

    def one(self, message) -> None:
        _, group, verb, node, *device = message.topic.split("/")
        assert (group, node) == ("G", "n")
        name = device[0] if device else ""
        payload = decode(message.payload)
        assert message.data == verb.endswith("DATA")
        if verb == "NBIRTH":
            self.births, self.aliases, self.seq = {}, {}, -1
        self.seq = (self.seq + 1) % 256
        assert payload.seq == self.seq
        self.log.append(f"{verb} {name}".strip())
        if verb.endswith("BIRTH"):
            assert not name or "" in self.births
            self.births[name] = {metric.name for metric in payload.metrics}
            assert len(self.births[name]) == len(payload.metrics)
            for metric in payload.metrics:
                if metric.alias is not None:
                    assert self.aliases.get(metric.alias, (name,))[0] == name
                    self.aliases[metric.alias] = (name, metric.name, metric.datatype)
        elif verb == "DDEATH":
            del self.births[name]
        for metric in payload.metrics:
            self.metric(name, metric)

    def metric(self, device: str, metric) -> None:
        name, datatype = metric.name, metric.datatype
        if name is None:
            where, name, datatype = self.aliases[metric.alias]
            assert where == device
        assert name in self.births[device]
        value = read(metric, datatype)
        if metric.historical:
            self.history.append((device, name, metric.timestamp, value))
        else:
            before = self.shown.get((device, name), (0,))
            assert metric.timestamp >= before[0]
            self.shown[device, name] = metric.timestamp, value, quality_code(metric)


samples = st.lists(
    st.tuples(
        st.integers(0, 5),
        st.integers(0, 40),
        st.sampled_from([0.0, 1.5, -2.0, *[quality.no_value(reason) for reason in GONE[:3]], math.nan]),
    ),
    max_size=8,
)


def frame_of(rows) -> Frame:
    return Frame.of(
        [point for point, _, _ in rows],
        [NOW + at * S for _, at, _ in rows],
        [value for _, _, value in rows],
        [quality.INVALID if math.isnan(value) else 0 for _, _, value in rows],
    )


@settings(max_examples=trials(300))
@given(
    st.lists(
        st.tuples(samples, st.booleans(), st.sampled_from(["", "settle", "births", "restart", "point"])), max_size=12
    )
)
def test_a_host_can_always_follow(steps):
    known = directory("frequency", "m1/a", "m1/b", "m2/a", "m2/a#mean", "load")
    node, host = EdgeNode(WHO, known, 0), Host()
    host.take(node.births(NOW))
    newest: dict[tuple[str, str], int] = {}
    for rows, historical, then in steps:
        host.take(node.data(batch(frame_of(rows), historical=historical), LATER))
        for point, at, _ in rows:
            where = place(known.name(point), devices=True)
            newest[where] = max((NOW // S + at) * 1000, newest.get(where, 0))
        node = advance(node, host, known, then)
    host.take(node.settle(LATER))
    for (device, name), at in newest.items():
        if device in host.births:
            assert host.shown[device, name][0] >= at, "in the end the host shows the newest of all"


def advance(node: EdgeNode, host: Host, known: Directory, then: str) -> EdgeNode:
    if then == "births":
        host.take(node.births(LATER))
    elif then == "restart":
        node = EdgeNode(WHO, known, 1, node.save())
        host.take(node.births(LATER))
    elif then == "point":
        known.add(Point(name=f"m1/new{len(known)}"))
    elif then == "settle":
        host.take(node.settle(LATER))
    return node


@given(samples)
def test_no_sample_is_left_out(rows):
    known = directory("frequency", "m1/a", "m1/b", "m2/a", "m2/a#mean", "load")
    node = EdgeNode(WHO, known, 0)
    node.births(NOW)
    frame = frame_of(rows)
    data = [decode(message.payload) for message in node.data(batch(frame), NOW) if message.data]
    found = [(m.alias - 16, m.timestamp) for payload in data for m in payload.metrics]
    assert sorted(found) == sorted((point, (NOW // S + at) * 1000) for point, at, _ in rows)


def test_points_have_their_place():
    assert place("m1/power", devices=True) == ("m1", "power")
    assert place("m1/phase/L1", devices=True) == ("m1", "phase/L1")
    assert place("m1/power", devices=False) == ("", "m1/power")
    assert place("frequency", devices=True) == ("", "frequency")
    assert place("a+b#c/x", devices=True) == ("a_b_c", "x")
    assert place("/x", devices=True) == ("", "/x")
    for reserved in ("bdSeq", "Node Control/Rebirth", "onpath/loss"):
        assert place(reserved, devices=False) == ("", reserved + "_")


@pytest.mark.parametrize(
    ("facts", "datatype"),
    [
        ({}, DataType.DOUBLE),
        ({"resolution": 1.0}, DataType.DOUBLE),
        ({"kind": Kind.COUNTER}, DataType.DOUBLE),
        ({"kind": Kind.COUNTER, "resolution": 0.5}, DataType.DOUBLE),
        ({"kind": Kind.COUNTER, "resolution": 10.0}, DataType.INT64),
        ({"kind": Kind.STATE}, DataType.DOUBLE),
    ],
)
def test_data_types(facts, datatype):
    assert metric_of(directory("m/x", **facts), 0, devices=True).datatype is datatype


def live(known: Directory, *frames: Frame) -> tuple[EdgeNode, Host]:
    node, host = EdgeNode(WHO, known, 0), Host()
    host.take(node.births(NOW))
    for frame in frames:
        host.take(node.data(batch(frame), NOW + 10 * S))
    return node, host


def test_values_and_their_quality():
    known = directory("m/a", "m/b", "m/c", "m/d", "m/e", "m/f")
    words = [0, quality.QUESTIONABLE | quality.INACCURATE, quality.INVALID, 1, 1, 0]
    values = [1.0, 2.0, 3.0, quality.no_value(quality.Reason.STALE), quality.no_value(quality.Reason.TIMEOUT), math.nan]
    node, host = live(known, Frame.of(range(6), NOW, values, words))
    assert {name: shown[1:] for (_, name), shown in host.shown.items() if len(name) == 1} == {
        "a": (1.0, 192), "b": (2.0, 192), "c": (3.0, 0), "d": (None, 500), "e": (None, 0), "f": (None, 0),
    }  # fmt: skip
    (birth,) = [m for m in node.births(NOW + S) if "DBIRTH" in m.topic]
    _, b, _, _, e, _ = decode(birth.payload).metrics
    assert read(b.properties[WORD_KEY]) == "questionable,inaccurate"
    assert (read(e.properties[WORD_KEY]), read(e.properties[REASON_KEY])) == ("invalid", "timeout")


def test_data_repeat_their_types_where_a_host_needs_that():
    node = EdgeNode(Identity("G", "n", datatypes=True), directory("m/a"), 0)
    node.births(NOW)
    *_, data = node.data(batch(Frame.of([0], NOW, [1.0])), NOW)
    assert read(decode(data.payload).metrics[0]) == 1.0
    (loss,) = node.data(Batch(2, "p", NOW, EMPTY, Loss(NOW, NOW + S, 12, "spool-full")), NOW)
    assert decode(loss.payload).metrics[0].datatype == DataType.STRING


def test_questionable_may_be_bad():
    known = directory("m/a")
    node = EdgeNode(Identity("G", "n", questionable=0), known, 0)
    node.births(NOW)
    *_, data = node.data(batch(Frame.of([0], NOW, [1.0], quality.QUESTIONABLE)), NOW)
    assert quality_code(decode(data.payload).metrics[0]) == 0


def test_good_is_said_only_to_take_something_else_back():
    known = directory("m/a")
    node, _ = live(known, Frame.of([0], NOW, [1.0]))
    said = []
    for n, word in enumerate([0, quality.INVALID, 0, 0]):
        *_, data = node.data(batch(Frame.of([0], NOW + n * S, [1.0], word)), NOW)
        said.append("Quality" in decode(data.payload).metrics[0].properties)
    assert said == [False, True, True, False]


def test_states_are_texts_and_become_so_by_a_new_birth():
    known = directory("m/mode", kind=Kind.STATE)
    node, host = live(known, Frame.of([0], NOW, [1.0]))
    assert host.shown["m", "mode"][1] == 1.0
    for text in ("off", "on"):
        known.state(0, text)
    assert host.take(node.data(batch(Frame.of([0, 0], [NOW + S, NOW + 2 * S], [1.0, 7.5])), NOW)) == [
        "DBIRTH m",
        "DDATA m",
    ]
    assert host.shown["m", "mode"][1] == "7.5", "a number that stands for no text"
    host.take(node.data(batch(Frame.of([0], NOW + 3 * S, [0.0])), NOW))
    assert host.shown["m", "mode"][1] == "off"
    known.state(0, "auto")
    assert host.take(node.data(batch(Frame.of([0], NOW + 4 * S, [2.0])), NOW)) == ["DDATA m"], "one more text is none"


def test_counters_are_whole():
    known = directory("m/n", kind=Kind.COUNTER, resolution=1.0)
    values = [2.0**53, 1.0, -3.0, 1e30]
    node, host = live(known, *[Frame.of([0], NOW + n, [value]) for n, value in enumerate(values)])
    assert host.shown["m", "n"][1] is None
    data = [
        read(decode(node.data(batch(Frame.of([0], NOW + S, [v])), NOW)[-1].payload).metrics[0], DataType.INT64)
        for v in values
    ]
    assert data == [2**53, 1, -3, None]


def test_a_new_unit_is_told():
    known = directory("m/a")
    node, host = live(known, Frame.of([0], NOW, [1.0]))
    known.add(Point(name="m/a", unit="V"))
    assert host.take(node.data(batch(Frame.of([0], NOW + S, [1.0])), NOW)) == ["DBIRTH m", "DDATA m"]


def test_a_device_dies_when_nothing_of_it_can_be_had():
    known = directory("m/a", "m/b", "m/a#mean")
    node, host = live(known, Frame.of([0, 1, 2], NOW, [1.0, 2.0, 1.0]))

    def send(frame: Frame) -> list[str]:
        return host.take(node.data(batch(frame), NOW))

    assert send(gone([0], NOW + S)) == ["DDATA m"]
    assert send(gone([1], NOW + S, quality.Reason.MISSING)) == ["DDATA m"], "it has answered"
    assert send(gone([1], NOW + 2 * S, quality.Reason.STALE)) == ["DDATA m", "DDEATH m"]
    assert send(gone([0, 1], NOW + 3 * S)) == [], "said already"
    assert send(Frame.of([2], NOW + 4 * S, [1.0])) == ["DBIRTH m", "DDATA m", "DDEATH m"]
    assert send(Frame.of([0], NOW + 4 * S, [1.0])) == ["DBIRTH m", "DDATA m"]
    assert host.shown["m", "b"][1:] == (None, 0)


def test_a_device_that_was_never_there_is_announced_all_the_same():
    known = directory("m/a")
    _, host = live(known, gone([0], NOW))
    assert host.log == ["NBIRTH", "DBIRTH m", "DDATA m", "DDEATH m"]


def test_a_dead_device_is_not_born_with_the_node():
    known = directory("m/a", "k/a")
    node, host = live(known, gone([0], NOW), Frame.of([1], NOW, [1.0]))
    assert host.take(node.births(NOW)) == ["NBIRTH", "DBIRTH k"]


def test_history_revives_for_its_time_only():
    known = directory("m/a")
    node, host = live(known, Frame.of([0], NOW, [1.0]), gone([0], NOW + 5 * S))
    past = batch(Frame.of([0], NOW + S, [3.0]), historical=True)
    assert host.take(node.data(past, NOW)) == ["DBIRTH m", "DDATA m"]
    assert host.take(node.data(past, NOW)) == ["DDATA m"]
    assert host.history[-1][3] == 3.0
    assert host.take(node.settle(NOW)) == ["DDEATH m"]


def test_what_is_newest_in_history_becomes_the_present_value():
    known = directory("m/a", "m/b")
    node, host = live(known, Frame.of([0, 1], NOW, [1.0, 1.0]))
    host.take(node.data(batch(Frame.of([0, 1], NOW + S, [2.0, 2.0]), historical=True), NOW))
    assert host.shown["m", "a"][1] == 1.0
    host.take(node.data(batch(Frame.of([1], NOW + 2 * S, [3.0])), NOW))
    assert host.take(node.settle(NOW)) == ["DDATA m"]
    assert (host.shown["m", "a"][1], host.shown["m", "b"][1]) == (2.0, 3.0)
    assert host.take(node.settle(NOW)) == []


def test_the_quality_flag_is_history_too():
    known = directory("m/a")
    node, host = live(known, Frame.of([0], NOW, [1.0]), Frame.of([0], NOW + S, [2.0], quality.HISTORICAL))
    assert node.behind
    assert [row[3] for row in host.history] == [2.0]


def test_a_source_ahead_of_time_does_not_make_the_rest_history():
    node, _ = live(directory("m/a"), Frame.of([0], NOW, [1.0]))
    flags = []
    for at in (10**6 * S, 71 * S, 69 * S):
        *_, data = node.data(batch(Frame.of([0], NOW + at, [2.0])), NOW + 10 * S)
        flags.append(decode(data.payload).metrics[0].historical)
    assert flags == [False, False, True]


def test_loss_is_told_as_a_metric_of_the_node():
    node, _ = live(directory("m/a"))
    marker = Batch(2, "p", NOW, EMPTY, Loss(NOW, NOW + S, 12, "spool-full"))
    (message,) = node.data(marker, NOW + S)
    (metric,) = decode(message.payload).metrics
    assert message.topic == "spBv1.0/G/NDATA/n"
    assert read(metric, DataType.STRING) == (
        '{"pipeline":"p","from":"2023-11-14T22:13:20.000Z","to":"2023-11-14T22:13:21.000Z","count":12,"reason":"spool-full"}'
    )
    birth = {m.name: m for m in decode(node.births(NOW)[0].payload).metrics}["onpath/loss"]
    assert birth.alias == metric.alias == 1
    assert read(birth) == read(metric, DataType.STRING)


def test_what_was_saved_is_born_again():
    known = directory("frequency", "m/a", "m/b")
    node, _ = live(known, Frame.of([0, 1], NOW, [50.0, 1.0]))
    assert node.dirty
    saved = node.save()
    assert not node.dirty
    host = Host()
    assert host.take(EdgeNode(WHO, known, 1, saved).births(NOW)) == ["NBIRTH", "DBIRTH m"]
    assert host.shown["", "frequency"][1:] == (50.0, 192)
    assert ("m", "b") not in host.shown
    assert EdgeNode(WHO, known, 1, b"damaged").births(NOW)
    assert EdgeNode(WHO, directory("frequency"), 1, saved).births(NOW), "ids beyond the directory"


def test_an_alias_can_be_named():
    node, _ = live(directory("m/a"), Frame.of([0], NOW, [1.0]))
    assert (node.name_of(16), node.name_of(3)) == ("m/a", "alias 3")


def test_without_devices_all_belong_to_the_node():
    node = EdgeNode(Identity("G", "n", devices=False), directory("m/a"), 0)
    node.births(NOW)
    topics = [message.topic for message in node.data(batch(Frame.of([0], NOW, [1.0])), NOW)]
    assert topics == ["spBv1.0/G/NBIRTH/n", "spBv1.0/G/NDATA/n"]


def test_a_big_batch_of_many_devices():
    known = directory(*[f"d{n % 50}/p{n}" for n in range(2000)])
    node = EdgeNode(WHO, known, 0)
    node.births(NOW)
    messages = node.data(batch(Frame.of(np.arange(2000), NOW, np.arange(2000.0))), NOW)
    assert len(messages) == 100
    assert sum(len(decode(message.payload).metrics) for message in messages if message.data) == 2000
