"""The parts of the views that need no daemon: attention, guessing, sessions, trends."""

import asyncio

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.plugins import installed
from gateway.console.access import Role
from gateway.console.guessing import FREE, LONGEST_S, Guessing
from gateway.console.sessions import IDLE_S, Sessions
from gateway.console.trend import _Parts
from gateway.frame import Frame
from gateway.units import Duration
from gateway.view.attention import Attention
from gateway.view.pipelines import told


async def test_attention_ends_a_while_after_the_last_look():
    said = []
    attention = Attention(lambda: said.append("begin"), lambda: said.append("end"), 0.1)
    assert attention.look() is False
    assert attention.look() is True
    with attention.held():
        await asyncio.sleep(0.3)
        assert said == ["begin"]
    await asyncio.sleep(0.5)
    assert said == ["begin", "end"]
    attention.look()
    assert said == ["begin", "end", "begin"]


def test_who_guesses_waits_twice_as_long_each_time():
    guessing = Guessing()
    now = 1000.0
    waits = []
    for _ in range(20):
        guessing.wrong("10.0.0.1", now)
        waits.append(guessing.wait_s("10.0.0.1", now))
        now += waits[-1]
    assert waits[: FREE - 1] == [0.0] * (FREE - 1)
    assert waits[FREE - 1 : FREE + 2] == [1.0, 2.0, 4.0]
    assert max(waits) == LONGEST_S
    assert guessing.wait_s("10.0.0.2", now) == 0
    guessing.right("10.0.0.1")
    assert guessing.wait_s("10.0.0.1", now) == 0


def test_one_network_is_one_guesser():
    guessing = Guessing()
    for number in range(FREE + 3):
        guessing.wrong(f"2001:db8::{number:x}", 0.0)
    assert guessing.wait_s("2001:db8::ffff", 0.0) > 0
    assert guessing.wait_s("2001:db8:1::1", 0.0) == 0


async def test_a_session_ends_when_nobody_uses_it(tmp_path, monkeypatch):
    sessions, now = Sessions(tmp_path), [1_800_000_000.0]
    monkeypatch.setattr("gateway.console.sessions.time.time", lambda: now[0])
    secret = sessions.begin(Role.ADMIN, "stamp")
    await sessions.save()
    now[0] += IDLE_S - 60
    assert sessions.find(secret, "stamp") is not None
    assert sessions.find(secret, "another password") is None
    now[0] += 120
    assert sessions.find(secret, "stamp") is not None
    assert Sessions(tmp_path).find(secret, "stamp") is None  # its last use was not written: that costs a sign-in
    now[0] += IDLE_S + 60
    assert sessions.find(secret, "stamp") is None
    assert secret not in (tmp_path / "console" / "sessions.json").read_text()


@given(
    st.lists(st.tuples(st.integers(0, 999), st.floats(-1e6, 1e6)), min_size=1, max_size=300),
    st.integers(1, 20),
    st.integers(1, 50),
)
def test_a_thinned_trend_keeps_the_extremes_and_the_last(rows, most, cut):
    parts = _Parts(0, 1000, most)
    for start in range(0, len(rows), cut):
        times, values = zip(*rows[start : start + cut], strict=True)
        parts.add(Frame.of([0] * len(times), list(times), list(values)))
    shown = parts.shown()
    assert len(shown["times_ms"]) <= most
    every = [value for _, value in rows]
    assert min(shown["min"]) == min(every)
    assert max(shown["max"]) == max(every)
    newest = max(time for time, _ in rows)
    assert shown["values"][-1] in [value for time, value in rows if time == newest]
    assert shown["thinned"] is (len(rows) > most)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_is_null(bad):
    parts = _Parts(0, 10, 10)
    parts.add(Frame.of([0, 0], [1_000_000, 2_000_000], [1.0, bad], [0, 1]))
    shown = parts.shown()
    assert shown["values"] == [1.0, None]
    assert shown["qualities"] == [0, 1]


def test_options_of_a_step_are_told_as_they_are_written():
    options = installed().operators["window"](every=Duration(300), stats=["mean", "max"], points="*/power")
    assert told(options) == "points: */power, every: 5m, stats: [mean, max]"
