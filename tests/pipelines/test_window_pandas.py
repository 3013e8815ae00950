"""Windows against pandas: statistics, quantiles, calendars with daylight saving, gaps, disorder."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.frame import Frame, by_point
from pipelines.operators.aggregate.window_calendar import LocalWindows, transitions
from tests.pipelines.scripts import Run, S
from tests.support.trials import trials

STATS = ["count", "sum", "mean", "min", "max", "variance", "stddev", "first", "last", "range", "min_time", "max_time"]
START = pd.Timestamp("2026-10-24T18:00", tz="UTC").value
POINTS = {0: "m1/voltage", 1: "m1/power"}


def series(seed, *, seconds=40 * 3600, n=6000, start=START, gap=0.15):
    """Two points with gaps and disorder: times [n], ids, values."""
    chance = np.random.default_rng(seed)
    offset = np.sort(chance.integers(0, seconds * S, n))
    offset = offset[(offset < 0.2 * seconds * S) | (offset > (0.2 + gap) * seconds * S)]
    ids = chance.integers(0, 2, len(offset))
    values = np.where(ids == 0, 230 + chance.normal(0, 3, len(offset)), chance.normal(0, 4000, len(offset)))
    return start + offset, ids, values


def results(options, times, ids, values, *, disorder_s=0.0, seed=1, chunk=97):
    """What the operator gives, as {(point, stat): {end: value}}; samples come up to so many seconds late."""
    run = Run("window", {"lateness": f"{disorder_s + 1}s", **options})
    arrival = times + np.random.default_rng(seed).integers(0, round(disorder_s * S) + 1, len(times))
    order = np.argsort(arrival, kind="stable")
    times, ids, values, arrival = times[order], ids[order], values[order], arrival[order]
    found = []
    for at in range(0, len(times), chunk):
        part = slice(at, at + chunk)
        frame = Frame.of(ids[part].astype(np.int32), times[part], values[part])
        found.append(run._count(len(frame), run.operator.process, frame.take(by_point(frame.point))))
        found.append(run._count(0, run.operator.tick, int(arrival[part][-1])))
    found.append(run._count(0, run.operator.clock_stepped, 0))
    assert run.operator.counts.dropped == 0
    assert run.operator.counts.aggregated == len(times)
    out = {}
    for frame in found:
        for point, time, value in zip(frame.point.tolist(), frame.time.tolist(), frame.value.tolist(), strict=True):
            name, _, stat = run.points.name(point).partition("#")
            assert time not in out.setdefault((name, stat), {})
            out[name, stat][time] = value
    return out


def expected(times, ids, values, rule, zone="UTC", **how):
    """The same groups by pandas: {point: {end: series of the window}}."""
    for number, name in POINTS.items():
        mine = ids == number
        index = pd.to_datetime(times[mine], utc=True).tz_convert(zone)
        own = pd.Series(values[mine], index=index)
        groups = own.groupby(pd.Grouper(freq=rule, **how))
        yield name, {(start + pd.tseries.frequencies.to_offset(rule)).value: one for start, one in groups if len(one)}


def stat_of(one, stat):
    by = {
        "count": len, "sum": pd.Series.sum, "mean": pd.Series.mean, "min": pd.Series.min, "max": pd.Series.max,
        "variance": lambda s: s.var(ddof=0), "stddev": lambda s: s.std(ddof=0),
        "first": lambda s: s.iloc[0], "last": lambda s: s.iloc[-1], "range": lambda s: s.max() - s.min(),
        "min_time": lambda s: s.idxmin().value / 1e9, "max_time": lambda s: s.idxmax().value / 1e9,
    }  # fmt: skip
    return by[stat](one)


def check(found, name, groups, stats=STATS):
    for stat in stats:
        assert found[name, stat].keys() == groups.keys()
        for end, one in groups.items():
            assert found[name, stat][end] == pytest.approx(stat_of(one, stat), rel=1e-12, abs=1e-8), (stat, end)


@pytest.mark.parametrize(("every", "rule"), [("15m", "15min"), ("1h", "1h"), ("7m", "7min"), ("1d", "1D")])
@pytest.mark.parametrize("seed", range(3))
def test_windows_in_utc(every, rule, seed):
    samples = series(seed)
    found = results({"every": every, "stats": STATS}, *samples, disorder_s=30)
    for name, groups in expected(*samples, rule, **({} if every == "1d" else {"origin": "epoch"})):
        check(found, name, groups)


@pytest.mark.parametrize("error", [0.05, 0.01, 0.001])
def test_quantiles_stay_within_the_stated_error(error):
    samples = series(7)
    stats = ["p1", "p25", "p50", "p99", "p99.9"]
    found = results({"every": "1h", "stats": stats, "relative_error": error}, *samples)
    for name, groups in expected(*samples, "1h"):
        for stat in stats:
            for end, one in groups.items():
                exact = one.quantile(float(stat[1:]) / 100, interpolation="lower")
                assert abs(found[name, stat][end] - exact) <= error * abs(exact) * (1 + 1e-9)


@pytest.mark.parametrize(
    ("zone", "start"),
    [
        ("Europe/Berlin", "2026-10-24T18:00"),  # clocks go back an hour
        ("Europe/Berlin", "2026-03-28T18:00"),  # and forward
        ("America/New_York", "2026-03-07T20:00"),
        ("Australia/Lord_Howe", "2026-04-04T02:00"),  # half an hour back
        ("Australia/Lord_Howe", "2026-10-03T02:00"),
        ("Asia/Kathmandu", "2026-05-01T00:00"),  # 5:45 ahead
        ("America/Sao_Paulo", "2018-11-03T12:00"),  # midnight does not exist
        ("Africa/Casablanca", "2026-02-14T12:00"),
    ],
)
def test_local_days_have_as_many_hours_as_they_have(zone, start):
    samples = series(3, start=pd.Timestamp(start, tz="UTC").value)
    local = {"align": "local", "timezone": zone}
    found = results({"every": "1d", "stats": STATS, **local}, *samples)
    for name, groups in by_label(*samples, zone, lambda index: index.date, lambda date: date + pd.Timedelta(days=1)):
        check(found, name, groups)


def by_label(times, ids, values, zone, label, after):
    """Groups by what the local clock shows, and the first instant at which it shows what is ``after``."""
    for number, name in POINTS.items():
        mine = ids == number
        index = pd.to_datetime(times[mine], utc=True).tz_convert(zone)
        own = pd.Series(values[mine], index=index)
        groups = {}
        for day, one in own.groupby(label(index)):
            end = pd.Timestamp(after(day)).tz_localize(zone, ambiguous=True, nonexistent="shift_forward")
            groups[end.value] = one
        yield name, groups


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Australia/Sydney", "UTC"])
def test_local_months(zone):
    samples = series(5, gap=0, seconds=400 * 86400, start=pd.Timestamp("2026-01-20", tz="UTC").value)
    local = {} if zone == "UTC" else {"align": "local", "timezone": zone}
    found = results({"months": 1, "stats": STATS, **local}, *samples, chunk=3)
    for name, groups in expected(*samples, "MS", zone):
        check(found, name, groups)


@pytest.mark.parametrize("start", ["2026-10-24T18:00", "2026-03-28T18:00"])
@pytest.mark.parametrize(("every", "minutes"), [("15m", 15), ("1h", 60)])
def test_quarters_and_hours_that_come_twice_or_never(start, every, minutes):
    """Where the clock changes by whole windows, local windows are those of UTC, and none has another length."""
    samples = series(9, start=pd.Timestamp(start, tz="UTC").value)
    local = {"align": "local", "timezone": "Europe/Berlin"}
    found = results({"every": every, "stats": STATS, **local}, *samples)
    for name, groups in expected(*samples, f"{minutes}min", "Europe/Berlin"):
        check(found, name, groups)


@pytest.mark.parametrize("zone", ["Europe/Berlin", "Asia/Kolkata", "Australia/Lord_Howe", "Africa/Casablanca"])
@pytest.mark.parametrize("hours", [2, 6, 8, 12])
def test_shifts_begin_by_the_clock_on_the_wall(zone, hours):
    """A window is all that has one label; the hour that comes twice makes it longer."""
    times = np.arange(START - 40 * 86400 * S, START + 250 * 86400 * S, 599 * S)
    index = pd.to_datetime(times, utc=True).tz_convert(zone)
    labels = pd.Series(index.date.astype(str)) + "/" + pd.Series(index.hour // hours).astype(str)
    numbers = LocalWindows(zone, hours * 3600 * S).number(times)
    assert ((labels[1:].to_numpy() != labels[:-1].to_numpy()) == (numbers[1:] != numbers[:-1])).all()


ZONES = st.sampled_from(["Europe/Berlin", "Pacific/Apia", "America/Havana", "America/St_Johns", "Asia/Tehran", "UTC"])
LENGTHS = st.sampled_from(
    [(60, 0), (900, 0), (3600, 0), (7200, 0), (28800, 0), (86400, 0), (604800, 0), (0, 1), (0, 12)]
)


@settings(max_examples=trials(60), deadline=None)
@given(ZONES, LENGTHS, st.lists(st.integers(-(1 << 62), 1 << 62), min_size=1, max_size=20), st.data())
def test_windows_follow_one_another_without_a_gap(zone, length, times, data):
    windows = LocalWindows(zone, length[0] * S, length[1])
    changes = transitions(zone)[0]
    if changes:
        near = st.sampled_from(changes).flatmap(lambda at: st.integers(at - 8 * 3600 * S, at + 8 * 3600 * S))
        times = times + data.draw(st.lists(near, max_size=20))
    at = np.sort(np.array(times))
    numbers = windows.number(at)
    start, end = windows.start(numbers), windows.end(numbers)
    assert (np.diff(numbers) >= 0).all()
    assert ((start <= at) & (at < end)).all()
    assert (windows.number(start) == numbers).all()
    assert (windows.number(end - 1) == numbers).all()
    assert (windows.number(end) > numbers).all()
    assert (windows.length(numbers) == end - start).all()


def test_a_year_of_berlin_days():
    windows = LocalWindows("Europe/Berlin", 86400 * S)
    days = pd.date_range("2026-01-01", "2027-01-01", tz="Europe/Berlin")
    numbers = windows.number(days.as_unit("ns").asi8)
    assert (windows.start(numbers) == days.as_unit("ns").asi8).all()
    hours = (windows.length(numbers) // (3600 * S)).tolist()
    assert (hours.count(23), hours.count(25), hours.count(24)) == (1, 1, 364)
    weeks = LocalWindows("Europe/Berlin", 7 * 86400 * S)
    starts = pd.to_datetime(weeks.start(weeks.number(days.as_unit("ns").asi8)), utc=True).tz_convert("Europe/Berlin")
    assert set(starts.day_of_week) == {0}
    assert set(starts.hour) == {0}


def test_sliding_windows():
    samples = series(11, seconds=6 * 3600, n=2000)
    stats = [stat for stat in STATS if stat != "sum"]
    found = results({"every": "15m", "slide": "1m", "stats": stats}, *samples, disorder_s=5)
    for number, name in POINTS.items():
        mine = samples[1] == number
        own = pd.Series(samples[2][mine], index=pd.to_datetime(samples[0][mine], utc=True))
        first, last = own.index[0].floor("1min"), own.index[-1].floor("1min")
        for end in pd.date_range(first + pd.Timedelta("1min"), last + pd.Timedelta("1min"), freq="1min"):
            one = own[(own.index >= end - pd.Timedelta("15min")) & (own.index < end)]
            for stat in stats:
                if not len(one):
                    assert end.value not in found[name, stat]
                else:
                    assert found[name, stat][end.value] == pytest.approx(stat_of(one, stat), rel=1e-11, abs=1e-8)


def test_sessions():
    samples = series(13, seconds=6 * 3600, n=500)
    found = results({"session": "90s", "stats": STATS}, *samples, disorder_s=10)
    for number, name in POINTS.items():
        mine = samples[1] == number
        own = pd.Series(samples[2][mine], index=pd.to_datetime(samples[0][mine], utc=True))
        session = (own.index.to_series().diff() > pd.Timedelta("90s")).cumsum()
        check(found, name, {one.index[-1].value: one for _, one in own.groupby(session)})


def test_windows_by_count():
    samples = series(17, n=1000)
    found = results({"count": 37, "stats": STATS}, *samples, disorder_s=10)
    for number, name in POINTS.items():
        mine = samples[1] == number
        own = pd.Series(samples[2][mine], index=pd.to_datetime(samples[0][mine], utc=True))
        check(found, name, {one.index[-1].value: one for _, one in own.groupby(np.arange(len(own)) // 37)})


@pytest.mark.parametrize("hold", [None, "20m"])
def test_means_by_time(hold):
    samples = series(19, seconds=5 * 3600, n=100)
    options = {"every": "15m", "stats": ["wmean", "coverage"]} | ({} if hold is None else {"hold": hold})
    found = results(options, *samples)
    for number, name in POINTS.items():
        mine = samples[1] == number
        times, values = samples[0][mine] // S * S, samples[2][mine]
        found_here = results(options, times, samples[1][mine], values) if mine.any() else found
        grid = np.arange(times[0], times[-1] + 1, S)
        last = np.searchsorted(times, grid, side="right") - 1
        window = grid // (900 * S)
        limit = times[last] // (900 * S) * 900 * S + 900 * S if hold is None else times[last] + 1200 * S
        held = pd.DataFrame({"window": window, "value": np.where(grid < limit, values[last], np.nan)})
        for end, value in found_here[name, "wmean"].items():
            one = held[held.window == end // (900 * S) - 1].value
            if end <= times[-1]:
                assert value == pytest.approx(one.mean(), rel=1e-9, nan_ok=True)
                assert found_here[name, "coverage"][end] == pytest.approx(one.count() / 900, abs=1e-9)


def test_groups_over_devices():
    times, ids, values = series(23)
    found = results({"every": "1h", "stats": STATS, "over": "device", "name": "{device}/all"}, times, ids, values)
    _, groups = next(expected(times, np.zeros_like(ids), values, "1h"))
    check(found, "m1/all", groups, [stat for stat in STATS if stat not in {"first", "last"}])


def test_distinct_within_its_standard_error():
    chance = np.random.default_rng(29)
    times = np.sort(START // (3600 * S) * 3600 * S + chance.integers(0, 2 * 3600 * S, 60_000))
    values = chance.integers(0, 20_000, 60_000).astype(float)
    found = results({"every": "1h", "stats": ["distinct"]}, times, np.zeros(60_000, np.int64), values)
    own = pd.Series(values).groupby(times // (3600 * S)).nunique()
    for hour, exact in own.items():
        assert abs(found["m1/voltage", "distinct"][(hour + 1) * 3600 * S] / exact - 1) < 4 * 0.0163
    few = results({"every": "1h", "stats": ["distinct"]}, times, np.zeros(60_000, np.int64), values % 1000)
    assert set(few["m1/voltage", "distinct"].values()) == {1000.0}


def test_times_of_extremes_are_seconds_since_1970():
    found = results({"every": "15m", "stats": ["min_time", "max_time"]}, *series(31))
    for windows in found.values():
        assert all(end / S - 900 <= value < end / S for end, value in windows.items())
    assert not any(math.isnan(v) for windows in found.values() for v in windows.values())
