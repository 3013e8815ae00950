"""Records of DTLS (RFC 6347, 4.1) as far as they can be seen from outside. Pure.

type (1) · version (2) · epoch (2) · number (6) · length (2) · content (length)
"""

from __future__ import annotations

from typing import Final

MTU: Final = 1232
"""Bytes of a datagram: what every link with IPv6 takes (1,280) without the headers of IPv6 and UDP."""
HEADER: Final = 13
_HANDSHAKE: Final = 22
_CLIENT_HELLO: Final = 1


def datagrams(stream: bytes, limit: int = MTU) -> list[bytes]:
    """Cut a stream of whole records (13 bytes of header, the last two the length) into datagrams."""
    cut: list[bytearray] = []
    at = 0
    while at + HEADER <= len(stream):
        end = at + HEADER + int.from_bytes(stream[at + 11 : at + 13], "big")
        if not cut or len(cut[-1]) + end - at > limit:
            cut.append(bytearray())
        cut[-1] += stream[at:end]
        at = end
    return [bytes(datagram) for datagram in cut]


def is_hello(datagram: bytes) -> bool:
    """Whether a datagram begins with a ClientHello in the clear: a handshake record (22) of epoch 0, type 1."""
    return (
        len(datagram) > HEADER
        and datagram[0] == _HANDSHAKE
        and datagram[3:5] == b"\0\0"
        and datagram[HEADER] == _CLIENT_HELLO
    )
