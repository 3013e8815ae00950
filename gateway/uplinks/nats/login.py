"""Logging in with a key: the server sends a nonce, the client signs it with Ed25519. Reads files; no network.

A seed as text is base32 without padding of: two bytes of prefix (``S`` and the kind of key, five bits each), 32 bytes
of seed, CRC-16/XMODEM of these in little-endian. A public key likewise: one byte of prefix, 32 bytes, CRC. Source: the
README of github.com/nats-io/nkeys. A creds file is a JWT and such a seed between ``-----BEGIN``/``END`` lines.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.errors import LinkError

_SEED: Final = 18 << 3
"""``S``."""
_USER: Final = 20 << 3
"""``U``."""
_JWT = re.compile(r"-----BEGIN NATS USER JWT-----\s+(\S+)\s+-+END NATS USER JWT")
_CREDS_SEED = re.compile(r"-----BEGIN USER NKEY SEED-----\s+(\S+)\s+-+END USER NKEY SEED")
_BARE_SEED = re.compile(r"^(S[A-Z2-7]{57})\s*$", re.MULTILINE)


@dataclass(frozen=True)
class KeyLogin:
    """A user's key, and the JWT that an account has given it."""

    key: Ed25519PrivateKey
    jwt: str = ""

    @property
    def public(self) -> str:
        """The public key as the server has it in its configuration: ``U...``."""
        return _text(bytes([_USER]) + self.key.public_key().public_bytes_raw())

    def sign(self, nonce: str) -> bytes:
        """The signature of a server's nonce, in base64."""
        return base64.b64encode(self.key.sign(nonce.encode()))


def from_creds(file: str) -> KeyLogin:
    """What is in a creds file.

    Raises:
        LinkError: it cannot be read, or is none.
    """
    text = _read("creds", file)
    jwt, seed = _JWT.search(text), _CREDS_SEED.search(text)
    if jwt is None or seed is None:
        raise LinkError(f"creds {file}: not a creds file, which has a user JWT and a user nkey seed")
    return KeyLogin(_key("creds", file, seed[1]), jwt[1])


def from_nkey(file: str) -> KeyLogin:
    """The key in a file with a seed, comments around it allowed.

    Raises:
        LinkError: it cannot be read, or has no seed.
    """
    seed = _BARE_SEED.search(_read("nkey", file))
    if seed is None:
        raise LinkError(f"nkey {file}: no seed in it; a line that begins with SU")
    return KeyLogin(_key("nkey", file, seed[1]))


def _read(field: str, file: str) -> str:
    try:
        return Path(file).read_text("ascii", errors="replace")
    except OSError as error:
        raise LinkError(f"{field} {file}: {error.strerror or error}") from None


def _key(field: str, file: str, seed: str) -> Ed25519PrivateKey:
    try:
        raw = base64.b32decode(seed + "=" * (-len(seed) % 8))
    except binascii.Error:
        raw = b""
    body, check = raw[:-2], raw[-2:]
    if len(body) != 34 or binascii.crc_hqx(body, 0).to_bytes(2, "little") != check:
        raise LinkError(f"{field} {file}: the seed is damaged")
    # Five bits say that it is a seed, the next five of what: 3 of them in the first byte, 5 in the second's upper part
    kind = (body[0] & 7) << 5 | body[1] >> 3
    if body[0] & 0xF8 != _SEED or kind != _USER:
        raise LinkError(f"{field} {file}: the seed is not that of a user, which begins with SU")
    return Ed25519PrivateKey.from_private_bytes(body[2:])


def _text(body: bytes) -> str:
    whole = body + binascii.crc_hqx(body, 0).to_bytes(2, "little")
    return base64.b32encode(whole).decode().rstrip("=")
