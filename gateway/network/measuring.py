"""What a node says of itself, measured: CPU, disk, links, and what its stages did since the last advert."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import psutil

from gateway import __version__
from gateway.network.advert import Advert, LinkFacts, StageFacts
from gateway.network.calibration import Calibration, calibrated
from gateway.network.config import Tier
from gateway.network.extended import chain_for
from gateway.network.names import UPLINK, stage_of
from pipelines.base import Selector

if TYPE_CHECKING:
    from gateway.inside import Inside
    from gateway.network.config import NetworkConfig
    from gateway.network.node import Network

LOOK_S: Final = 1.0
CHANGE: Final = 0.1
"""What part of the cores must have come or gone for an advert out of turn."""
LEAST_PART: Final = 0.05
"""Of the cores that services have in any case: of a busy machine everybody has a share."""
LEAST_S: Final = 2.0
"""Between two adverts."""
FULL_SPOOL_S: Final = 60.0
"""Older than this, and the node says that it is not well."""


class Measuring:
    """Of one node, from when it is in the network."""

    def __init__(self, inside: Inside, network: Network, options: NetworkConfig) -> None:
        self._inside, self._network, self._options = inside, network, options
        self._boot = time.time_ns()
        self._number = 0
        self._calibration = Calibration("", 1.0, {})
        self._before: dict[str, tuple[float, float, float, float]] = {}
        """By pipeline: samples in, samples out, bytes, CPU s, all since the start."""
        self._at_s = 0.0
        self._came = 0
        self._sent = 0
        self._selectors: dict[tuple[str, ...], Selector] = {}
        self._said: tuple[float, bool] = (0.0, True)
        self._process = psutil.Process()
        psutil.cpu_percent()
        self._process.cpu_percent()

    async def calibrate(self) -> None:
        """Measure what operators cost here, beside everything else."""
        folder = self._inside.shared.state / "network"
        self._calibration = await asyncio.to_thread(calibrated, folder)

    async def wait(self, news: asyncio.Event) -> None:
        """Until the next advert is due: its period less some chance, or earlier if something has changed."""
        period_s = float(self._options.advert) * random.uniform(0.8, 1.0)  # noqa: S311  spreads load, no secret
        loop = asyncio.get_running_loop()
        began = loop.time()
        await asyncio.sleep(min(LEAST_S, period_s))
        while loop.time() - began < period_s and not news.is_set() and not self._changed():
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await news.wait()
        news.clear()

    def _changed(self) -> bool:
        return abs(self._headroom() - self._said[0]) > CHANGE * (os.cpu_count() or 1)

    def _headroom(self) -> float:
        """Cores that services may have, those that they use included."""
        cores = os.cpu_count() or 1
        others = max(0.0, psutil.cpu_percent() / 100 * cores - self._process.cpu_percent() / 100)
        return max(LEAST_PART * cores, self._options.headroom * cores - others)

    async def advert(self) -> Advert:
        """As it is now."""
        inside, options = self._inside, self._options
        status = await inside.status()
        now_s = asyncio.get_running_loop().time()
        elapsed_s = max(now_s - self._at_s, 0.001) if self._at_s else max(now_s - inside.began, 0.001)
        self._at_s = now_s
        self._number += 1
        headroom = self._headroom()
        stages = self._stages(status, elapsed_s)
        spool = status["uplinks"].get(UPLINK, {}).get("spool", {})
        reasons = _reasons(spool, inside)
        self._said = headroom, not reasons
        inputs, points = self._inputs(status, elapsed_s)
        workers = self._network.workers
        return Advert(
            node=inside.config.gateway, tier=options.tier, site=options.site, boot=self._boot, number=self._number,
            said_ms=time.time_ns() // 1_000_000,
            every_s=float(options.advert), version=__version__, labels=dict(options.labels),
            parents=list(options.parents), cores=float(os.cpu_count() or 1), headroom=round(headroom, 3),
            memory_free=psutil.virtual_memory().available, disk_free=shutil.disk_usage(inside.shared.state).free,
            speed=self._calibration.speed, operators=self._calibration.operators,
            links=self._links(status, elapsed_s, spool), inputs=inputs, points=points, stages=stages,
            epochs={name: part.epoch for name, part in self._network.effective.services.items()},
            epoch=self._network.applied.epoch,
            spool_bytes=spool.get("bytes", 0), spool_age_s=spool.get("oldest_s", 0.0),
            healthy=not reasons, reasons=reasons, partitions=[] if workers is None else workers.held,
        )  # fmt: skip

    def _links(self, status: dict[str, Any], elapsed_s: float, spool: dict[str, Any]) -> list[LinkFacts]:
        if self._options.tier is Tier.CORE:
            return []
        sent = status["uplinks"].get(UPLINK, {}).get("bytes", 0)
        used, self._sent = max(0, sent - self._sent) / elapsed_s, sent
        return [
            LinkFacts(
                to=parent, capacity=float(self._options.link), used=round(used, 1) if number == 0 else 0.0,
                price=self._options.price, backlog=spool.get("bytes", 0), backlog_age_s=spool.get("oldest_s", 0.0),
            )
            for number, parent in enumerate(self._options.parents or [""])
        ]  # fmt: skip

    def _stages(self, status: dict[str, Any], elapsed_s: float) -> dict[str, dict[int, StageFacts]]:
        counted = status["uplinks"].get(UPLINK, {}).get("counts", {})
        found: dict[str, dict[int, StageFacts]] = {}
        before, self._before = self._before, {}
        for name, row in status["pipelines"].items():
            stage = stage_of(name)
            if stage is None or name.endswith(".in"):
                continue
            cpu_s = sum(step.get("cpu_s", 0.0) for step in row["steps"])
            sent = counted.get(f"bytes {name}", 0) + counted.get(f"bytes {name}.in", 0)
            now = (float(row["in"]), float(row["out"]), float(sent), cpu_s)
            self._before[name] = now
            came, went, size, cpu = (
                max(0.0, new - old) for new, old in zip(now, before.get(name, (0.0,) * 4), strict=True)
            )
            found.setdefault(stage.service, {})[stage.stage] = StageFacts(
                samples_in=round(came / elapsed_s, 3), samples_out=round(went / elapsed_s, 3),
                bytes_out=round(size / elapsed_s, 1), cpu_us=round(cpu * 1e6 / came, 3) if came else 0.0,
            )  # fmt: skip
        return found

    def _inputs(self, status: dict[str, Any], elapsed_s: float) -> tuple[dict[str, float], dict[str, int]]:
        """What the inputs of all services select here: measured where one runs, else by its share of all points."""
        came = sum(one["samples"] for name, one in status["adapters"].items() if not name.startswith("@"))
        rate, self._came = max(0, came - self._came) / elapsed_s, came
        local = self._selected(("**",))
        rates: dict[str, float] = {}
        points: dict[str, int] = {}
        if self._options.tier is Tier.CORE:
            return rates, points
        for name, record in self._network.services.items():
            chain = None if record.removed else chain_for(record)
            if chain is None or not chain.service.inputs.at(self._options.site):
                continue
            selected = self._selected(chain.service.inputs.globs)
            points[name] = selected
            rates[name] = round(rate * selected / max(local, 1), 3)
        return rates, points

    def _selected(self, globs: tuple[str, ...]) -> int:
        directory = self._inside.directory
        selector = self._selectors.get(globs)
        if selector is None:
            selector = self._selectors[globs] = Selector(directory, list(globs), strictly=True)
        return int(np.count_nonzero(selector.mask(np.arange(len(directory), dtype=np.int32))))


def _reasons(spool: dict[str, Any], inside: Inside) -> list[str]:
    reasons = []
    if inside.intake.failure is not None:
        reasons.append(f"the store fails: {inside.intake.failure}")
    if spool.get("oldest_s", 0.0) > FULL_SPOOL_S:
        reasons.append(f"what waits for the parent is {spool['oldest_s']:.0f} s old")
    return reasons
