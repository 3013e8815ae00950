"""From which moment on samples are a new version's: the same at all nodes, at an edge of both versions' windows."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from gateway.network.applied import DRAIN_NS
from gateway.network.assignment import Assignment, ServicePart
from gateway.network.chain import chain_of
from gateway.network.controller.deciding import VERSION_LEAD_NS, begins_ns
from gateway.network.controller.view import Wanted
from gateway.network.core.services import aged, running
from gateway.network.reading import service_of

S = 10**9
NOW = 1_700_000_000 * S


def text(every=None):
    window = f"{{window: {{every: {every}, stats: [count]}}}}"
    return f"service: a\ninputs: {{points: '*/x'}}\nsteps: [{window if every else '{scale: {factor: 2}}'}]\n"


def wanted(version, every=None):
    return Wanted(chain_of(service_of(text(every)).config), version, text(every))


def told(version, every=None, since=0):
    part = ServicePart(version=version, epoch=1, cut=0, yaml=text(every), since_ns=since)
    return Assignment(epoch=1, services={"a": part})


def test_what_has_nothing_before_it_takes_all():
    assert begins_ns(wanted(1, "15m"), [], NOW) == 0
    assert begins_ns(wanted(3, "15m"), [Assignment(epoch=1), told(3, "15m")], NOW) == 0


@pytest.mark.parametrize(
    ("before", "after", "step"),
    [("15m", "15m", 900), ("15m", "10m", 1800), ("1d", "1h", 86_400), ("7s", "9s", 63), (None, "1m", 60),
     ("1m", None, 60), ("7d", "1h", 7 * 86_400), ("59m", "61m", 59 * 61 * 60)],
)  # fmt: skip
def test_it_begins_at_the_next_edge_that_both_have(before, after, step):
    begins = begins_ns(wanted(2, after), [told(1, before)], NOW)
    assert begins % (step * S) == 0
    assert NOW + VERSION_LEAD_NS <= begins < NOW + VERSION_LEAD_NS + step * S


def test_without_windows_it_begins_when_all_have_heard_of_it():
    assert begins_ns(wanted(2), [told(1)], NOW) == NOW + VERSION_LEAD_NS


def test_what_one_node_was_told_holds_for_all_and_for_later_plans():
    running = [told(1, "15m"), told(2, "15m", since=NOW - 5 * S), told(1, "15m")]
    assert begins_ns(wanted(2, "15m"), running, NOW + 900 * S) == NOW - 5 * S


def test_a_version_that_follows_at_once_begins_behind_the_one_before():
    late = (NOW // (60 * S) + 120) * 60 * S
    assert begins_ns(wanted(3, "1m"), [told(2, "1m", since=late)], NOW) == late


def test_the_core_keeps_what_is_replaced_while_batches_of_it_come_and_two_windows_and_an_hour_more():
    lasts = DRAIN_NS + 2 * 900 * S
    old, key = {("a", 1): running("a", 1, text("15m"))}, ("a", 1)
    known = aged(old, {"a": 2}, set(), set(), NOW)
    assert known[key].until_ns == NOW + lasts
    both = {**known, ("a", 2): running("a", 2, text("15m"))}
    assert aged(both, {"a": 2}, set(), {key}, NOW + 60 * S) == both, "not at each batch anew"
    later = NOW + lasts - 60 * S
    assert aged(both, {"a": 2}, set(), {("a", 2)}, later) == both
    assert aged(both, {"a": 2}, set(), {key}, later)[key].until_ns == later + lasts
    assert [*aged(both, {"a": 2}, set(), {key}, NOW + lasts)] == [("a", 2)]
    assert aged(old, {"a": 1}, set(), {key}, NOW) == old


def local(moment_ns, zone):
    return datetime.fromtimestamp(moment_ns / S, ZoneInfo(zone))


def test_days_and_months_of_a_zone_end_by_its_calendar():
    window = "window: {every: 1d, align: local, timezone: Europe/Berlin, stats: [count]}"
    months = "window: {months: 1, align: local, timezone: Asia/Kathmandu, stats: [count]}"
    energy = "energy: {every: 1h, rated: 10kW, timezone: Asia/Kathmandu}"

    def of(version, step):
        whole = f"service: a\ninputs: {{points: '*/x'}}\nsteps: [{{{step}}}]\n"
        part = ServicePart(version=version, epoch=1, cut=0, yaml=whole)
        return Wanted(chain_of(service_of(whole).config), version, whole), Assignment(epoch=1, services={"a": part})

    for step, zone in ((window, "Europe/Berlin"), (months, "Asia/Kathmandu"), (energy, "Asia/Kathmandu")):
        after, _ = of(2, step)
        _, before = of(1, step)
        found = local(begins_ns(after, [before], NOW), zone)
        assert (found.minute, found.second) == (0, 0), step
        assert step == energy or found.hour == 0, step
        assert step != months or found.day == 1
    first = "window: {every: 1h, stats: [first]}"
    assert begins_ns(of(2, first)[0], [of(1, first)[1]], NOW) % (3600 * S) == 0, "also where nothing merges"
