"""Options of the server that devices push to. Light."""

from __future__ import annotations

import re

import msgspec

from adapters.coap.value_options import ValueOptions, check_path, check_pointer
from adapters.payloads.formats import Format
from adapters.payloads.times import TimeUnit
from gateway.errors import FieldError
from gateway.point import Name
from gateway.units import Size

_NAME = re.compile(r"[A-Za-z0-9_.\-]{1,128}", re.ASCII)
_PART = re.compile(r"\{([a-z]+)\}")


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
        check_pointer("time", self.time)
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


def listen_address(text: str) -> tuple[str, int]:
    """Host (IPv6 without brackets) and port of ``listen``.

    Raises:
        FieldError: if it is not ``host:port``.
    """
    match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.%\w]+)\]|([^\[\]:/\s]*)):(\d{1,5})", text, re.ASCII)
    if match is None or int(match[3]) > 65535:
        raise FieldError("listen", f'{text!r} is not an address; write "0.0.0.0:5683" or "[::]:5683"')
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
    if options.payload is Format.TEXT and "point" not in named and len(options.points) != 1:
        raise FieldError((*where, "points"), "a text payload is one value: give one point, or {point} in the path")
