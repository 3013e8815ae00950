"""Harmonics: against analytic signals and the whole spectrum."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import quality as q
from gateway.directory import Directory
from gateway.frame import Frame
from gateway.point import Point
from pipelines.operators.power.spectrum import Grouping, distortion, harmonics, rms
from tests.pipelines.power.support import T0, Case, S, of
from tests.support.trials import trials

W = "m1/wave"
ROOT = math.sqrt(2)


def wave(seconds, rate, parts, frequency=50):
    """A sum of sines: order (or part of one) to r.m.s. value."""
    t = np.arange(round(seconds * rate)) / rate
    return sum(ROOT * size * np.sin(2 * np.pi * frequency * order * t + order) for order, size in parts.items())


def burst(case, values, rate, start=0.0):
    """Feed a waveform in one burst; what comes of it."""
    n = len(values)
    times = case.start + round(start * S) + np.rint(np.arange(n) * (1e9 / rate)).astype(np.int64)
    frame = Frame.of(np.zeros(n, np.int32), times, values)
    case.operator.counts.samples_in += n
    case.operator.counts.samples_out += len(case.operator.process(frame))
    case.now = int(times[-1])
    return case.tick(0)


def meter(**options):
    return Case("thd", {"rate": 6400, "lateness": "0s", **options}, {W: "V"})


@pytest.mark.parametrize(("frequency", "rate"), [(50, 6400), (60, 7680)])
@pytest.mark.parametrize("grouping", ["none", "subgroup", "group"])
def test_the_distortion_of_a_known_wave(frequency, rate, grouping):
    """5 %, 4 % and 3 % are sqrt(50) %."""
    case = meter(frequency=frequency, rate=rate, grouping=grouping, orders=[3, 5, 7])
    out = burst(case, wave(0.2, rate, {1: 230.0, 3: 0.05 * 230, 5: 0.04 * 230, 7: 0.03 * 230}, frequency), rate)
    found = {name.partition("#")[2]: v for name, _, v, _ in out}
    assert found == {
        "thd": pytest.approx(math.sqrt(50), rel=1e-9), "fundamental": pytest.approx(230.0), "h3": pytest.approx(5.0),
        "h5": pytest.approx(4.0), "h7": pytest.approx(3.0), "rms": pytest.approx(230 * math.sqrt(1.005)),
    }  # fmt: skip
    assert {t for _, t, *_ in out} == {0.2}
    assert {w for *_, w in out} == {0}


@pytest.mark.parametrize(
    ("away", "none", "subgroup", "group"),
    [(5, 0.0, 1.0, 1.0), (10, 0.0, 0.0, 1.0), (20, 0.0, 0.0, 1.0), (25, 0.0, 0.0, ROOT / 2), (30, 0.0, 0.0, 0.0)],
)
def test_what_lies_between_harmonics_counts_as_the_standard_groups_it(away, none, subgroup, group):
    """A line some Hz above the fifth harmonic, of 1 V: in its subgroup up to 5 Hz, in its group up to 25 Hz (half)."""
    values = wave(0.2, 6400, {1: 100.0, 5 + away / 50: 1.0})[None]
    for grouping, size in ((Grouping.NONE, none), (Grouping.SUBGROUP, subgroup), (Grouping.GROUP, group)):
        assert harmonics(values, 10, 40, grouping)[0, 4] == pytest.approx(size, abs=1e-9)


def test_all_groups_together_are_all_there_is():
    """Groups of all orders tile the spectrum from the border below the first one on (Parseval)."""
    chance = np.random.default_rng(5)
    values = chance.normal(0, 1, (4, 1280))
    lines = np.abs(np.fft.rfft(values, axis=1)) * ROOT / 1280
    power = lines**2
    whole = power[:, 6:405].sum(axis=1) + (power[:, 5] + power[:, 405]) / 2
    assert (harmonics(values, 10, 40, Grouping.GROUP) ** 2).sum(axis=1) == pytest.approx(whole)


@settings(max_examples=trials(40), deadline=None)
@given(
    parts=st.dictionaries(st.integers(2, 40), st.floats(0, 20), max_size=8),
    first=st.floats(10, 300),
    offset=st.floats(-50, 50),
)
def test_any_wave_of_harmonics(parts, first, offset):
    values = (wave(0.2, 6400, {1: first, **parts}) + offset)[None]
    for grouping in Grouping:
        found = harmonics(values, 10, 40, grouping)
        assert found[0] == pytest.approx([first if h == 1 else parts.get(h, 0.0) for h in range(1, 41)], abs=1e-8)
    total = math.sqrt(sum(size * size for size in parts.values()))
    assert distortion(found)[0] == pytest.approx(total / first, abs=1e-9)
    assert rms(values)[0] == pytest.approx(math.sqrt(first**2 + total**2 + offset**2))


def test_windows_follow_one_another_and_wait_for_the_rest():
    case = meter()
    values = wave(0.7, 6400, {1: 230.0})
    out = burst(case, values[:3000], 6400) + burst(case, values[3000:], 6400, start=3000 / 6400)
    assert [round(t, 6) for t, *_ in of(out, "#thd")] == [0.2, 0.4, 0.6]
    assert case.operator.counts.reasons["incomplete-window"] == 0


@pytest.mark.parametrize("lost", ["missing", "invalid", "late"])
def test_a_window_with_a_hole_is_let_go(lost):
    case = meter()
    values = wave(0.6, 6400, {1: 230.0})
    if lost == "invalid":
        values[100] = math.nan
        out = burst(case, values, 6400)
    else:
        out = burst(case, values[:100], 6400) + burst(
            case, values[101:], 6400, start=(101 if lost == "missing" else 103) / 6400
        )
    assert [round(t, 3) for t, *_ in of(out, "#thd")] == [pytest.approx(t, abs=1e-3) for t in (0.216, 0.416)]
    assert case.operator.counts.reasons["incomplete-window"] == 1


def test_no_fundamental_no_distortion():
    out = burst(meter(), np.zeros(1280), 6400)
    assert of(out, "#thd") == [(0.2, None, q.INVALID)]
    assert of(out, "#rms") == [(0.2, 0.0, 0)]


def test_quality_is_that_of_the_worst_sample():
    case = meter()
    times = T0 + np.rint(np.arange(1280) * (1e9 / 6400)).astype(np.int64)
    words = np.zeros(1280, np.uint16)
    words[7] = q.QUESTIONABLE | q.OVERFLOW
    case.operator.counts.samples_in += 1280
    case.operator.process(Frame.of(np.zeros(1280, np.int32), times, wave(0.2, 6400, {1: 1.0}), words))
    case.now = int(times[-1])
    assert {w for *_, w in case.tick(0)} == {q.QUESTIONABLE | q.OVERFLOW}


def test_a_vector_is_a_frame_whose_points_are_its_elements():
    names = {f"m1/wave/{i}": "V" for i in range(1280)} | {"m1/power": "W"}
    case = Case("thd", {"rate": 6400, "elements": True, "lateness": "0s"}, names)
    values = np.append(wave(0.2, 6400, {1: 230.0, 5: 23.0}), 7.0)
    out = []
    for second in (0, 1):
        case.operator.counts.samples_in += 1281
        passed = case.operator.process(Frame.of(np.arange(1281), T0 + second * S, values))
        case.operator.counts.samples_out += len(passed)
        assert passed.value.tolist() == [7.0]
        case.now = T0 + second * S
        out += case.tick(0)
    assert of(out, "m1/wave#thd") == [(0.2, pytest.approx(10.0), 0), (1.2, pytest.approx(10.0), 0)]
    assert case.points.point(case.points.find("m1/wave#rms")).unit == "V"


def test_vectors_of_several_devices_and_points_that_are_none():
    points = Directory()
    for name in ("a/w/0", "b/w/1", "plain", "7", "a/w/x", "a/w/9999999"):
        points.add(Point(name=name))
    case = Case("thd", {"rate": 6400, "elements": True, "keep": True}, {})
    case.operator._vectors._points = points
    mine, waves = case.operator._vectors.placed(Frame.of(list(range(6)), T0, [0.0] * 6), 1e9 / 6400)
    assert mine.tolist() == [True, True, False, False, False, False]
    assert waves.time.tolist() == [T0, T0 + 156250]
