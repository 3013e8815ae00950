"""The engine: what a crash leaves behind is, after recovery, what an undisturbed run would have made."""

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.engine import Group
from gateway.errors import StoreError
from gateway.frame import Frame, concat
from gateway.point import Point
from gateway.store.segments import Step, Tick
from tests.support.build import config_of, engine_over, spooled
from tests.support.trials import trials

S = 1_000_000_000
CONFIG = config_of("""
gateway: g
state: /nowhere
adapters: {}
pipelines:
  clean:
    from: ["**"]
    steps:
      - limits: {min: -50, max: 50}
      - deadband: {absolute: 2, max_silence: 20s}
    to: [out, windows]
  windows:
    steps:
      - window: {every: 5s, stats: [count, sum, mean, min, max, p95], lateness: 1s, late: next}
    to: [out]
  raw: {from: ["p1"], to: [out]}
uplinks:
  out: {type: stdout}
""")

SAMPLES = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 9), st.integers(-60, 60), st.sampled_from([0, 0, 0, 1, 3])),
    min_size=1,
    max_size=8,
)
EVENTS = st.lists(st.one_of(SAMPLES, st.just("tick"), st.just("run"), st.just("step")), min_size=1, max_size=40)


def exchanged(engine, pipelines, learned=None):
    engine.want(pipelines, learned)
    engine.make_up(0)


def groups_of(events):
    """Events to commit groups; time goes on by a second at each tick."""
    now, groups, segments = 100, [], []
    for event in events:
        if event == "tick":
            now += 1
            segments.append(Tick(now * S))
        elif event == "step":
            segments.append(Step(S))
        elif event == "run":
            groups.append(Group(segments, run=True))
            segments = []
        else:
            point, age, value, quality = map(np.array, zip(*event, strict=True))
            segments.append(Frame.of(point, (now - age) * S, value, quality))
            groups.append(Group(segments, run=len(groups) % 3 == 0))
            segments = []
    segments.append(Tick((now + 60) * S))
    groups.append(Group(segments, run=True))
    return groups


def started(folder):
    """An engine whose points were registered, as adapters do at each start."""
    engine = engine_over(folder, CONFIG)
    for name in ("p0", "p1", "p2"):
        engine.directory.add(Point(name=name))
    return engine


def run(folder, groups, crashes=frozenset(), checkpoints=frozenset()):
    """Commit all groups; before those in ``crashes`` forget everything in memory; the spool at the end."""
    engine = started(folder)
    for number, group in enumerate(groups):
        if number in crashes:
            engine.store.close()
            engine = started(folder)
        group.checkpoint = number in checkpoints
        engine.commit(group, number)
    rows = spooled(engine)
    names = {name: engine.directory.find(name) for name in ("p0", "p1", "p2")}
    status = engine.graph.status()
    engine.store.close()
    return rows, names, status


def by_pipeline(rows):
    """All output of each pipeline as one frame: how it was cut into rows may differ, nothing else."""
    names = {name for name, _ in rows}
    return {name: concat([frame for other, frame in rows if other == name]) for name in names}


@settings(max_examples=trials(60), deadline=None)
@given(EVENTS, st.data())
def test_a_crash_anywhere_changes_nothing(tmp_path_factory, events, data):
    groups = groups_of(events)
    positions = st.frozensets(st.integers(0, len(groups) - 1), max_size=4)
    crashes, checkpoints = data.draw(positions, "crashes"), data.draw(positions, "checkpoints")
    calm = run(tmp_path_factory.mktemp("calm"), groups)
    rough = run(tmp_path_factory.mktemp("rough"), groups, crashes, checkpoints)
    assert calm[1] == rough[1]
    assert by_pipeline(calm[0]).keys() == by_pipeline(rough[0]).keys()
    for name, frame in by_pipeline(calm[0]).items():
        assert_same(frame, by_pipeline(rough[0])[name])
    assert calm[2] == rough[2], "the counters are part of the state"


def assert_same(one, other):
    """The same samples bit for bit, in the same order within each point."""
    assert len(one) == len(other)
    for point in np.unique(one.point):
        assert one.take(one.point == point) == other.take(other.point == point)


@settings(max_examples=trials(30), deadline=None)
@given(EVENTS)
def test_counters_balance(tmp_path_factory, events):
    *_, status = run(tmp_path_factory.mktemp("s"), groups_of(events))
    for pipeline in status.values():
        for step in pipeline["steps"]:
            gone = sum(step[key] for key in ("out", "filtered", "aggregated", "dropped", "queued"))
            assert step["in"] == gone, step
        gone = sum(pipeline[key] for key in ("out", "filtered", "aggregated", "dropped", "queued"))
        assert pipeline["in"] + pipeline["derived"] == gone, pipeline


def test_output_between_journal_and_spool_is_made_after_a_crash(tmp_path):
    engine = engine_over(tmp_path, CONFIG)
    engine.directory.add(Point(name="p0"))
    engine.commit(Group([Frame.of([0], 5, [7.0])], run=False), 0)
    assert spooled(engine) == []
    engine.store.close()
    recovered = engine_over(tmp_path, CONFIG)
    assert [name for name, _ in spooled(recovered)] == ["clean"]
    again = engine_over_closed(recovered, tmp_path)
    assert len(spooled(again)) == 1, "not a second time"
    again.store.close()


def engine_over_closed(engine, folder):
    engine.store.close()
    return engine_over(folder, CONFIG)


def test_seq_and_position_only_grow(tmp_path):
    engine = engine_over(tmp_path, CONFIG)
    engine.directory.add(Point(name="p0"))
    seen_seq, seen_position = 0, 0
    for number in range(6):
        committed = engine.commit(Group([Frame.of([0], number * 60 * S, [number * 10.0])], checkpoint=True), number)
        assert committed.position > seen_position
        seen_position = committed.position
        for batch in committed.batches.get("out", []):
            assert batch.seq > seen_seq
            seen_seq = batch.seq
        engine.commit(Group(delivered=[("out", seen_seq)]), number)
        assert spooled(engine) == []
        if number % 2:
            engine = engine_over_closed(engine, tmp_path)
    engine.store.close()


def test_a_new_step_remembers_nothing_it_never_sent(tmp_path):
    """After a crash with a changed configuration the replay may not fill a new deadband's memory."""
    before = config_of(
        "{gateway: g, state: /x, uplinks: {out: {type: stdout}}, pipelines: {a: {from: ['**'], to: [out]}}}"
    )
    after = config_of(
        "{gateway: g, state: /x, uplinks: {out: {type: stdout}},"
        " pipelines: {a: {from: ['**'], to: [out], steps: [{deadband: {absolute: 5}}]}}}"
    )
    engine = engine_over(tmp_path, before)
    engine.directory.add(Point(name="p0"))
    engine.commit(Group([Frame.of([0], 0, [1.0])]), 0)
    engine.commit(Group(delivered=[("out", 1)]), 0)
    engine.store.close()
    engine = engine_over(tmp_path, after)
    engine.commit(Group([Frame.of([0], S, [2.0])]), 0)
    assert [frame.value.tolist() for _, frame in spooled(engine)] == [[2.0]]
    engine.store.close()


def test_reload_keeps_state_and_flushes_what_goes(tmp_path):
    engine = engine_over(tmp_path, CONFIG)
    for name in ("p0", "p1"):
        engine.directory.add(Point(name=name))
    engine.commit(Group([Frame.of([0, 0], [100 * S, 101 * S], [1.0, 10.0]), Tick(101 * S)]), 0)
    pipelines = dict(CONFIG.pipelines)
    del pipelines["windows"]
    pipelines["clean"] = msgspec.structs.replace(pipelines["clean"], to=["out"])
    exchanged(engine, pipelines)
    flushed = concat([frame for name, frame in spooled(engine) if name == "windows"])
    values = {engine.directory.name(p): v for p, v in zip(flushed.point.tolist(), flushed.value.tolist(), strict=True)}
    assert values["p0#count"] == 2
    assert values["p0#sum"] == 11
    engine.commit(Group([Frame.of([0], [102 * S], [11.0])]), 0)
    assert len([1 for name, _ in spooled(engine) if name == "clean"]) == 1, "the deadband remembers 10.0"
    engine.store.close()


CHAINED = config_of("""
gateway: g
state: /nowhere
pipelines:
  a: {from: ["**"], steps: [{window: {every: 5s, stats: [count], partial: true}}], to: [b]}
  b: {steps: [{merge: {stats: [count]}}], to: [c]}
  c: {steps: [{scale: {factor: 2}}], to: [out]}
uplinks:
  out: {type: stdout}
""")


@pytest.mark.parametrize("left", ["abc", "bc", "c", "a", ""])
def test_what_a_removed_step_held_goes_on_through_pipelines_that_stay_or_go(tmp_path, left):
    engine = engine_over(tmp_path, CHAINED)
    engine.directory.add(Point(name="p0"))
    engine.commit(Group([Frame.of([0, 0], [100 * S, 101 * S], [1.0, 10.0]), Tick(101 * S)]), 0)
    pipelines = {name: one for name, one in CHAINED.pipelines.items() if name in left}
    if left == "a":
        pipelines["a"] = msgspec.structs.replace(pipelines["a"], to=["out"])
    exchanged(engine, pipelines)
    engine.commit(Group([Tick(200 * S)]), 0)
    engine.commit(Group([Tick(400 * S)]), 0)
    found = concat([frame for _, frame in spooled(engine)])
    values = {engine.directory.name(p): v for p, v in zip(found.point.tolist(), found.value.tolist(), strict=True)}
    if left == "a":  # it was not removed: its window goes out as it is
        assert values["p0#count"] == 2
    else:
        assert values["p0#count"] == 4
    engine.store.close()


def test_why_pipelines_are_others_is_remembered_with_the_exchange(tmp_path):
    engine = engine_over(tmp_path, CONFIG)
    exchanged(engine, dict(CONFIG.pipelines), {("who", "what"): b"plan 7"})
    engine.store.close()
    engine = engine_over(tmp_path, CONFIG)
    assert engine.memory["who", "what"] == b"plan 7"
    engine.store.close()


@pytest.mark.parametrize("seemed", [False, True])
def test_an_exchange_that_the_disk_refuses_is_made_up_for_and_nothing_held_is_lost(tmp_path, monkeypatch, seemed):
    """``seemed``: it is on disk all the same."""
    engine = engine_over(tmp_path, CONFIG)
    engine.directory.add(Point(name="p0"))
    engine.commit(Group([Frame.of([0, 0], [100 * S, 101 * S], [1.0, 10.0]), Tick(101 * S)]), 0)
    pipelines = {"clean": msgspec.structs.replace(CONFIG.pipelines["clean"], to=["out"])}
    learned = {("who", "what"): bytes(1_000_000)}
    if seemed:
        exchange = engine._exchange

        def told(committed, now_ns):
            wanted, known = engine._wanted, engine._known
            exchange(committed, now_ns)
            engine._wanted, engine._known = wanted, known
            raise StoreError("the answer was lost")

        with monkeypatch.context() as patch:
            patch.setattr(engine, "_exchange", told)
            with pytest.raises(StoreError, match="lost"):
                exchanged(engine, pipelines, learned)
    else:
        engine.store._db.pragma("max_page_count", engine.store._db.pragma("page_count") + 20)
        with pytest.raises(StoreError, match="Full"):
            exchanged(engine, pipelines, learned)
    engine.reopen(0, StoreError("full"))
    assert engine.wants != seemed
    engine.make_up(0)
    assert engine.graph.pipelines.keys() == {"clean"}
    flushed = concat([frame for name, frame in spooled(engine) if name == "windows"])
    values = {engine.directory.name(p): v for p, v in zip(flushed.point.tolist(), flushed.value.tolist(), strict=True)}
    assert (values["p0#count"], values["p0#sum"], len(values)) == (2, 11, len(flushed)), "once"
    engine.store.close()
    engine = engine_over(tmp_path, CONFIG)
    assert engine.memory == learned
    engine.store.close()


def test_a_failed_commit_is_not_durable_and_the_engine_begins_again(tmp_path):
    engine = engine_over(tmp_path, CONFIG)
    engine.directory.add(Point(name="p0"))
    engine.commit(Group([Frame.of([0], S, [1.0])]), 0)
    engine.store._db.pragma("max_page_count", engine.store._db.pragma("page_count"))
    rng = np.random.default_rng(1)
    big = Frame.of([0] * 50_000, rng.integers(0, 2**62, 50_000), rng.normal(size=50_000))
    with pytest.raises(StoreError, match="Full"):
        engine.commit(Group([big]), 0)
    engine.reopen(0, StoreError("full"))
    assert engine.directory.find("p0") == 0
    rows = len(spooled(engine))
    engine.commit(Group([Frame.of([0], 2 * S, [5.0])]), 0)
    assert len(spooled(engine)) == rows + 1
    engine.store.close()
