"""Options of the server that devices push to. Light."""

from __future__ import annotations

import enum
import re

import msgspec

from adapters.coap.lwm2m.options import Lwm2mOptions
from adapters.coap.options.directory import DirectoryOptions
from adapters.coap.options.offer import OfferOptions, check_offer
from adapters.coap.options.value import ValueOptions, check_path, check_pointer
from adapters.payloads.fields import is_field
from adapters.payloads.formats import Format
from adapters.payloads.times import TimeUnit
from gateway.errors import FieldError
from gateway.point import Name
from gateway.units import Size

_NAME = re.compile(r"[A-Za-z0-9_.\-]{1,128}", re.ASCII)
_PART = re.compile(r"\{([a-z]+)\}")


class EchoUse(enum.StrEnum):
    """Who has to prove an address before more than three times of a request's bytes are sent there."""

    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"


class ServedOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One path pattern where devices push."""

    device: str = ""
    """Name of the device that pushes here, for a pattern without ``{device}``."""
    payload: Format = Format.AUTO
    """How payloads are read: ``text``, ``json``, ``cbor``, ``senml``, ``octets`` (raw bytes, by the fields in
    ``points``), or ``auto`` by their Content-Format (without one: a number or a boolean as text, else JSON)."""
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
    security: list[str] = []
    """Names of keys under ``security``: only who has one of them may push here, others hear 4.01. Left out, those
    of the whole server count."""

    def __post_init__(self) -> None:
        check_pointer("time", self.time)
        if self.device and not _NAME.fullmatch(self.device):
            raise FieldError("device", "may hold letters, digits, dots, dashes and underscores only")


class ServeOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The server that devices push to."""

    listen: str = "0.0.0.0:5683"
    """Address and port to listen on: ``0.0.0.0:5683`` (IPv4), ``[::]:5683`` (IPv4 and IPv6); port 0 takes
    a free one."""
    secure_listen: str = ""
    """Address and port for DTLS (``coaps://``) with the pre-shared keys under ``security``: ``0.0.0.0:5684``.
    None if left out."""
    security: list[str] = []
    """Names of keys under ``security`` that every request must have one of, unless its path names its own. Left
    out, whoever reaches the port may ask."""
    max_payload: Size = Size(65536)
    """Larger payloads are refused with 4.13, block-wise ones before they are put together."""
    resources: dict[str, ServedOptions] = {}
    """What may be pushed, by path pattern. A part ``{device}`` names the device, a part ``{point}`` the
    point that a single value is for: ``/push/{device}``, ``/v/{device}/{point}``."""
    offer: dict[str, OfferOptions] = {}
    """The gateway's latest values, to read and to observe, by path: a pack of points (``/pack/main``), or with
    ``{point}`` as its last part one point each, whose name takes all that follows (``/values/{point}``).
    ``{device}`` stands for one device."""
    directory: DirectoryOptions | None = None
    """The resource directory (RFC 9176) at ``/rd`` and ``/rd-lookup``; none if left out."""
    lwm2m: Lwm2mOptions | None = None
    """The LwM2M server: clients register at ``/rd`` with ``lwm2m=`` and are observed; none if left out."""
    echo: EchoUse = EchoUse.AUTO
    """Who has to prove by Echo (RFC 9175) that an address is its own before more than three times of a request's
    bytes are sent there: addresses of the public Internet (``auto``), all (``always``), or nobody (``never``)."""

    def __post_init__(self) -> None:
        listen_address(self.listen)
        if self.secure_listen:
            listen_address(self.secure_listen, "secure_listen")
        if not 16 <= self.max_payload <= 2**24:
            raise FieldError("max_payload", "must lie between 16B and 16MiB")
        if not self.resources and not self.offer and self.directory is None and self.lwm2m is None:
            raise FieldError("resources", "no path is served")
        for pattern, options in self.resources.items():
            _check_pattern(pattern, options)
        for pattern, offer in self.offer.items():
            check_path(("offer", pattern), pattern)
            check_offer(("offer", pattern), pattern, offer)


def listen_address(text: str, field: str = "listen") -> tuple[str, int]:
    """Host (IPv6 without brackets) and port of ``listen``.

    Raises:
        FieldError: if it is not ``host:port``.
    """
    match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.%\w]+)\]|([^\[\]:/\s]*)):(\d{1,5})", text, re.ASCII)
    if match is None or int(match[3]) > 65535:
        raise FieldError(field, f'{text!r} is not an address; write "0.0.0.0:5683" or "[::]:5683"')
    return match[1] or match[2] or "::", int(match[3])


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
    _check_fields(where, options)
    if options.payload is Format.TEXT and "point" not in named and len(options.points) != 1:
        raise FieldError((*where, "points"), "a text payload is one value: give one point, or {point} in the path")


def _check_fields(where: tuple[str, ...], options: ServedOptions) -> None:
    """Raw bytes hold values at places and no time of their own."""
    fields = [name for name, point in options.points.items() if is_field(point.value)]
    if options.payload is not Format.OCTETS:
        return
    for name in options.points.keys() - set(fields):
        raise FieldError((*where, "points", name, "value"), 'a field of raw bytes is needed, such as "@0 uint16 *0.1"')
    if not fields:
        raise FieldError((*where, "points"), "raw bytes do not name their values: give the points with their fields")
    if options.time:
        raise FieldError((*where, "time"), "raw bytes are stamped when they arrive")
