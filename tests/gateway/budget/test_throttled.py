"""A real daemon, a real broker, and between them a link that carries so many bytes a second."""

from __future__ import annotations

import pytest

from tests.support.throttled import STATED, throttled


@pytest.mark.alone
async def test_a_throttled_link_is_used_and_not_flooded(tmp_path):
    """Short; how much of the link is used once it is steady is shown by the benchmark ``link-budget``."""
    shown = await throttled(tmp_path, ((0.3, 12.0),))
    (phase,) = shown.phases
    assert phase.adapt["widening"] > 1
    assert phase.adapt["carried"] < 0.6 * shown.need  # found out by itself, and nowhere near what it was before
    assert phase.adapt["waiting"] < 10 * phase.carries  # nothing piles up
    assert 0.3 <= phase.use <= 1.1
    assert shown.total == shown.emitted
    assert min(shown.told) == 0.5
    assert 2.0 < max(shown.told) <= STATED
    assert shown.violations == 0
    assert shown.worst > 0.5  # the measure is no empty one
