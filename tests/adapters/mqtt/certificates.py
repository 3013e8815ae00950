"""Authorities and certificates as files, for tests only."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)


class Authority:
    """Issues certificates into a folder."""

    def __init__(self, folder: Path, name: str = "ca") -> None:
        self._ca = trustme.CA()
        self._folder = folder
        self.file = folder / f"{name}.pem"
        self.file.write_bytes(self._ca.cert_pem.bytes())

    def issue(self, name: str, address: str = "127.0.0.1", *, days: int = 1) -> tuple[Path, Path]:
        """Files with a certificate and its key; ``days`` below 0: it has expired."""
        now = datetime.now(UTC)
        issued = self._ca.issue_cert(
            address, common_name=name, not_before=now - timedelta(days=30), not_after=now + timedelta(days=days)
        )
        cert, key = self._folder / f"{name}.cert", self._folder / f"{name}.key"
        cert.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        key.write_bytes(issued.private_key_pem.bytes())
        return cert, key

    def server(self, cert: Path, key: Path, *, clients: bool = False) -> ssl.SSLContext:
        """A server's context; ``clients``: it asks them for a certificate of this authority."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(cert, key)
        if clients:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(self.file)
        return context


def encrypt(key: Path) -> None:
    """Put a password on a key."""
    loaded = load_pem_private_key(key.read_bytes(), None)
    key.write_bytes(loaded.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")))
