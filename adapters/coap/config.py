"""Options of the CoAP adapter: devices that it asks, and paths where devices push to it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit

import msgspec

from adapters.base import AdapterConfig
from adapters.payloads.formats import Format
from adapters.payloads.pointer import parse_pointer
from adapters.payloads.times import TimeUnit
from gateway.errors import FieldError
from gateway.point import Name, PointOptions
from gateway.units import Duration, Size

if TYPE_CHECKING:
    from adapters.base import Adapter

_NAME = re.compile(r"[A-Za-z0-9_.\-]{1,128}", re.ASCII)
_PART = re.compile(r"\{([a-z]+)\}")


class ValueOptions(PointOptions, frozen=True, kw_only=True):
    """A point and where its value is found in a payload."""

    value: str = ""
    """JSON pointer (RFC 6901) to the value in a JSON or CBOR payload, ``/rh``. Left out, a map is asked
    for the member with the point's name, and everything else is the value itself. In a SenML pack the name
    of the record to take; left out, the one with the point's name, or the only one."""
    time: str = ""
    """JSON pointer to the source time in a JSON or CBOR payload; left out, the time of arrival is taken.
    SenML records carry their own times."""
    time_unit: TimeUnit = TimeUnit.AUTO
    """What a numeric source time counts since 1970: ``s``, ``ms``, ``us``, ``ns``; ``auto`` guesses by
    magnitude. Text is RFC 3339."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_pointer("value", self.value)
        _check_pointer("time", self.time)


class ResourceOptions(ValueOptions, frozen=True, kw_only=True):
    """One resource of a device and the point that it becomes."""

    path: str = ""
    """Path of the resource on the device, such as ``/hum``; a query may follow: ``/time?ticks``."""
    payload: Format = Format.AUTO
    """How payloads are read: ``text``, ``json``, ``cbor``, ``senml``, or ``auto`` by their Content-Format.
    A ``senml`` resource without ``value`` becomes one point for each name in its packs."""
    base_names: bool = False
    """Whether points named by SenML records keep the base name (``bn``), which is the device's own name
    for itself. Without it a pack of several base names is refused."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_path("path", self.path)


Resource = str | ResourceOptions


class DeviceOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One CoAP server that the gateway asks."""

    url: str = ""
    """Where the device is: ``coap://10.0.0.9`` or ``coap://[fe80::1%eth0]:5683``."""
    every: Duration = Duration(30)
    """Period of the ``poll`` resources, and of those observed ones that the device does not let itself be
    observed."""
    refresh: Duration = Duration(600)
    """An observation without news is registered anew when its Max-Age has passed (60 s unless the device
    says otherwise), and after this time at the latest: a device that restarted has forgotten it."""
    timeout: Duration = Duration(10)
    """How long to wait for an answer, retransmissions included (RFC 7252 sends again after 2 to 3 s, 6 s
    and 14 s)."""
    observe: dict[Name, Resource] = {}
    """Resources to be told of when they change (RFC 7641), by point name."""
    poll: dict[Name, Resource] = {}
    """Resources to read once a period, by point name."""

    def __post_init__(self) -> None:
        check_url(self.url)
        if self.every <= 0:
            raise FieldError("every", "must be more than 0")
        if self.refresh <= 0:
            raise FieldError("refresh", "must be more than 0")
        if self.timeout <= 0:
            raise FieldError("timeout", "must be more than 0")
        if not self.observe and not self.poll:
            raise FieldError("observe", "nothing to observe and nothing to poll")
        for key, resources in (("observe", self.observe), ("poll", self.poll)):
            for name, resource in resources.items():
                if isinstance(resource, str):
                    check_path((key, name), resource)
        for name in self.observe.keys() & self.poll.keys():
            raise FieldError(("poll", name), "is observed already; a point has one source")


class ServedOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One path pattern where devices push."""

    device: str = ""
    """Name of the device that pushes here, for a pattern without ``{device}``."""
    payload: Format = Format.AUTO
    """How payloads are read: ``text``, ``json``, ``cbor``, ``senml``, or ``auto`` by their Content-Format
    (without one: a number or a boolean as text, else JSON)."""
    points: dict[Name, ValueOptions] = {}
    """The points of a payload by name, each with the place of its value. Left out, a SenML pack becomes
    one point for each record name, and a JSON or CBOR map one for each member that is a value."""
    time: str = ""
    """JSON pointer to the source time of all points of a JSON or CBOR payload, unless a point says
    otherwise."""
    time_unit: TimeUnit = TimeUnit.AUTO
    """What a numeric source time counts since 1970; ``auto`` guesses by magnitude."""
    base_names: bool = False
    """Whether points named by SenML records keep the base name (``bn``)."""

    def __post_init__(self) -> None:
        _check_pointer("time", self.time)
        if self.device and not _NAME.fullmatch(self.device):
            raise FieldError("device", "may hold letters, digits, dots, dashes and underscores only")


class ServeOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The server that devices push to."""

    listen: str = "0.0.0.0:5683"
    """Address and port to listen on: ``0.0.0.0:5683`` (IPv4), ``[::]:5683`` (IPv4 and IPv6); port 0 takes
    a free one."""
    max_payload: Size = Size(65536)
    """Larger payloads are refused with 4.13, block-wise ones before they are put together."""
    resources: dict[str, ServedOptions] = {}
    """What may be pushed, by path pattern. A part ``{device}`` names the device, a part ``{point}`` the
    point that a single value is for: ``/push/{device}``, ``/v/{device}/{point}``."""

    def __post_init__(self) -> None:
        listen_address(self.listen)
        if not 16 <= self.max_payload <= 2**24:
            raise FieldError("max_payload", "must lie between 16B and 16MiB")
        if not self.resources:
            raise FieldError("resources", "no path is served")
        for pattern, options in self.resources.items():
            _check_pattern(pattern, options)


class CoapConfig(AdapterConfig, frozen=True, kw_only=True, tag="coap"):
    """CoAP (RFC 7252) over UDP: devices observed and polled, and a server that devices push to."""

    devices: dict[Name, DeviceOptions] = msgspec.field(default_factory=dict)
    """Devices that the gateway asks, by name."""
    serve: ServeOptions | None = None
    """The server that devices push to; none if left out."""

    def __post_init__(self) -> None:
        if not self.devices and self.serve is None:
            raise FieldError("devices", 'nothing to do: give "devices", "serve" or both')

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
        return self.serve is not None and any(not options.device for options in self.serve.resources.values())


def resource_options(resource: Resource) -> ResourceOptions:
    """A plain path is short for a resource with nothing else said of it."""
    return ResourceOptions(path=resource) if isinstance(resource, str) else resource


def listen_address(text: str) -> tuple[str, int]:
    """Host (IPv6 without brackets) and port of ``listen``.

    Raises:
        FieldError: if it is not ``host:port``.
    """
    match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.%\w]+)\]|([^\[\]:/\s]*)):(\d{1,5})", text, re.ASCII)
    if match is None or int(match[3]) > 65535:
        raise FieldError("listen", f'{text!r} is not an address; write "0.0.0.0:5683" or "[::]:5683"')
    return match[1] or match[2] or "::", int(match[3])


def check_url(url: str) -> SplitResult:
    """The parts of a device's URL.

    Raises:
        FieldError: if it is not a ``coap://`` URL of a host.
    """
    try:
        parts = urlsplit(url)
        usable = parts.hostname is not None and parts.port != 0
    except ValueError as error:
        raise FieldError("url", f"{url!r}: {error}") from None
    if parts.scheme in {"coaps", "coap+tcp", "coaps+tcp", "coap+ws", "coaps+ws"}:
        raise FieldError("url", f"{parts.scheme}:// is not there yet; only coap:// (UDP, unsecured) is")
    if parts.scheme != "coap" or not usable:
        raise FieldError("url", f'{url!r} is not a CoAP address; write "coap://host" or "coap://host:5683"')
    if parts.path not in {"", "/"} or parts.query or parts.fragment or parts.username is not None:
        raise FieldError("url", "holds the host and port only; paths belong to the points")
    return parts


def check_path(field: str | tuple[str, ...], path: str) -> None:
    """Refuse what is not an absolute path.

    Raises:
        FieldError: for ``field``.
    """
    if not path.startswith("/") or "#" in path or any(character.isspace() for character in path):
        raise FieldError(field, f'{path!r} is not a path; it begins with "/", such as "/temp"')


def _check_pointer(field: str, text: str) -> None:
    try:
        parse_pointer(text)
    except ValueError as error:
        raise FieldError(field, str(error)) from None


def _check_pattern(pattern: str, options: ServedOptions) -> None:
    where = ("resources", pattern)
    check_path(where, pattern)
    parts = pattern[1:].split("/")
    named = [match[1] for part in parts if (match := _PART.fullmatch(part))]
    if "" in parts or any("{" in part or "}" in part for part in parts if not _PART.fullmatch(part)):
        raise FieldError(where, "a part of a path is a word or a name in braces, such as {device}")
    for name in named:
        if name not in {"device", "point"} or named.count(name) > 1:
            raise FieldError(where, "the parts with names are {device} and {point}, each once")
    if ("device" in named) == bool(options.device):
        raise FieldError(where, 'says the device once: by {device} in the path or by "device"')
    if "point" in named and options.payload is Format.SENML:
        raise FieldError(where, "a SenML pack names its points itself; leave {point} out")
    if options.payload is Format.TEXT and "point" not in named and len(options.points) != 1:
        raise FieldError((*where, "points"), "a text payload is one value: give one point, or {point} in the path")
