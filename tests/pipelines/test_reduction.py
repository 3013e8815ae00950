"""What reducing does to the demo's real series: bounds are kept and totals exact, as a receiver has them."""

from __future__ import annotations

import pytest

from tests.benchmarks import reduction


@pytest.mark.parametrize("site", reduction.SITES)
def test_bounds_are_kept_and_totals_exact(site):
    """Four days of each file; what is measured raises by itself where a bound is broken or a total is not exact."""
    rows = reduction.measured(site, percents=(1.0,), rows=4 * 96)
    assert [row.name for row in rows] == [
        f"reduction-{site}-{kind}" for kind in ("none", *(f"{k}-1%" for k in reduction.KINDS))
    ]
    for row in rows[1:]:
        assert 0 < row.details["largest_error_percent"] <= 1.0 + 1e-6
        assert row.details["json_bytes"] < row.details["raw_json_bytes"]
        assert row.details["frame_bytes"] * 10 < row.details["raw_json_bytes"]


@pytest.mark.parametrize("kind", reduction.KINDS)
def test_a_broken_bound_or_total_is_found(kind):
    """The measurement itself: an error above the bound, and a sum that is off by one step, are no figures."""
    series = reduction.Series("office", 96)
    run = reduction.Reduced(series, kind, 2.0)
    run.percent = run.largest / 2
    with pytest.raises(RuntimeError, match="is off by"):
        run._largest_error()
    series.values[7, 2] += series.resolution
    with pytest.raises(RuntimeError, match="#sum"):
        run._check_totals()
