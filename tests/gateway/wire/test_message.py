"""``json`` and ``frame``: what a receiver reads is what was sent, in both; any bytes give messages or a named error."""

from __future__ import annotations

import dataclasses
import io
import json
import math
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import quality
from gateway.batch import Batch, Loss
from gateway.directory import Directory
from gateway.errors import PayloadError
from gateway.frame import EMPTY, Frame, by_point
from gateway.point import Kind, Merge, Point
from gateway.quality import Reason, no_value
from gateway.wire import columns
from gateway.wire import message as message_module
from gateway.wire.directories import hash_of
from gateway.wire.envelope import seal, unseal
from gateway.wire.message import FrameDecoder, FrameEncoder
from gateway.wire.record import TimeFormat, encode_json
from gateway.wire.stream import messages
from tests.support.trials import trials

CASES = Path(__file__).parents[2] / "cases" / "wire"
TEXTS = ["off", "on", "st\u00f6rung"]


def directory_with_states() -> Directory:
    directory = Directory()
    directory.add(Point(name="m1/voltage", unit="V"))
    directory.add(Point(name="m1/breaker", kind=Kind.STATE))
    directory.add(Point(name="m2/energy", unit="kW.h", kind=Kind.COUNTER))
    for text in TEXTS:
        directory.state(1, text)
    return directory


DIRECTORY = directory_with_states()
YEARS = st.integers(-(10**18), 4 * 10**18)
VALUES = st.one_of(st.floats(), st.integers(-2, 4).map(float), st.sampled_from([no_value(r) for r in Reason]))
ROWS = st.lists(st.tuples(st.integers(0, 2), YEARS, VALUES, st.integers(0, 0xFFFF)), min_size=1, max_size=12)
LOSSES = st.builds(Loss, YEARS, YEARS, st.integers(1, 2**62), st.sampled_from(["spool-full", "spool-age"]))


@st.composite
def batches(draw):
    loss = draw(st.one_of(st.none(), LOSSES))
    rows = draw(ROWS)
    frame = EMPTY if loss else Frame.of(*map(list, zip(*rows, strict=True)))
    pipeline = draw(st.sampled_from(["meters", "quarter-hour"]))
    return Batch(draw(st.integers(1, 2**62)), pipeline, 0, frame, loss, draw(st.booleans()), epoch=2**47 + 1)


def utc(ns: int) -> str:
    whole = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ns // 1_000_000)
    return whole.strftime("%Y-%m-%dT%H:%M:%S.") + f"{whole.microsecond // 1000:03d}Z"


def expected(batch: Batch, how: TimeFormat):
    """The record in plain Python, one sample after the other."""
    when = utc if how is TimeFormat.RFC3339 else int
    f = batch.frame
    samples = []
    for point, time, value, word in zip(*(c.tolist() for c in (f.point, f.time, f.value, f.quality)), strict=True):
        sample = {"point": DIRECTORY.name(point), "time": when(time), "value": value, "quality": quality.to_text(word)}
        if point == 1 and value in (0, 1, 2):
            sample["value"] = TEXTS[int(value)]
        if not math.isfinite(value):
            sample["value"] = None
            code = int(quality.reason_codes(np.array([value]))[0])
            plain = {math.inf: "infinity", -math.inf: "-infinity"}.get(value, "not-a-number")
            sample["reason"] = quality.reason_text(code) if code else plain
        samples.append(sample)
    record = {
        "gateway": "feeder-7", "epoch": 2**47 + 1, "seq": batch.seq, "pipeline": batch.pipeline,
        "historical": batch.historical, "samples": samples,
    }  # fmt: skip
    if batch.loss:
        loss = batch.loss
        record["loss"] = {
            "from": when(loss.first_ns), "to": when(loss.last_ns), "count": loss.count, "reason": loss.reason,
        }  # fmt: skip
    return record


def as_json(batch: Batch, how: TimeFormat):
    raw = encode_json(batch, "feeder-7", DIRECTORY, how)
    assert b"\n" not in raw
    return json.loads(raw, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


@given(batches(), st.sampled_from(TimeFormat))
def test_json_is_the_batch_in_plain_types(batch, how):
    assert as_json(batch, how) == expected(batch, how)


def encoder() -> FrameEncoder:
    return FrameEncoder("feeder-7", DIRECTORY)


@given(st.lists(batches(), min_size=1, max_size=4), st.sampled_from(TimeFormat))
def test_frame_messages_tell_the_same_as_json(found, how):
    sender, receiver = encoder(), FrameDecoder(how)
    stream = b""
    for batch in found:
        message, announced = sender.encode(batch)
        stream += b"".join(directory for _, directory in announced) + message
    records = [record for message in messages(io.BytesIO(stream)) if (record := receiver.decode(message))]
    ordered = []
    for batch in found:
        frame = batch.frame.take(by_point(batch.frame.point))  # the format groups by point
        ordered.append(Batch(batch.seq, batch.pipeline, 0, frame, batch.loss, batch.historical, epoch=batch.epoch))
    assert records == [as_json(batch, how) for batch in ordered]


def one(point: int, value: float = 1.0) -> Batch:
    return Batch(1, "p", 0, Frame.of([point], 1, [value]))


def announced_by(sender: FrameEncoder, batch: Batch) -> list[dict]:
    """The directory messages that go before a batch."""
    return [opened(raw) for _, raw in sender.encode(batch)[1]]


def opened(raw: bytes) -> dict:
    """A directory message with its points in plain."""
    message = msgpack.unpackb(raw)
    return message | {"points": msgpack.unpackb(unseal(message["points"]), strict_map_key=False)}


def directory_message(points, base: str = "") -> dict:
    """A directory message that says anything."""
    sealed = seal(msgpack.packb(points))
    return {"onpath": 2, "directory": hash_of(base, sealed), "base": base, "points": sealed}


def headed(message: dict, **changes) -> dict:
    """A message whose head says something else; by the places of what it says."""
    head = msgpack.unpackb(unseal(message["h"]))
    for place, value in changes.items():
        head[HEAD.index(place)] = value
    return message | {"h": seal(msgpack.packb(head))}


HEAD = ["gateway", "epoch", "seq", "pipeline", "historical", "directory", "chain", "back"]


def test_points_are_announced_once_and_only_what_is_new_or_changed():
    directory = directory_with_states()
    sender = FrameEncoder("g", directory)
    (first,) = announced_by(sender, one(0))
    assert first["base"] == ""
    assert set(first["points"]) == {0, 1, 2}
    assert announced_by(sender, one(1)) == []
    fresh = directory.add(Point(name="late"))
    assert announced_by(sender, one(0)) == [], "nobody has sent it yet"
    (second,) = announced_by(sender, one(fresh))
    assert second["base"] == first["directory"]
    assert set(second["points"]) == {fresh}
    directory.state(1, "tripped")
    (third,) = announced_by(sender, one(1, 3.0))
    assert third["points"] == {1: third["points"][1]}
    assert third["points"][1]["states"] == [*TEXTS, "tripped"]
    directory.add(Point(name="m1/voltage", unit="kV"))
    (fourth,) = announced_by(sender, one(2))
    assert [facts["unit"] for facts in fourth["points"].values()] == ["kV"]


def test_many_points_come_in_parts_and_a_chain_begins_anew(monkeypatch):
    monkeypatch.setattr(message_module, "PART", 10)
    monkeypatch.setattr(message_module, "LONGEST_CHAIN", 5)
    directory = Directory()
    for n in range(25):
        directory.add(Point(name=f"p{n}"))
    sender, receiver = FrameEncoder("g", directory), FrameDecoder()
    stream = [sender.encode(one(24))]
    stream += [sender.encode(one(directory.add(Point(name=f"p{n}")))) for n in range(25, 40)]
    assert len(stream[0][1]) == 3
    bases = [msgpack.unpackb(raw)["base"] for _, more in stream for _, raw in more]
    assert bases.count("") > 2
    directories = [raw for _, more in stream for _, raw in more]
    for raw in reversed(directories):  # a broker gives out what it retained in any order
        receiver.decode(msgpack.unpackb(raw, strict_map_key=False))
    names = [receiver.decode(msgpack.unpackb(message))["samples"][0]["point"] for message, _ in stream]
    assert names == [f"p{n}" for n in range(24, 40)]


def test_the_name_of_a_directory_is_its_content():
    names = {FrameEncoder(gateway, DIRECTORY).encode(one(0))[1][0][0] for gateway in ("a", "b")}
    assert len(names) == 1


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"onpath": 3}, "bad-version"),
        ({"onpath": "2"}, "bad-message"),
        ({"onpath": 1}, "bad-message"),
        ({"c": b"junk"}, "bad-version"),
        ({"c": columns.encode(EMPTY)[:-1]}, "damaged"),
        ({"c": seal(b"junk")}, "bad-version"),
        ({"c": seal(b"\x02\x07\x01")}, "bad-frame"),
        ({"c": 5}, "bad-message"),
        ({"h": b""}, "bad-envelope"),
        ({"h": seal(b"\xc1")}, "bad-message"),
        ({"h": seal(msgpack.packb(["g", 1]))}, "bad-message"),
        ({"h": 5}, "bad-message"),
    ],
)
def test_messages_that_are_none(change, reason):
    sender, receiver = encoder(), FrameDecoder()
    raw, ((_, directory),) = sender.encode(one(0))
    receiver.decode(msgpack.unpackb(directory, strict_map_key=False))
    with pytest.raises(PayloadError) as caught:
        receiver.decode(msgpack.unpackb(raw) | change)
    assert caught.value.reason == reason


@pytest.mark.parametrize("field", HEAD)
def test_a_record_needs_its_whole_id(field):
    raw, ((_, directory),) = encoder().encode(one(0))
    receiver = FrameDecoder()
    receiver.decode(msgpack.unpackb(directory, strict_map_key=False))
    message = msgpack.unpackb(raw)
    assert receiver.decode(message)["seq"] == 1
    with pytest.raises(PayloadError, match="bad-message: head"):
        receiver.decode(headed(message, **{field: None}))


def test_a_batch_has_columns_or_a_loss():
    receiver = FrameDecoder()
    lost, ((_, directory),) = encoder().encode(Batch(1, "p", 0, EMPTY, Loss(1, 2, 3, "spool-full")))
    receiver.decode(msgpack.unpackb(directory))
    message = msgpack.unpackb(lost)
    assert receiver.received(message).batch.loss == Loss(1, 2, 3, "spool-full")
    whole = msgpack.unpackb(encoder().encode(one(0))[0])
    for wrong in (message | {"c": columns.encode(EMPTY)}, {"onpath": 2, "h": whole["h"]}):
        with pytest.raises(PayloadError, match="either columns or a loss"):
            receiver.decode(wrong)


def test_a_batch_comes_back_with_all_that_was_said_of_it():
    directory = Directory()
    point = Point(name="m1/energy", unit="kW.h", kind=Kind.COUNTER, limits=(0.0, 1e9), resolution=0.01, merge=Merge.ADD,
                  labels={"phase": "L1"})  # fmt: skip
    directory.add(point)
    bounds = ({"step": "deadband", "points": ["**"], "percent": 0.5},)
    sent = Batch(9, "live", 0, Frame.of([0], 5, [1.5]), None, True, b"", bounds, 7, (3, 4))
    raw, ((_, told),) = FrameEncoder("feeder-7", directory).encode(sent)
    receiver = FrameDecoder()
    assert receiver.received(msgpack.unpackb(told)) is None
    received = receiver.received(msgpack.unpackb(raw))
    assert received.id == "feeder-7/7/9"
    assert dataclasses.replace(received.batch, block=b"") == sent
    assert received.batch.block == columns.encode(sent.frame)
    assert received.points == {
        0: {
            "name": "m1/energy", "unit": "kW.h", "kind": "counter", "limits": [0.0, 1e9], "resolution": 0.01,
            "merge": "add", "labels": {"phase": "L1"},
        }
    }  # fmt: skip


def test_a_loss_names_the_rows_that_went():
    loss = Loss(1, 2, 3, "thinned", 12, 40)
    raw, _ = encoder().encode(Batch(50, "p", 0, EMPTY, loss, chain=(1, 0)))
    received = FrameDecoder().received(msgpack.unpackb(raw))
    assert (received.batch.loss, received.batch.chain) == (loss, (1, 0))
    assert as_json(received.batch, TimeFormat.NS)["loss"] == {
        "from": 1, "to": 2, "count": 3, "reason": "thinned", "first_seq": 12, "last_seq": 40,
    }  # fmt: skip


def test_what_is_no_batch_is_passed_over():
    receipt = {"onpath": 1, "receipt": True, "gateway": "g", "epoch": 1, "done": [1, 2]}
    assert FrameDecoder().decode(receipt) is None


def test_a_block_of_version_1_is_sent_as_version_2():
    old = (CASES / "version-1.spool").read_bytes()
    directory = Directory()
    for name in "abc":
        directory.add(Point(name=name))
    raw, ((_, told),) = FrameEncoder("g", directory).encode(Batch(1, "p", 0, columns.decode(old), block=old))
    receiver = FrameDecoder()
    receiver.decode(msgpack.unpackb(told))
    received = receiver.received(msgpack.unpackb(raw))
    assert received.batch.frame == columns.decode(old)
    assert received.batch.block[0] == 2


def test_the_oldest_directories_are_forgotten():
    receiver = FrameDecoder(most_points=5)
    tellers = [FrameEncoder("g", _named(f"{n}", 2)) for n in range(3)]
    sent = [teller.encode(one(0)) for teller in tellers]
    for _, ((_, told),) in sent:
        receiver.decode(msgpack.unpackb(told))
    with pytest.raises(PayloadError, match="unknown-directory"):
        receiver.decode(msgpack.unpackb(sent[0][0]))
    assert receiver.decode(msgpack.unpackb(sent[1][0]))["samples"][0]["point"] == "1/0"
    assert receiver.decode(msgpack.unpackb(sent[2][0]))["samples"][0]["point"] == "2/0"


def _named(prefix: str, count: int) -> Directory:
    directory = Directory()
    for n in range(count):
        directory.add(Point(name=f"{prefix}/{n}"))
    return directory


def test_a_directory_message_is_bounded_in_bytes_too():
    directory = _named("x" * 100_000, 25)
    _, announced = FrameEncoder("g", directory).encode(one(0))
    told = [opened(raw) for _, raw in announced]
    assert [len(message["points"]) for message in told] == [11, 11, 3]


def described(**change):
    return {0: {"name": "x", "unit": "", "kind": "gauge"} | change}


@pytest.mark.parametrize(
    "points",
    [
        {}, {0: 5}, {0: {}}, described(kind="odd"), described(name=[]), described(states=5), described(states=[[]]),
        [], described(states=[str(n) for n in range(3000)]),
    ],
)  # fmt: skip
def test_directories_that_are_none(points):
    raw, _ = encoder().encode(one(0))
    receiver = FrameDecoder()
    told = directory_message(points)
    batch = headed(msgpack.unpackb(raw), directory=bytes.fromhex(told["directory"]))
    with pytest.raises(PayloadError, match="bad-directory"):
        list(map(receiver.decode, (told, batch)))


@pytest.mark.parametrize(
    "change", [{"directory": "0" * 16}, {"base": "0" * 16}, {"base": "x"}, {"points": seal(b"\x90")}]
)
def test_a_directory_whose_name_is_not_that_of_its_content(change):
    with pytest.raises(PayloadError, match="bad-directory: the content is not that of"):
        FrameDecoder().decode(directory_message({}) | change)


def test_two_ids_may_have_one_name():
    facts = {"name": "x", "unit": "", "kind": "gauge"}
    raw, _ = encoder().encode(Batch(1, "p", 0, Frame.of([0, 2], 1, [1.0, 2.0])))
    receiver = FrameDecoder()
    told = directory_message({0: facts, 2: facts})
    receiver.decode(told)
    samples = receiver.decode(headed(msgpack.unpackb(raw), directory=bytes.fromhex(told["directory"])))["samples"]
    assert [sample["value"] for sample in samples] == [1.0, 2.0]


JUNK = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-5, 5), st.binary(max_size=3), st.sampled_from(["a", "g"])),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=5,
)
FIELDS = (
    "onpath",
    "h",
    "c",
    "base",
    "gateway",
    "epoch",
    "seq",
    "pipeline",
    "historical",
    "directory",
    "columns",
    "points",
    "loss",
)


@given(st.dictionaries(st.sampled_from(FIELDS), JUNK), st.sampled_from([0, 1, 2, 3]))
def test_any_map_gives_a_record_or_a_named_error(message, version):
    try:
        FrameDecoder().decode(message | {"onpath": version} if version else message)
    except PayloadError as error:
        assert error.reason


def read_all(raw: bytes) -> None:
    receiver = FrameDecoder()
    try:
        for message in messages(io.BytesIO(raw)):
            try:
                receiver.decode(message)
            except PayloadError as error:
                assert error.reason
    except PayloadError as error:
        assert error.reason == "bad-stream"


@given(st.binary(max_size=60))
def test_any_stream_gives_messages_or_a_named_error(raw):
    read_all(raw)


@given(st.data())
@settings(max_examples=trials(200))
def test_any_flipped_bit_gives_messages_or_a_named_error(data):
    message, ((_, directory),) = encoder().encode(one(1, 2.0))
    raw = bytearray(directory + message)
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    read_all(bytes(raw))


@pytest.mark.parametrize("raw", [b"\x81\x90\xc0", b"\xc1", b"\x91" * 100_000, b"\xd9\x02\xff\xfe"])
def test_streams_that_are_none(raw):
    with pytest.raises(PayloadError, match="bad-stream"):
        list(messages(io.BytesIO(raw)))


def test_a_stream_cut_short_is_told_on_a_pipe_too():
    message, ((_, directory),) = encoder().encode(one(0))
    reader, writer = os.pipe()
    os.write(writer, directory + message[:-1])
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        found = messages(stream)
        next(found)
        with pytest.raises(PayloadError, match=f"cut short after byte {len(directory)}"):
            next(found)
