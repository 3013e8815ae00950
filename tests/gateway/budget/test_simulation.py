"""Real data over a link that carries 100, 50, 20, 10 and 80 %: the real operators, a virtual clock.

The whole scenario, and more sites of other data, are the benchmark ``link-budget``.
"""

from __future__ import annotations

import itertools

import pytest

from tests.benchmarks.budget_simulation import FLOATS, STATED, Site, phases


@pytest.mark.parametrize("told", [True, False])
def test_the_link_is_used_and_never_flooded_and_no_bound_is_broken(told):
    run, found = phases(Site(seed=0 if told else 21, seconds=160), told=told)
    uses = {phase.part: phase.use for phase in found}
    assert all(0.75 <= use <= 0.90 for use in uses.values()), uses
    halvings = [phase for before, phase in itertools.pairwise(found) if phase.part < before.part]
    assert len(halvings) == 3
    assert all(phase.drained_s <= 30 for phase in halvings), [phase.drained_s for phase in halvings]
    assert max(phase.largest for phase in found) <= 1 + FLOATS
    assert max(phase.largest for phase in found) > 0.9  # the measure is no empty one
    assert max(run.told) <= STATED
    assert 0.5 in run.told  # from the configured bound on
    assert max(run.told) > 20
    assert run.got == run.came
    assert run.came["s/0#count"] == 10 * run.second
    means = {phase.part: phase.mean_error for phase in found}
    assert means[1.0] < means[0.5] < means[0.2] < means[0.1] > means[0.8]
