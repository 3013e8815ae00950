"""From which moment on samples are a new version's: the same at all nodes, at an edge of both versions' windows."""

import pytest

from gateway.network.applied import DRAIN_NS
from gateway.network.assignment import LONGEST_EDGE_NS, Assignment, ServicePart
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
     ("1m", None, 60), ("7d", "1h", 3600)],
)  # fmt: skip
def test_it_begins_at_the_next_edge_that_both_have(before, after, step):
    begins = begins_ns(wanted(2, after), [told(1, before)], NOW)
    assert begins % (step * S) == 0
    assert NOW + VERSION_LEAD_NS <= begins < NOW + VERSION_LEAD_NS + step * S
    assert begins <= NOW + VERSION_LEAD_NS + LONGEST_EDGE_NS


def test_without_windows_it_begins_when_all_have_heard_of_it():
    assert begins_ns(wanted(2), [told(1)], NOW) == NOW + VERSION_LEAD_NS


def test_what_one_node_was_told_holds_for_all_and_for_later_plans():
    running = [told(1, "15m"), told(2, "15m", since=NOW - 5 * S), told(1, "15m")]
    assert begins_ns(wanted(2, "15m"), running, NOW + 900 * S) == NOW - 5 * S


def test_a_version_that_follows_at_once_begins_behind_the_one_before():
    late = (NOW // (60 * S) + 120) * 60 * S
    assert begins_ns(wanted(3, "1m"), [told(2, "1m", since=late)], NOW) == late


def test_the_core_keeps_what_is_replaced_until_the_new_one_came_and_an_hour_more():
    versions = {("a", 1): running("a", 1, text("15m"))}
    known = aged(versions, {"a": 2}, set(), NOW)
    assert known["a", 1].until_ns == NOW + LONGEST_EDGE_NS + DRAIN_NS, "the new one may begin a day later"
    both = aged({**known, ("a", 2): running("a", 2, text("15m"))}, {"a": 2}, set(), NOW + 60 * S)
    assert both["a", 1].until_ns == NOW + 60 * S + DRAIN_NS
    assert aged(both, {"a": 2}, set(), NOW + 90 * S) == both
    assert [*aged(both, {"a": 2}, set(), NOW + 60 * S + DRAIN_NS)] == [("a", 2)]
