"""A real daemon, a real broker, and a proxy between them that lets so many bytes a second through."""

from __future__ import annotations

import pytest

from tests.benchmarks.budget_link import STATED, throttled


@pytest.mark.alone
async def test_a_throttled_link_is_used_and_not_flooded(tmp_path):
    """Short; how much of the link is used once it is steady is shown by the benchmark ``link-budget``."""
    shown = await throttled(tmp_path, (0.3,), 14.0)
    adapt = shown.adapt[0.3]
    assert adapt["widening"] > 1
    assert adapt["carried"] < 0.6 * shown.need  # found out by itself, and nowhere near what it was before
    assert adapt["waiting"] < 10 * 0.3 * shown.need  # nothing piles up
    assert 0.3 <= shown.uses[0.3] <= 1.1
    assert shown.total == shown.emitted
    assert min(shown.bounds) == 0.5
    assert 2.0 < max(shown.bounds) <= STATED
