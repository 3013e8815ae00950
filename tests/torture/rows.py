"""Every row of the table of what must be survived, with what shows it, in the order of the table."""

from __future__ import annotations

from typing import Final

from tests.torture.bench import Scenario, Story, counts, once
from tests.torture.scenarios import links, process
from tests.torture.tests_as_scenarios import Tests

SCENARIOS: Final[tuple[Scenario, ...]] = (
    Tests(
        "kill",
        "kill -9 under load: nothing acknowledged lost, nothing doubled after removal by id",
        ("tests/torture/test_kill.py",),
        counts(20, 200, 2_000, 10_000),
        "ONPATH_KILLS",
    ),
    Story("upstream-gone", "bounded disk, drained fast, live first", links.upstream_gone, counts(8, 60, 600, 86_400)),
    Story("half-open", "seen within 30 s, memory bounded", links.half_open, counts(1, 5, 50, 500)),
    Story("one-way", "seen within 30 s, nothing doubled by id", links.one_way, counts(1, 5, 50, 500)),
    Story("device-side-silent", "seen within 30 s, nothing lost", links.device_side_silent, counts(1, 5, 50, 500)),
    Story("slow-receiver", "memory bounded at 1 kB/s", links.slow_receiver, counts(8, 60, 600, 3_600)),
    Story("bad-network", "nothing lost, doubled, reordered", links.bad_network, counts(10, 100, 1_000, 10_000)),
    Story("broker-bounced", "back-off, no tight loop, resubscribed", links.broker_bounced, counts(3, 100, 100, 1_000)),
    Story("stopped-world", "recovers from 5 s of SIGSTOP", process.stopped_world, counts(1, 5, 50, 500)),
    Story("no-descriptors", "no spin, recovers", process.no_descriptors, counts(1, 5, 50, 500)),
    Story("sigterm", "clean within 10 s under load", process.ended_under_load, counts(2, 20, 200, 2_000)),
    Tests(
        "two-daemons",
        "the second on one state folder refuses",
        ("tests/gateway/test_daemon.py::test_a_second_daemon_on_the_same_state_refuses",),
        once(),
    ),
    Story("soak", "memory flat, descriptors constant", process.soak, counts(12, 300, 3_600, 259_200)),
)
