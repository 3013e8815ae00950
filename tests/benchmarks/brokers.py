"""The brokers of the MQTT rows: nats-server, which is installed with the project, and Debian's mosquitto."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from tests.interop.mqtt import mosquitto as debian
from tests.support.nats import nats_broker

WIDE = "max_inflight_messages 1000\n"
"""A window beyond mosquitto's default of 20."""
_KEEPS_ALL = "allow_anonymous true\nmax_queued_messages 0\nmax_queued_bytes 0\n"
"""By default mosquitto throws away what a slow subscriber has not taken."""


@contextlib.asynccontextmanager
async def nats(folder: Path) -> AsyncIterator[int]:
    """The MQTT port of a nats-server with a window of 1,000."""
    async with nats_broker(folder, pending=1000) as broker:
        yield broker.mqtt_port


@contextlib.asynccontextmanager
async def mosquitto(folder: Path) -> AsyncIterator[int]:
    """The port of a mosquitto with a window of 1,000."""
    await asyncio.to_thread(folder.mkdir)
    async with debian.mosquitto(folder, _KEEPS_ALL + WIDE) as port:
        yield port


@contextlib.asynccontextmanager
async def narrow(folder: Path) -> AsyncIterator[int]:
    """The port of a broker with a window of 20, mosquitto's default."""
    async with nats_broker(folder, pending=20) as broker:
        yield broker.mqtt_port


@contextlib.asynccontextmanager
async def narrow_mosquitto(folder: Path) -> AsyncIterator[int]:
    """The port of a mosquitto with its own window."""
    await asyncio.to_thread(folder.mkdir)
    async with debian.mosquitto(folder, _KEEPS_ALL) as port:
        yield port


def has_mosquitto() -> bool:
    """Whether it is installed."""
    return debian.path_of("mosquitto") is not None
