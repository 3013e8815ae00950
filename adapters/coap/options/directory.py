"""Options of the resource directory (RFC 9176): who may register, and what becomes a device. Light."""

from __future__ import annotations

import re

import msgspec

from adapters.coap.options.value import ValueOptions
from adapters.payloads.formats import Format
from gateway.errors import FieldError
from gateway.units import Duration

_TEMPLATE = re.compile(r"(?:[A-Za-z0-9_.\-]|\{(?:ep|d|path|name|rt)\})+", re.ASCII)
_DEVICE = ("{path}", "{name}", "{rt}")


class RuleOptions(ValueOptions, frozen=True, kw_only=True):
    """Which links of which endpoints become points, and how they are read. A star at the end stands for any rest."""

    rt: str = ""
    """Resource type of the link (``rt``): ``temperature*``; left out, any."""
    interface: str = msgspec.field(default="", name="if")
    """Interface description of the link (``if``): ``sensor``; left out, any."""
    path: str = ""
    """Path of the link: ``/sensors/*``; left out, any."""
    ep: str = ""
    """Name of the endpoint: ``node-*``; left out, any."""
    d: str = ""
    """Sector of the endpoint; left out, any."""
    device: str = "{ep}"
    """Name of the device, of ``{ep}`` and ``{d}``; characters that a name cannot have become dashes."""
    point: str = "{path}"
    """Name of the point, of ``{path}`` (with dots for slashes), ``{name}`` (its last part) and ``{rt}``."""
    observe: bool = True
    """Whether to be told of changes; else the resource is polled."""
    every: Duration = Duration(30)
    """Period of polls; of a device with several rules the shortest."""
    payload: Format = Format.AUTO
    """How payloads are read, as in ``devices``."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.every <= 0:
            raise FieldError("every", "must be more than 0")
        if self.path and not self.path.startswith("/"):
            raise FieldError("path", 'begins with "/", such as "/sensors/*"')
        for field in ("device", "point"):
            if _TEMPLATE.fullmatch(getattr(self, field)) is None:
                raise FieldError(field, "is made of letters, digits, dots, dashes, underscores and {names}")
        if any(part in self.device for part in _DEVICE):
            raise FieldError("device", "is made of {ep} and {d}: one endpoint is one device")


class DirectoryOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The resource directory."""

    rules: list[RuleOptions] = []
    """Links that become points of devices that the gateway asks; the first that fits a link counts. An
    endpoint that none fits becomes a finding (``onpath discover``)."""
    lifetime_max: Duration = Duration(30 * 86_400)
    """The longest lifetime (``lt``) that an endpoint may register for; the default of RFC 9176 is 25 h."""
    max_endpoints: int = 256
    """Endpoints registered at one time; further ones hear 5.03."""
    max_links: int = 64
    """Links of one endpoint; more are refused with 4.13."""
    foreign_base: bool = False
    """Whether an endpoint may register an address that is not the one it speaks from, as a commissioning tool
    does. The gateway sends requests there: only in a network that is trusted."""

    def __post_init__(self) -> None:
        if not 60 <= self.lifetime_max <= 2**32 - 1:
            raise FieldError("lifetime_max", "must lie between 60s and 136 years")
        if not 1 <= self.max_endpoints <= 4096:
            raise FieldError("max_endpoints", "must lie between 1 and 4096")
        if not 1 <= self.max_links <= 1024:
            raise FieldError("max_links", "must lie between 1 and 1024")
