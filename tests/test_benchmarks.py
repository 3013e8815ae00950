"""The benchmarks with tiny sizes: every row is measured, and nothing is lost on the way. No times are judged."""

import asyncio
import json
import math

import pytest

from tests.benchmarks import gateway, run
from tests.benchmarks.machine import cpu_s, file_system, on_disk
from tests.benchmarks.rows import TINY, Row, costs

ROWS = {
    "mqtt-qos0": {"mqtt-qos0"},
    "mqtt-qos1": {"mqtt-qos1"},
    "mqtt-paced": {"mqtt-qos0-paced", "mqtt-qos1-paced"},
    "mqtt-mosquitto": {"mqtt-qos0-mosquitto", "mqtt-qos1-mosquitto"},
    "mqtt-window": {"mqtt-window"},
    "mqtt-window-mosquitto": {"mqtt-window-mosquitto"},
    "mqtt-wide": {"mqtt-topics-50", "mqtt-payload-64k"},
    "mqtt-adapter": {"mqtt-adapter-qos0", "mqtt-adapter-qos1"},
    "modbus": {"modbus-uint16", "modbus-float32", "modbus-adapter-uint16", "modbus-adapter-float32"},
    "modbus-reads": {"modbus-reads"},
    "modbus-isolation": {"modbus-isolation"},
    "modbus-fleet": {"modbus-fleet"},
    "coap": {"coap-observe"},
    "pipeline": {"pipeline-1000", "pipeline-10000"},
    "window-points": {"window-points"},
    "typical-chain": {"typical-chain", "typical-chain-points", "typical-chain-state"},
    "latency": {"latency-800-50ms", "latency-800-5ms"},
    "memory": {"memory", "memory-derived"},
    "start": {"start", "start-390"},
    "receive": {"receive-frame", "receive-json", "receive-parquet", "receive-gateway"},
    "metrics": {"metrics-scrape", "alert-step"},
    "allreduce": {f"allreduce-{what}" for what in ("bytes", "json", "round", "killed", "packing")},
    "history": {"history-query", "history-size", "history-compact"},
    "store": {"store-journal", "store-cpu"},
    "store-cost": {"store-written", "store-share"},
    "store-recovery": {"recovery-spool", "recovery-journal"},
    "backlog": {"backlog", "backlog-live"},
    "carrier": {"carrier-local-publish", "carrier-local-alone", "carrier-local-hop"}
    | {"carrier-nats-publish", "carrier-nats-alone", "carrier-nats-read", "carrier-nats-hop"},
    "codec": {f"codec-size-{period}" for period in ("day", "week")}
    | {f"codec-{what}-{size}" for what in ("encode", "decode") for size in (100, 1000, 2000, 10_000)}
    | {f"codec-small-{size}" for size in (10, 30, 100)},
}
DIFFERENCES = {"console-nobody", "console-browsers"}
"""What one gateway costs more than another in the same seconds: on a busy machine chance may favour either."""
COUPLED = {"mqtt-qos0", "mqtt-qos1", "mqtt-qos0-paced", "mqtt-qos1-paced", "modbus-uint16", "modbus-float32"}


@pytest.mark.parametrize("name", run.GROUPS)
def test_every_row_is_measured_and_nothing_is_lost_in_it(name):
    if name not in run.possible([name]):
        pytest.skip("needs mosquitto")
    found, machine = asyncio.run(run.measure([name], TINY))
    assert machine["cores"] >= 1
    assert machine["fsync_ms"] > 0
    rows = found[name]
    assert rows, "could not be measured; standard error says why"
    names = {row.name for row in rows}
    assert names == ROWS.get(name, names)
    assert len(names) == len(rows)
    for row in rows:
        assert math.isfinite(row.measured)
        # The kernel counts CPU in ticks of 10 ms: tiny runs may take none
        assert row.measured >= 0 or row.name in DIFFERENCES
        assert row.unit
        assert (row.ok is None) == (not row.bar)
        assert row.reference is None or row.reference >= 0
        assert (row.ratio is None) == (row.reference is None)
    nothing_is_lost({row.name: row for row in rows})


def nothing_is_lost(rows):
    for name in COUPLED & rows.keys():
        assert 0 < rows[name].details["kept"] < 1, name
    for name in {"latency-800-50ms", "latency-800-5ms"} & rows.keys():
        assert rows[name].details["samples"] >= 200
        assert 0 < rows[name].details["p50_ms"] <= rows[name].measured
    if "store-journal" in rows:
        assert rows["store-journal"].details["samples"] == 5_000
    if "memory-derived" in rows:
        assert rows["memory-derived"].details["points"] == 6 * rows["memory"].details["points"]


def status(**row):
    counted = {"in": 4, "derived": 0, "out": 4, "filtered": 0, "aggregated": 0, "dropped": 0, "queued": 0} | row
    return {
        "adapters": {"bus": {"errors": 0, "reasons": {}}},
        "pipelines": {"live": counted},
        "store": {"lost_samples": 0},
        "uplinks": {"up": {"spool": {"lost": 0}}},
    }


def test_a_run_that_loses_something_is_no_measurement():
    gateway.check(status(), 4)
    for wrong in (status(out=3), status(dropped=1, out=3)):
        with pytest.raises(RuntimeError, match="pipeline live"):
            gateway.check(wrong, 4)
    with pytest.raises(RuntimeError, match="4 samples of 5"):
        gateway.check(status(), 5)
    for place in (("store", "lost_samples"), ("uplinks", "up", "spool", "lost")):
        wrong = inner = status()
        for key in place[:-1]:
            inner = inner[key]
        inner[place[-1]] = 7
        with pytest.raises(RuntimeError, match="7 samples lost"):
            gateway.check(wrong)


def test_a_bar_is_judged_by_the_medians():
    row = costs("x", [2.0, 9.0, 3.0], [1.0, 2.0, 0.1], "us", 2.9)
    assert (row.measured, row.reference, row.ratio, row.ok) == (3.0, 1.0, 3.0, False)
    assert row.notes == "rounds 2/9/3 to 1/2/0.1"
    assert costs("x", [2.0, 9.0, 3.0], [1.0, 2.0, 0.1], "us", 3.0).ok
    assert costs("x", [2.0], [1.0], "us", None).ok is None


def test_the_table_and_the_object_say_the_same(capsys, monkeypatch):
    async def good(bench):
        return [Row(name="slow", measured=3, reference=1, ratio=3, unit="us", bar="at most 2x", ok=False)]

    async def bad(bench):
        raise RuntimeError("no broker")

    monkeypatch.setitem(run.GROUPS, "codec", good)
    assert run.main(["--quick", "--json", "codec"]) == 0, "a bar that is missed is no failure of the run"
    printed = capsys.readouterr().out
    result = json.loads(printed.splitlines()[-1])
    assert result["missed"] == ["slow"]
    assert result["failed"] == []
    assert "MISSED" in printed
    assert result["rows"][0]["ratio"] == 3
    monkeypatch.setitem(run.GROUPS, "history", bad)
    assert run.main(["--json", "codec", "history"]) == 1
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["failed"] == ["history"]


def test_rows_are_chosen_by_the_beginning_of_their_name():
    assert run.chosen(["mqtt-qos"], quick=False) == ["mqtt-qos0", "mqtt-qos1"]
    assert run.chosen(["modbus-uint16"], quick=True) == ["modbus"]
    assert run.chosen(["nothing"], quick=False) == []
    assert set(run.chosen([], quick=True)) == run.GROUPS.keys() - run.QUICK_LEAVES_OUT
    with pytest.raises(SystemExit):
        run.main(["nothing"])


def test_cpu_is_the_systems_own_account():
    import os
    import time

    before, until = cpu_s(os.getpid()), time.process_time() + 0.1
    while time.process_time() < until:
        pass
    assert 0.07 <= cpu_s(os.getpid()) - before <= 0.2
    assert file_system(on_disk()) not in {"tmpfs", ""}
