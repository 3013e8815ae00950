"""The address of a peer that is spoken to under an OSCORE key."""

from __future__ import annotations

from typing import Any

from aiocoap import interfaces

from adapters.coap.security.oscore import OscoreKey


class OscoreAddress(interfaces.EndpointAddress):  # type: ignore[misc]  # aiocoap ships no types
    """An address of another transport, and the key.

    Only the OSCORE transport knows it, so that what is addressed to it cannot leave in the clear.
    """

    def __init__(self, key: OscoreKey, underlying: Any) -> None:
        self.key = key
        self.underlying_address = underlying

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, OscoreAddress):
            return False
        return bool(self.key is other.key and self.underlying_address == other.underlying_address)

    def __hash__(self) -> int:
        return hash((self.key, self.underlying_address))

    def __repr__(self) -> str:
        return f"<OscoreAddress {self.key.name} {self.underlying_address!r}>"

    @property
    def hostinfo(self) -> Any:
        """Host and port."""
        return self.underlying_address.hostinfo

    @property
    def hostinfo_local(self) -> Any:
        """Host and port on this side."""
        return self.underlying_address.hostinfo_local

    @property
    def uri_base(self) -> Any:
        """Scheme, host and port."""
        return self.underlying_address.uri_base

    @property
    def uri_base_local(self) -> Any:
        """The same of this side."""
        return self.underlying_address.uri_base_local

    @property
    def scheme(self) -> Any:
        """That of the transport below."""
        return self.underlying_address.scheme

    @property
    def is_multicast(self) -> bool:
        """OSCORE has no groups here."""
        return False

    @property
    def is_multicast_locally(self) -> bool:
        """Likewise."""
        return False

    @property
    def authenticated_claims(self) -> list[str]:
        """The name of the key."""
        return [self.key.name]

    @property
    def blockwise_key(self) -> Any:
        """Blocks belong together if they came from one address under one key."""
        return (self.underlying_address.blockwise_key, self.key.name)
