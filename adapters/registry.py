"""The explicit list of adapters; also the schema of ``adapters:`` in YAML."""

from __future__ import annotations

from adapters.base import AdapterConfig
from adapters.coap.config import CoapConfig
from adapters.frame.config import FrameConfig
from adapters.modbus.config import ModbusConfig
from adapters.mqtt.config import MqttConfig

ADAPTERS: tuple[type[AdapterConfig], ...] = (ModbusConfig, CoapConfig, MqttConfig, FrameConfig)
