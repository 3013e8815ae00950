"""A user's class in a worker process: what it may do, and that nothing it does stops the gateway."""

from __future__ import annotations

import gc
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import quality as q
from gateway.errors import FieldError
from gateway.frame import Frame
from gateway.units import decode_quantity
from pipelines.examples import clip
from pipelines.operators.own.python import PythonConfig
from pipelines.operators.own.python_pipe import HEADER, MAGIC, Pipe, PipeError
from pipelines.operators.own.python_worker import packed, unpacked
from tests.pipelines.scripts import START_NS, Run, S, directory, rows
from tests.support import malformed
from tests.support.trials import trials

ROOT = Path(__file__).parents[2]
PATIENT = {"timeout": "10s", "start_timeout": "60s"}

BAD = '''
import os, sys, time
import numpy as np

class Bad:
    """Does what the value of the first sample says."""
    def __init__(self, **options):
        self.seen = 0
        if options.get("at_start"):
            getattr(self, options["at_start"])()
    def process(self, columns, names):
        self.seen += len(columns["value"])
        what = int(columns["value"][0])
        if what:
            ways = "loop", "die", "segv", "garbage", "flood", "hoard", "fail", "regex"
            done = getattr(self, ways[what - 1])()
            if done is not None:
                return done
        return {**columns, "value": np.full(len(columns["value"]), float(self.seen))}
    def snapshot(self):
        if self.seen > 1000:
            self.loop()
        return {"seen": self.seen, "array": np.arange(3), "nested": [{"a": 1.5, "b": None, "c": "x"}]}
    def restore(self, state):
        assert state["array"].tolist() == [0, 1, 2] and state["nested"] == [{"a": 1.5, "b": None, "c": "x"}]
        self.seen = state["seen"]
    def loop(self):
        while True:
            pass
    def die(self):
        os._exit(3)
    def segv(self):
        os.kill(os.getpid(), 11)
    def garbage(self):
        os.write(int(sys.argv[2]), b"hello, this is no answer at all")
    def flood(self):
        for _ in range(200):
            print("x" * 100_000)
            print("y" * 100_000, file=sys.stderr)
    def hoard(self):
        kept = []
        while True:
            kept.append(np.ones(1 << 20))
    def fail(self):
        raise ValueError("no such thing")
    def regex(self):
        import re
        re.match("(a|aa)+$", "a" * 80 + "b")
'''
PASSING = "import os\nclass Bad:\n    def process(self, columns, names):\n        return columns\n"
LOOP, DIE, SEGV, GARBAGE, FLOOD, HOARD, FAIL, REGEX = range(1, 9)


@pytest.fixture
def file(tmp_path):
    """Writes a class to a file."""

    def write(text=BAD, name="bad.py"):
        path = tmp_path / name
        path.write_text(text, "utf-8")
        return str(path)

    return write


@pytest.fixture
def bad(file):
    def make(**options):
        return Run("python", {"file": file(), "class": "Bad", **PATIENT, **options})

    return make


def values(run, *given):
    """What comes out for values of m1/voltage."""
    out = run.process([(0, run.now + n, value, 0) for n, value in enumerate(given)])
    return out.value.tolist()


def until_back(run, wanted):
    """Ask until the worker answers again."""
    deadline = time.monotonic() + 60
    while values(run, 0.0) != wanted:
        assert time.monotonic() < deadline, "not back"


def test_a_class_gets_columns_and_gives_columns():
    run = Run("python", {"file": clip.__file__, "class": "Clip", "options": {"high": 250.0}, **PATIENT})
    out = run.process([(0, START_NS, 230.0, 0), (0, START_NS + 1, 260.0, q.QUESTIONABLE), (1, START_NS, 9.0, 0)])
    assert [(name, time_ns - START_NS, value, word) for (name, time_ns, _, word), value in zip(
        rows(out, run.points), out.value.tolist(), strict=True)] == [
        ("m1/voltage", 0, 230.0, 0),
        ("m1/voltage", 1, 250.0, q.QUESTIONABLE),
        ("m1/power", 0, 9.0, 0),
        ("m1/voltage#clipped", 1, 1.0, q.QUESTIONABLE),
    ]  # fmt: skip
    counts = run.operator.counts
    assert (counts.samples_in, counts.samples_out, counts.derived, counts.filtered) == (3, 3, 1, 0)


def test_state_outlives_the_worker():
    run = Run("python", {"file": clip.__file__, "class": "Clip", "options": {"high": 250.0}, **PATIENT})
    values(run, 260.0, 270.0)
    assert values(run.moved(), 280.0) == [250.0, 3.0]


def test_a_large_frame_goes_through_small_pipes(bad):
    run, n = bad(timeout="10s"), 300_000
    frame = Frame.of(np.zeros(n), np.arange(n), np.zeros(n))
    assert np.all(run.operator.process(frame).value == n)


@pytest.mark.parametrize("what", [LOOP, REGEX])
def test_a_class_that_never_ends_costs_its_samples_their_answer_and_no_more(bad, what):
    run = bad(timeout="50ms")
    assert values(run, 0.0) == [1.0]
    state = run.operator.snapshot()
    assert values(run, float(what), 7.0) == [what, 7.0]  # they pass as they came
    assert run.operator.counts.reasons["python-timeout"] == 2
    until_back(run, [2.0])  # it goes on from the last snapshot
    assert run.operator.counts.reasons["python-starting"] > 0
    assert "held" in state


@pytest.mark.parametrize(("what", "reason"), [(DIE, "died"), (SEGV, "died"), (GARBAGE, "garbage")])
def test_a_class_that_dies_or_writes_nonsense_is_started_again(bad, what, reason):
    run = bad(on_timeout="drop")
    assert values(run, float(what), 1.0) == []
    assert run.operator.counts.dropped == 2
    assert run.operator.counts.reasons == {f"python-{reason}": 2}
    until_back(run, [1.0])


def test_a_class_that_prints_without_end_is_not_heard(bad):
    assert values(bad(), float(FLOOD)) == [1.0]


def test_a_class_that_takes_all_memory_gets_none(bad):
    run = bad(memory="64MiB")
    assert values(run, float(HOARD)) == [HOARD]
    assert run.operator.counts.reasons["python-error"] == 1  # a MemoryError of its own, which it survives
    assert values(run, 0.0) == [2.0]


def test_a_class_that_raises_goes_on_with_its_state(bad, caplog):
    run = bad()
    assert values(run, 0.0) == [1.0]
    assert values(run, float(FAIL)) == [FAIL]
    assert values(run, float(FAIL)) == [FAIL]
    assert values(run, 0.0) == [4.0]
    assert run.operator.counts.reasons == {"python-error": 2}
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == 1
    assert "ValueError: no such thing" in messages[0]
    assert "in fail" in messages[0]


def test_a_snapshot_that_takes_too_long_is_the_last_one(bad):
    run = bad(timeout="100ms")
    values(run, 0.0)
    state = run.operator.snapshot()
    values(run, *[0.0] * 2000)
    assert bytes(run.operator.snapshot()["held"]) == bytes(state["held"])
    until_back(run, [2.0])


def test_a_class_that_cannot_be_made_is_said_and_costs_no_time_again(bad, caplog):
    run = bad(options={"at_start": "fail"})
    assert values(run, 5.0) == [5.0]
    assert values(run, 5.0) == [5.0]
    assert run.operator.counts.reasons == {"python-error": 1, "python-starting": 1}
    assert "no such thing" in caplog.text


def test_a_class_that_is_never_loaded_is_waited_for_once(bad):
    run = bad(options={"at_start": "loop"}, start_timeout="50ms")
    assert values(run, 5.0) == [5.0]
    for _ in range(50):
        assert values(run, 5.0) == [5.0]
    assert run.operator.counts.reasons["python-timeout"] <= 1 + run.operator.counts.reasons["python-starting"]


def test_a_state_that_the_class_stumbles_over_is_given_up(file):
    text = PASSING + "    def restore(self, state):\n        raise KeyError('seen')\n"
    run = Run("python", {"file": file(text), "class": "Bad", **PATIENT})
    run.operator.restore({"names": [], "units": {}, "held": np.frombuffer(packed({"a": 1}), np.uint8)})
    assert values(run, 3.0) == [3.0]
    assert run.operator.counts.reasons == {}


def test_what_the_class_started_ends_with_it(file, tmp_path):
    text = (
        "import os, subprocess\nclass Bad:\n    def process(self, columns, names):\n"
        "        child = subprocess.Popen(['sleep', '600'])\n"
        f"        open({str(tmp_path / 'pid')!r}, 'w').write(f'{{child.pid}} {{os.getpid()}}')\n"
        "        return columns\n"
    )
    run = Run("python", {"file": file(text), "class": "Bad", **PATIENT})
    values(run, 1.0)
    child, worker = map(int, (tmp_path / "pid").read_text().split())
    del run
    gc.collect()
    assert not alive(worker)  # the operator's end is the worker's
    wait_for(lambda: not alive(child))


def test_a_worker_whose_gateway_is_gone_ends_by_itself(file, tmp_path):
    text = BAD.replace("self.seen = 0", f"self.seen = 0; open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))")
    code = (
        "import os, threading, time; from tests.pipelines.scripts import Run\n"
        f"run = Run('python', dict(file={file(text)!r}, **{{'class': 'Bad'}}, timeout='200ms'))\n"
        "run.operator._host.facts['timeout'] = 0.2\n"
        "threading.Timer(1.0, os._exit, (0,)).start()\n"
        "run.operator._host._pipe or run.process([(0, 1, 0.0, 0)])\n"
        "run.operator._host.facts['timeout'] = 60.0\n"
        "run.process([(0, 1, 1.0, 0)])\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=60)
    worker = int((tmp_path / "pid").read_text())
    wait_for(lambda: not alive(worker))


def wait_for(condition):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in {"Z", "X"}
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_workers_leave_no_descriptors_and_no_zombies(bad):
    before = set(Path("/proc/self/fd").iterdir())
    run = bad(timeout="10s")
    for what in (DIE, GARBAGE, DIE):
        values(run, float(what))
        until_back(run, [1.0])
    run.operator._host.close()
    assert run.operator._host._ending == []
    assert set(Path("/proc/self/fd").iterdir()) == before


def test_the_worker_has_a_clean_environment(file, monkeypatch):
    monkeypatch.setenv("SECRET", "1")
    text = (
        "import os, sys\nclass Bad:\n    def process(self, columns, names):\n"
        "        assert 'SECRET' not in os.environ and sys.flags.isolated, os.environ\n"
        "        assert sys.stdin.read() == ''\n"
        "        return columns\n"
    )
    run = Run("python", {"file": file(text), "class": "Bad", **PATIENT})
    assert values(run, 1.0) == [1.0]
    assert run.operator.counts.reasons == {}


TICKING = """
import numpy as np
from beside import factor
class Bad:
    def __init__(self):
        self.sum = 0.0
    def process(self, columns, names):
        self.sum += float(columns["value"].sum()) * factor
        return None
    def tick(self, now_ns, names):
        if self.sum < 0:
            raise RuntimeError("negative")
        number = names.add("site/sum", unit="W")
        return {"point": [number], "time": [now_ns], "value": [self.sum], "quality": [0]}
"""


def test_ticks_names_units_and_what_lies_beside_the_file(file):
    file("factor = 2.0\n", "beside.py")
    run = Run("python", {"file": file(TICKING), "class": "Bad", **PATIENT})
    out = run.part([(0, START_NS, 3.0, 0), (1, START_NS, 4.0, 0)], S, step=False)
    assert [(run.points.name(point), value) for point, value in zip(out.point, out.value, strict=True)] == [
        ("site/sum", 14.0)
    ]
    assert run.points.point(run.points.find("site/sum")).unit == "W"
    assert run.operator.counts.filtered == 2
    run.part([(0, START_NS, -30.0, 0)], S, step=False)
    assert run.operator.counts.reasons == {"python-tick-error": 1}


WRONG = {
    "5": "give a dict",
    '{**columns, "value": ["a"]}': "column value has to be float64",
    '{**columns, "time": columns["value"]}': "column time has to be int64",
    '{**columns, "quality": [-1]}': "cannot hold",
    '{**columns, "point": [99]}': "there are 1 names",
    '{**columns, "value": [1.0, 2.0]}': "differ in length",
    'names.add("a b")': "no name of a point",
    'columns["value"].__setitem__(0, 1.0)': "read-only",
}


@pytest.mark.parametrize(("expression", "message"), WRONG.items())
def test_wrong_answers_are_the_classs_own_errors(file, caplog, expression, message):
    text = f"class Bad:\n    def process(self, columns, names):\n        return {expression}\n"
    run = Run("python", {"file": file(text), "class": "Bad", **PATIENT})
    assert values(run, 1.0) == [1.0]
    assert run.operator.counts.reasons == {"python-error": 1}
    assert message in caplog.text


@pytest.mark.parametrize(
    ("options", "field", "message"),
    [
        ({"file": "nowhere.py"}, "file", "absolute path"),
        ({"file": "/nowhere.py"}, "file", "No such file"),
        ({"class": "Bat"}, "class", 'no class "Bat"; there is Bad'),
        ({"timeout": "0"}, "timeout", "1ms to 10s"),
        ({"timeout": "1m"}, "timeout", "1ms to 10s"),
        ({"start_timeout": "2m"}, "start_timeout", "60s"),
        ({"memory": "1MiB"}, "memory", "16MiB"),
        ({"options": {"a b": 1}}, "options", "keyword"),
        ({"options": {"a": 1 << 70}}, "options", "handed"),
    ],
)
def test_nonsense_is_refused_at_check_time(file, options, field, message):
    given = {"file": file(), "class": "Bad", **options}
    with pytest.raises(FieldError, match=message) as caught:
        converted(given)
    assert caught.value.field == (field,)


def converted(options):
    try:
        return msgspec.convert(options, PythonConfig, dec_hook=decode_quantity)
    except msgspec.ValidationError as error:
        raise error.__cause__ from None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("class Bad:\n  def process(self:\n", "line 2"),
        ("class Bad:\n    pass\n", "no method"),
        ("x = '\0'", "null byte"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_without_running_it(file, text, message):
    with pytest.raises(FieldError, match=message):
        PythonConfig(file=file(text), class_="Bad")


@pytest.fixture(scope="module")
def pipe():
    pipe = Pipe()
    yield pipe
    pipe.close()


@settings(max_examples=trials(500), deadline=None)
@given(body=st.one_of(st.binary(max_size=200), st.recursive(
    st.one_of(st.none(), st.integers(0, 9), st.text(max_size=5), st.binary(max_size=5)),
    lambda inner: st.lists(inner, max_size=3), max_leaves=8).map(msgspec.msgpack.encode)), number=st.integers(0, 1),
    magic=st.sampled_from([MAGIC, MAGIC, MAGIC, b"onpx"]), rest=st.binary(max_size=3))  # fmt: skip
def test_any_bytes_are_an_answer_or_a_named_error(pipe, body, number, magic, rest):
    pipe._read = bytearray(HEADER.pack(magic, number, len(body)) + body + rest)
    try:
        answer = pipe._answer()
    except PipeError as error:
        assert error.reason == "garbage"
    else:
        assert answer[0] in {"ok", "error"}
    pipe._read = bytearray()


def test_malformed_answers_are_refused_soon(pipe):
    columns = [b"\0" * 4, b"\0" * 8, b"\0" * 8, b"\0" * 2]
    bodies = [["ok", [["a/b", "W"]], *columns], ["error", [], "text"], ["ok", [], ["tick"], ""]]
    deep = b"\x91" * 100_000
    seeds = [HEADER.pack(MAGIC, 0, len(body)) + body for body in (*map(msgspec.msgpack.encode, bodies), deep)]
    refused = 0
    for data in malformed.inputs(seeds):
        pipe._read = bytearray(data)
        started = time.process_time()
        try:
            pipe._answer()
        except PipeError as error:
            assert error.reason == "garbage"
            refused += 1
        assert time.process_time() - started < malformed.SLOWEST_S
    pipe._read = bytearray()
    assert refused > 1000


@given(
    st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(-(2**63), 2**63), st.floats(allow_nan=False), st.text()),
        lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(), inner, max_size=4)),
    )
)
def test_states_survive_the_way(state):
    assert unpacked(packed(state)) == state


def test_arrays_survive_the_way():
    state = unpacked(packed({"a": np.arange(6, dtype=np.int16).reshape(2, 3), "b": np.float32(1.5)}))
    assert state["a"].dtype == np.int16
    assert state["a"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert state["b"] == 1.5
    with pytest.raises(TypeError, match="a snapshot holds"):
        packed({"a": {1, 2}})


def test_the_directory_is_never_more_than_the_names(bad):
    """A point that is renumbered by a restart of the worker keeps its name."""
    run = bad(timeout="10s")
    run.process([(4, START_NS, 0.0, 0), (2, START_NS, 0.0, 0)])
    run.process([(1, START_NS, float(DIE), 0)])
    until_back(run, [1.0])
    out = run.process([(2, START_NS, 0.0, 0), (1, START_NS, 0.0, 0), (4, START_NS, 0.0, 0)])
    assert out.point.tolist() == [2, 1, 4]
    assert len(run.points) == len(directory())


def test_ending_by_the_alarm_is_told_by_its_name(file, caplog):
    text = PASSING.replace("return columns", f"os.kill(os.getpid(), {int(signal.SIGALRM)})")
    values(Run("python", {"file": file(text), "class": "Bad", **PATIENT}), 1.0)
    assert "SIGALRM" in caplog.text
