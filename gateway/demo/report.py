"""What the demo says at its end, and the numbers that it shows while it runs."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from gateway.demo.oracle import Verdict
from gateway.demo.receiver import Receiver

DEVICE_PREFIX: Final = {"meters": "m", "sensors": "s", "bus": "d"}
"""How the names of an adapter's devices begin, see site.yaml."""


class Latency(msgspec.Struct, frozen=True, kw_only=True):
    """From a device's time stamp to the receiver, in ms; None if nothing arrived."""

    p50: float | None
    p99: float | None


class AdapterReport(msgspec.Struct, frozen=True, kw_only=True):
    """What an adapter says of itself."""

    samples: int
    errors: int
    link: str


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The object that ``onpath demo --json`` ends with."""

    duration_s: float
    samples_in: int
    """By the adapters' own count."""
    samples_out: int
    """Counted by the receiver, each record once."""
    messages_up: int
    bytes_up: int
    """Payloads, as they arrived."""
    bytes_raw_json: int
    """What the samples that came in would have cost as JSON objects of their own, see ``RawSizes``."""
    reduction: float | None
    """``bytes_raw_json / bytes_up``."""
    acknowledged: int
    lost: int
    doubled: int
    latency_ms: Latency
    adapters: dict[str, AdapterReport]
    cpu_s: float
    """The gateway's processor time, by the kernel's accounting."""
    rss_mb: float
    """The most memory that the gateway held."""


class Live(msgspec.Struct, kw_only=True):
    """The state of affairs while the demo runs."""

    elapsed_s: float = 0.0
    status: dict[str, Any] = {}
    """The gateway's own, by its control socket."""
    rates: dict[str, float] = {}
    """Samples a second by adapter, since the look before."""
    bytes_rate: float = 0.0
    """Bytes a second that arrive, since the look before."""


def adapters_of(status: dict[str, Any]) -> dict[str, AdapterReport]:
    """The part of a status that tells of adapters."""
    return {
        name: AdapterReport(samples=part["samples"], errors=part["errors"], link=part["link"])
        for name, part in status.get("adapters", {}).items()
    }


def raw_json_bytes(adapters: dict[str, AdapterReport], receiver: Receiver) -> int:
    """What everything that came in would have cost as JSON, by the sizes that the receiver measured."""
    return round(sum(part.samples * receiver.raw.mean(DEVICE_PREFIX.get(name, "")) for name, part in adapters.items()))


def report(
    *,
    duration_s: float,
    status: dict[str, Any],
    receiver: Receiver,
    verdict: Verdict,
    usage: tuple[float, float],
) -> Report:
    """Put everything together."""
    adapters = adapters_of(status)
    raw = raw_json_bytes(adapters, receiver)
    p50, p99 = receiver.latencies.percentile(50), receiver.latencies.percentile(99)
    return Report(
        duration_s=round(duration_s, 2),
        samples_in=sum(part.samples for part in adapters.values()),
        samples_out=receiver.samples,
        messages_up=receiver.messages,
        bytes_up=receiver.bytes,
        bytes_raw_json=raw,
        reduction=round(raw / receiver.bytes, 2) if receiver.bytes else None,
        acknowledged=verdict.acknowledged,
        lost=verdict.lost,
        doubled=verdict.doubled,
        latency_ms=Latency(p50=p50, p99=p99),
        adapters=adapters,
        cpu_s=round(usage[0], 2),
        rss_mb=round(usage[1], 1),
    )


def summary(final: Report, verdict: Verdict) -> str:
    """The report for people."""
    seconds = max(final.duration_s, 0.01)
    rate = final.samples_in / seconds
    sent = f"{final.samples_out:,} samples in {final.messages_up:,} messages, {final.bytes_up:,} bytes"
    less = f": {final.reduction:g} times less" if final.reduction else ""
    lines = [
        f"ran   {final.duration_s:g} s with {final.cpu_s:g} s of processor time and {final.rss_mb:g} MB",
        f"in    {final.samples_in:,} samples ({rate:,.0f}/s), {final.bytes_raw_json:,} bytes if sent as JSON",
        f"out   {sent}{less}",
        f"delay {final.latency_ms.p50} ms (median), {final.latency_ms.p99} ms (p99), device to receiver",
        f"kept  {final.acknowledged:,} acknowledged messages: {final.lost} lost, {final.doubled} doubled",
    ]
    if verdict.invented or verdict.malformed:
        lines.append(f"not as it should be: {verdict.invented} invented, {verdict.malformed} malformed")
    lines += [
        f"{name}: {part.samples:,} samples, {part.errors} errors, link {part.link}"
        for name, part in final.adapters.items()
    ]
    return "\n".join(lines)
