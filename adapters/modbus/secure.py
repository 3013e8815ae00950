"""Modbus/TCP Security: TLS in which both sides show a certificate, and the role in the peer's.

A certificate may say in an extension what its owner may do, by which devices grant access:

    Certificate  SEQUENCE { tbs SEQUENCE { ..., [3] { SEQUENCE OF Extension } }, ... }
    Extension    SEQUENCE { OBJECT IDENTIFIER, BOOLEAN (if critical), OCTET STRING { UTF8String } }

Source: MODBUS/TCP Security Protocol Specification 2.1 (Modbus Organization, 2018), section 8 and table 6.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass

ROLE_OID = bytes.fromhex("2b 06 01 04 01 83 89 0c 86 22 01")
"""1.3.6.1.4.1.50316.802.1, as DER has it."""

_SEQUENCE, _OID, _OCTETS, _UTF8, _EXTENSIONS = 0x30, 0x06, 0x04, 0x0C, 0xA3


@dataclass(frozen=True)
class Certificates:
    """Files with the certificates to trust, the own one and its private key; the name to find in the peer's."""

    ca: str
    cert: str
    key: str
    server_name: str = ""


def context_of(files: Certificates) -> ssl.SSLContext:
    """Trust and identity, read anew each time; nothing but what ``ca`` holds is trusted.

    Raises:
        OSError: a file cannot be read, or holds no certificate or key (``ssl.SSLError`` is one).
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # asks for a certificate and compares its name
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(cafile=files.ca)
    # an empty password, or OpenSSL would ask for one at the terminal
    context.load_cert_chain(files.cert, files.key, password="")
    return context


def said_of(peer: ssl.SSLObject) -> str:
    """Who the peer is, for the log: version of TLS, and its role if its certificate has one."""
    role = role_of(peer.getpeercert(binary_form=True) or b"")
    return f"{peer.version()}, role {role!r}" if role is not None else f"{peer.version()}, no role"


def role_of(der: bytes) -> str | None:
    """The role in a certificate, or None if it has none, or what is there cannot be read."""
    try:
        certificate = dict(_items(der))[_SEQUENCE]
        body = dict(_items(dict(_items(certificate))[_SEQUENCE]))
        extensions = dict(_items(body[_EXTENSIONS]))[_SEQUENCE]
        for _, extension in _items(extensions):
            fields = dict(_items(extension))
            if fields.get(_OID) == ROLE_OID:
                return dict(_items(fields[_OCTETS]))[_UTF8].decode()
    except (KeyError, ValueError):  # a UnicodeDecodeError is a ValueError
        return None
    return None


def _items(der: bytes) -> list[tuple[int, bytes]]:
    """Tags and contents, one after the other; the first of one tag comes last, so that a dict keeps it.

    Raises:
        ValueError: this is no DER.
    """
    items = []
    at = 0
    while at < len(der):
        if at + 2 > len(der):
            raise ValueError("cut short")
        tag, length, at = der[at], der[at + 1], at + 2
        if length & 0x80:
            size = length & 0x7F
            length, at = int.from_bytes(der[at : at + size], "big"), at + size
        if at + length > len(der):
            raise ValueError("cut short")
        items.append((tag, der[at : at + length]))
        at += length
    return items[::-1]
