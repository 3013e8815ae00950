"""The carrier that a URL names, one connection for all in a process who want the same."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gateway.network.carrier.base import Carrier
    from gateway.network.config import CarrierConfig


def carrier_of(config: CarrierConfig, name: str) -> Carrier:
    """The carrier, not yet open.

    Args:
        config: where it is, and how to log in.
        name: who connects, for the other side's logs.
    """
    if config.is_local:
        from gateway.network.carrier.local import LocalCarrier

        return LocalCarrier(config.path)
    from gateway.network.carrier.nats import NatsCarrier

    return NatsCarrier(config, name)


@dataclass
class _Shared:
    carrier: Carrier
    users: int = 0
    opening: asyncio.Lock = field(default_factory=asyncio.Lock)
    opened: bool = False


_shared: dict[tuple[CarrierConfig, str], _Shared] = {}


@contextlib.asynccontextmanager
async def shared(config: CarrierConfig, name: str) -> AsyncIterator[Carrier]:
    """The open carrier; the last one who leaves closes it.

    Raises:
        CarrierError: it cannot be reached.
    """
    key = (config, name)
    found = _shared.get(key)
    if found is None:
        found = _shared[key] = _Shared(carrier_of(config, name))
    found.users += 1
    try:
        async with found.opening:
            if not found.opened:
                await found.carrier.open()
                found.opened = True
        yield found.carrier
    finally:
        found.users -= 1
        if not found.users:
            _shared.pop(key, None)
            if found.opened:
                await found.carrier.close()
