"""Trust and identity of a TLS link, read anew at each connection: a certificate that was renewed is used.

For every protocol alike. There is no way to switch the check of the other side off. A leaf.
"""

from __future__ import annotations

import ssl
from pathlib import Path

from gateway.errors import LinkError


def client_context(ca: str | None, cert: str | None, key: str | None) -> ssl.SSLContext:
    """The context of one connection. Reads files, so that it belongs into a thread.

    Args:
        ca: file with the certificates to trust; None for those of the system, which nothing else falls back to.
        cert: file with the client's own certificate, and those between it and what the other side trusts.
        key: file with its private key.

    Raises:
        LinkError: a file is missing, empty or not what it should be.
    """
    try:
        context = ssl.create_default_context(cadata=None if ca is None else _text(ca))
    except (OSError, ValueError) as error:
        raise LinkError(f"ca {ca or '(those of the system)'}: {_why(error)}") from None
    if cert is not None and key is not None:
        _load_own(context, cert, key)
    return context


def _text(file: str) -> str:
    """What is in a file of certificates; nothing in it would mean those of the system to Python."""
    text = Path(file).read_text("ascii", errors="replace")
    if "-----BEGIN CERTIFICATE-----" not in text:
        raise ValueError("no certificate in it")
    # What stands between certificates is comment, in any language; the parser wants ASCII
    return text.replace("\ufffd", "?")


def _load_own(context: ssl.SSLContext, cert: str, key: str) -> None:
    for name, file in (("cert", cert), ("key", key)):
        try:
            if not Path(file).stat().st_size:
                raise LinkError(f"{name} {file}: the file is empty")
        except OSError as error:
            raise LinkError(f"{name} {file}: {_why(error)}") from None

    def refuse() -> str:
        raise LinkError(f"key {key}: it is encrypted, and a daemon cannot be asked for the password")

    try:
        context.load_cert_chain(cert, key, refuse)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise LinkError(f"cert {cert} and key {key} do not belong together") from None
        raise LinkError(f"cert {cert}, key {key}: {_why(error)}") from None
    except OSError as error:
        raise LinkError(f"cert {cert}, key {key}: {_why(error)}") from None


def _why(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return (error.reason or "no certificate in it").lower().replace("_", " ")
    return (isinstance(error, OSError) and error.strerror) or str(error)


def failure(error: Exception, peer: str = "broker") -> str:
    """One line for what went wrong with a connection; plain words where it is a matter of certificates."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the {peer}'s certificate is refused: {error.verify_message}"
    if isinstance(error, ssl.SSLError) and "ALERT" in (error.reason or ""):
        words = (error.reason or "").lower().replace("_", " ").partition("alert ")[2]
        return f"the {peer} refuses us: {words} (its word on our certificate)"
    if isinstance(error, ssl.SSLError) and error.reason:
        return f"TLS: {error.reason.lower().replace('_', ' ')}"
    return str(error)
