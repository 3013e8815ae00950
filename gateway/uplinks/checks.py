"""Checks that the options of several uplinks share. Light."""

from __future__ import annotations

import string

from gateway.errors import FieldError


def check_template(field: str, template: str, known: frozenset[str]) -> None:
    """Refuse a template that names something unknown.

    Raises:
        FieldError: naming ``field``.
    """
    try:
        named = {name for _, name, _, _ in string.Formatter().parse(template) if name is not None}
    except ValueError as error:
        raise FieldError(field, f"{template!r}: {error}") from None
    if unknown := named - known:
        words = ", ".join(f"{{{name}}}" for name in sorted(known))
        raise FieldError(field, f"{{{min(unknown)}}} is unknown; known: {words}")


def check_files(ca: str | None, cert: str | None, key: str | None, *, secure: bool, hint: str) -> None:
    """Refuse files of certificates that do not go together, or that would not be used.

    Raises:
        FieldError: naming ``ca``, ``cert`` or ``key``.
    """
    files = {"ca": ca, "cert": cert, "key": key}
    for field, file in files.items():
        if file == "":
            raise FieldError(field, "the name of the file is empty; leave the key out to do without it")
    if (cert is None) != (key is None):
        raise FieldError("key" if cert is None else "cert", "cert and key go together")
    used = next((field for field, file in files.items() if file is not None), None)
    if used and not secure:
        raise FieldError(used, f"certificates need TLS: {hint}")
