import asyncio
import json
import random

import aiomqtt
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.broker import EmbeddedBroker
from gateway.demo.oracle import Series, judge
from gateway.demo.receiver import Latencies, RawSizes, Receiver, Sample
from gateway.tasks import ended


def arrival(seq, seqs=None, epoch=1):
    return json.dumps({"at": 1, "bytes": 2, "gateway": "g", "epoch": epoch, "seq": seq, "seqs": seqs or {}})


ACKS = [f"d{device} {seq}\n" for device in (1, 2) for seq in (1, 2, 3)]
WHOLE = [
    arrival(1, {"d1": [1, 2], "d2": [1]}),
    arrival(2),
    arrival(3, {"d1": [3], "d2": [2, 3]}),
]


def test_a_whole_stream_is_clean():
    verdict = judge(ACKS, WHOLE)
    assert verdict.clean
    assert (verdict.acknowledged, verdict.lost, verdict.doubled) == (6, 0, 0)


def test_a_lost_record_is_found_by_its_messages_and_by_its_number():
    verdict = judge(ACKS, [WHOLE[0], WHOLE[2]])
    assert (verdict.missing, verdict.gaps, verdict.lost) == (0, 1, 1)
    verdict = judge(ACKS, WHOLE[1:])
    assert (verdict.missing, verdict.gaps) == (3, 1)
    verdict = judge(ACKS, WHOLE[:2])  # at the end no number is missing, the messages are
    assert (verdict.missing, verdict.gaps, verdict.clean) == (3, 0, False)


def test_a_message_missing_within_a_record_is_found():
    verdict = judge(ACKS, [WHOLE[0], WHOLE[1], arrival(3, {"d1": [3], "d2": [3]})])
    assert (verdict.missing, verdict.gaps, verdict.doubled) == (1, 0, 0)


def test_a_redelivery_is_no_double_and_a_double_is_no_redelivery():
    assert judge(ACKS, [*WHOLE, WHOLE[0]]).redelivered == 1
    assert judge(ACKS, [*WHOLE, WHOLE[0]]).clean
    verdict = judge(ACKS, [*WHOLE, arrival(4, {"d2": [2, 3]})])
    assert (verdict.doubled, verdict.redelivered, verdict.clean) == (2, 0, False)
    assert judge(ACKS, [*WHOLE, arrival(1, {"d1": [1]}, epoch=2)]).doubled == 1


def test_the_order_of_records_does_not_matter():
    assert judge(ACKS, reversed(WHOLE)).clean


def test_what_nobody_sent_is_invented_and_what_is_no_batch_is_malformed():
    assert judge(ACKS, [*WHOLE, arrival(4, {"d9": [1], "d1": [4]})]).invented == 2
    verdict = judge(ACKS, [*WHOLE, json.dumps({"at": 1, "bytes": 3, "malformed": True})])
    assert (verdict.malformed, verdict.clean) == (1, False)


def test_nothing_at_all_is_lost_entirely():
    verdict = judge(ACKS, [])
    assert (verdict.lost, verdict.clean) == (6, False)


@given(st.lists(st.integers(1, 30)))
def test_a_series_is_a_set(numbers):
    series, plain = Series(), set()
    for number in numbers:
        assert series.add(number) == (number not in plain)
        plain.add(number)
    assert len(series) == len(plain)
    assert series.gaps == max(plain, default=0) - len(plain)
    assert all((number in series) == (number in plain) for number in range(1, 32))


@given(st.randoms(use_true_random=False), st.integers(1, 60))
def test_damage_done_to_a_stream_is_counted_exactly(random, n):
    acks = [f"d1 {seq}" for seq in range(1, n + 1)]
    kept = [seq for seq in range(1, n + 1) if random.random() < 0.8]
    again = [seq for seq in kept if random.random() < 0.2]
    twice = [seq for seq in kept if random.random() < 0.2]
    lines = [arrival(seq, {"d1": [seq]}) for seq in kept]
    lines += [arrival(seq, {"d1": [seq]}) for seq in again]
    lines += [arrival(number, {"d1": [seq]}) for number, seq in enumerate(twice, n + 1)]
    random.shuffle(lines)
    verdict = judge(acks, lines)
    assert verdict.missing == n - len(kept)
    assert verdict.redelivered == len(again)
    assert verdict.doubled == len(twice)


def batch(seq, samples, epoch=1):
    return json.dumps(
        {
            "gateway": "g",
            "epoch": epoch,
            "seq": seq,
            "pipeline": "p",
            "historical": False,
            "samples": [
                {"point": point, "time": at, "value": value, "quality": "good"} for point, at, value in samples
            ],
        }
    ).encode()


@pytest.fixture
def receiver(tmp_path):
    with Receiver(tmp_path / "log") as receiver:
        yield receiver


async def test_the_receiver_logs_and_counts(receiver, tmp_path):
    first = batch(1, [("d1/seq", 1_000_000, 1.0), ("m1/power", 2, 3.5)])
    receiver.take(first, 6_000_000)
    receiver.take(first, 7_000_000)
    receiver.take(batch(3, [("d1/seq", 2_000_000, 2.0)]), 9_000_000)
    receiver.take(b"\xff", 9_000_000)
    assert (receiver.messages, receiver.samples) == (4, 3)
    assert receiver.bytes == 2 * len(first) + len(batch(3, [("d1/seq", 2_000_000, 2.0)])) + 1
    assert not receiver.holds({"d1": 2})  # record 2 is missing
    receiver.take(batch(2, []), 9_000_000)
    assert receiver.holds({"d1": 2})
    assert not receiver.holds({"d1": 3})
    assert not receiver.holds({"d2": 1})
    assert (receiver.latencies.percentile(50), receiver.latencies.percentile(99)) == (5.0, 7.0)
    log = (tmp_path / "log").read_text().splitlines()
    verdict = judge(["d1 1", "d1 2"], log)
    assert (verdict.lost, verdict.doubled, verdict.redelivered, verdict.malformed) == (0, 0, 1, 1)
    assert json.loads(log[2])["seqs"] == {"d1": [2]}


async def test_the_receiver_takes_from_a_broker(receiver, tmp_path):
    async with EmbeddedBroker(tmp_path / "broker") as broker:
        task = asyncio.create_task(receiver.run("127.0.0.1", broker.mqtt_port, "up/#"))
        await asyncio.wait_for(receiver.subscribed.wait(), 5)
        async with aiomqtt.Client("127.0.0.1", broker.mqtt_port) as client:
            for seq in range(1, 51):
                await client.publish("up/p", batch(seq, [("d1/seq", 1, float(seq))]), qos=1)
            await receiver.settle({"d1": 50}, 5)
        await ended(task)
    assert receiver.messages == 50


def test_percentiles_of_latencies():
    latencies = Latencies()
    assert latencies.percentile(50) is None
    numbers = list(range(1, 101))
    random.Random(1).shuffle(numbers)
    for ms in numbers:
        latencies.add(ms * 1_000_000)
    assert [latencies.percentile(p) for p in (1, 50, 99, 100)] == [1.0, 50.0, 99.0, 100.0]
    latencies.add(-5)  # a clock that was set back
    assert latencies.percentile(0) == 0.0


def test_raw_sizes_weigh_points_equally_and_skip_results():
    raw = RawSizes()
    assert raw.mean("m") == 0
    short, long = Sample("m1/a", 1, 1.0, "good"), Sample("m1/b", 1, 123456.75, "questionable,out-of-range")
    for sample in (
        short,
        short,
        short,
        long,
        Sample("m1/b#mean", 1, 1.0, "good"),
        Sample("d1/x", 1, 0, "good"),
    ):
        raw.add(sample)
    assert raw.mean("m") == (len(msgspec.json.encode(short)) + len(msgspec.json.encode(long))) / 2
