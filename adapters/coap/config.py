"""Options of the CoAP adapter: devices that it asks, and paths where devices push to it. Light."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from adapters.base import AdapterConfig
from adapters.coap.options.credentials import SecurityOptions
from adapters.coap.options.device import DeviceOptions
from adapters.coap.options.security_check import check_security
from adapters.coap.options.serve import ServedOptions, ServeOptions
from gateway.errors import FieldError
from gateway.point import Name

if TYPE_CHECKING:
    from adapters.base import Adapter


class CoapConfig(AdapterConfig, frozen=True, kw_only=True, tag="coap"):
    """CoAP (RFC 7252) over UDP: devices observed and polled, and a server that devices push to."""

    devices: dict[Name, DeviceOptions] = msgspec.field(default_factory=dict)
    """Devices that the gateway asks, by name."""
    serve: ServeOptions | None = None
    """The server that devices push to; none if left out."""
    security: dict[Name, SecurityOptions] = msgspec.field(default_factory=dict)
    """Keys by name; devices and served paths refer to them."""

    def __post_init__(self) -> None:
        if not self.devices and self.serve is None:
            raise FieldError("devices", 'nothing to do: give "devices", "serve" or both')
        check_security(self.security, self.devices, self.serve)

    def create(self) -> Adapter:
        """The adapter; aiocoap is imported here."""
        from adapters.coap.adapter import CoapAdapter

        return CoapAdapter(self)

    def devices_named(self) -> Sequence[str]:
        """Names of the devices asked, and those of served paths that name one."""
        served: Mapping[str, ServedOptions] = self.serve.resources if self.serve is not None else {}
        fixed = (options.device for options in served.values() if options.device)
        return tuple(dict.fromkeys((*self.devices, *fixed)))

    def devices_appear(self) -> bool:
        """See the base class."""
        if self.serve is None:
            return False
        if self.serve.directory is not None or self.serve.lwm2m is not None:
            return True
        return any(not served.device for served in self.serve.resources.values())
