"""What a client says of itself when it registers (OMA-TS-LightweightM2M 1.0.2, 5.3; Core 1.1, 6.2). Pure.

``POST /rd?ep=NAME&lt=SECONDS&lwm2m=1.0&b=UQ`` with links: ``</3/0>,</3303/0>;ver=1.1``. Queue mode is a ``Q`` in
``b`` (1.0) or a parameter of its own (1.1).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

import msgspec

from adapters.coap.directory.links import Link
from adapters.coap.lwm2m.contents import Path, parse_path
from gateway.errors import PayloadError

DEFAULT_LIFETIME_S: Final = 86_400
MAX_INSTANCES: Final = 128
"""Object instances of one client that are observed; further ones are left alone, and counted."""
MAX_NAME: Final = 255
"""Characters of an endpoint's name."""

_LIFETIME = re.compile(r"\d{1,10}", re.ASCII)
_VERSION = re.compile(r"1(?:\.\d{1,3}){0,2}", re.ASCII)
_UNFIT = re.compile(r"[^A-Za-z0-9_.\-]", re.ASCII)


Offer = tuple[str, tuple[tuple[int, int], ...]]
"""The path in front of all objects, and the object and instance of each one that is there."""


class Terms(NamedTuple):
    """What the query of a registration or an update says; None where an update says nothing."""

    lifetime_s: int | None
    version: str | None
    queue: bool | None


class Registration(msgspec.Struct, frozen=True, kw_only=True):
    """One registered client, as it is kept over a restart."""

    endpoint: str
    location: str
    """Last segment of ``/rd/LOCATION``."""
    address: str
    """``coap://10.0.0.9:56830``, where it sends from."""
    lifetime_s: float
    version: str = "1.0"
    queue: bool = False
    root: str = ""
    """Path in front of all objects (``rt="oma.lwm2m"``), mostly none."""
    instances: tuple[tuple[int, int], ...] = ()
    """Object and instance of each one that it offers."""
    until_ns: int = 0
    """When it ends if nothing more is heard, UTC ns."""


def endpoint_of(query: Mapping[str, str]) -> str:
    """The endpoint's name.

    Raises:
        PayloadError: ``bad-registration``.
    """
    name = query.get("ep", "")
    if not 1 <= len(name) <= MAX_NAME or not name.isprintable():
        raise PayloadError("bad-registration", "ep, the endpoint's name, is missing, too long or not printable")
    return name


def terms_of(query: Mapping[str, str]) -> Terms:
    """The lifetime, version and mode.

    Raises:
        PayloadError: ``bad-registration``; ``unsupported-version`` for what is not 1.x.
    """
    lifetime, version, binding = query.get("lt"), query.get("lwm2m"), query.get("b")
    if lifetime is not None and _LIFETIME.fullmatch(lifetime) is None:
        raise PayloadError("bad-registration", "lt is not a number of seconds")
    if version is not None and _VERSION.fullmatch(version) is None:
        raise PayloadError("unsupported-version", f"LwM2M {version[:20]!r}; 1.0 and 1.1 are spoken here")
    if binding and (re.fullmatch("[UTSNQ]{1,8}", binding) is None or "U" not in binding):
        raise PayloadError("bad-registration", f"binding {binding[:20]!r}; only U (UDP) is reached from here")
    queue = None if binding is None and "Q" not in query else "Q" in (binding or "") or "Q" in query
    return Terms(int(lifetime) if lifetime is not None else None, version, queue)


def offered(links: Iterable[Link]) -> Offer:
    """The root path and the object instances of a registration's links; what is no object is passed over.

    An object without instances (``</3303>``) has none yet and says so in a later update.
    """
    links = list(links)
    root = next((link.target.rstrip("/") for link in links if "oma.lwm2m" in link.words("rt")), "")
    found: dict[tuple[int, int], None] = {}
    for link in links:
        if not link.target.startswith(root):
            continue
        try:
            path: Path = parse_path(link.target[len(root) :])
        except PayloadError:
            continue
        if len(path) == 2:
            found[path[0], path[1]] = None
    return root, tuple(found)


def device_name(template: str, endpoint: str) -> str:
    """The device's name: the template with the endpoint's name, in which only what may be there is left.

    Raises:
        PayloadError: ``bad-registration``, if it has more than 128 characters.
    """
    name = template.replace("{ep}", _UNFIT.sub("-", endpoint))
    if len(name) > 128:
        raise PayloadError("bad-registration", "the endpoint's name is too long for the name of a device")
    return name
