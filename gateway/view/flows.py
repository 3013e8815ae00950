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
LEAST_S: Final = 0.5
MOST: Final = 4_000_000
"""Samples whose points are remembered between two looks."""

Globs = tuple[str, ...]
Numbers = npt.NDArray[np.int32]


class Flows:
    """Samples by adapter and pipeline, and by device."""

    def __init__(self, inside: Inside) -> None:
        self._inside = inside
        self._parts: list[Ids] = []
        self._held = 0
        self._at_s = 0.0
        self.attention = Attention(self._begin, self._end, KEEP_S)
        self._turn = asyncio.Lock()
        self._selectors: dict[Globs, Selector] = {}
        self._masks: dict[Globs, Mask] = {}
        self._known = 0
        """Points that the masks are for."""
        self._declared: dict[str, Ids] = {}
        """Points of devices that stand in the configuration, of adapters that have said nothing yet."""
        self._declared_for: tuple[int, tuple[int, ...]] = (-1, ())
        self._edition = -1
        self._names: list[str] = []
        """Adapters."""
        self._adapter_of: Numbers = np.empty(0, np.int32)
        """Index of each device's adapter, [devices]; -1 where the device has gone."""
        self._by_device: npt.NDArray[np.int64] = np.empty(0, np.int64)
        self.samples: dict[tuple[str, str], int] = {}
        """(adapter, pipeline): counted since somebody looks."""
        self.rates: dict[tuple[str, str], float] = {}

    def _begin(self) -> None:
        self._at_s = asyncio.get_running_loop().time()
        self.samples.clear()
        self.rates.clear()
        self._by_device = np.empty(0, np.int64)

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

    def devices(self) -> dict[tuple[str, str], int]:
        """Samples by (adapter, device), counted since somebody looks."""
        liveness = self._inside.shared.liveness
        found: dict[tuple[str, str], int] = {}
        for number in np.flatnonzero(self._by_device).tolist():
            device = liveness.device(number)
            if device is not None:
                found[device[0], device[1]] = int(self._by_device[number])
        return found

    async def look(self) -> list[tuple[str, str]]:
        """Count what went by since the look before; every (adapter, pipeline) that belongs together."""
        self.attention.look()
        globs = {name: config.globs for name, config in self._inside.config.pipelines.items() if config.globs}
        async with self._turn:
            await self._learn(set(globs.values()))
            self._learn_devices()
            owners = self._inside.shared.liveness.owners(self._known)
            self._count(globs, owners)
        return self._belonging(globs, owners)

    async def _learn(self, globs: set[Globs]) -> None:
        """Look at names that are new, in a thread."""
        total, directory = len(self._inside.directory), self._inside.directory
        if total != self._known or self._masks.keys() != globs:
            selectors = {one: self._selectors.get(one) or Selector(directory, one) for one in globs}
            ids = np.arange(total, dtype=np.int32)
            self._masks = await asyncio.to_thread(lambda: {one: has.mask(ids) for one, has in selectors.items()})
            self._selectors, self._known = selectors, total
        silent = {name: link.config for name, link in self._inside.adapters.items() if not link.stats.samples}
        wanted = (self._known, tuple(map(id, silent.values())))
        if wanted != self._declared_for:
            named = {name: set(config.devices_named()) for name, config in silent.items()}
            self._declared = await asyncio.to_thread(self._of_devices, named)
            self._declared_for = wanted

    def _of_devices(self, named: dict[str, set[str]]) -> dict[str, Ids]:
        if not any(named.values()):
            return {}
        first = [self._inside.directory.name(point).partition("/")[0] for point in range(self._known)]
        return {
            adapter: np.array([point for point, device in enumerate(first) if device in devices], np.int32)
            for adapter, devices in named.items()
        }

    def _learn_devices(self) -> None:
        liveness = self._inside.shared.liveness
        if liveness.edition == self._edition:
            return
        self._edition = liveness.edition
        owners = [None if device is None else device[0] for device in liveness.devices()]
        self._names = sorted({owner for owner in owners if owner is not None})
        place = {name: number for number, name in enumerate(self._names)}
        self._adapter_of = np.array([-1 if one is None else place[one] for one in owners], np.int32)

    def _adapters(self, devices: Numbers) -> dict[str, int]:
        """How many of these numbers of devices, of which -1 is none, belong to each adapter."""
        adapters = self._adapter_of[devices[devices >= 0]]
        counts = np.bincount(adapters[adapters >= 0], minlength=len(self._names)).tolist()
        return {name: count for name, count in zip(self._names, counts, strict=True) if count}

    def _count(self, globs: dict[str, Globs], owners: Numbers) -> None:
        now_s = asyncio.get_running_loop().time()
        passed_s = now_s - self._at_s
        if passed_s < LEAST_S:
            return
        parts, self._parts, self._held, self._at_s = self._parts, [], 0, now_s
        points = np.concatenate(parts) if parts else np.empty(0, np.int32)
        points = points[points < self._known]
        devices = owners[points]
        counts = np.bincount(devices[devices >= 0], minlength=len(self._adapter_of))
        counts[: len(self._by_device)] += self._by_device
        self._by_device = counts
        self.rates = {}
        for pipeline, selection in globs.items():
            for adapter, count in self._adapters(devices[self._masks[selection][points]]).items():
                key = (adapter, pipeline)
                self.samples[key] = self.samples.get(key, 0) + count
                self.rates[key] = count / passed_s

    def _belonging(self, globs: dict[str, Globs], owners: Numbers) -> list[tuple[str, str]]:
        found: list[tuple[str, str]] = []
        for pipeline, selection in globs.items():
            mask = self._masks.get(selection)
            if mask is None or len(mask) != len(owners):
                continue  # somebody else's look has learned more meanwhile
            heard = self._adapters(owners[mask])
            said = [name for name, points in self._declared.items() if len(points) and mask[points].any()]
            found += [(adapter, pipeline) for adapter in dict.fromkeys([*heard, *said])]
        return found
