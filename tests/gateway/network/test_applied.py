"""What a node follows: newest plans, from their time on, make before break."""

import pytest

from gateway.network import applied as applying
from gateway.network.applied import DRAIN_NS, Applied, heard, passed
from gateway.network.assignment import Assignment, ServicePart

S = 10**9


def plan(epoch, cut=1, version=1, from_ns=0, name="a", since_ns=0):
    part = ServicePart(version=version, epoch=epoch, cut=cut, from_ns=from_ns, since_ns=since_ns)
    return Assignment(epoch=epoch, services={name: part})


def test_what_is_new_begins_at_once_and_a_move_at_its_time():
    first = heard(Applied(), plan(1, cut=1, from_ns=100 * S), 10 * S)
    assert first.services["a"].cut == 1, "nothing runs yet that could go on meanwhile"
    later = heard(first, plan(2, cut=2, from_ns=100 * S), 10 * S)
    assert (later.services["a"].cut, later.waiting["a"].cut) == (1, 2)
    assert passed(later, 99 * S) == later
    begun = passed(later, 100 * S)
    assert (begun.services["a"].cut, begun.waiting) == (2, {})


def test_plans_that_follow_one_another_do_not_put_off_the_beginning():
    state = heard(Applied(), plan(1), 0)
    for epoch in range(2, 20):
        now = epoch * 10 * S
        state = passed(heard(state, plan(epoch, cut=epoch, from_ns=now + 15 * S), now), now)
    assert state.services["a"].epoch >= 17


def test_an_older_plan_changes_nothing():
    state = heard(Applied(), plan(5, cut=2), 0)
    assert heard(state, plan(4, cut=1), 0) == state


@pytest.mark.parametrize("how", ["version", "removed"])
def test_what_is_replaced_runs_out(how):
    state = heard(Applied(), plan(1), 0)
    news = plan(2, version=2) if how == "version" else Assignment(epoch=2)
    state = heard(state, news, 7)
    assert [*state.draining] == ["a@1"]
    assert state.draining["a@1"].until_ns == 7 + DRAIN_NS
    assert passed(state, 6 + DRAIN_NS).draining
    assert not passed(state, 7 + DRAIN_NS).draining


def test_a_version_takes_the_samples_from_its_time_on_and_the_one_before_those_until_then():
    state = heard(Applied(), plan(1), 0)
    state = heard(state, plan(2, version=2, since_ns=50 * S), 7)
    assert state.services["a"].since_ns == 50 * S, "at work at once: what comes is of one or of the other"
    assert state.draining["a@1"].before_ns == 50 * S
    assert state.draining["a@1"].until_ns == 50 * S + DRAIN_NS
    state = heard(state, plan(3, version=3, since_ns=60 * S), 8)
    assert {name: one.before_ns for name, one in state.draining.items()} == {"a@1": 50 * S, "a@2": 60 * S}
    assert state.draining["a@2"].part.since_ns == 50 * S
    state = heard(state, plan(4, cut=2, version=3), 8)
    assert (state.services["a"].cut, state.services["a"].since_ns) == (2, 60 * S), "whoever planned did not know of it"
    gone = heard(state, Assignment(epoch=5), 9)
    assert {name: one.before_ns for name, one in gone.draining.items()} == dict.fromkeys(["a@1", "a@2", "a@3"], 0)


def test_what_is_kept_comes_back():
    state = heard(heard(Applied(), plan(1), 0), plan(2, version=2, from_ns=50), 10)
    assert applying.decode(applying.encode(state)) == state
    assert applying.decode(b"nonsense") == applying.decode(None) == Applied()
