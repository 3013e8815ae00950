"""``payload: home-assistant``: devices that describe themselves, and the topics at which they speak."""

from __future__ import annotations

import math
import zlib
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from adapters.mqtt.columns import number_of
from adapters.mqtt.hass_devices import Config, Devices, Signal
from adapters.mqtt.plans import NO_ROOM, Plan
from adapters.mqtt.records import Columns
from adapters.payloads.documents import decode_json
from adapters.payloads.hass import Device, is_config, read_config
from adapters.payloads.hass_template import Template, render
from gateway.errors import PayloadError
from gateway.finding import Finding
from gateway.frame import EMPTY, Frame, Index, Mask, Times
from gateway.point import Kind, PointOptions
from gateway.quality import Reason, no_value

if TYPE_CHECKING:
    from adapters.base import Points
    from adapters.mqtt.subscribe import Subscribe

_DOWN: Final = no_value(Reason.LINK_DOWN)
_UNSET: Final = object()
_NOTHING: Final = frozenset({"", "None", "unknown", "unavailable"})
"""What Home Assistant takes for no state."""
MAX_OFFERS: Final = 200
CONFIRM_TICKS: Final = 60
"""A device that was known before, and has not described itself again after so many seconds, is gone."""
_KEPT: Final = msgspec.msgpack.Decoder(dict[str, bytes])


class HomeAssistant(Plan):
    """All devices below one discovery prefix."""

    def __init__(self, options: Subscribe, points: Points, reasons: Counter[str]) -> None:
        super().__init__(options, points, reasons)
        self._prefix = options.topic.removesuffix("#")
        self._devices = Devices()
        self._rows = 0
        self._recalled: set[str] | None = None
        """Configurations from before that have not come again; None: nobody has looked."""
        self._ticks = 0
        self._saved = True

    def add_row(self, parts: dict[str, str], payload: bytes) -> int:
        """See the base class. A row is a topic; what it is shows when its messages come."""
        del parts, payload
        self._rows += 1
        return self._rows - 1

    def forget(self) -> None:
        """See the base class. The devices stay known."""
        self._rows = 0

    def takes(self, topic: str) -> bool:
        """See the base class."""
        self._recall()
        return topic in self._devices.by_topic

    def asks(self) -> list[tuple[str, int]]:
        """See the base class: the topics of states and of availability."""
        self._recall()
        qos = self.options.qos
        return [(topic, qos) for topic in self._devices.by_topic if not topic.startswith(self._prefix)]

    def frame(self, payloads: Sequence[bytes], rows: Index, arrival: Times, stale: Mask | None) -> Frame:
        """See the base class."""
        self._recall()
        columns = Columns()
        for number, (payload, row) in enumerate(zip(payloads, rows.tolist(), strict=True)):
            topic = self.topics[row].decode()
            kept = stale is not None and bool(stale[number])
            try:
                if topic.startswith(self._prefix) and is_config(topic.removeprefix(self._prefix)):
                    self._configure(topic.removeprefix(self._prefix), row, payload)
                else:
                    self._take(topic, payload, int(arrival[number]), columns, kept=kept)
            except PayloadError as error:
                self.reject(error, row, payload)
        self.edition = self._devices.edition
        return columns.frame()

    def tick(self, now_ns: int) -> Frame:
        """See the base class: tells of devices that are new or have changed, once all of it has come."""
        del now_ns
        self._ticks += 1
        if self._ticks == CONFIRM_TICKS and self._recalled:
            for rest in self._recalled:
                self._devices.remove(rest)
            self._recalled, self._saved = set(), False
        news = self._devices.news()
        for config in news:
            self._tell(config)
        if not news and not self._saved and self.ctx is not None:
            self._saved = True
            self.ctx.remember(self._key, zlib.compress(msgspec.msgpack.encode(self._devices.payloads()), 3))
        self.edition = self._devices.edition
        return EMPTY

    @property
    def _key(self) -> str:
        return f"home-assistant {self.options.topic}"

    def _recall(self) -> None:
        """Know the devices from before, so that what they have said meanwhile finds its points."""
        if self._recalled is not None or self.ctx is None:
            return
        self._recalled = set()
        value = self.ctx.recall(self._key)
        try:
            kept = {} if value is None else _KEPT.decode(zlib.decompress(value))
        except (zlib.error, ValueError):
            kept = {}
        for rest, payload in kept.items():
            try:
                self._put(rest, payload)
            except PayloadError:  # it was good for the version that wrote it
                continue
            self._recalled.add(rest)

    def _configure(self, rest: str, row: int, payload: bytes) -> None:
        """Take what a device says of itself, or take it back."""
        self._recall()
        if self._recalled:
            self._recalled.discard(rest)
        if not payload.strip():
            self._devices.remove(rest)
            self._saved = False
            return
        for error in self._put(rest, payload).refused:
            self.reject(error, row, payload)

    def _put(self, rest: str, payload: bytes) -> Device:
        """Take a configuration.

        Raises:
            PayloadError: it is none, or there are too many.
        """
        device = read_config(rest, payload)
        if self._devices.put(rest, self._config(device, payload)):
            self._saved = False
        periods = self._devices.periods(self._name(device))
        if self.ctx is not None and periods:
            # A device is stale after three times its period.
            self.ctx.expect(self._name(device), min(periods) / 3)
        return device

    def _name(self, device: Device) -> str:
        return self.device({"device": device.id, "id": device.id, "name": device.name, "node": device.node})

    def _config(self, device: Device, payload: bytes) -> Config:
        name = self._name(device)
        labels = device.labels | self.labels({})
        signals = [Signal(f"{name}/{entity.point}", entity, labels) for entity in device.entities]
        for signal in signals:
            if signal.entity.kind is not None:
                self._add(signal, signal.entity.kind)
        return Config(device, name, signals, payload)

    def _add(self, signal: Signal, kind: Kind) -> None:
        entity = signal.entity
        options = PointOptions(unit=entity.unit, kind=kind, limits=entity.limits)
        signal.point, signal.is_state = self.add_point(signal.name, options, signal.labels), kind is Kind.STATE

    def _take(self, topic: str, payload: bytes, now_ns: int, columns: Columns, *, kept: bool) -> None:
        """A message with states, or one that says whether devices are there.

        Raises:
            PayloadError: ``unparsable``; or ``missing``, if it has nothing for anybody.
        """
        signals = self._devices.by_topic.get(topic, ())
        text = payload.decode(errors="replace").strip()
        document: Any = _UNSET
        missing: PayloadError | None = None
        used = False
        for signal in signals:
            if document is _UNSET and signal.reads_json(topic):
                document = decode_json(payload)
            used = self._watch(signal, topic, text, document, now_ns, columns) or used
            if signal.entity.topic != topic:
                continue
            try:
                value = render(signal.entity.template, text, document)
            except PayloadError as error:
                missing = error
                continue
            used = True
            self._add_value(signal, value, now_ns, columns, kept=kept)
        if missing is not None and not used:
            raise missing

    def _add_value(self, signal: Signal, value: Any, now_ns: int, columns: Columns, *, kept: bool) -> None:
        if isinstance(value, str) and value in _NOTHING:
            value = None
        if signal.point is None:
            if value is None:
                return
            self._add(signal, Kind.STATE if _is_text(value) else Kind.GAUGE)
        if signal.point == NO_ROOM or signal.point is None:
            self.reasons["too-many-points"] += 1
            return
        word = signal.entity.words.get(str(value))
        if word is not None:
            number = word
        elif signal.is_state and isinstance(value, (str, int, float)):
            number = self.state(signal.point, str(value))
        else:
            number = number_of(value)
        columns.add(signal.point, now_ns, number, old=kept)

    def _watch(self, signal: Signal, topic: str, text: str, document: Any, now_ns: int, columns: Columns) -> bool:
        """Look whether the message says that a device comes or goes; a point is bad while it is away."""
        said = False
        for place in signal.entity.availability:
            if place.topic == topic:
                said = signal.hears(topic, _word_of(place.template, text, document), place) or said
        if not said or not signal.changed():
            return said
        if not signal.online and signal.point is not None and signal.point >= 0:
            columns.add(signal.point, now_ns, _DOWN, old=False)
        device = signal.name.split("/", 1)[0]
        if self.ctx is not None:
            up = self._devices.is_up(device)
            self.ctx.link(device, up=up, detail="" if up else "says that it is not available")
        return said

    def _tell(self, config: Config) -> None:
        if self.ctx is None:
            return
        offers = [f"{signal.name.split('/', 1)[1]} {signal.entity.unit}".strip() for signal in config.signals]
        offers += [f"not taken: {error}" for error in config.device.refused]
        offers += [f"not taken: {text}" for text in config.device.left_out]
        self.ctx.found(
            Finding(
                kind="home-assistant",
                address=f"mqtt:{self._prefix}",
                identity=config.device.identity,
                device=config.name,
                offers=tuple(offers[:MAX_OFFERS]),
                config=_subscribed(self.ctx.name, self.options.topic),
                taken=True,
            )
        )


def _subscribed(adapter: str, topic: str) -> dict[str, Any]:
    """What makes all devices of this kind readable, for who looks without a gateway."""
    return {"adapters": {adapter: {"subscribe": [{"topic": topic, "payload": "home-assistant"}]}}}


def _word_of(template: Template, text: str, document: Any) -> str:
    """What an availability message says."""
    try:
        return str(render(template, text, document))
    except PayloadError:
        return ""


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and math.isnan(number_of(value))
