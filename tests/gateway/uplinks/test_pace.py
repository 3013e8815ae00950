"""How fast an uplink is fed: bandwidth, the window over the backlog, and a budget that survives restarts."""

from __future__ import annotations

import datetime as dt

import pytest

from gateway.units import Bandwidth, Size
from gateway.uplinks.gate import Gate
from gateway.uplinks.options import BudgetConfig, BudgetSpent, Period, UplinkConfig
from gateway.uplinks.pace import LARGEST, Budget, TokenBucket, Window, next_start_ns, period_start_ns

S = 1_000_000_000


def at(text: str) -> int:
    return int(dt.datetime.fromisoformat(text + "+00:00").timestamp()) * S


@pytest.mark.parametrize(
    ("per", "start", "now", "since", "until"),
    [
        ("day", 1, "2026-03-05T13:00", "2026-03-05T00:00", "2026-03-06T00:00"),
        ("week", 1, "2026-03-05T13:00", "2026-03-02T00:00", "2026-03-09T00:00"),
        ("month", 1, "2026-02-28T23:59", "2026-02-01T00:00", "2026-03-01T00:00"),
        ("month", 17, "2026-03-05T13:00", "2026-02-17T00:00", "2026-03-17T00:00"),
        ("month", 17, "2026-03-17T00:00", "2026-03-17T00:00", "2026-04-17T00:00"),
        ("month", 28, "2026-01-03T00:00", "2025-12-28T00:00", "2026-01-28T00:00"),
    ],
)
def test_periods(per, start, now, since, until):
    config = BudgetConfig(size=Size(1), per=Period(per), start=start)
    assert period_start_ns(config, at(now)) == at(since)
    assert next_start_ns(config, at(since)) == at(until)


def test_a_budget_is_counted_over_restarts_and_begins_anew_with_the_period():
    config, now = BudgetConfig(size=Size(10_000)), at("2026-03-05T13:00")
    budget = Budget(config, None, now)
    budget.take(9_000)
    after_a_crash = Budget(config, budget.saved(), now)
    assert 9_000 <= after_a_crash.spent <= 9_010, "never less than was spent"
    assert Budget(config, budget.saved(exactly=True), now).spent == 9_000
    assert not budget.closed
    budget.take(1_000)
    assert budget.closed
    assert not budget.turn(at("2026-01-01T00:00")), "a clock that was set back gives nothing back"
    assert budget.closed
    assert budget.turn(at("2026-04-01T00:00"))
    assert (budget.spent, budget.closed) == (0, False)
    assert Budget(config, b"nonsense", now).spent == 0


@pytest.mark.parametrize("spent", list(BudgetSpent))
def test_what_may_go_when_the_budget_is_spent(spent):
    sent, written = [0], []
    config = UplinkConfig(priority=("a",), budget=BudgetConfig(size=Size(100), when_spent=spent))
    gate = Gate(config, lambda: sent[0], None, lambda: at("2026-03-05T13:00"), written.append)
    assert gate.live(0)
    assert gate.live(1)
    sent[0] = 150
    assert gate.live(0) is (spent is not BudgetSpent.PAUSE)
    assert gate.live(1) is (spent is BudgetSpent.GO_ON)
    again = Gate(config, lambda: 0, written[-1], lambda: at("2026-03-05T13:01"), written.append)
    assert again.budget.exhausted


def test_bandwidth_counts_what_was_really_sent_and_what_is_about_to_be():
    sent = [0]
    gate = Gate(UplinkConfig(bandwidth=Bandwidth(1000)), lambda: sent[0])
    assert gate.live(0)
    gate.handed(5000, 10, backlog=False)
    assert not gate.live(0), "it is on its way"
    sent[0] = 500
    assert gate.live(0), "it was smaller when it was sent"
    sent[0] = 10_000
    assert not gate.live(0)
    assert 5 < gate.pause_s() <= 10


def test_a_bucket_gives_its_rate_in_the_long_run():
    bucket, now, taken = TokenBucket(100.0, 0.0), 0.0, 0
    while now < 50:
        if (wait := bucket.wait_s(now)) == 0:
            bucket.take(30)
            taken += 30
        now += max(wait, 0.001)
    assert 5000 <= taken <= 5160


def simulated(window: Window, service_s: float, base_s: float, batches: int) -> None:
    """A link that takes a batch each ``service_s`` and answers after ``base_s``."""
    now = free = 0.0
    flying: list[tuple[float, float]] = []
    for _ in range(batches):
        while len(flying) >= int(window.limit):
            done, began = flying.pop(0)
            now = max(now, done)
            window.acknowledged(done - began, now)
        free = max(now, free) + service_s
        flying.append((free + base_s, now))


@pytest.mark.parametrize(("service_s", "base_s"), [(0.01, 0.3), (0.001, 0.002), (0.2, 0.1)])
def test_the_window_fills_the_link_and_queues_little(service_s, base_s):
    window = Window()
    simulated(window, service_s, base_s, 3000)
    full = 1 + base_s / service_s
    assert 0.4 * full <= window.limit <= full + 8


def test_the_window_shrinks_when_what_is_live_waits():
    window = Window()
    for _ in range(200):
        window.felt(0.01, 0.0, quiet=True)
    simulated(window, 0.0001, 0.1, 3000)
    wide = window.limit
    assert wide > 50
    for n in range(20):
        window.felt(0.2, 1000.0 + n, quiet=False)
    assert window.limit < wide / 10
    window.begin()
    window.felt(0.2, 2000.0, quiet=False)
    assert window.limit < LARGEST


def test_a_window_that_is_given_stays():
    window = Window(7)
    simulated(window, 0.01, 0.3, 500)
    window.begin()
    assert window.limit == 7
