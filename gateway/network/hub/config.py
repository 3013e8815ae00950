"""The YAML of ``onpath hub``. Light: imports no protocol library."""

from __future__ import annotations

import enum
from typing import Annotated, Final
from urllib.parse import urlsplit

import msgspec

from gateway.errors import FieldError
from gateway.point import Name
from gateway.units import Duration, Size

ALWAYS: Final = "always"
LOCAL: Final = frozenset({"127.0.0.1", "::1", "localhost"})


class Role(enum.StrEnum):
    """What a login may do."""

    NODE = "node"
    """What nodes, the controller and the verbs of the command line need; no stream can be deleted."""
    READER = "reader"
    """Read results and what goes with them. It changes nothing, but can see answers to others."""
    ALL = "all"
    """Everything, such as uplinks of gateways with streams of their own."""


class HubUser(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One login."""

    password: Annotated[str, msgspec.Meta(min_length=1)]
    """Password to log in with; write ``${credential:name}`` rather than the password itself."""
    role: Role = Role.NODE
    """``node``, ``reader`` or ``all``."""


class ClusterConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Several hubs as one: each keeps a copy of all streams that are made with ``replicas``."""

    name: Name
    """The same for all hubs of the cluster."""
    listen: str = "0.0.0.0:6222"
    """Address and port for the other hubs."""
    routes: Annotated[list[str], msgspec.Meta(min_length=1)]
    """The other hubs, as ``nats://host:6222``; this one may be among them."""
    password: str = ""
    """What hubs log in with at each other; write ``${credential:name}`` rather than the password itself. Needed where
    others can reach ``listen``."""
    cert: str = ""
    """File with this hub's certificate, for TLS between hubs; it must serve as a server's and as a client's."""
    key: str = ""
    """File with the private key of ``cert``."""
    ca: str = ""
    """File with the authorities that the hubs' certificates must come from."""

    def __post_init__(self) -> None:
        host, _ = address("listen", self.listen)
        for number, route in enumerate(self.routes):
            _check_route(number, route)
        if host not in LOCAL and not self.password:
            raise FieldError("password", f"{host} can be reached from outside: give a password that the hubs share")
        given = [name for name in ("cert", "key", "ca") if getattr(self, name)]
        if given and len(given) < 3:
            missing = next(name for name in ("cert", "key", "ca") if name not in given)
            raise FieldError(given[0], f"TLS between hubs needs {missing} too")


class HubConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One hub."""

    name: Name
    """Its name, which no other hub of the cluster may have."""
    listen: str = "127.0.0.1:4222"
    """Address and port for nodes; ``0.0.0.0:4222`` lets the whole network in and needs ``users``. Port 0 takes a free
    one."""
    state: Annotated[str, msgspec.Meta(min_length=1)] = "/var/lib/onpath-hub"
    """Folder for what must survive a restart: all streams."""
    sync_interval: str = ALWAYS
    """``always``: what was confirmed is on this hub's disk. A time such as ``2m``: it gets there by then, and a power
    cut takes what came since; without a cluster keep ``always``."""
    users: dict[str, HubUser] = {}
    """Who may log in, by name. Left out: everybody who can reach it, which is this machine only."""
    cert: str = ""
    """File with the hub's certificate: nodes connect by ``tls://``, and ``key`` is its private key."""
    key: str = ""
    """File with the private key of ``cert``."""
    client_ca: str = ""
    """File with the authorities that nodes' own certificates must come from; none are asked for otherwise."""
    cluster: ClusterConfig | None = None
    """The cluster that it is part of."""
    max_store: Size = Size(10 * 2**30)
    """Bytes on disk for all streams. When they are full, messages are refused and wait at the nodes."""
    max_payload: Size = Size(8 * 2**20)
    """Bytes of one message."""

    def __post_init__(self) -> None:
        host, _ = address("listen", self.listen)
        if bool(self.cert) != bool(self.key):
            raise FieldError("cert" if self.cert else "key", "cert and key go together")
        if self.client_ca and not self.cert:
            raise FieldError("client_ca", "needs TLS: give cert and key")
        if host not in LOCAL and not self.users:
            raise FieldError("users", f"{host} can be reached from outside: name the users that may log in")
        for name in self.users:
            if not name or not name.isprintable():
                raise FieldError(("users", name), "is not a user's name")
        if self.sync_interval != ALWAYS:
            _check_sync(self.sync_interval)
        if not 2**16 <= self.max_payload <= 2**26:
            raise FieldError("max_payload", "between 64 KiB and 64 MiB")
        if self.max_store < 2**24:
            raise FieldError("max_store", "at least 16 MiB")


class HubFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What stands in the file."""

    hub: HubConfig
    """The hub."""


def address(field: str, text: str) -> tuple[str, int]:
    """Host (IPv6 without brackets) and port of a text.

    Raises:
        FieldError: it is not one.
    """
    host, _, port = text.rpartition(":")
    host = host.strip("[]")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise FieldError(field, f'{text!r} is not an address; write "127.0.0.1:4222" or "0.0.0.0:4222"')
    return host, int(port)


def _check_sync(text: str) -> None:
    try:
        good = 1 <= Duration.parse(text) <= 3600
    except ValueError:
        good = False
    if not good:
        raise FieldError("sync_interval", f"{text!r}: write always, or a time between 1s and 1h")


def _check_route(number: int, route: str) -> None:
    try:
        parts = urlsplit(route)
        good = parts.scheme in {"nats", "tls"} and bool(parts.hostname) and bool(parts.port)
    except ValueError:
        good = False
    if not good or parts.username is not None or parts.path not in {"", "/"}:
        raise FieldError(("routes", number), f"{route!r}: write nats://host:6222")
