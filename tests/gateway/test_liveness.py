"""Staleness: one rule over all protocols, on a clock that the test moves."""

import logging

import numpy as np
import pytest

from gateway import quality as q
from gateway.directory import Directory
from gateway.frame import Frame
from gateway.liveness import MANY, Liveness, stale_samples
from gateway.point import Point


class Owner:
    """An adapter's link, as the rule sees it."""

    def __init__(self, name="bus", said=None):
        self.name, self.said, self.down, self.stale = name, said, set(), {}

    def stale_after_s(self):
        return self.said

    def is_down(self, device):
        return device in self.down

    def note_stale(self, device, *, stale):
        self.stale[device] = stale


class Site:
    def __init__(self):
        self.directory = Directory()
        self.liveness = Liveness(self.directory)
        self.now = 1000.0

    def hear(self, owner, *names, quality=0):
        ids = [self.directory.add(Point(name=name)) for name in names]
        self.liveness.hear(owner, Frame.of(ids, 0, [1.0] * len(ids), quality), self.now)

    def wait(self, seconds, owner=None, *names):
        """Let time pass, checked every second; all that went stale, by point name."""
        gone = []
        for _ in range(seconds):
            self.now += 1
            for _, points in self.liveness.check(self.now):
                gone += [self.directory.name(p) for p in points.tolist()]
        return gone


@pytest.fixture
def site():
    return Site()


def test_a_device_is_stale_after_what_the_user_said(site, caplog):
    owner = Owner(said=10.0)
    site.hear(owner, "m1/p", "m1/u")
    assert site.wait(10) == []
    with caplog.at_level(logging.WARNING):
        assert sorted(site.wait(20)) == ["m1/p", "m1/u"]
    assert owner.stale == {"m1": True}
    assert [r.getMessage() for r in caplog.records] == [
        "device bus/m1: stale: nothing valid for 11 s, the limit is 10 s"
    ]


def test_zero_turns_it_off(site):
    owner = Owner(said=0.0)
    site.hear(owner, "m1/p")
    site.liveness.expect(owner, "m1", 1.0, site.now)
    assert site.wait(5000) == []


def test_three_periods_of_what_the_adapter_expects(site):
    owner = Owner()
    site.liveness.expect(owner, "m1", 10.0, site.now)
    site.hear(owner, "m1/p")
    assert site.wait(30) == []
    assert site.wait(1) == ["m1/p"]


def test_a_device_that_never_spoke_is_told_too(site, caplog):
    owner = Owner()
    site.liveness.expect(owner, "m9", 2.0, site.now)
    with caplog.at_level(logging.WARNING):
        assert site.wait(10) == []
    assert "m9: stale" in caplog.text
    assert owner.stale == {"m9": True}


def test_the_period_is_learned_where_nobody_says_it(site):
    owner = Owner()
    for _ in range(5):
        site.hear(owner, "m1/p")
        assert site.wait(20) == []
    assert site.wait(179) == []
    assert site.wait(2) == ["m1/p"]


def test_one_word_is_no_promise(site):
    owner = Owner()
    site.hear(owner, "m1/p")
    assert site.wait(100_000) == []


def test_invalid_samples_are_not_heard(site):
    owner = Owner(said=5.0)
    site.hear(owner, "m1/p")
    gone = []
    for _ in range(10):
        site.hear(owner, "m1/p", quality=q.INVALID | q.FAILURE)
        gone += site.wait(1)
    assert gone == ["m1/p"]


def test_it_comes_back_with_one_line(site, caplog):
    owner = Owner(said=5.0)
    site.hear(owner, "m1/p")
    site.wait(10)
    site.hear(owner, "m1/p")
    caplog.clear()
    with caplog.at_level(logging.INFO):
        site.wait(3)
    assert owner.stale == {"m1": False}
    assert [r.getMessage() for r in caplog.records] == ["device bus/m1: heard again after 10 s"]
    assert site.wait(10) == ["m1/p"]


def test_a_device_that_is_known_to_be_down_is_left_alone(site):
    owner = Owner(said=5.0)
    site.hear(owner, "m1/p")
    owner.down.add("m1")
    assert site.wait(20) == []


def test_derived_points_are_not_the_devices(site):
    owner = Owner(said=5.0)
    site.directory.add(Point(name="m1/p#mean"))
    site.hear(owner, "m1/p")
    assert site.wait(20) == ["m1/p"]


def test_many_at_once_are_one_line(site, caplog):
    owner = Owner(said=5.0)
    site.hear(owner, *(f"m{n}/p" for n in range(MANY + 1)))
    with caplog.at_level(logging.WARNING):
        assert len(site.wait(20)) == MANY + 1
    assert len(caplog.records) == 1
    assert f"{MANY + 1} devices are stale" in caplog.text


def test_a_stop_of_the_whole_process_makes_nobody_stale(site):
    owner = Owner(said=5.0)
    site.hear(owner, "m1/p")
    site.wait(3)
    site.now += 3600
    assert site.wait(2) == []
    assert site.wait(5) == ["m1/p"]


def test_an_adapter_that_stops_takes_its_devices_along(site):
    owner, other = Owner(said=5.0), Owner("other", said=5.0)
    site.hear(owner, "m1/p")
    site.hear(other, "m2/p")
    site.liveness.forget(owner)
    assert site.wait(20) == ["m2/p"]
    site.hear(owner, "m1/p")
    assert site.wait(20) == ["m1/p"]


def test_what_stale_samples_say():
    frame = stale_samples(np.array([3, 4], np.int32), 77)
    assert frame.time.tolist() == [77, 77]
    assert [q.to_text(word) for word in frame.quality.tolist()] == ["invalid,old-data"] * 2
    assert [q.reason_text(code) for code in q.reason_codes(frame.value).tolist()] == ["stale"] * 2
