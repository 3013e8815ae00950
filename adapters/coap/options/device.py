"""Options of the devices that the gateway asks. Light."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import SplitResult, urlsplit

import msgspec

from adapters.coap.options.value import ValueOptions, check_path
from adapters.payloads.fields import is_field
from adapters.payloads.formats import Format
from gateway.errors import FieldError
from gateway.point import Name
from gateway.units import Duration, Size

SCHEMES = frozenset({"coap", "coaps", "coap+tcp"})
"""What a device's URL may begin with."""
MAX_PAYLOAD = 16 * 1024 * 1024


class ResourceOptions(ValueOptions, frozen=True, kw_only=True):
    """One resource of a device and the point that it becomes."""

    path: str = ""
    """Path of the resource on the device, such as ``/hum``; a query may follow: ``/time?ticks``."""
    payload: Format = Format.AUTO
    """How payloads are read: ``text``, ``json``, ``cbor``, ``senml``, ``octets`` (raw bytes, by the field that
    ``value`` is), or ``auto`` by their Content-Format.
    A ``senml`` resource without ``value`` becomes one point for each name in its packs."""
    base_names: bool = False
    """Whether points named by SenML records keep the base name (``bn``), which is the device's own name
    for itself. Without it a pack of several base names is refused."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_path("path", self.path)
        if self.payload is Format.OCTETS and not is_field(self.value):
            raise FieldError("value", 'raw bytes want a field, such as "@0 uint16 *0.1"')


Resource = str | ResourceOptions


class DeviceOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One CoAP server that the gateway asks."""

    url: str = ""
    """Where the device is: ``coap://10.0.0.9`` or ``coap://[fe80::1%eth0]:5683``; over TCP (RFC 8323)
    ``coap+tcp://10.0.0.9``."""
    every: Duration = Duration(30)
    """Period of the ``poll`` resources, and of those observed ones that the device does not let itself be
    observed."""
    refresh: Duration = Duration(600)
    """An observation without news is registered anew when its Max-Age has passed (60 s unless the device
    says otherwise), and after this time at the latest: a device that restarted has forgotten it."""
    timeout: Duration = Duration(10)
    """How long to wait for an answer, retransmissions included; of a body in blocks, for each block."""
    ack_timeout: Duration = Duration(2)
    """A question over UDP is sent again when it was not acknowledged for this time, or up to half as long
    again by chance; then for twice the time, and so on (ACK_TIMEOUT of RFC 7252)."""
    max_retransmit: Annotated[int, msgspec.Meta(ge=0, le=20)] = 4
    """How often a question over UDP is sent again at most (MAX_RETRANSMIT of RFC 7252)."""
    max_payload: Size = Size(65_536)
    """The largest body that is taken, in one message or in blocks."""
    security: str = ""
    """Name of a key under ``security`` of the adapter: of OSCORE for ``coap://``, a pre-shared one of DTLS for
    ``coaps://``. With it nothing is ever sent or taken in the clear."""
    observe: dict[Name, Resource] = {}
    """Resources to be told of when they change (RFC 7641), by point name."""
    poll: dict[Name, Resource] = {}
    """Resources to read once a period, by point name."""

    def __post_init__(self) -> None:
        check_url(self.url)
        for name in ("every", "refresh", "timeout", "ack_timeout"):
            if getattr(self, name) <= 0:
                raise FieldError(name, "must be more than 0")
        if not 1 <= self.max_payload <= MAX_PAYLOAD:
            raise FieldError("max_payload", "must be between 1 B and 16 MiB")
        if not self.observe and not self.poll:
            raise FieldError("observe", "nothing to observe and nothing to poll")
        for key, resources in (("observe", self.observe), ("poll", self.poll)):
            for name, resource in resources.items():
                if isinstance(resource, str):
                    check_path((key, name), resource)
        for name in self.observe.keys() & self.poll.keys():
            raise FieldError(("poll", name), "is observed already; a point has one source")


def resource_options(resource: Resource) -> ResourceOptions:
    """A plain path is short for a resource with nothing else said of it."""
    return ResourceOptions(path=resource) if isinstance(resource, str) else resource


def check_url(url: str) -> SplitResult:
    """The parts of a device's URL.

    Raises:
        FieldError: if it is not a URL of a host with one of the :data:`SCHEMES`.
    """
    try:
        parts = urlsplit(url)
        usable = parts.hostname is not None and parts.port != 0 and not any(map(str.isspace, url))
    except ValueError as error:
        raise FieldError("url", f"{url!r}: {error}") from None
    if parts.scheme in {"coaps+tcp", "coap+ws", "coaps+ws"}:
        raise FieldError("url", f"{parts.scheme}:// is not there; coap://, coaps:// and coap+tcp:// are")
    if parts.scheme not in SCHEMES or not usable:
        raise FieldError("url", f'{url!r} is not a CoAP address; write "coap://host" or "coap://host:5683"')
    if parts.path not in {"", "/"} or parts.query or parts.fragment or parts.username is not None:
        raise FieldError("url", "holds the host and port only; paths belong to the points")
    return parts


def scheme_of(url: str) -> str:
    """``coap``, ``coaps`` or ``coap+tcp``; it says which transport a device is asked by."""
    return urlsplit(url).scheme
