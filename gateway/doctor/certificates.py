"""Certificates and keys in files: readable, in time, belonging together, and keys for nobody else."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from cryptography import x509

from gateway.doctor.diagnosis import Diagnosis, fine, found
from gateway.doctor.links import Identity
from gateway.errors import LinkError
from gateway.tls import client_context

SOON_DAYS: Final = 30


def check_identity(identity: Identity) -> Iterator[Diagnosis]:
    """All files of one owner."""
    one_by_one = [one for file in (identity.cert, identity.ca) if file for one in _certificates(identity.owner, file)]
    if identity.key is not None:
        one_by_one += _key(identity.owner, identity.key)
    yield from one_by_one
    whole = all(one.kind != "certificate-unreadable" for one in one_by_one)
    if whole and identity.cert is not None and identity.key is not None:
        try:
            client_context(identity.ca, identity.cert, identity.key)
        except LinkError as error:
            words = {"file": identity.cert, "key": identity.key}
            kind = "certificate-mismatch" if "belong together" in str(error) else "certificate-unreadable"
            yield found(kind, str(error), identity.owner, **words)


def _certificates(owner: str, file: str) -> Iterator[Diagnosis]:
    try:
        loaded = x509.load_pem_x509_certificates(Path(file).read_bytes())
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "no certificate in it"
        yield found("certificate-unreadable", f"{file}: {why}", owner, file=file)
        return
    for certificate in loaded:
        yield from in_time(certificate, owner, file)


def in_time(certificate: x509.Certificate, owner: str, file: str) -> Iterator[Diagnosis]:
    """Whether a certificate is valid now, and stays so for a while."""
    left = certificate.not_valid_after_utc - datetime.now(UTC)
    name = f"{file}: {_subject(certificate)}"
    until = f"{certificate.not_valid_after_utc:%Y-%m-%d}"
    if left.total_seconds() < 0:
        yield found("certificate-expired", f"{name} has expired on {until}", owner, file=file)
    elif certificate.not_valid_before_utc > datetime.now(UTC):
        begin = f"{certificate.not_valid_before_utc:%Y-%m-%d %H:%M}"
        yield found("certificate-expired", f"{name} is valid from {begin} only", owner, file=file)
    elif left.days < SOON_DAYS:
        yield found("certificate-expires", f"{name} expires in {left.days} days, on {until}", owner, file=file)
    else:
        yield fine("certificates", f"{name} is valid until {until}", owner)


def _subject(certificate: x509.Certificate) -> str:
    return certificate.subject.rfc4514_string() or f"serial number {certificate.serial_number:x}"


def _key(owner: str, file: str) -> Iterator[Diagnosis]:
    try:
        mode = stat.S_IMODE(Path(file).stat().st_mode)
        with Path(file).open("rb"):
            pass
    except OSError as error:
        yield found("certificate-unreadable", f"{file}: {error.strerror}", owner, file=file)
        return
    if mode & 0o007:
        yield found("key-open", f"{file} has the mode {mode:04o}: everybody may read it", owner, file=file)
    else:
        yield fine("certificates", f"{file} is private (mode {mode:04o})", owner)
