"""Batches from an MQTT broker: QoS 1, a session that the broker keeps, PUBACK when somebody says so."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Final, NoReturn

from adapters.frame.source import Message
from adapters.frame.topics import mqtt_filters
from adapters.mqtt.config import MqttConfig
from adapters.mqtt.packets import Connect, Wanted
from adapters.mqtt.publish import Publish
from adapters.mqtt.session import Session
from adapters.mqtt.subscriptions import subscribe, unsubscribe

if TYPE_CHECKING:
    from adapters.frame.config import FrameConfig

EXPIRY_S: Final = 7 * 86_400
"""How long the broker is asked to keep the session while we are away (MQTT 5; under 3.1.1 it decides by itself)."""


class MqttSource:
    """See :class:`adapters.frame.source.Source`."""

    dot = "/"
    prompt = False

    def __init__(
        self, config: FrameConfig, client_id: str, now_ns: Callable[[], int], reasons: Counter[str], *, kept: bool
    ) -> None:
        options = MqttConfig(
            url=config.url,
            version=config.version,
            ca=config.ca,
            cert=config.cert,
            key=config.key,
            keepalive=config.keepalive,
            timeout=config.timeout,
            max_payload=config.max_payload,
            discover=["#"],
        )
        login = (config.username, config.password) if config.username else None
        self._connect = Connect(client_id, login, int(config.keepalive), EXPIRY_S if kept else None)
        self._reasons = reasons
        self._session = Session(options, now_ns, reasons)
        self.filters = mqtt_filters(config.topics)

    async def open(self, had: Collection[str]) -> str:
        """See the protocol."""
        kept = await self._session.open(self._connect)
        less = await subscribe(self._session, [Wanted(text) for text in self.filters])
        if gone := sorted(set(had) - set(self.filters)):
            await unsubscribe(self._session, gone)
        granted = f", QoS 0 only for {', '.join(less)}: messages can be lost" if less else ""
        return f"session {'resumed' if kept else 'new'}{granted}"

    async def keep(self) -> NoReturn:
        """See the protocol."""
        await self._session.keep_alive()

    async def take(self) -> list[Message]:
        """See the protocol."""
        batch = await self._session.take()
        if batch.oversize:
            self._reasons["oversize"] += batch.oversize
            self._session.acknowledge(
                [one for one, owner in zip(batch.packet_ids, batch.owners, strict=True) if owner < 0]
            )
        marks = {owner: one for one, owner in zip(batch.packet_ids, batch.owners, strict=True)}
        return [
            Message(topic.decode("utf-8", "replace"), payload, marks.get(number))
            for number, (topic, payload) in enumerate(zip(batch.topics, batch.payloads, strict=True))
        ]

    async def acknowledge(self, messages: Sequence[Message]) -> None:
        """See the protocol."""
        self._session.acknowledge([one.mark for one in messages if isinstance(one.mark, bytes)])

    async def publish(self, topic: str, payload: bytes) -> None:
        """See the protocol."""
        self._session.publish([Publish(topic, payload, qos=1)])

    async def directory(self, topic: str, name: str) -> None:
        """See the protocol: who subscribes again gets again what was retained."""
        wanted = mqtt_filters([topic])[-1] if not name else f"{topic}/directory/{name}"
        await subscribe(self._session, [Wanted(wanted)])
        await unsubscribe(self._session, [wanted])

    async def close(self) -> None:
        """See the protocol."""
        await self._session.close()
