"""Who lives, and who should hold what."""

from __future__ import annotations

import time

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.network.advert import Advert, encode
from gateway.network.carrier.base import Entry
from gateway.network.config import PARTITIONS, Tier
from gateway.network.core.members import Members, Orphans, shares
from tests.support.trials import trials


def entry(name, revision, tier=Tier.CORE, every_s=20.0):
    advert = Advert(node=name, tier=tier, site="s", boot=time.time_ns(), number=revision, every_s=every_s)
    return Entry(name, encode(advert), revision)


@settings(max_examples=trials(50))
@given(st.sets(st.text("abcdef", min_size=1, max_size=4), min_size=1, max_size=6), st.text("xyz", min_size=1))
def test_only_what_has_to_move_moves(names, more):
    before, after = shares(names), shares({*names, more})
    assert set(before) == set(range(PARTITIONS))
    assert all(after[number] in {before[number], more} for number in before)
    assert shares({*names, more} - {more}) == before


def test_everybody_gets_a_fair_share():
    held = list(shares({f"core-{at}" for at in range(4)}).values())
    assert all(6 <= held.count(name) <= 28 for name in set(held))
    assert len(set(held)) == 4


def test_a_member_lives_three_periods_without_news():
    members = Members("me")
    members.hear([entry("a", 1), entry("gateway", 2, Tier.ACCESS), entry("b", 3, every_s=1.0)], 100.0)
    assert members.living(102.9) == {"me", "a", "b"}
    assert members.living(103.1) == {"me", "a"}
    members.hear([entry("a", 1)], 150.0)  # no news: the same revision again
    assert members.living(161.0) == {"me"}
    members.hear([entry("a", 4)], 161.0)
    assert members.living(162.0) == {"me", "a"}
    members.hear([Entry("a", None, 5), Entry("b", b"nonsense", 6)], 162.0)
    assert members.living(162.0) == {"me"}


def test_one_of_whom_nothing_lives_is_given_up_until_he_says_something():
    members, orphans = Members("me"), Orphans(10.0)
    members.hear([entry("a", 1)], 0.0)
    wanted = {0: "a", 1: "a"}
    assert orphans.look(wanted, {0: "a"}, 0.0) == set()
    assert orphans.look(wanted, {}, 1.0) == set()
    assert orphans.look(wanted, {0: "a"}, 9.0) == set()  # he had more to open
    assert orphans.look(wanted, {}, 12.0) == set()
    assert orphans.look(wanted, {}, 23.0) == {"a"}
    assert members.give_up("a")
    assert not members.give_up("a")
    assert not members.give_up("me")
    assert members.living(23.0) == {"me"}
    members.hear([entry("a", 2)], 24.0)
    assert members.living(24.0) == {"me", "a"}
