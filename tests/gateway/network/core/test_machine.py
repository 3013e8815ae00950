"""One partition without a carrier: doubles, what cannot be read, services that change, snapshots at any moment."""

from __future__ import annotations

import random
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.batch import Batch, Loss
from gateway.frame import EMPTY
from gateway.network.carrier.base import Message
from gateway.network.config import partition_of
from gateway.network.core.machine import Machine
from gateway.network.core.points import Log
from gateway.network.core.services import aged, running
from gateway.store import state as codec
from gateway.units import Duration
from pipelines.base import Settled
from tests.gateway.network.core.feeding import SUMS, T0, TOTAL, Feeder, Results, S
from tests.support.trials import trials

DAY = Duration(86_400)
SITE = "here"
PART = partition_of(SITE)


class Source(Feeder):
    """A gateway whose messages stay here."""

    def __init__(self, node="n1", service="sums", **more):
        self.box = []
        self.directories = {}
        super().__init__(SimpleNamespace(publish=self._published, put=self._put), node, SITE, service, **more)

    async def _published(self, subject, payload, message_id):
        self.box.append(Message(subject, payload, len(self.box) + 1))

    async def _put(self, bucket, name, value):
        assert bucket == "directories"
        self.directories[name] = value


def machine(partition=PART):
    return Machine(partition, DAY, 42, Log([]))


def given_to(found, messages, source, services=(("sums", 1, SUMS), ("total", 1, TOTAL))):
    """Take messages as a holding does, with everything at hand."""
    rest = messages
    while rest:
        stuck = found.take(rest)
        if stuck is None:
            return
        rest = stuck.rest
        if stuck.service is None:
            assert found.learn(source.directories[stuck.directory])
            continue
        texts = {(name, version): text for name, version, text in services}
        if stuck.service in texts:
            found.run(found.versions | {stuck.service: running(*stuck.service, texts[stuck.service])})
        else:
            found.refused.add(stuck.service)


def moved(found):
    """The same, from its snapshot."""
    captured = found.capture()
    return captured, Machine.of(found.partition, DAY, opened(codec.decode(codec.encode(captured.state))))


def opened(value):
    if isinstance(value, dict):
        return {key: opened(one) for key, one in value.items()}
    return [opened(one) for one in value] if isinstance(value, list) else value


class Reader(Results):
    """Of what captures publish."""

    async def all(self, captured):
        known = dict(captured.directories)
        self.known = getattr(self, "known", {}) | known
        carrier = SimpleNamespace(get=self._get)
        for subject, _, payload in captured.outbox:
            if subject.startswith("out/"):
                await self.take(carrier, Message(subject, payload, 1))

    async def _get(self, bucket, name):
        return SimpleNamespace(value=self.known[name])


async def fed(source, batches=20, samples=50):
    for at in range(batches):
        await source.feed(samples, 3 * at)
    return source


def ended(found, at_s=200):
    for second in range(40):
        found.tick(T0 + (at_s + second) * S)


@settings(max_examples=trials(20), deadline=None)
@given(seed=st.integers(0, 1 << 30))
async def test_a_snapshot_at_any_moment_and_any_repetition_change_nothing(seed):
    chance = random.Random(seed)
    source = await fed(Source(seed=seed))
    found, reader = machine(), Reader()
    stream = list(source.box)
    now, at = T0, 0
    while at < len(stream):
        many = chance.randint(1, 4)
        given_to(found, stream[at : at + many], source)
        at += many
        if chance.random() < 0.3:  # gateways repeat what was not confirmed, in any order
            given_to(found, chance.sample(stream[:at], 2 if at > 1 else 1), source)
        now += chance.randint(0, 3 * S)
        found.tick(now)
        if chance.random() < 0.3:
            captured, successor = moved(found)
            await reader.all(captured)
            if chance.random() < 0.7:
                found = successor
    ended(found)
    await reader.all(found.capture())
    assert (reader.total("sums", "count"), reader.total("sums", "sum")) == (source.count, source.sum)
    assert reader.doubled == 0


async def test_what_a_snapshot_does_not_have_was_never_told():
    source = await fed(Source())
    found, reader = machine(), Reader()
    given_to(found, source.box[:5], source)
    first, _ = moved(found)
    assert [record.seq for _, record in first.done] == [1, 2, 3, 4, 5]
    given_to(found, source.box[5:15], source)
    found.tick(T0 + 20 * S)
    assert found.capture().outbox  # and then it is killed
    found = Machine.of(PART, DAY, opened(codec.decode(codec.encode(first.state))))
    assert found.seq == 5
    given_to(found, source.box[5:], source)
    await reader.all(first)
    ended(found)
    await reader.all(found.capture())
    assert reader.total("sums", "sum") == source.sum


async def test_an_outbox_is_the_same_when_it_is_published_again():
    source = await fed(Source())
    found = machine()
    given_to(found, source.box, source)
    ended(found)
    captured, successor = moved(found)
    assert successor.outbox == captured.outbox
    assert [name for _, name, _ in captured.outbox] == [f"{found.name}/42/1"]
    assert {subject for subject, *_ in captured.outbox} == {f"out/sums/{PART:02d}"}


async def test_what_cannot_be_read_is_counted_and_blocks_nothing():
    source = await fed(Source(), 3)
    found = machine()
    broken = [
        Message("up/x", raw, 10 + at) for at, raw in enumerate([b"", b"nonsense", b"{}", source.box[0].payload[:-9]])
    ]
    given_to(found, [*broken, *source.box], source)
    assert found.counts["rejected"] == 4
    assert found.counts["samples"] == source.count
    assert found.seq == 13
    assert [record.seq for _, record in found.capture().done] == [1, 2, 3]


async def test_a_directory_that_nobody_has_is_given_up():
    source = await fed(Source(), 2)
    found = machine()
    found.run({("sums", 1): running("sums", 1, SUMS)})
    stuck = found.take(source.box)
    assert stuck.directory in source.directories
    found.hopeless.add(stuck.directory)
    assert found.take(stuck.rest) is None
    assert found.counts["rejected: unknown-directory"] == 2


async def test_batches_of_services_that_nobody_knows_are_confirmed_and_counted():
    source = await fed(Source(service="gone"), 3)
    found = machine()
    given_to(found, source.box, source)
    assert found.counts["unknown-service"] == 3
    assert len(found.capture().done) == 3
    assert found.counts["samples"] == 0


async def test_a_stage_that_there_is_not_is_counted():
    source = Source()
    source.pipeline = "@sums@1.9"
    await fed(source, 2)
    found = machine()
    given_to(found, source.box, source)
    assert found.counts["unknown-service"] == 2


async def test_a_loss_is_counted():
    source = Source()
    loss = Batch(1, source.pipeline, 0, EMPTY, Loss(T0, T0 + S, 17, "spool-full"), epoch=7, chain=(1, 0))
    payload, announced = source.encoder.encode(loss)
    source.directories |= dict(announced)
    found = machine()
    given_to(found, [Message(source.subject, payload, 1)], source)
    assert found.counts["lost"] == 17


async def test_two_versions_run_side_by_side_until_the_old_one_is_done():
    old, new = await fed(Source("n1")), await fed(Source("n2", version=2))
    services = [("sums", 1, SUMS), ("sums", 2, SUMS.replace("min, max", "mean"))]
    found, reader = machine(), Reader()
    given_to(found, old.box[:10], old, services)
    given_to(found, new.box, new, services)
    given_to(found, old.box[10:], old, services)
    assert set(found.versions) == {("sums", 1), ("sums", 2)}
    versions = aged(found.versions, {"sums": 2}, set(), set(), T0)
    assert versions["sums", 1].until_ns > T0
    assert versions["sums", 2].until_ns == 0
    assert aged(versions, {"sums": 2}, set(), set(), T0 + 10 * S) == versions
    found.run(versions)
    _, found = moved(found)
    found.run(aged(found.versions, {"sums": 2}, set(), set(), versions["sums", 1].until_ns))
    assert set(found.versions) == {("sums", 2)}
    await reader.all(found.capture())  # what the old one held was let go
    assert reader.total("sums", "sum") == old.sum
    ended(found)
    await reader.all(found.capture())
    assert reader.total("sums", "count") == old.count + new.count
    found.run(aged(found.versions, {}, {"sums"}, set(), T0))
    assert found.versions == {}


async def test_partials_of_a_service_over_all_sites_are_finished_in_one_place():
    source = await fed(Source(service="total"))
    found, reader = machine(), Reader()
    given_to(found, source.box, source)
    ended(found)
    captured = found.capture()
    home = partition_of("total")
    assert home != PART
    assert {subject for subject, *_ in captured.outbox} == {f"up/core-{home:02d}/{found.name}/@total@1.2"}
    finishing = machine(home)
    source.directories |= dict(captured.directories)
    messages = [Message(subject, payload, at) for at, (subject, _, payload) in enumerate(captured.outbox, 1)]
    given_to(finishing, messages + messages, source)
    assert finishing.counts["repeated"] == len(messages)
    ended(finishing, 300)
    await reader.all(finishing.capture())
    assert (reader.total("total", "count"), reader.total("total", "sum")) == (source.count, source.sum)
    assert {name for _, name, _ in reader.values} == {"grid/power#count", "grid/power#sum"}


async def test_a_snapshot_of_much_is_mostly_settled():
    """What was given long ago is not written again with each snapshot."""
    source = await fed(Source(points=200), 60, 2000)
    found = machine()
    for at in range(0, 60, 4):
        given_to(found, source.box[at : at + 4], source)
        found.tick(T0 + at * 3 * S)
        state = found.capture().state
    kept = [one for one in _all(state) if isinstance(one, Settled)]
    settled = sum(len(codec.encode(dict(one))) for one in kept)
    assert settled > 2 * len(codec.encode(_without(state)))


def _all(value):
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    for one in value if isinstance(value, list) else ():
        yield from _all(one)


def _without(value):
    if isinstance(value, Settled):
        return None
    if isinstance(value, dict):
        return {key: _without(one) for key, one in value.items()}
    return [_without(one) for one in value] if isinstance(value, list) else value


def test_a_service_that_cannot_run_here_keeps_the_snapshot_closed():
    from gateway.errors import PayloadError

    state = machine().capture().state | {"services": [["x", 1, "nonsense: [", 0]]}
    with pytest.raises(PayloadError, match="version 1 of service x"):
        Machine.of(PART, DAY, state)
