"""The metrics as Prometheus reads them: its text format, or OpenMetrics for who asks for it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

from gateway.own.metrics import BY_NAME, Metric, Reading, Shape

if TYPE_CHECKING:
    from prometheus_client import Metric as Family

    from gateway.inside import Inside

OPEN_METRICS: Final = "application/openmetrics-text"


async def render(inside: Inside, accept: str = "") -> tuple[bytes, str]:
    """Body and content type of an answer to a request with this ``Accept``."""
    readings = await inside.own.readings.read()
    return await asyncio.to_thread(written, readings, accept)


def written(readings: Sequence[Reading], accept: str = "") -> tuple[bytes, str]:
    """The same of readings that are there; takes a millisecond for a thousand, so that it belongs into a thread."""
    from prometheus_client import CollectorRegistry, exposition
    from prometheus_client.openmetrics import exposition as openmetrics
    from prometheus_client.registry import Collector

    class Once(Collector):
        """These readings."""

        def collect(self) -> Iterator[Family]:
            return families(readings)

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Once())
    if OPEN_METRICS in accept:
        body: bytes = openmetrics.generate_latest(registry)  # type: ignore[no-untyped-call]
        return body, openmetrics.CONTENT_TYPE_LATEST
    return exposition.generate_latest(registry), exposition.CONTENT_TYPE_LATEST


def families(readings: Iterable[Reading]) -> Iterator[Family]:
    """One for each metric that has a reading."""
    found: dict[str, list[Reading]] = {}
    for reading in readings:
        found.setdefault(reading.metric, []).append(reading)
    for name, rows in found.items():
        metric = BY_NAME[name]
        yield _state(metric, rows) if metric.shape is Shape.STATE else _numbers(metric, rows)


def _numbers(metric: Metric, rows: Iterable[Reading]) -> Family:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    kind = CounterMetricFamily if metric.shape is Shape.COUNTER else GaugeMetricFamily
    family = kind(f"onpath_{metric.name}", metric.help, labels=metric.all_labels)
    for _, labels, value in rows:
        family.add_metric(labels, float(value))
    return family


def _state(metric: Metric, rows: Iterable[Reading]) -> Family:
    """A series for each text that is known, 1 for the one that holds; of texts that are not, only that one."""
    from prometheus_client.core import GaugeMetricFamily

    family = GaugeMetricFamily(f"onpath_{metric.name}", metric.help, labels=(*metric.all_labels, metric.name))
    for _, labels, value in rows:
        for text in metric.texts or (str(value),):
            family.add_metric((*labels, text), float(text == value))
    return family
