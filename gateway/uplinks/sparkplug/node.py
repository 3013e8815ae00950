"""The edge node as a state machine: batches and commands in, messages out, in the order to be published. Pure.

What a host must be able to count on (Sparkplug 3.0, chapters 4 to 6): NBIRTH first, then a DBIRTH for each device,
then data; no data of a metric that no birth has named. A point that appears later therefore causes a new DBIRTH of
its device, or, if it belongs to the node itself, a whole new birth.

A device is dead when nothing of it can be had: the newest samples of all its points are invalid because of one of
:data:`GONE`. Results of windows (``#``) do not count, unless there is nothing else. DDEATH then says that all its
metrics are stale, and what only repeats that is not sent; DBIRTH comes before the next other sample. Samples of
the past neither kill nor revive: a dead device is born for them, and dies again when they are through.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec
import numpy as np

from gateway import quality
from gateway.batch import Batch, Loss
from gateway.directory import Directory
from gateway.frame import Frame, Ids, Mask, group_starts
from gateway.uplinks.options import TimeFormat
from gateway.uplinks.sparkplug.metric import FIRST_ALIAS, NODE, Metric, metric_of
from gateway.uplinks.sparkplug.shown import Shown
from gateway.uplinks.sparkplug.writer import Identity, Message, Writer
from gateway.wire.record import loss_of

GONE = (
    quality.Reason.LINK_DOWN,
    quality.Reason.TIMEOUT,
    quality.Reason.STALE,
    quality.Reason.GATEWAY_PATH_UNAVAILABLE,
    quality.Reason.GATEWAY_TARGET_FAILED,
    quality.Reason.NO_VALID_SAMPLES,
)
"""Why a point has no value, if its device cannot be reached."""
_GONE = np.array(GONE, np.uint16)


@dataclass
class _Device:
    points: dict[int, Metric] = field(default_factory=dict)
    born: bool = False

    @property
    def ids(self) -> Ids:
        return np.fromiter(self.points, np.int32, len(self.points))


class EdgeNode:
    """One session of an edge node: from one CONNECT to its end."""

    def __init__(self, identity: Identity, directory: Directory, bdseq: int, saved: bytes = b"") -> None:
        self._by_device = identity.devices
        self._directory = directory
        self._edition = directory.edition
        self._writer = Writer(identity, directory, bdseq)
        self._devices: dict[str, _Device] = {NODE: _Device()}
        self._device_of: dict[int, str] = {}
        self._shown = Shown()
        self.behind = False
        """History was sent, of which hosts do not take present values: :meth:`settle` is to be called."""
        for point in self._shown.restore(saved, len(directory)) if saved else ():
            self._define(point)

    @property
    def dirty(self) -> bool:
        """Whether :meth:`save` has something new to say."""
        return self._shown.dirty

    def save(self) -> bytes:
        """The known points with their newest samples, for the births of a later session."""
        return self._shown.save(np.fromiter(self._device_of, np.int32, len(self._device_of)))

    def births(self, now_ns: int) -> list[Message]:
        """NBIRTH, and DBIRTH of each device that is not dead."""
        for point in self._device_of:
            self._define(point)
        self._edition = self._directory.edition
        own = self._devices[NODE]
        own.born = True
        messages = [self._writer.nbirth(own.points, self._shown.showing(own.ids), now_ns)]
        for name, device in self._devices.items():
            if name != NODE:
                device.born = False
                if not self._dead(device):
                    messages.append(self._dbirth(name, now_ns))
        return messages

    def data(self, batch: Batch, now_ns: int) -> list[Message]:
        """A batch: births that became necessary, the data, deaths that it shows."""
        if batch.loss is not None:
            return [self._writer.loss(_loss_text(batch.pipeline, batch.loss), batch.created_ns, now_ns)]
        frame = batch.frame.take(np.argsort(batch.frame.time, kind="stable"))
        messages = self._learn(frame, now_ns)
        old = self._shown.historical(frame, all_of_it=batch.historical)
        self.behind = self.behind or bool(old.any())
        names = [self._device_of[point] for point in frame.point.tolist()]
        numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
        column = np.array([numbers[name] for name in names], np.int32)
        order = np.argsort(column, kind="stable")
        starts = [*group_starts(column[order]).tolist(), len(order)]
        for name, start, end in zip(numbers, starts[:-1], starts[1:], strict=True):
            index = order[start:end]
            messages += self._send(name, frame.take(index), old[index], now_ns)
        return messages

    def settle(self, now_ns: int) -> list[Message]:
        """History is through: tell as present values what is newer in it, and who is dead after all."""
        self.behind = False
        messages: list[Message] = []
        for name, device in self._devices.items():
            late = self._shown.behind(device.ids)
            if len(late) and device.born:
                frame = self._shown.showing(late)
                frame = frame.take(np.argsort(frame.time, kind="stable"))
                live = np.zeros(len(frame), np.bool_)
                messages.append(self._writer.data(name, device.points, frame, live, now_ns))
            messages += self._ddeath(name, now_ns)
        return messages

    def death(self, now_ns: int) -> Message:
        """NDEATH: the will, and what is said before going."""
        return self._writer.ndeath(now_ns)

    def name_of(self, alias: int) -> str:
        """The metric that an alias stands for, to be named in a log line."""
        point = alias - FIRST_ALIAS
        return self._directory.name(point) if point in self._device_of else f"alias {alias}"

    def _define(self, point: int) -> bool:
        """Know a point, or know it anew; whether hosts have to be told."""
        metric = metric_of(self._directory, point, devices=self._by_device)
        device = self._devices.setdefault(metric.device, _Device())
        if device.points.get(point) == metric:
            return False
        device.points[point] = metric
        self._device_of[point] = metric.device
        return True

    def _learn(self, frame: Frame, now_ns: int) -> list[Message]:
        """Births for points that are new, or have become something else since they were born."""
        self._shown.grow(len(self._directory))
        changed = set()
        ids, first = np.unique(frame.point, return_index=True)
        for point, at in zip(ids.tolist(), first.tolist(), strict=True):
            if point not in self._device_of:
                self._shown.begin(point, int(frame.time[at]))
                self._define(point)
                changed.add(self._device_of[point])
        for point in self._directory.changed_since(self._edition):
            device = self._device_of.get(point)
            if device is not None and self._define(point) and self._devices[device].born:
                changed.add(device)
        self._edition = self._directory.edition
        if NODE in changed:
            return self.births(now_ns)
        return [self._dbirth(name, now_ns) for name in sorted(changed)]

    def _send(self, name: str, frame: Frame, old: Mask, now_ns: int) -> list[Message]:
        """The samples of one device."""
        device, messages = self._devices[name], []
        if not device.born and (old.any() or not _all_gone(frame)):
            messages.append(self._dbirth(name, now_ns))
            old |= frame.time < self._shown.live[frame.point]  # the birth has shown something newer
        self._shown.take(frame, old, now_ns)
        if device.born:
            messages.append(self._writer.data(name, device.points, frame, old, now_ns))
            if not self.behind:
                messages += self._ddeath(name, now_ns)
        return messages

    def _dbirth(self, name: str, now_ns: int) -> Message:
        device = self._devices[name]
        device.born = True
        return self._writer.dbirth(name, device.points, self._shown.showing(device.ids), now_ns)

    def _ddeath(self, name: str, now_ns: int) -> list[Message]:
        """DDEATH, if the device is born and dead now."""
        device = self._devices[name]
        if name == NODE or not device.born or not self._dead(device):
            return []
        device.born = False
        return [self._writer.ddeath(name, now_ns)]

    def _dead(self, device: _Device) -> bool:
        own = [point for point, metric in device.points.items() if "#" not in metric.name]
        return _all_gone(self._shown.newest(np.array(own or list(device.points), np.int32)))


def _all_gone(frame: Frame) -> bool:
    """Whether all samples are invalid because their device cannot be reached."""
    gone = quality.is_invalid(frame.quality) & np.isin(quality.reason_codes(frame.value), _GONE)
    return bool(gone.all())


def _loss_text(pipeline: str, loss: Loss) -> str:
    told = loss_of(loss.first_ns, loss.last_ns, loss.count, loss.reason, TimeFormat.RFC3339)
    return msgspec.json.encode({"pipeline": pipeline, **told}).decode()
