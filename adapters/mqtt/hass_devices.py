"""What is known of the devices that Home Assistant's discovery has described. No I/O, no clock."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from adapters.payloads.hass import Availability, Device, Entity
from gateway.errors import PayloadError

MAX_SIGNALS: Final = 20_000
"""Entities of one subscription; those of further devices are refused."""


class Signal:
    """An entity as a point."""

    def __init__(self, name: str, entity: Entity, labels: dict[str, str]) -> None:
        self.name = name
        """Of the point."""
        self.entity = entity
        self.labels = labels
        self.point: int | None = None
        """None: nothing has come that says what kind of a point it is."""
        self.is_state = False
        self.online = True
        """While nothing else is said."""
        self._said: dict[str, bool] = {}
        self._told = True

    def inherit(self, before: Signal) -> None:
        """Take over what was known of the same point."""
        self.online, self._said, self._told = before.online, before._said, before._told
        if self.entity.kind is None:
            self.point, self.is_state = before.point, before.is_state

    def reads_json(self, topic: str) -> bool:
        """Whether a message of this topic has to be decoded for it."""
        entity = self.entity
        return (entity.topic == topic and entity.template.path is not None) or any(
            place.topic == topic and place.template.path is not None for place in entity.availability
        )

    def hears(self, topic: str, word: str, place: Availability) -> bool:
        """Take a word on availability; whether it was one."""
        if word not in {place.online, place.offline}:
            return False
        self._said[topic] = word == place.online
        if self.entity.needs == "all":
            self.online = all(self._said.values())
        elif self.entity.needs == "any":
            self.online = any(self._said.values())
        else:
            self.online = self._said[topic]
        return True

    def changed(self) -> bool:
        """Whether it has come or gone since this was asked last."""
        before, self._told = self._told, self.online
        return before != self.online


class Config(NamedTuple):
    """One configuration message, taken."""

    device: Device
    name: str
    """Of the device, as the gateway calls it."""
    signals: list[Signal]
    payload: bytes = b""
    """As it came, to be kept."""


class Devices:
    """All configurations, by topic, and who listens where."""

    def __init__(self) -> None:
        self.by_topic: dict[str, list[Signal]] = {}
        self._configs: dict[str, Config] = {}
        self._by_device: dict[str, set[str]] = {}
        """Topics of the configurations of each device, by its name."""
        self._news: set[str] = set()
        self._count = 0
        self.edition = 0
        """Another number whenever somebody listens elsewhere."""

    def payloads(self) -> dict[str, bytes]:
        """All configurations as they came, by topic."""
        return {topic: config.payload for topic, config in self._configs.items()}

    def put(self, topic: str, config: Config) -> bool:
        """Take a configuration in place of the one before; whether it is another one.

        Raises:
            PayloadError: ``too-many-entities``.
        """
        before = self._configs.get(topic)
        if before is not None and before.payload == config.payload:
            return False
        self.remove(topic)
        if self._count + len(config.signals) > MAX_SIGNALS:
            raise PayloadError("too-many-entities", f"more than {MAX_SIGNALS:,} of all devices")
        self._configs[topic] = config
        self._by_device.setdefault(config.name, set()).add(topic)
        self._count += len(config.signals)
        self.edition += 1
        known = {signal.name: signal for signal in before.signals} if before is not None else {}
        for signal in config.signals:
            if signal.name in known:
                signal.inherit(known[signal.name])
            for place in _places(signal.entity):
                self.by_topic.setdefault(place, []).append(signal)
        self._news.add(config.name)
        return True

    def remove(self, topic: str) -> None:
        """Forget a configuration; its points stay in the directory and say nothing any more."""
        config = self._configs.pop(topic, None)
        if config is None:
            return
        self.edition += 1
        self._by_device[config.name].discard(topic)
        if not self._by_device[config.name]:
            del self._by_device[config.name]
        self._count -= len(config.signals)
        for signal in config.signals:
            for place in _places(signal.entity):
                listening = self.by_topic[place]
                listening.remove(signal)
                if not listening:
                    del self.by_topic[place]

    def signals(self, name: str) -> Iterator[Signal]:
        """Those of a device, by the name that the gateway has for it."""
        for topic in self._by_device.get(name, ()):
            yield from self._configs[topic].signals

    def is_up(self, name: str) -> bool:
        """Whether something of a device is available."""
        return any(signal.online for signal in self.signals(name))

    def periods(self, name: str) -> list[float]:
        """After how long states of a device expire, where it says so; in s."""
        return [signal.entity.expires_s for signal in self.signals(name) if signal.entity.expires_s]

    def news(self) -> list[Config]:
        """Devices that are new or have changed since this was asked last, with all that they have."""
        found = []
        for name in sorted(self._news):
            topics = sorted(self._by_device.get(name, ()))
            if not topics:
                continue
            configs = [self._configs[topic] for topic in topics]
            device = configs[0].device._replace(
                refused=[error for config in configs for error in config.device.refused],
                left_out=[text for config in configs for text in config.device.left_out],
            )
            found.append(Config(device, name, [signal for config in configs for signal in config.signals]))
        self._news.clear()
        return found


def _places(entity: Entity) -> set[str]:
    """The topics at which an entity listens."""
    return {entity.topic, *(place.topic for place in entity.availability)}
