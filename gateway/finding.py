"""A finding: something that could be read and is not configured yet. A leaf.

Every protocol finds in its own way (a CoAP directory, a SunSpec scan, a Sparkplug birth, a topic nobody
asked for); what it found has one form, so that one command shows it and one rule lets it join.
"""

from __future__ import annotations

from typing import Any

import msgspec


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One device, or one source of values, that answered or introduced itself."""

    kind: str
    """How it was found: ``coap-core``, ``coap-directory``, ``lwm2m``, ``sunspec``, ``modbus-identity``,
    ``sparkplug``, ``home-assistant``, ``mqtt-topic``, ``gateway``. ``discovery.accept`` in YAML names these."""
    address: str
    """Where it is, as a URL: ``coap://10.0.0.9:5683``, ``tcp://10.0.0.5:502?unit=3``, ``mqtt://broker/site/m7``."""
    identity: str = ""
    """Who it says it is: maker, model and serial number, endpoint name, edge node."""
    device: str
    """The device name proposed; one segment of a point's name."""
    offers: tuple[str, ...] = ()
    """What it has, a few words each: ``/temp (temperature-c)``, ``holding 40000 SunSpec 103``, ``power W``."""
    config: dict[str, Any] = {}
    """What makes it a device, as it would stand at the top of a YAML file: ``{"adapters": {"sensors": {"type":
    "coap", "devices": {"s9": {"url": ..., "observe": {...}}}}}}``. Merged into what is configured: mappings by
    key, lists by appending. Empty if it cannot be said without the user."""

    taken: bool = False
    """It is a device already, by a rule or a subscription of its kind; shown so that a person sees who came."""

    @property
    def key(self) -> str:
        """One text for one thing found, however often it is found: it says who it is before where."""
        return f"{self.kind} {self.identity or self.address} {self.device}"
