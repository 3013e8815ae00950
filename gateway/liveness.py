"""Who has gone silent: one rule for the devices of all protocols.

A device is heard when a valid sample of one of its points comes. When nothing was heard for longer than
its limit, its points become invalid (old data, reason ``stale``) at that moment, one line says so, and it
counts as stale until it is heard again. The limit is what the user says (``stale_after``), else
:data:`MISSED` periods that the adapter named, else :data:`GAPS` times the longest of the last gaps.

Runs once a second over columns indexed by point; hearing costs two assignments a frame. Timers are
monotonic: a clock that jumps makes nobody stale, nor does a stop of the whole process.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from gateway import quality as q
from gateway.directory import Directory
from gateway.frame import Frame, Ids

log = logging.getLogger(__name__)

CHECK_S: Final = 1.0
MISSED: Final = 3.0
LEAST_EXPECTED_S: Final = 3.0
GAPS: Final = 10.0
LEAST_LEARNED_S: Final = 60.0
REMEMBERED_GAPS: Final = 16
NEEDED_GAPS: Final = 3
"""Gaps to have seen before a limit is made of them: a device that spoke once has promised nothing."""
MANY: Final = 5
"""More devices than that that go stale together share one line."""
STALE_QUALITY: Final = q.INVALID | q.OLD_DATA
_STALE: Final = q.no_value(q.Reason.STALE)


class Watched(Protocol):
    """What is asked of the link of an adapter."""

    name: str

    def stale_after_s(self) -> float | None:
        """What the user said; 0 for never, None for nothing."""

    def is_down(self, device: str) -> bool:
        """Whether the adapter itself has said that the device is gone; its points are bad already."""

    def note_stale(self, device: str, *, stale: bool) -> None:
        """Show it in ``status``."""


@dataclass(slots=True)
class _Device:
    owner: Watched
    name: str
    heard_s: float
    period_s: float = 0.0
    gaps: list[float] = field(default_factory=list)
    points: list[int] = field(default_factory=list)
    spoke: bool = False
    stale: bool = False

    def limit_s(self) -> float:
        """Silence that is tolerated; 0: any."""
        said = self.owner.stale_after_s()
        if said is not None:
            return said
        if self.period_s:
            return max(MISSED * self.period_s, LEAST_EXPECTED_S)
        if len(self.gaps) >= NEEDED_GAPS:
            return max(GAPS * max(self.gaps), LEAST_LEARNED_S)
        return 0.0

    def hear(self, now_s: float) -> None:
        """A valid sample came, last at ``now_s``."""
        if self.spoke and not self.stale:
            self.gaps.append(now_s - self.heard_s)
            del self.gaps[:-REMEMBERED_GAPS]
        self.heard_s, self.spoke = now_s, True


class Liveness:
    """When each point was last heard. ``now_s`` is the loop's time throughout."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._heard = np.zeros(0, np.float64)
        self._device_of = np.zeros(0, np.int32)
        """Index into the devices; -1: of none."""
        self._devices: list[_Device | None] = []
        self._by_name: dict[tuple[str, str], int] = {}
        self.edition = 0
        """Grows when a device comes or goes."""
        self._checked_s: float | None = None

    def hear(self, owner: Watched, frame: Frame, now_s: float) -> None:
        """An adapter has handed samples over."""
        if not len(frame):
            return
        if int(frame.point.max()) >= len(self._heard):
            self._grow()
        if (self._device_of[frame.point] < 0).any():
            self._learn(owner, np.unique(frame.point[self._device_of[frame.point] < 0]), now_s)
        valid = (frame.quality & q.VALIDITY) != q.INVALID
        self._heard[frame.point if valid.all() else frame.point[valid]] = now_s

    def expect(self, owner: Watched, device: str, period_s: float, now_s: float) -> None:
        """See :meth:`adapters.base.Context.expect`."""
        found = self._devices[self._number(owner, device, now_s)]
        assert found is not None
        found.period_s = period_s

    def owners(self, points: int) -> npt.NDArray[np.int32]:
        """Of each point below ``points`` the number of the device that it is of, [points]; -1: of none heard of."""
        found = np.full(points, -1, np.int32)
        known = min(points, len(self._device_of))
        found[:known] = self._device_of[:known]
        return found

    def device(self, number: int) -> tuple[str, str, float] | None:
        """Adapter, name and period in s (0: not known) of a device by its number; None if it has gone."""
        one = self._devices[number]
        return None if one is None else (one.owner.name, one.name, one.period_s)

    def devices(self) -> list[tuple[str, str, float] | None]:
        """All of them, by their numbers."""
        return [self.device(number) for number in range(len(self._devices))]

    def forget(self, owner: Watched) -> None:
        """An adapter has stopped: its devices are nobody's concern."""
        self.edition += 1
        for number, device in enumerate(self._devices):
            if device is not None and device.owner is owner:
                self._device_of[self._device_of == number] = -1
                self._heard[device.points] = 0.0
                del self._by_name[owner.name, device.name]
                self._devices[number] = None

    def _grow(self) -> None:
        missing = len(self._directory) - len(self._heard)
        self._heard = np.append(self._heard, np.zeros(missing))
        self._device_of = np.append(self._device_of, np.full(missing, -1, np.int32))

    def _learn(self, owner: Watched, points: Ids, now_s: float) -> None:
        for point in points.tolist():
            number = self._number(owner, self._directory.name(point).partition("/")[0], now_s)
            self._device_of[point] = number
            device = self._devices[number]
            assert device is not None
            device.points.append(point)

    def _number(self, owner: Watched, device: str, now_s: float) -> int:
        number = self._by_name.get((owner.name, device))
        if number is None:
            number = self._by_name[owner.name, device] = len(self._devices)
            self._devices.append(_Device(owner, device, now_s))
            self.edition += 1
        return number

    def check(self, now_s: float) -> list[tuple[Watched, Ids]]:
        """Who has become stale by now, each with its points, [n]; logs that, and who is back."""
        self._forgive(now_s)
        last = np.full(len(self._devices), 0.0)
        owned = np.flatnonzero(self._device_of >= 0)
        np.maximum.at(last, self._device_of[owned], self._heard[owned])
        fresh: list[_Device] = []
        for device, heard_s in zip(self._devices, last.tolist(), strict=True):
            if device is not None and self._goes_stale(device, heard_s, now_s):
                fresh.append(device)
        self._tell(fresh, now_s)
        return [(device.owner, np.array(device.points, np.int32)) for device in fresh]

    @staticmethod
    def _goes_stale(device: _Device, heard_s: float, now_s: float) -> bool:
        if heard_s > device.heard_s:
            silent_s = heard_s - device.heard_s
            device.hear(heard_s)
            if device.stale:
                device.stale = False
                device.owner.note_stale(device.name, stale=False)
                log.info("device %s/%s: heard again after %.0f s", device.owner.name, device.name, silent_s)
        limit_s = device.limit_s()
        late = limit_s > 0 and now_s - device.heard_s > limit_s
        if not late or device.stale or device.owner.is_down(device.name):
            return False
        device.stale = True
        device.owner.note_stale(device.name, stale=True)
        return True

    def _forgive(self, now_s: float) -> None:
        """A process that was stopped itself could not hear anybody."""
        before, self._checked_s = self._checked_s, now_s
        if before is None or now_s - before < 3 * CHECK_S:
            return
        away_s = now_s - before - CHECK_S
        self._heard[self._heard > 0] += away_s
        for device in self._devices:
            if device is not None:
                device.heard_s += away_s

    @staticmethod
    def _tell(fresh: list[_Device], now_s: float) -> None:
        if len(fresh) > MANY:
            names = ", ".join(f"{device.owner.name}/{device.name}" for device in fresh[:MANY])
            log.warning("%d devices are stale: %s ...", len(fresh), names)
            return
        for device in fresh:
            silent_s, limit_s = now_s - device.heard_s, device.limit_s()
            log.warning(
                "device %s/%s: stale: nothing valid for %.0f s, the limit is %.0f s",
                device.owner.name, device.name, silent_s, limit_s,
            )  # fmt: skip


def stale_samples(points: Ids, time_ns: int) -> Frame:
    """What the points of a silent device become, [n]."""
    count = len(points)
    return Frame(
        points,
        np.full(count, time_ns, np.int64),
        np.full(count, _STALE),
        np.full(count, STALE_QUALITY, np.uint16),
    )
