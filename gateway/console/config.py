"""Options of the console."""

from __future__ import annotations

from typing import Annotated

import msgspec

from gateway.errors import FieldError

LOCAL = frozenset({"127.0.0.1", "::1", "localhost"})


class ConsoleConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The console and the API, served by the daemon. Without this section neither is there, nor costs anything."""

    listen: str = "127.0.0.1:8321"
    """Address and port. ``0.0.0.0:8321`` lets the whole network in and wants ``cert`` and ``key``. Port 0 takes a
    free one."""
    password: str = ""
    """Password to sign in with; write ``${credential:name}`` rather than the password itself. Left out: the one that
    ``onpath console password`` has set."""
    cert: str = ""
    """File with the certificate: the console is served by TLS, and ``key`` is its private key."""
    key: str = ""
    """File with the private key of ``cert``."""
    plain: bool = False
    """Serve without TLS beyond this machine all the same: behind a proxy or in a network that you trust."""
    hosts: list[str] = []
    """Names that browsers may know the console by, such as ``gw7.example.com``. Left out: any, or, while it listens on
    this machine only, just ``localhost`` and the address, so that no page from elsewhere can reach it."""
    behind_proxy: bool = False
    """A reverse proxy on this machine speaks for the browsers: what it says of them (``X-Forwarded-For``,
    ``X-Forwarded-Proto``) is believed. List its name in ``hosts``."""
    read_only: bool = False
    """Nobody may change anything by the console or the API."""
    metrics: Annotated[str, msgspec.Meta(pattern="^(token|open)$")] = "token"
    """Who may read ``/metrics``: ``token`` (a token, or who has signed in), or ``open`` for everybody who can reach
    the port."""

    def __post_init__(self) -> None:
        host, _, port = self.listen.rpartition(":")
        if not host or not port.isdecimal() or int(port) > 65535:
            raise FieldError("listen", f'{self.listen!r} is not an address; write "127.0.0.1:8321" or "0.0.0.0:8321"')
        if bool(self.cert) != bool(self.key):
            raise FieldError("cert" if self.cert else "key", "cert and key go together")
        if self.host not in LOCAL and not self.cert and not self.plain:
            raise FieldError("listen", f"{host} can be reached from outside: give cert and key, or say plain: true")

    @property
    def host(self) -> str:
        """The address, IPv6 without brackets."""
        return self.listen.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        """The port; 0 for a free one."""
        return int(self.listen.rpartition(":")[2])
