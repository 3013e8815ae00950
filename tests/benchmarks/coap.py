"""Row: a thousand observed resources on a hundred devices, the whole gateway beside a bare aiocoap client."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tests.benchmarks import gateway
from tests.benchmarks.child import Child
from tests.benchmarks.modbus import UPLINK
from tests.benchmarks.rows import Bench, Row, costs

RESOURCES = 10
"""Of each device."""


def adapter(ports: Sequence[str]) -> str:
    """One adapter for all devices."""
    observed = ", ".join(f"r{n}: {{path: /r{n}, limits: [0, 300]}}" for n in range(RESOURCES))
    lines = [f"      d{n}: {{url: 'coap://127.0.0.1:{port}', observe: {{{observed}}}}}" for n, port in enumerate(ports)]
    return "adapters:\n  sensors:\n    type: coap\n    devices:\n" + "\n".join(lines) + "\n"


async def rows(bench: Bench) -> list[Row]:
    """CPU a notification, in interleaved rounds."""
    sizes = bench.sizes
    ours, bare, kept = [], [], 0.0
    for number in range(sizes.rounds):
        cost, kept = await _gateway(bench.folder / f"round{number}", sizes.observed, sizes.notifications)
        ours.append(cost)
        bare.append(await _bare(sizes.observed, sizes.notifications))
    return [
        costs(
            "coap-observe", ours, bare, "us/notification", 1.5,
            notes=f"{sizes.observed * RESOURCES} resources on {sizes.observed} devices",
            details={"kept": round(kept, 4), "notifications": sizes.notifications},
        )
    ]  # fmt: skip


async def _gateway(folder: Path, devices: int, count: int) -> tuple[float, float]:
    """Microseconds a notification, and the share of samples that went up."""
    observed = devices * RESOURCES
    async with Child("coap_devices", devices, RESOURCES) as site:
        config = adapter(await site.hears("listening"))
        config += gateway.REDUCE + UPLINK.format(path=folder.with_suffix(".up"))
        async with gateway.running(folder, config) as daemon:
            await site.hears("observed")
            await gateway.settled(daemon, lambda s: gateway.through(s, observed, observed))
            before = gateway.cpu_s(daemon)
            site.tell(f"go {count}")
            await site.hears("sent")
            total = observed + count
            status = await gateway.settled(daemon, lambda s: gateway.through(s, total, total))
            cost = (gateway.cpu_s(daemon) - before) / count
            gateway.check(status, total)
    return 1e6 * cost, status["pipelines"]["live"]["out"] / total


async def _bare(devices: int, count: int) -> float:
    async with Child("coap_devices", devices, RESOURCES) as site:
        ports = await site.hears("listening")
        async with Child("coap_observer", RESOURCES, *ports) as observer:
            await site.hears("observed")
            before = observer.cpu_s
            site.tell(f"go {count}")
            await site.hears("sent")
            return 1e6 * (observer.cpu_s - before) / count
