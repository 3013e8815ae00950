"""The carrier that a URL names."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
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
