"""The resource directory (RFC 9176): who has registered, for how long, with which links. Pure: the time is told.

How LwM2M shares the same paths is :class:`adapters.coap.registrar.Registrar`.
"""

from __future__ import annotations

import ipaddress
import re
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final
from urllib.parse import urlsplit

import msgspec

from adapters.coap.directory.links import Link, format_links, parse_links
from adapters.coap.directory.registrar import Registrar
from adapters.coap.options.directory import DirectoryOptions
from gateway.errors import PayloadError

__all__ = ["Directory", "Registrar", "Registration"]

DEFAULT_LIFETIME_S: Final = 90_000
MAX_NAME: Final = 63
"""Bytes of an endpoint's name and of its sector (RFC 9176, 5)."""
MAX_EXTRA: Final = 16
"""Further attributes of an endpoint."""
MAX_VALUE: Final = 256
"""Characters of one of them."""
MAX_TEXT: Final = 16_384
"""Characters of the links of one endpoint."""
_ATTRIBUTE = re.compile(r"[A-Za-z0-9!#$&+\-.^_`|~]+", re.ASCII)
_OWN: Final = frozenset({"ep", "d", "lt", "base"})


class Registration(msgspec.Struct, frozen=True, kw_only=True):
    """One endpoint."""

    location: str
    """Last segment of ``/rd/...``."""
    slot: int
    """Its number among those that are remembered."""
    ep: str
    d: str
    base: str
    """Where its paths are: ``coap://10.0.0.9:5683``."""
    told_base: bool = False
    """Whether the endpoint has said so itself; else it is where its last message came from."""
    source: str
    """The address it registered from, without port."""
    lifetime_s: int
    until_ns: int
    """UTC ns since 1970; then it is forgotten."""
    links: str
    """As :func:`adapters.coap.links.format_links` writes them."""
    extra: tuple[tuple[str, str], ...] = ()
    """Further attributes of the endpoint, such as its type (``et``)."""

    @property
    def parsed(self) -> list[Link]:
        """The links."""
        return parse_links(self.links.encode())


class Directory:
    """The registrations."""

    def __init__(self, options: DirectoryOptions) -> None:
        self._options = options
        self._found: dict[str, Registration] = {}

    def __len__(self) -> int:
        return len(self._found)

    def __iter__(self) -> Iterator[Registration]:
        return iter(list(self._found.values()))

    def get(self, location: str) -> Registration | None:
        """The registration at a location, or None."""
        return self._found.get(location)

    def register(self, query: Mapping[str, str], links: Sequence[Link], remote: str, now_ns: int) -> Registration:
        """Take an endpoint in; one that registers again keeps its location.

        Args:
            query: the parameters ``ep``, ``d``, ``lt``, ``base`` and others.
            links: what it has.
            remote: its own address, as a URI: ``coap://10.0.0.9:5683``.
            now_ns: UTC ns.

        Raises:
            PayloadError: ``bad-registration``, ``foreign-base``, ``too-many-links``, ``too-many-endpoints``.
        """
        ep, d = query.get("ep", ""), query.get("d", "")
        if not ep or any(len(name.encode()) > MAX_NAME or not name.isprintable() for name in (ep, d)):
            raise PayloadError("bad-registration", f"ep and d have 1 to {MAX_NAME} bytes of plain text")
        self._check_links(links)
        known = next((one for one in self._found.values() if (one.ep, one.d) == (ep, d)), None)
        if known is None and len(self._found) >= self._options.max_endpoints:
            raise PayloadError("too-many-endpoints", f"{self._options.max_endpoints} are registered")
        if known is not None and not self._is_own(known, remote):
            raise PayloadError("foreign-base", "this name is registered from another address")
        lifetime_s = self._lifetime(query.get("lt", str(DEFAULT_LIFETIME_S)))
        made = Registration(
            location=known.location if known is not None else self._free_location(),
            slot=known.slot if known is not None else self._free_slot(),
            ep=ep,
            d=d,
            base=self._base(query.get("base", ""), remote),
            told_base="base" in query,
            source=_host(remote),
            lifetime_s=lifetime_s,
            until_ns=now_ns + lifetime_s * 1_000_000_000,
            links=format_links(links),
            extra=_extra(query),
        )
        self._found[made.location] = made
        return made

    def update(
        self, location: str, query: Mapping[str, str], links: Sequence[Link] | None, remote: str, now_ns: int
    ) -> Registration:
        """Let a registration live on, perhaps with another lifetime, base or other links.

        Raises:
            PayloadError: ``not-registered``, and as :meth:`register`.
        """
        known = self._own(location, remote)
        lifetime_s = self._lifetime(query["lt"]) if "lt" in query else known.lifetime_s
        told = known.told_base or "base" in query
        base = self._base(query.get("base", known.base if told else ""), remote)
        if links is not None:
            self._check_links(links)
        made = msgspec.structs.replace(
            known,
            lifetime_s=lifetime_s,
            until_ns=now_ns + lifetime_s * 1_000_000_000,
            base=base,
            told_base=told,
            source=_host(remote),
            links=known.links if links is None else format_links(links),
            extra=tuple((dict(known.extra) | dict(_extra(query))).items()),
        )
        self._found[location] = made
        return made

    def remove(self, location: str, remote: str) -> Registration:
        """Forget a registration.

        Raises:
            PayloadError: ``not-registered``, ``foreign-base``.
        """
        known = self._own(location, remote)
        del self._found[location]
        return known

    def expire(self, now_ns: int) -> list[Registration]:
        """Forget those whose lifetime is over; they."""
        over = [one for one in self._found.values() if one.until_ns <= now_ns]
        for one in over:
            del self._found[one.location]
        return over

    def restore(self, kept: Iterable[bytes], now_ns: int) -> None:
        """Take over what :func:`dump` gave before a restart; what cannot be read or is over is left."""
        for raw in kept:
            try:
                one = msgspec.msgpack.decode(raw, type=Registration)
                parse_links(one.links.encode())
            except (msgspec.MsgspecError, PayloadError):
                continue
            if one.until_ns > now_ns and one.slot < self._options.max_endpoints:
                self._found[one.location] = one

    # checks

    def _own(self, location: str, remote: str) -> Registration:
        known = self._found.get(location)
        if known is None:
            raise PayloadError("not-registered", "no such registration")
        if not self._is_own(known, remote):
            raise PayloadError("foreign-base", "registered from another address")
        return known

    def _is_own(self, known: Registration, remote: str) -> bool:
        return self._options.foreign_base or known.source == _host(remote)

    def _check_links(self, links: Sequence[Link]) -> None:
        if len(links) > self._options.max_links:
            raise PayloadError("too-many-links", f"at most {self._options.max_links} links")
        if len(format_links(links)) > MAX_TEXT:
            raise PayloadError("too-many-links", f"at most {MAX_TEXT} characters of links")

    def _lifetime(self, text: str) -> int:
        if not text.isascii() or not text.isdigit() or len(text) > 10 or int(text) < 1:
            raise PayloadError("bad-registration", "lt is a number of seconds")
        if int(text) > self._options.lifetime_max:
            raise PayloadError("bad-registration", f"lt is at most {self._options.lifetime_max:.0f} s here")
        return int(text)

    def _base(self, base: str, remote: str) -> str:
        if not base:
            return remote
        try:
            parts = urlsplit(base)
            usable = parts.hostname is not None and parts.port != 0
        except ValueError:
            usable = False
        if not usable or parts.scheme != "coap" or parts.path not in {"", "/"} or parts.query or parts.fragment:
            raise PayloadError("bad-registration", 'base is a URI such as "coap://10.0.0.9:5683"')
        if not self._options.foreign_base and _host(base) != _host(remote):
            raise PayloadError("foreign-base", "base is not the address that this comes from")
        return base.rstrip("/")

    def _free_slot(self) -> int:
        taken = {one.slot for one in self._found.values()}
        return next(slot for slot in range(self._options.max_endpoints) if slot not in taken)

    def _free_location(self) -> str:
        while (location := secrets.token_hex(4)) in self._found:
            continue
        return location


def dump(one: Registration) -> bytes:
    """A registration for :meth:`Directory.restore`."""
    return msgspec.msgpack.encode(one)


def _host(uri: str) -> str:
    """The host of a URI; an address in its one form."""
    host = urlsplit(uri).hostname or ""
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return host


def _extra(query: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    extra = tuple((name, value) for name, value in query.items() if name not in _OWN)
    if not all(_ATTRIBUTE.fullmatch(name) and value.isprintable() for name, value in extra):
        raise PayloadError("bad-registration", "a parameter that is no attribute of a link")
    if len(extra) > MAX_EXTRA or any(len(name) + len(value) > MAX_VALUE for name, value in extra):
        raise PayloadError("bad-registration", f"at most {MAX_EXTRA} further parameters of {MAX_VALUE} characters")
    return extra
