"""The scenario of the hubs at its smallest: a kill, and another when the first is back."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.torture.scenarios.hubs import killed_one_after_the_other


@pytest.mark.timeout(300)
async def test_of_three_hubs_one_after_the_other_is_killed(tmp_path: Path) -> None:
    outcome = await killed_one_after_the_other(2, tmp_path)
    assert outcome.failures == []
    print(outcome.facts)
