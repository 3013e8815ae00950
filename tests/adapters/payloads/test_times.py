from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from adapters.payloads.times import TimeUnit, parse_time
from gateway.errors import PayloadError

NAIVE = datetime.fromisoformat("2023-01-01T00:00:00")
NS = 1_700_000_000_123_456_789


@pytest.mark.parametrize(
    ("value", "ns"),
    [
        (1_700_000_000, 1_700_000_000_000_000_000),
        (1_700_000_000_123, 1_700_000_000_123_000_000),
        (1_700_000_000_123_456, 1_700_000_000_123_456_000),
        (NS, NS),
        (1_700_000_000.5, 1_700_000_000_500_000_000),
        ("1700000000", 1_700_000_000_000_000_000),
        ("1700000000.25", 1_700_000_000_250_000_000),
        ("2023-11-14T22:13:20Z", 1_700_000_000_000_000_000),
        ("2023-11-14T22:13:20.123456789Z", NS),
        ("2023-11-14 23:13:20.123456789+01:00", NS),
        ("2023-11-14T16:43:20-0530", 1_700_000_000_000_000_000),
        ("2016-12-31T23:59:60Z", 1_483_228_800_000_000_000),
        (datetime(2023, 11, 14, 22, 13, 20, 5, UTC), 1_700_000_000_000_005_000),
    ],
)
def test_the_ways_in_which_devices_write_a_time(value, ns):
    assert parse_time(value) == ns


def test_a_unit_that_is_told_is_not_guessed():
    assert parse_time(1_700_000_000, TimeUnit.MILLISECONDS) == 1_700_000_000_000_000
    assert parse_time(5, TimeUnit.SECONDS) == 5_000_000_000
    assert parse_time("7", TimeUnit.NANOSECONDS) == 7


@pytest.mark.parametrize(
    "value",
    [
        None, True, [], {}, b"x", "", "now", "2023-11-14T22:13:20", "2023-13-14T22:13:20Z", "2023-11-14T25:13:20Z",
        "2023-11-14T22:13:20+99:00", -1, -1e300, 1e300, float("nan"), float("inf"), 2**63, 2**200,
        "1969-12-31T23:59:59Z", "2500-01-01T00:00:00Z", NAIVE,
        "1" * 10_000,
    ],
)  # fmt: skip
def test_what_is_no_time_is_refused_by_name(value):
    with pytest.raises(PayloadError) as raised:
        parse_time(value)
    assert raised.value.reason == "bad-time"


@given(st.timedeltas(timedelta(days=2), timedelta(days=106_000)), st.integers(-1439, 1439))
def test_rfc_3339_agrees_with_python(since, minutes):
    aware = datetime(1970, 1, 1, tzinfo=timezone(timedelta(minutes=minutes))) + since
    expected = (aware - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 1000
    assert parse_time(aware.isoformat()) == expected
    assert parse_time(aware) == expected


def test_a_number_too_long_to_print_is_refused():
    with pytest.raises(PayloadError, match="bad-time"):
        parse_time(10**5000)


@given(st.integers(0, 2**63 - 1))
@example(NS)
def test_nanoseconds_are_exact(ns):
    assert parse_time(ns, TimeUnit.NANOSECONDS) == ns


@given(st.one_of(st.text(), st.floats(), st.integers(), st.binary(), st.none(), st.booleans()))
def test_anything_is_a_time_or_a_named_error(value):
    for unit in TimeUnit:
        try:
            assert 0 <= parse_time(value, unit) < 2**63
        except PayloadError as error:
            assert error.reason == "bad-time"
