"""Options of the keys that devices are asked with, and that pushing devices must have. Light."""

from __future__ import annotations

import base64
import binascii
import difflib
import enum
import re
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from gateway.errors import FieldError

MIN_SECRET: Final = 16
"""Bytes of an OSCORE master secret; less than the 128 bits of the weakest algorithm is no secret."""
MIN_PSK: Final = 8
"""Bytes of a pre-shared key."""
MAX_SECRET: Final = 64
"""Bytes of either; RFC 4279 asks nobody to take longer ones."""
MAX_IDENTITY: Final = 128
"""Bytes of a PSK identity (RFC 4279, 5.3)."""
MAX_ID_CONTEXT: Final = 64

_NAME = re.compile(r"[A-Za-z0-9_.\-]{1,128}", re.ASCII)


class Algorithm(enum.StrEnum):
    """AEAD algorithms, by their names in the COSE registry."""

    AES_CCM_16_64_128 = "AES-CCM-16-64-128"
    AES_CCM_16_64_256 = "AES-CCM-16-64-256"
    AES_CCM_64_64_128 = "AES-CCM-64-64-128"
    AES_CCM_64_64_256 = "AES-CCM-64-64-256"
    AES_CCM_16_128_128 = "AES-CCM-16-128-128"
    AES_CCM_16_128_256 = "AES-CCM-16-128-256"
    AES_CCM_64_128_128 = "AES-CCM-64-128-128"
    AES_CCM_64_128_256 = "AES-CCM-64-128-256"
    A128GCM = "A128GCM"
    A192GCM = "A192GCM"
    A256GCM = "A256GCM"
    CHACHA20_POLY1305 = "ChaCha20/Poly1305"

    @property
    def max_id(self) -> int:
        """Bytes that a sender or recipient ID may have: the nonce less 6 (RFC 8613, 3.3)."""
        if self.startswith("AES-CCM-16"):
            return 7
        return 1 if self.startswith("AES-CCM-64") else 6


class Hash(enum.StrEnum):
    """Hash functions of the key derivation (HKDF)."""

    SHA256 = "sha256"
    SHA384 = "sha384"
    SHA512 = "sha512"


class OscoreOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A pre-established security context of OSCORE (RFC 8613, 3.2). One peer has one of its own."""

    secret: str
    """Master Secret, hex or base64, 16 to 64 bytes; write ``${credential:name}`` rather than the secret."""
    salt: str = ""
    """Master Salt, hex or base64; none if left out."""
    sender: str
    """Sender ID of the gateway, hex in quotes: ``"01"``; it is the device's Recipient ID."""
    recipient: str
    """Recipient ID, hex in quotes: the device's Sender ID."""
    id_context: str = ""
    """ID Context, hex; none if left out. Both sides must have the same."""
    algorithm: Algorithm = Algorithm.AES_CCM_16_64_128
    """AEAD algorithm; the default is the one that every implementation has."""
    hash: Hash = Hash.SHA256
    """Hash function of the key derivation: ``sha256``, ``sha384``, ``sha512``."""
    window: int = 32
    """Size of the replay window: how far requests of the device may overtake each other, 1 to 1024."""

    def __post_init__(self) -> None:
        checked_secret("secret", self.secret, MIN_SECRET)
        checked_secret("salt", self.salt, 0)
        ids = {field: hex_bytes(field, getattr(self, field)) for field in ("sender", "recipient", "id_context")}
        for field in ("sender", "recipient"):
            if len(ids[field]) > self.algorithm.max_id:
                raise FieldError(field, f"has at most {self.algorithm.max_id} bytes with {self.algorithm.value}")
        if ids["sender"] == ids["recipient"]:
            raise FieldError("recipient", "is the same as sender; the two sides have different IDs")
        if len(ids["id_context"]) > MAX_ID_CONTEXT:
            raise FieldError("id_context", f"has at most {MAX_ID_CONTEXT} bytes")
        if not 1 <= self.window <= 1024:
            raise FieldError("window", "must lie between 1 and 1024")

    def __repr__(self) -> str:
        return f"OscoreOptions(sender={self.sender!r}, recipient={self.recipient!r})"


class PskOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A pre-shared key of DTLS (RFC 7252, 9.1.3.1)."""

    identity: str
    """PSK identity, the text by which the other side finds the key; at most 128 bytes."""
    key: str
    """The key, 8 to 64 bytes: hex, base64, or ``text:`` and the characters themselves; write
    ``${credential:name}`` rather than the key."""

    def __post_init__(self) -> None:
        if not 1 <= len(self.identity.encode()) <= MAX_IDENTITY or "\0" in self.identity:
            raise FieldError("identity", f"has 1 to {MAX_IDENTITY} bytes, none of them zero")
        checked_secret("key", self.key, MIN_PSK)

    def __repr__(self) -> str:
        return f"PskOptions(identity={self.identity!r})"


class SecurityOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A key, for OSCORE or for DTLS."""

    oscore: OscoreOptions | None = None
    """Protects each message from end to end (RFC 8613)."""
    psk: PskOptions | None = None
    """Protects the way of the messages: DTLS 1.2 with a pre-shared key, ``coaps://``."""
    device: str = ""
    """The device that has this key, for served paths: with it nothing can be pushed for another device. Left
    out, its owner may push for every device that a path allows."""

    def __post_init__(self) -> None:
        if (self.oscore is None) == (self.psk is None):
            raise FieldError("oscore", 'a key is one of the two: "oscore" or "psk"')
        if self.device and not _NAME.fullmatch(self.device):
            raise FieldError("device", "may hold letters, digits, dots, dashes and underscores only")


Keys = Mapping[str, SecurityOptions]


def secret_bytes(text: str) -> bytes:
    """Bytes of a secret: ``text:`` and characters, hex, or base64.

    Raises:
        ValueError: it is none of these; the message never holds the text.
    """
    if text.startswith("text:"):
        return text.removeprefix("text:").encode()
    if len(text) % 2 == 0 and re.fullmatch(r"[0-9A-Fa-f]*", text, re.ASCII):
        return bytes.fromhex(text)
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError('is neither hex nor base64; write the characters themselves as "text:..."') from None


def checked_secret(field: str, text: str, least: int) -> bytes:
    """As :func:`secret_bytes`, with its length checked.

    Raises:
        FieldError: for ``field``.
    """
    try:
        secret = secret_bytes(text)
    except ValueError as error:
        raise FieldError(field, str(error)) from None
    if not least <= len(secret) <= MAX_SECRET:
        raise FieldError(field, f"has {len(secret)} bytes; {least} to {MAX_SECRET} are needed")
    return secret


def hex_bytes(field: str, text: str) -> bytes:
    """Bytes of an ID in hex.

    Raises:
        FieldError: for ``field``.
    """
    if len(text) % 2 or not re.fullmatch(r"[0-9A-Fa-f]*", text, re.ASCII):
        raise FieldError(field, f'{text!r} is not hex; write two digits a byte, in quotes: "01"')
    return bytes.fromhex(text)


def sender_of(options: OscoreOptions) -> tuple[bytes, ...]:
    """What the sender's key and nonces are made of; two contexts that agree in it would share nonces."""
    facts = (options.algorithm.encode(), options.hash.encode(), bytes.fromhex(options.id_context))
    return (*facts, secret_bytes(options.secret), secret_bytes(options.salt), bytes.fromhex(options.sender))


def check_keys(keys: Keys) -> None:
    """Refuse keys that would use the same nonces.

    Raises:
        FieldError: below ``security``.
    """
    seen: dict[tuple[bytes, ...], str] = {}
    for name, key in keys.items():
        if key.oscore is not None:
            first = seen.setdefault(sender_of(key.oscore), name)
            if first != name:
                message = f"the same secret, salt and sender as {first}: their messages could be read; use that key"
                raise FieldError(("security", name, "oscore"), message)


def check_asked(where: tuple[str, ...], url: str, name: str, keys: Keys) -> None:
    """Refuse a device whose URL and key do not go together.

    Raises:
        FieldError: below ``where``, the path of the device's options.
    """
    secured = url.startswith("coaps")
    if not name:
        if secured:
            raise FieldError((*where, "security"), "coaps:// needs a key: the name of a psk under security")
        return
    key = known_key((*where, "security"), name, keys)
    if key.psk is None and secured:
        raise FieldError((*where, "security"), f"{name} is an OSCORE key, which goes with coap:// rather than coaps://")
    if key.psk is not None and not secured:
        raise FieldError((*where, "url"), f"{name} is a key of DTLS: write coaps:// instead of coap://")


def check_served(where: tuple[str, ...], names: Iterable[str], keys: Keys, *, secured: bool) -> None:
    """Refuse a served path that names keys that nobody could use there.

    Raises:
        FieldError: for ``where``, the path of the list of names.
    """
    for name in names:
        key = known_key(where, name, keys)
        if key.psk is not None and not secured:
            raise FieldError(where, f"{name} is a key of DTLS, and nothing listens for it: give serve.secure_listen")


def check_recipients(where: tuple[str, ...], names: Iterable[str], keys: Keys) -> None:
    """Refuse keys of a server that a request, or a handshake, cannot choose between.

    Raises:
        FieldError: for ``where``.
    """
    seen: dict[tuple[str, str], str] = {}
    for name in dict.fromkeys(names):
        options, psk = keys[name].oscore, keys[name].psk
        if psk is not None:
            first = seen.setdefault(("psk", psk.identity), name)
            if first != name:
                raise FieldError(where, f"{first} and {name} have the same identity; change one")
        if options is not None:
            first = seen.setdefault((options.recipient.lower(), options.id_context.lower()), name)
            if first != name:
                raise FieldError(where, f"{first} and {name} have the same recipient and id_context; change one")


def known_key(where: tuple[str, ...], name: str, keys: Keys) -> SecurityOptions:
    """The key of that name.

    Raises:
        FieldError: for ``where``; there is none.
    """
    key = keys.get(name)
    if key is None:
        near = difflib.get_close_matches(name, keys, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise FieldError(where, f"there is no key {name!r} under security{hint}")
    return key
