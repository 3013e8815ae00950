"""The gateway's own metrics: one table, two faces; a scrape is read back by Prometheus's own parser."""

from __future__ import annotations

import re

import numpy as np
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families as prometheus

from gateway.errors import ConfigError
from gateway.frame import Frame
from gateway.own.metrics import BALANCE, BY_NAME, METRICS, Shape
from gateway.own.prometheus import render
from gateway.own.readings import Readings
from gateway.point import Kind, Point
from tests.support.inside import inside, until
from tests.support.publish import publish

CONFIG = """
    adapters:
      bus:
        type: mqtt
        url: embedded
        subscribe: [{{topic: "site/{{device}}/t", points: {{v: {{limits: [0, 300]}}}}}}]
    broker: {{listen: "127.0.0.1:0"}}
    pipelines:
      live: {{from: ["**"], to: [out], steps: [{{limits: {{}}}}, {{deadband: {{percent: 1}}}}]}}
      load: {{from: ["**"], to: [live, gone], steps: [{{window: {{every: 1h, stats: [count]}}}}]}}
    uplinks:
      out: {{type: file, path: {0}/out, adapt: {{}}}}
      gone: {{type: http, url: "http://127.0.0.1:9", budget: {{size: 1MB}}}}
    alerts: {{high: {{points: "*/v", above: 250}}}}
    heartbeat: {{to: [out], every: 1h}}
    reduction: {{listen: "127.0.0.1:0"}}
"""
UNITS = {"seconds", "bytes", "ratio", "samples", "messages", "devices", "files", "second"}
NO_UNIT = {
    "health", "version", "points", "findings", "reload_done", "reload_failed", "reload_ok", "clock_synchronised",
    "clock_trusted", "clock_steps", "adapter_up", "adapter_errors", "device_up", "device_stale", "device_missed",
    "uplink_adapt_rungs", "uplink_adapt_changes",
    "step_bound", "uplink_up", "uplink_refused", "uplink_behind", "store_healthy", "store_commits", "store_failures",
    "store_damaged", "sums_jobs", "sums_rounds", "sums_fallbacks", "sums_repeats", "sums_refused",
    "broker_up", "alert_raised", "alert_pending", "alert_raises",
}  # fmt: skip
NOT_HERE = {
    "device_up", "device_missed", "device_period_asked_seconds", "device_period_achieved_seconds",
    "reload_timestamp_seconds", "clock_synchronised", "step_bound", "step_reason_samples",
    "uplink_adapt_carried_bytes_per_second", "uplink_adapt_target_bytes_per_second",
}  # fmt: skip
"""Metrics that this configuration, or this machine, has nothing to say of."""


def test_names_are_prometheus_and_say_their_unit():
    assert len(BY_NAME) == len(METRICS), "a name is there twice"
    for metric in METRICS:
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", metric.name)
        assert metric.name in NO_UNIT or metric.name.rpartition("_")[2] in UNITS, metric.name
        assert metric.help.endswith("."), metric.name
        assert metric.exposed.endswith("_total") is (metric.shape is Shape.COUNTER)
        units = {"seconds": "s", "bytes": "By", "ratio": "1", "second": "By/s"}
        assert metric.unit == units.get(metric.name.rpartition("_")[2], ""), metric.name


def test_points_are_named_by_thing_and_owner():
    found = {metric.name: metric.template for metric in METRICS}
    assert found["uplink_spool_samples"] == "onpath/uplink/{uplink}/spool_samples"
    assert found["uplink_spool_age_seconds"] == "onpath/uplink/{uplink}/spool_age"
    assert found["pipeline_reduction_ratio"] == "onpath/pipeline/{pipeline}/reduction_ratio"
    assert found["adapter_errors"] == "onpath/adapter/{adapter}/errors/{reason}"
    assert found["uptime_seconds"] == "onpath/uptime"
    assert found["process_cpu_seconds"] == "onpath/process/cpu"
    assert BY_NAME["step_in_samples"].point(("live", "0-limits")) == "onpath/step/live/0-limits/in_samples"
    assert BY_NAME["adapter_errors"].point(("bus", "too many")) == "onpath/adapter/bus/errors/too_many"
    assert len(set(found.values())) == len(found)


@pytest.fixture
async def running(tmp_path):
    async with inside(tmp_path, CONFIG.format(tmp_path)) as daemon:
        await until(lambda: daemon.adapters["bus"].stats.link == daemon.uplinks["out"].stats.link == "up")
        values = [("site/m1/t", {"v": 230.0 + (n % 10)}) for n in range(200)]
        port = int(daemon.adapters["bus"].config.url.rpartition(":")[2])
        await publish(port, [*values, ("site/m1/t", {"v": "?"}), ("site/m1/t", b"\xff{"), ("site/m1/t", {"v": 260})])
        live = daemon.intake.engine.graph.pipelines["live"]
        await until(lambda: live.samples_in == 202 and daemon.alerts.counts["warning"])
        await daemon.uplinks["out"].drained()
        await until(lambda: daemon.uplinks["out"].control)
        yield daemon


async def scrape(daemon, accept=""):
    body, kind = await render(daemon, accept)
    return body.decode(), kind


def samples(families):
    return {(s.name, tuple(s.labels.items())): s.value for family in families for s in family.samples}


async def test_a_scrape_is_what_prometheus_reads(running):
    text, kind = await scrape(running)
    assert kind.startswith("text/plain")
    families = {family.name: family for family in prometheus(text)}
    for metric in METRICS:
        name = f"onpath_{metric.name}"
        if name not in families:
            continue
        family = families[name]
        assert family.documentation == metric.help
        assert family.type == ("counter" if metric.shape is Shape.COUNTER else "gauge")
        for sample in family.samples:
            labels = {*metric.all_labels} | ({metric.name} if metric.shape is Shape.STATE else set())
            assert sample.labels.keys() == labels
            assert np.isfinite(sample.value)
    strange = set(families) - {f"onpath_{metric.name}" for metric in METRICS}
    assert not strange
    absent = {metric.name for metric in METRICS} - {name.removeprefix("onpath_") for name in families}
    assert absent <= NOT_HERE


async def test_openmetrics_for_who_asks(running):
    text, kind = await scrape(running, "application/openmetrics-text;version=1.0.0,text/plain;q=0.5")
    assert kind.startswith("application/openmetrics-text")
    assert text.endswith("# EOF\n")
    again, _ = await scrape(running)
    strict, loose = samples(open_metrics(text)), samples(prometheus(again))
    assert strict.keys() == loose.keys()


async def test_the_counters_of_a_scrape_balance(running):
    found = samples(prometheus((await scrape(running))[0]))

    def value(thing, word, *labels):
        suffix = "queued_samples" if word == "queued" else f"{word}_samples_total"
        return found[f"onpath_{thing}_{suffix}", labels]

    words = [word for word, _ in BALANCE if word not in {"in", "derived"}] + ["queued"]
    for pipeline in ("live", "load", "alert.high", "heartbeat"):
        label = ("pipeline", pipeline)
        total = sum(value("pipeline", word, label) for word in words)
        assert value("pipeline", "in", label) + value("pipeline", "derived", label) == total
    assert value("pipeline", "in", ("pipeline", "live")) == 202
    for step in ("0-limits", "1-deadband"):
        labels = ("pipeline", "live"), ("step", step)
        assert value("step", "in", *labels) == sum(value("step", word, *labels) for word in words)
    assert found["onpath_step_bound_ratio", (("pipeline", "live"), ("step", "1-deadband"))] == 0.01
    assert found["onpath_pipeline_queued_samples", (("pipeline", "load"),)] > 0


async def test_what_a_scrape_says_is_so(running):
    found = samples(prometheus((await scrape(running))[0]))
    assert found["onpath_adapter_up", (("adapter", "bus"),)] == 1
    assert found["onpath_uplink_up", (("uplink", "out"),)] == 1
    assert found["onpath_uplink_up", (("uplink", "gone"),)] == 0
    assert found["onpath_uplink_budget_bytes", (("uplink", "gone"),)] == 1_000_000
    assert found["onpath_alert_raised", (("severity", "warning"),)] == 1
    assert found["onpath_alert_raises_total", (("rule", "high"),)] == 1
    assert found["onpath_reload_ok", ()] == 1
    assert ("onpath_reload_timestamp_seconds", ()) not in found
    assert found["onpath_broker_up", ()] == 1
    assert found["onpath_process_memory_bytes", ()] > 1e7
    assert 0 < found["onpath_disk_free_ratio", ()] <= 1
    assert found["onpath_reduction_bytes_ratio", ()] > 0
    states = {labels[0][1]: value for (name, labels), value in found.items() if name == "onpath_health"}
    assert states.keys() == {"ok", "degraded", "failing"}
    assert sum(states.values()) == 1
    running.path.write_text("gateway: g1\nnonsense: 1\n")
    with pytest.raises(ConfigError):
        await running.reload()
    found = samples(prometheus((await scrape(running))[0]))
    assert (found["onpath_reload_ok", ()], found["onpath_reload_failed_total", ()]) == (0, 1)
    assert found["onpath_reload_timestamp_seconds", ()] > 1.7e9


async def test_every_reading_is_in_the_table_with_its_labels(running):
    for metric, labels, value in await Readings(running).read():
        assert len(labels) == len(BY_NAME[metric].all_labels), metric
        assert isinstance(value, str) is (BY_NAME[metric].shape is Shape.STATE), metric


async def test_own_points_are_not_part_of_everything(tmp_path):
    every = f"pipelines: {{all: {{from: '**', to: out}}}}\nuplinks: {{out: {{type: file, path: {tmp_path}/out}}}}\n"
    async with inside(tmp_path, every) as daemon:
        point = daemon.directory.make(Point(name="onpath/points", kind=Kind.GAUGE))
        other = daemon.directory.make(Point(name="m1/v"))
        await daemon.intake.emit(Frame.of([point, other], 1, [1.0, 2.0]))
        await daemon.intake.commit(checkpoint=True)
        status = await daemon.status()
        assert status["pipelines"]["all"]["in"] == 1
