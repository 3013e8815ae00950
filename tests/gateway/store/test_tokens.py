"""Tokens of wire messages: durable with the frame, bounded in memory and on disk."""

import numpy as np

from gateway.engine import Group
from gateway.frame import Frame
from gateway.point import Point
from gateway.store import tokens as module
from gateway.store.tokens import RecentTokens
from tests.support.build import config_of, engine_over

CONFIG = config_of("{gateway: g, state: /x}")


def numbers(*values):
    return np.array(values, np.uint64)


def test_tokens_survive_a_restart_with_their_frame(tmp_path):
    engine = engine_over(tmp_path, CONFIG)
    engine.directory.add(Point(name="p"))
    engine.commit(Group([Frame.of([0], 1, [1.0])], tokens=[("a", numbers(1, 2)), ("b", numbers(3))]), 0)
    engine.commit(Group([Frame.of([0], 2, [1.0])], tokens=[("a", numbers(2**64 - 1))]), 0)
    engine.store.close()
    again = engine_over(tmp_path, CONFIG)
    assert again.recent.known("a", numbers(1, 2, 3, 2**64 - 1)).tolist() == [True, True, False, True]
    assert again.recent.known("b", numbers(3, 1)).tolist() == [True, False]
    assert again.recent.known("c", numbers(1)).tolist() == [False]
    again.store.close()


def test_only_the_newest_are_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "KEPT", 10)
    recent = RecentTokens({})
    engine = engine_over(tmp_path, CONFIG)
    engine.directory.add(Point(name="p"))
    for n in range(20):
        recent.add("a", numbers(n))
        engine.commit(Group([Frame.of([0], n, [1.0])], tokens=[("a", numbers(n))], checkpoint=True), 0)
    assert recent.known("a", numbers(9, 10, 19)).tolist() == [False, True, True]
    kept = np.concatenate(engine.store.tokens.read()["a"])
    assert kept.tolist() == list(range(10, 20))
    engine.store.close()
