"""The address of the other side of a DTLS session, for aiocoap."""

from __future__ import annotations

from typing import Any

from aiocoap import interfaces


class DtlsRemote(interfaces.EndpointAddress):  # type: ignore[misc]  # aiocoap ships no types
    """The other side of a session; each session is an address of its own (RFC 7252, 9.1.2)."""

    is_multicast = False
    is_multicast_locally = False
    scheme = "coaps"

    def __init__(self, hostinfo: str, local: str, claims: list[str]) -> None:
        self._hostinfo = hostinfo
        self._local = local
        self._claims = claims

    @property
    def hostinfo(self) -> str:
        """Host and port."""
        return self._hostinfo

    @property
    def hostinfo_local(self) -> str:
        """Host and port on this side."""
        return self._local

    @property
    def uri_base(self) -> str:
        """Scheme, host and port."""
        return f"coaps://{self._hostinfo}"

    @property
    def uri_base_local(self) -> str:
        """The same of this side."""
        return f"coaps://{self._local}"

    @property
    def authenticated_claims(self) -> list[str]:
        """The name of the key."""
        return self._claims

    @property
    def blockwise_key(self) -> Any:
        """Blocks belong together if they came by one session."""
        return self

    def send(self, data: bytes) -> None:
        """Send a message."""
        raise NotImplementedError
