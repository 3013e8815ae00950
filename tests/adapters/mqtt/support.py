"""Short ways to options, batches and publishing clients."""

from __future__ import annotations

import aiomqtt
import msgspec

from adapters.mqtt.config import MqttConfig
from adapters.mqtt.subscribe import Subscribe
from adapters.mqtt.wire import Batch
from gateway.units import decode_quantity


def mqtt_config(*subscribe, url="mqtt://127.0.0.1:1883", **options) -> MqttConfig:
    """Options as the loader makes them: types first, then the checks of each struct."""
    entries = [Subscribe(**_typed(entry)) for entry in subscribe]
    data = {"type": "mqtt", "url": url, "subscribe": [{"topic": "x/{device}"}], **options}
    for key, value in data.items():
        if key in {"type", "subscribe"}:
            continue
        data[key] = _field(MqttConfig, key, value)
    del data["type"]
    return MqttConfig(**{**data, "subscribe": entries})


def _typed(entry: dict) -> dict:
    return {key: _field(Subscribe, key, value) for key, value in entry.items()}


def _field(struct, key, value):
    kinds = {field.name: field.type for field in msgspec.structs.fields(struct)}
    try:
        return msgspec.convert(value, kinds[key], dec_hook=decode_quantity)
    except msgspec.ValidationError as error:
        if error.__cause__ is not None:
            raise error.__cause__ from None
        raise


def batch(*messages, at: int = 1_000, retained=()) -> Batch:
    """Messages (topic, payload) that arrived at ``at``, UTC ns."""
    made = Batch()
    made.topics = [topic.encode() for topic, _ in messages]
    made.payloads = [payload if isinstance(payload, bytes) else payload.encode() for _, payload in messages]
    made.marks = [(len(messages), at)]
    made.retained = list(retained)
    return made


def publisher(port: int, **options) -> aiomqtt.Client:
    return aiomqtt.Client("127.0.0.1", port, protocol=aiomqtt.ProtocolVersion.V311, **options)
