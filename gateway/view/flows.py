"""Who feeds whom: which points of which adapter a pipeline takes, and how many samples go that way.

Counted only while somebody looks, from the point columns of what was committed, once a second for all of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from gateway.frame import Frame, Ids, Mask
from gateway.view.attention import Attention
from pipelines.base import Selector

if TYPE_CHECKING:
    from gateway.inside import Inside

KEEP_S: Final = 10.0
MOST: Final = 4_000_000
"""Samples whose points are remembered between two looks."""


class Flows:
    """Samples by adapter and pipeline, and by device."""

    def __init__(self, inside: Inside) -> None:
        self._inside = inside
        self._parts: list[Ids] = []
        self._held = 0
        self._counted: Ids = np.empty(0, np.int32)
        self._at_s = 0.0
        self.attention = Attention(self._begin, self._end, KEEP_S)
        self._selectors: dict[tuple[str, ...], Selector] = {}
        self._masks: dict[tuple[str, ...], Mask] = {}
        self._known = 0
        self._turn = asyncio.Lock()
        self.samples: dict[tuple[str, str], int] = {}
        """(adapter, pipeline): counted since somebody looks."""
        self.rates: dict[tuple[str, str], float] = {}
        self.devices: dict[tuple[str, str], int] = {}
        """(adapter, device): likewise."""

    def _begin(self) -> None:
        self._at_s = asyncio.get_running_loop().time()
        self.samples.clear()
        self.rates.clear()
        self.devices.clear()

    def _end(self) -> None:
        self._parts.clear()
        self._held = 0

    def offer(self, frames: Iterable[Frame]) -> None:
        """Samples of adapters were committed. Costs nothing while nobody looks."""
        if not self.attention.active or self._held > MOST:
            return
        for frame in frames:
            self._parts.append(frame.point)
            self._held += len(frame)

    async def look(self) -> dict[tuple[str, str], bool]:
        """Count what went by since the look before; every (adapter, pipeline) that belongs together."""
        self.attention.look()
        globs = {name: config.globs for name, config in self._inside.config.pipelines.items()}
        async with self._turn:
            await self._learn(set(globs.values()))
            owners = self._inside.shared.liveness.owners(self._known)
            names = self._inside.shared.liveness.devices()
            self._count(globs, owners, names)
        return self._belonging(globs, owners, names)

    async def _learn(self, globs: set[tuple[str, ...]]) -> None:
        """Look at names that are new, in a thread."""
        total = len(self._inside.directory)
        self._selectors = {
            one: self._selectors.get(one) or Selector(self._inside.directory, one) for one in globs if one
        }
        if total != self._known or self._masks.keys() != self._selectors.keys():
            ids = np.arange(total, dtype=np.int32)
            selectors = self._selectors
            self._masks = await asyncio.to_thread(lambda: {one: has.mask(ids) for one, has in selectors.items()})
            self._known = total

    def _count(
        self,
        globs: dict[str, tuple[str, ...]],
        owners: npt.NDArray[np.int32],
        names: list[tuple[str, str, float] | None],
    ) -> None:
        now_s = asyncio.get_running_loop().time()
        passed_s = now_s - self._at_s
        if passed_s < 0.5 or not names:
            return
        parts, self._parts, self._held, self._at_s = self._parts, [], 0, now_s
        points = np.concatenate(parts) if parts else self._counted
        points = points[points < self._known]
        devices = owners[points]
        for device, count in _counts(devices, names):
            self.devices[device] = self.devices.get(device, 0) + count
        self.rates = {}
        for pipeline, selection in globs.items():
            mask = self._masks.get(selection)
            taken = [] if mask is None else _counts(devices[mask[points]], names)
            for (adapter, _), count in taken:
                key = (adapter, pipeline)
                self.samples[key] = self.samples.get(key, 0) + count
                self.rates[key] = self.rates.get(key, 0.0) + count / passed_s

    def _belonging(
        self,
        globs: dict[str, tuple[str, ...]],
        owners: npt.NDArray[np.int32],
        names: list[tuple[str, str, float] | None],
    ) -> dict[tuple[str, str], bool]:
        found: dict[tuple[str, str], bool] = {}
        declared = self._declared()
        for pipeline, selection in globs.items():
            mask = self._masks.get(selection)
            if mask is None:
                continue
            for number in np.unique(owners[mask & (owners >= 0)]).tolist():
                device = names[number]
                if device is not None:
                    found[device[0], pipeline] = True
            for adapter, points in declared.items():
                if len(points) and mask[points].any():
                    found[adapter, pipeline] = True
        return found

    def _declared(self) -> dict[str, Ids]:
        """Points of devices that stand in the configuration and have said nothing yet, by adapter."""
        silent = {
            name: set(link.config.devices_named())
            for name, link in self._inside.adapters.items()
            if not link.stats.samples
        }
        if not any(silent.values()):
            return {}
        first = [self._inside.directory.name(point).partition("/")[0] for point in range(self._known)]
        return {
            name: np.array([point for point, device in enumerate(first) if device in devices], np.int32)
            for name, devices in silent.items()
        }


def _counts(
    devices: npt.NDArray[np.int32], names: list[tuple[str, str, float] | None]
) -> list[tuple[tuple[str, str], int]]:
    """How often each (adapter, device) occurs among the numbers of devices."""
    counts = np.bincount(devices[devices >= 0], minlength=len(names)).tolist()
    return [((name[0], name[1]), count) for name, count in zip(names, counts, strict=False) if name and count]
