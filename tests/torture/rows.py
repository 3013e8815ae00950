"""What must be survived, with what shows it: devices and network, then the disk, the machine, and the ways upstream."""

from __future__ import annotations

from typing import Final

from tests.torture.bench import Scenario, Story, counts, once
from tests.torture.scenarios import core, datagrams, hubs, links, network, process, reduction
from tests.torture.tests_as_scenarios import Tests

_MODBUS, _MQTT, _COAP = "tests/adapters/modbus", "tests/adapters/mqtt", "tests/adapters/coap"
_UPLINKS, _STORE = "tests/gateway/uplinks", "tests/gateway/store"

_INPUT: Final[tuple[Scenario, ...]] = (
    Tests(
        "kill",
        "kill -9 under load: nothing acknowledged lost, nothing doubled after removal by id",
        ("tests/torture/test_kill.py",),
        counts(20, 200, 2_000, 10_000),
        "ONPATH_KILLS",
    ),
    Tests(
        "malformed",
        "no unhandled exception, no stall over 100 ms, memory flat, each protocol and format",
        (
            f"{_MQTT}/test_malformed.py",
            f"{_MQTT}/sparkplug/test_malformed.py",
            f"{_COAP}/test_malformed.py",
            f"{_COAP}/lwm2m/test_lwm2m_tlv.py",
            f"{_COAP}/lwm2m/test_lwm2m_contents.py",
            "tests/gateway/wire/test_malformed.py",
        ),
        counts(10_000, 10_000, 1_000_000, 10_000_000),
        "ONPATH_MALFORMED",
    ),
    Tests(
        "wrong-answers",
        "late answers, to another question, with the wrong count: no value attributed to another point",
        (f"{_MODBUS}/test_hostile.py", f"{_MODBUS}/test_faulty.py", f"{_MODBUS}/test_misbehaviour.py"),
        counts(100_000, 100_000, 1_000_000, 10_000_000),
        "ONPATH_HOSTILE",
    ),
    Tests(
        "oversize",
        "oversize packets, 100,000 nested arrays, floods of blocks: refused before allocation",
        (f"{_COAP}/test_bodies.py", f"{_MQTT}/test_flood.py", "tests/adapters/payloads/test_values.py"),
        once(),
    ),
    Tests(
        "operators",
        "operators over any frames, ticks, cuts, reloads and trees: what the references give, and never an exception",
        tuple(
            f"tests/pipelines/test_{name}.py" for name in ("contract", "formula", "merge", "partials_late", "runner")
        ),
        counts(25, 100, 400, 4_000),
        "ONPATH_TRIALS",
    ),
    Story("device-side-silent", "seen within 30 s, nothing lost", links.device_side_silent, counts(1, 5, 50, 500)),
    Story("broker-bounced", "back-off, no tight loop, resubscribed", links.broker_bounced, counts(3, 100, 100, 1_000)),
    Story(
        "bad-datagrams",
        "CoAP pushes through loss, doubling, reordering: acknowledged ones arrive once",
        datagrams.bad_datagrams,
        counts(200, 2_000, 20_000, 200_000),
    ),
    Story("bad-network", "nothing lost, doubled, invented", links.bad_network, counts(10, 100, 1_000, 10_000)),
)

_DISK: Final[tuple[Scenario, ...]] = (
    Tests(
        "storage-calls",
        "kill at every storage call, and every call failing: recovers at each",
        (
            "tests/torture/test_faults.py::test_a_kill_at_every_storage_call_is_recovered_from",
            "tests/torture/test_faults.py::test_any_call_may_fail_once",
        ),
        counts(24, 200, 2_000, 2_000),
        "ONPATH_FAULTS",
    ),
    Tests(
        "power-cuts",
        "unsynced writes dropped, torn, reordered: nothing acknowledged lost, nothing doubled",
        ("tests/torture/test_faults.py::test_power_cuts_lose_nothing_and_double_nothing",),
        counts(60, 500, 5_000, 20_000),
        "ONPATH_POWER_CUTS",
    ),
    Tests(
        "bit-flips",
        "found, costs one record, a loss marker, never stops the start",
        (f"{_STORE}/test_damage.py",),
        counts(60, 500, 5_000, 50_000),
        "ONPATH_FLIPS",
    ),
    Tests(
        "sync-fails",
        "a sync fails: no acknowledgement after it, never tried again there, unhealthy, watchdog not fed",
        ("tests/gateway/test_outage.py",),
        once(),
    ),
    Tests("disk-full", "no crash, named policy, resumes within 5 s", ("tests/torture/test_full.py",), once()),
    Tests("flash", "the loss window that is stated, ids that stay true", ("tests/torture/test_flash.py",), once()),
)

_MACHINE: Final[tuple[Scenario, ...]] = (
    Tests(
        "clock",
        "steps of an hour and ten years, a start in 1970: no timer moves, order by sequence, samples say so",
        ("tests/gateway/test_clock.py", "tests/gateway/test_intake.py"),
        once(),
    ),
    Story("stopped-world", "recovers from 5 s of SIGSTOP", process.stopped_world, counts(1, 5, 50, 500)),
    Story("no-descriptors", "no spin, recovers", process.no_descriptors, counts(1, 5, 50, 500)),
    Story("short-memory", "goes on or restarts, loses nothing", process.short_memory, counts(1, 5, 50, 500)),
    Story("sigterm", "clean within 10 s under load", process.ended_under_load, counts(2, 20, 200, 2_000)),
    Tests(
        "two-daemons",
        "the second on one state folder refuses",
        ("tests/gateway/test_daemon.py::test_a_second_daemon_on_the_same_state_refuses",),
        once(),
    ),
    Story("soak", "memory flat, descriptors constant", process.soak, counts(12, 300, 3_600, 259_200)),
)

_UPSTREAM: Final[tuple[Scenario, ...]] = (
    Story("upstream-gone", "bounded disk, drained fast, live first", links.upstream_gone, counts(8, 60, 600, 86_400)),
    Story("half-open", "seen within 30 s, memory bounded", links.half_open, counts(1, 5, 50, 500)),
    Story("one-way", "seen within 30 s, nothing doubled by id", links.one_way, counts(1, 5, 50, 500)),
    Story("slow-receiver", "memory bounded at 1 kB/s", links.slow_receiver, counts(8, 60, 600, 3_600)),
    Tests(
        "hub-killed",
        "NATS hub killed and back, or set back: 0 lost, 0 doubled, acknowledged within 2 s",
        (f"{_UPLINKS}/jetstream/test_loss.py", f"{_UPLINKS}/jetstream/test_daemon.py"),
        once(),
    ),
    Story(
        "hubs-killed",
        "of three hubs one after the other killed and back: 0 lost, 0 doubled",
        hubs.killed_one_after_the_other,
        counts(2, 6, 60, 600),
    ),
    Tests(
        "receiver-killed",
        "the receiver writes each batch once",
        ("tests/gateway/receive/test_receive_killed.py",),
        counts(3, 20, 200, 2_000),
        "ONPATH_RECEIVER_KILLS",
    ),
    Tests(
        "chain-killed",
        "a gateway behind a gateway, each killed in turn: nothing lost, nothing doubled",
        ("tests/adapters/frame/test_chain_killed.py",),
        counts(2, 20, 200, 2_000),
        "ONPATH_CHAIN_KILLS",
    ),
    Story(
        "core-workers",
        "workers of the core killed, 1 to 2 to 4 to 2 of them: no sample lost or doubled, sums exact",
        core.core_workers,
        counts(4, 40, 400, 4_000),
    ),
    Story(
        "network",
        "windows while nodes, hub and controller are killed, links cut, work moved: exactly what the edges accepted",
        network.killed_cut_and_moved,
        counts(12, 40, 200, 2_000),
    ),
    Story(
        "reduction-killed",
        "a node of the tree, or its root, killed or frozen mid-round: weights bit for bit those of one process",
        reduction.killed_nodes,
        counts(4, 20, 200, 2_000),
    ),
    Tests(
        "reduction-orders",
        "messages of a reduction in any order, links and nodes lost at any time: exact sums, and it always ends",
        ("tests/gateway/reduction/test_job.py",),
        counts(200, 2_000, 20_000, 200_000),
        "ONPATH_REDUCTIONS",
    ),
)

SCENARIOS: Final[tuple[Scenario, ...]] = (*_INPUT, *_DISK, *_MACHINE, *_UPSTREAM)
